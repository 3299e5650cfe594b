"""The input file of one batch: lines go in at the end, and the upload reads it again from the front.

It is a file of our own making, or something that the caller has opened and will close.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from openai_batch.errors import InputError
from openai_batch.files.backups import move_to_backup

from .save import drop_equal_backup

if TYPE_CHECKING:
    from collections.abc import Iterator


class Submission(Protocol):
    """Where the lines of a batch input go, and where they are read from."""

    @property
    def label(self) -> str:
        """What messages call it."""

    @property
    def filename(self) -> str:
        """What the upload calls it: some providers insist on `.jsonl`."""

    def append(self, line: bytes) -> None:
        """Write one line, which ends in a newline, behind what is there."""

    def reading(self) -> contextlib.AbstractContextManager[BinaryIO]:
        """Give a seekable stream of the whole content, standing at its front."""

    def close(self) -> None:
        """End the writing. What belongs to the caller stays open."""


class FileSubmission:
    """A file with a path, made at the first line.

    `fresh` asks for a name that nothing has: where `path` is taken, `_2`, `_3` … are tried. Otherwise what
    stands at `path` is moved aside, unless the new content turns out to be the same.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self._fresh = fresh
        self._handle: BinaryIO | None = None
        self._made = False
        self._finish: weakref.finalize[Any, Any] | None = None

    @property
    def label(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def filename(self) -> str:
        """The file's name, with `.jsonl` behind it."""
        return jsonl_name(self.path.name)

    def append(self, line: bytes) -> None:
        """Write one line."""
        if self._handle is None:
            self._handle = self._open()
        self._handle.write(line)

    @contextlib.contextmanager
    def reading(self) -> Iterator[BinaryIO]:
        """Give the content: by the open file, so that it is ours even if the name has changed hands."""
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
        """Close the file, and drop an earlier one of the same content."""
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
            mode = "wb"  # a device or a pipe takes lines and gives none back
        elif self.path.is_file() and self.path.stat().st_size:
            self.path = Path(os.path.realpath(self.path))
            backup = move_to_backup(self.path)
        handle = self._open_free() if mode == "x+b" else self.path.open(mode)
        self._made = True
        # Also runs when the last reference goes or the program ends: a batch need not be closed by hand.
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


class HandleSubmission:
    """Something that the caller has opened, for text or for bytes; it is never closed here."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._spool: Any = None
        self._identity = _identity(handle)
        name = getattr(handle, "name", None)
        self._path = Path(name) if isinstance(name, str) and not name.startswith("<") else None
        self.label = name if isinstance(name, str) else "<input>"
        self.filename = jsonl_name(self._path.name if self._path else "batch")

    def append(self, line: bytes) -> None:
        """Write one line; past a text layer, whose encoding and line ends may not be those of a batch file."""
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
        """Give the content from its front: the handle itself, its file by name, or a copy of a pipe."""
        if getattr(self._handle, "closed", False):
            with self._reopened() as stream:
                yield stream
            return
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._handle.flush()
        source = getattr(self._handle, "buffer", self._handle)
        if not _asked(source, "readable"):
            with self._reopened() as stream:
                yield stream
        elif not _asked(source, "seekable"):
            self._spool = self._spool or _spooled(source)
            self._spool.seek(0)
            yield self._spool
        elif source is self._handle and _is_text(source):
            yield io.BytesIO(_whole_text(source).encode())
        else:
            place = source.tell()
            source.seek(0)
            yield source
            source.seek(place)

    def close(self) -> None:
        """Hand what was written to the system; the handle stays open."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None
        if not getattr(self._handle, "closed", False) and callable(getattr(self._handle, "flush", None)):
            self._handle.flush()

    def _reopened(self) -> BinaryIO:
        """Open the file again by its name, if the name still means that file."""
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


def jsonl_name(name: str) -> str:
    """Return `name` with `.jsonl` as its ending."""
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


def _asked(handle: Any, question: str) -> bool:
    """Ask a handle whether it is readable or seekable; one without an answer is taken for neither."""
    ask = getattr(handle, question, None)
    return bool(ask()) if callable(ask) else False


def _spooled(source: Any) -> Any:
    """Copy a stream that can be read once into a temporary file."""
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the submission
    shutil.copyfileobj(source, spool, 1 << 20)
    return spool


def _whole_text(handle: Any) -> str:
    place = handle.tell()
    handle.seek(0)
    text = str(handle.read())
    handle.seek(place)
    return text
