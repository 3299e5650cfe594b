"""End a batch: write its output and error files in the order of the input, and publish them with the final status."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.files import atomic

from .result_lines import error_line
from .store import PENDING, SUCCEEDED, FileRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .store import BatchRecord, RowRecord, Store

_RETENTION = 30 * 86_400  # seconds that result files are kept by default

_PAGE = 1000

_UNFINISHED = {
    "expired": ("batch_expired", "the completion window ended before this request had its answer"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this request had its answer"),
    "failed": ("batch_failed", "the batch failed before this request had its answer"),
}


def publish(store: Store, batch: BatchRecord, files: Path, journal: Path, failure: str | None = None) -> None:
    """Write the files of a batch that is `finalizing` or `cancelling`, or has met a `failure` (as JSON), and end it.

    `files` is the folder of files, `journal` the file with the batch's result lines. The ids of the files are made from
    the batch's id, so that a second call after a crash makes the same files. If the batch is cancelled in the meantime,
    its status stays, and this must be called again. Raises OSError or BatchError.
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
        targets = (files / _file_id(batch, kind) for kind in ("output", "error"))
        output, errors = (_ResultFile(path, *stack.enter_context(atomic.part_file(path))) for path in targets)
        for row in all_rows(store, batch.seq):
            if row.state == PENDING:
                errors.write(error_line(row.custom_id, *_UNFINISHED[end]).data)
            else:
                file = output if row.state == SUCCEEDED else errors
                file.write(os.pread(source, row.answer_length or 0, row.answer_start or 0))
        records = [
            file.finish(f"{batch.id}_{kind}.jsonl", now, batch.output_seconds or _RETENTION)
            for file, kind in ((output, "output"), (errors, "error"))
        ]
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


def all_rows(store: Store, batch: int) -> Iterator[RowRecord]:
    """Yield every row of a batch, in the order of the input."""
    after = 0
    while page := store.rows(batch, after=after, limit=_PAGE):
        yield from page
        after = page[-1].line


def _file_id(batch: BatchRecord, kind: str) -> str:
    return "file-" + hashlib.sha256(f"{batch.id}:{kind}".encode()).hexdigest()[:32]


@dataclass(slots=True)
class _ResultFile:
    """An output or error file that is being written: it gets its name when it is complete."""

    target: Path  # its final path; its name there is its id
    out: BinaryIO  # the open part file
    part: Path  # the path of that
    size: int = 0  # bytes so far
    lines: int = 0  # lines so far
    _sha256: hashlib._Hash = field(default_factory=hashlib.sha256)  # the digest so far

    def write(self, line: bytes) -> None:
        self.out.write(line)
        self._sha256.update(line)
        self.size += len(line)
        self.lines += 1

    def finish(self, filename: str, now: float, seconds: int) -> FileRecord | None:
        """Publish the file and return its record, or None if it is empty."""
        if not self.size:
            return None
        atomic.publish(self.out, self.part, self.target, replace=True, private=True)
        digest = self._sha256.hexdigest()
        return FileRecord(self.target.name, self.size, now, now + seconds, filename, "batch_output", digest)
