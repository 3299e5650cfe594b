"""The input file of one batch: requests are appended line by line, then the upload reads it from the beginning.

It is a file with a path (PathInputFile), or a file object that the caller opened and closes (OpenInputFile).
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from openai_batch.errors import InputError
from openai_batch.files.backups import move_to_backup

from .save import drop_equal_backup

if TYPE_CHECKING:
    from collections.abc import Iterator


class PathInputFile:
    """A file with a path. It is made when the first line is written.

    If `path` exists and `fresh` is True, the name gets `_2`, `_3` … instead. If `fresh` is False, the existing file is
    renamed to a backup, which `close` removes again if the new content is the same.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self._fresh = fresh
        self._handle: BinaryIO | None = None
        self._made = False
        self._finish: weakref.finalize[Any, Any] | None = None

    @property
    def label(self) -> str:
        """The path, for messages."""
        return str(self.path)

    @property
    def filename(self) -> str:
        """The name of the uploaded file. It ends in `.jsonl`, since some providers require that."""
        return jsonl_name(self.path.name)

    def append(self, line: bytes) -> None:
        """Write one line, which ends in a newline."""
        if self._handle is None:
            self._handle = self._open()
        self._handle.write(line)

    @contextlib.contextmanager
    def reading(self) -> Iterator[BinaryIO]:
        """Give a seekable stream of the content, at its beginning. Raises InputError if it cannot be read."""
        # If we have written it, of the open file: another file may have its name now.
        if self._handle is not None:
            self._handle.flush()
            self._handle.seek(0)
            yield self._handle
            self._handle.seek(0, os.SEEK_END)
            return
        try:
            handle = self.path.open("rb")
        except OSError as exc:
            raise InputError(f"{self.path}: {exc.strerror}") from exc
        with handle:
            if not handle.seekable():
                raise InputError(f"{self.path} cannot be read twice", hint="copy it into a file first")
            yield handle

    def close(self) -> None:
        """Close the file, and remove the backup if it has the same content."""
        self._handle = None
        if self._finish is not None:
            self._finish()

    def _open(self) -> BinaryIO:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        backup = None
        mode = "w+b"
        if self._made:
            mode = "a+b"
        elif self._fresh:
            mode = "x+b"
        elif self.path.exists() and not self.path.is_file():
            mode = "wb"  # a device or a pipe cannot be read again
        elif self.path.is_file() and self.path.stat().st_size:
            self.path = Path(os.path.realpath(self.path))
            backup = move_to_backup(self.path)
        handle = self._open_free() if mode == "x+b" else self.path.open(mode)
        self._made = True
        # This also runs at garbage collection and at exit, since a Batch need not be closed.
        self._finish = weakref.finalize(self, _finish, handle, self.path, backup)
        return handle  # type: ignore[return-value] # each of the modes is binary

    def _open_free(self) -> Any:
        stem, number = self.path.stem, 1
        while True:
            try:
                return self.path.open("x+b")
            except FileExistsError:
                number += 1
                self.path = self.path.with_name(f"{stem}_{number}{self.path.suffix}")


class OpenInputFile:
    """A file object of the caller, for text or for bytes. It is never closed here."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._copy: Any = None
        self._identity = _identity(handle)
        name = getattr(handle, "name", None)
        self._path = Path(name) if isinstance(name, str) and not name.startswith("<") else None
        self.label = name if isinstance(name, str) else "<input>"
        self.filename = jsonl_name(self._path.name if self._path else "batch")

    def append(self, line: bytes) -> None:
        """Write one line, which ends in a newline."""
        # A text file may have another encoding or other line ends, so its binary buffer is used.
        binary = getattr(self._handle, "buffer", None)
        if binary is not None:
            self._handle.flush()
            binary.write(line)
        elif _is_text(self._handle):
            self._handle.write(line.decode())
        else:
            self._handle.write(line)

    @contextlib.contextmanager
    def reading(self) -> Iterator[BinaryIO]:
        """Give the content: the file object itself, its file opened again by name, or a copy of a pipe."""
        closed = getattr(self._handle, "closed", False)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._handle.flush()
        source = getattr(self._handle, "buffer", self._handle)
        if closed or not _is(source, "readable"):
            with self._reopened() as stream:
                yield stream
        elif not _is(source, "seekable"):
            self._copy = self._copy or _copied(source)
            self._copy.seek(0)
            yield self._copy
        elif source is self._handle and _is_text(source):
            yield io.BytesIO(_whole_text(source).encode())
        else:
            place = source.tell()
            source.seek(0)
            yield source
            source.seek(place)

    def close(self) -> None:
        """Flush the file object, which stays open."""
        if self._copy is not None:
            self._copy.close()
            self._copy = None
        if not getattr(self._handle, "closed", False) and callable(getattr(self._handle, "flush", None)):
            self._handle.flush()

    def _reopened(self) -> BinaryIO:
        """Open the file again by its name, if it is still the same file. Raises InputError if not."""
        if self._path is not None and self._identity is not None:
            with contextlib.suppress(OSError):
                handle = self._path.open("rb")
                if _identity(handle) == self._identity:
                    return handle
                handle.close()
        raise InputError(
            f"what was written to {self.label} cannot be read back",
            hint="give a path, or a file opened for reading and writing",
        )


InputFile: TypeAlias = PathInputFile | OpenInputFile


def jsonl_name(name: str) -> str:
    """Return `name` with the ending `.jsonl`."""
    return name if name.endswith(".jsonl") else f"{Path(name).stem or 'batch'}.jsonl"


def _finish(handle: Any, path: Path, backup: Path | None) -> None:
    handle.close()
    if backup is not None:
        drop_equal_backup(path, backup)


def _identity(handle: Any) -> tuple[int, int] | None:
    try:
        status = os.fstat(handle.fileno())
    except (AttributeError, OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _is_text(handle: Any) -> bool:
    return isinstance(handle, io.TextIOBase) or hasattr(handle, "encoding")


def _is(handle: Any, ability: str) -> bool:
    """Call `handle.readable()` or `handle.seekable()`; return False if it has no such method."""
    method = getattr(handle, ability, None)
    return bool(method()) if callable(method) else False


def _copied(source: Any) -> Any:
    """Return a temporary file with the content of a stream that can be read only once."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed by OpenInputFile.close
    shutil.copyfileobj(source, copy, 1 << 20)
    return copy


def _whole_text(handle: Any) -> str:
    place = handle.tell()
    handle.seek(0)
    text = str(handle.read())
    handle.seek(place)
    return text
