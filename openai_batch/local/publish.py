"""End a batch: write its output and error files in the order of the input, and publish them with the final status."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from openai_batch.files.atomic import sync_folder

from .result_lines import error_line
from .store import PENDING, SUCCEEDED, FileRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .store import BatchRecord, RowRecord, Store

_RETENTION = 30 * 86_400
"""Seconds that result files are kept by default."""

_PAGE = 1000
_WRITE_AT_ONCE = 1 << 20

_UNFINISHED = {
    "expired": ("batch_expired", "the completion window ended before this request had its answer"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this request had its answer"),
    "failed": ("batch_failed", "the batch failed before this request had its answer"),
}


def publish(store: Store, batch: BatchRecord, files: Path, journal: Path, failure: str | None = None) -> None:
    """Write the files of a batch that is `finalizing` or `cancelling`, or has met a `failure` (as JSON), and end it.

    `files` is the folder of files, `journal` the file with the batch's result lines. The ids of the files are made from
    the batch's id, so that the same again after a crash gives the same files. If the batch is cancelled meanwhile, its
    status stays, and this must be called again. Raises OSError or BatchError.
    """
    if failure is not None:
        end = "failed"
    elif batch.status == "cancelling":
        end = "cancelled"
    else:
        end = "expired" if store.rows(batch.seq, after=0, limit=1, pending=True) else "completed"
    now = time.time()
    with ExitStack() as stack:
        source = os.open(journal, os.O_RDONLY | os.O_CREAT, 0o600)
        stack.callback(os.close, source)
        output = stack.enter_context(_ResultFile(files, _file_id(batch, "output")))
        errors = stack.enter_context(_ResultFile(files, _file_id(batch, "error")))
        for row in _rows(store, batch.seq):
            if row.state == PENDING:
                errors.write(error_line(row.custom_id, *_UNFINISHED.get(end, _UNFINISHED["expired"])).data)
            else:
                file = output if row.state == SUCCEEDED else errors
                file.write(os.pread(source, row.answer_length or 0, row.answer_start or 0))
        records = [
            file.finish(f"{batch.id}_{kind}.jsonl", now, batch.output_seconds or _RETENTION)
            for file, kind in ((output, "output"), (errors, "error"))
        ]
        sync_folder(files)
        store.move(
            batch.id,
            [batch.status],
            end,
            files=[record for record in records if record],
            output_file_id=records[0].id if records[0] else None,
            error_file_id=records[1].id if records[1] else None,
            completed=output.lines,
            failed=errors.lines,
            errors=failure,
            **{f"{end}_at": now},
        )


def _rows(store: Store, batch: int) -> Iterator[RowRecord]:
    after = 0
    while page := store.rows(batch, after=after, limit=_PAGE):
        yield from page
        after = page[-1].line


def _file_id(batch: BatchRecord, kind: str) -> str:
    return "file-" + hashlib.sha256(f"{batch.id}:{kind}".encode()).hexdigest()[:32]


@dataclass(slots=True)
class _ResultFile:
    """An output or error file that is being written: it gets its name when it is complete, and is removed if empty."""

    folder: Path
    """The folder of files."""
    id: str
    """The file's id, which is its name as well."""
    size: int = 0
    """Bytes on the disk."""
    lines: int = 0
    """Lines so far."""
    _handle: int = -1
    """The descriptor of the part file."""
    _waiting: bytearray = field(default_factory=bytearray)
    """Bytes that are not on the disk yet."""
    _sha256: hashlib._Hash = field(default_factory=hashlib.sha256)
    """The digest of the bytes on the disk."""

    def __enter__(self) -> Self:
        self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._handle)
        with suppress(FileNotFoundError):
            self._path.unlink()

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.id}.part"

    def write(self, data: bytes) -> None:
        self.lines += 1
        self._waiting += data
        if len(self._waiting) >= _WRITE_AT_ONCE:
            self._flush()

    def finish(self, filename: str, now: float, seconds: int) -> FileRecord | None:
        """Publish the file and return its record, or None if it is empty."""
        self._flush()
        if not self.size:
            return None
        os.fsync(self._handle)
        self._path.rename(self.folder / self.id)
        return FileRecord(self.id, self.size, now, now + seconds, filename, "batch_output", self._sha256.hexdigest())

    def _flush(self) -> None:
        with memoryview(self._waiting) as view:
            self._sha256.update(view)
            done = 0
            while done < len(view):
                done += os.write(self._handle, view[done:])
        self.size += len(self._waiting)
        self._waiting = bytearray()
