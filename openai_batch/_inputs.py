"""Turn what a user names into a file of request lines that can be read twice, and hash it.

A file that already stands as it would be sent is used where it lies. Anything else (a pipe, prompts, a byte
order mark, CRLF, blank lines, a missing last newline) gives a copy of ours, which is what is sent.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from . import _paths
from ._check import Limits, Report, check_stream, lines
from ._expand import expand, is_packed
from ._locks import clear_away, hold
from ._problems import problems_text
from ._split import Slice, Splitter, sort_out, with_hashes
from .errors import BatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._join import Places
    from ._layout import Stretch

SNIFF = 1 << 16


class _Body(msgspec.Struct):
    model: Any = None


class _Head(msgspec.Struct):
    body: _Body


@dataclass(frozen=True, slots=True)
class Source:
    """A regular file to read. `name` is what messages call it; `origin` is the user's path, None for a pipe.

    `places` tells the lines of several joined files apart.
    """

    path: Path
    name: str
    origin: Path | None
    places: Places | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A batch file that passed: the bytes to send, their hash, and the custom ids in order, one JSON string a line.

    `slices` are what fits one batch each; where they have files of their own, those lie in `folder`. `columns` holds
    the rows of the table that the requests were made of (`_columns`).
    """

    path: Path
    origin: Path | None
    report: Report
    sha256: str
    size: int
    ids: Path
    slices: tuple[Slice, ...] = ()
    folder: Path | None = None
    columns: Path | None = None


@contextmanager
def workspace() -> Iterator[Path]:
    """Make a private folder in the state directory for the duration of a command; those of killed ones go."""
    base = _paths.private_dir(_paths.state_dir() / "spool")
    clear_away(base.glob("work-*"))
    held = None
    try:
        while held is None:
            folder = Path(tempfile.mkdtemp(prefix="work-", dir=base))
            held = hold(folder, os.O_RDONLY)
    except OSError as exc:
        raise BatchError(f"cannot make a folder in {base}: {exc.strerror}", hint="make room there") from exc
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def open_source(name: str, folder: Path, stdin: BinaryIO | None = None) -> Source:
    """Return the file that `name` means; `-` and pipes are copied into `folder` first, since they read only once.

    What is compressed with gzip or zstd is unpacked there. Raises InputError if there is no such file, it is no
    file, or it cannot be unpacked.
    """
    source = _regular(name, folder, stdin)
    if not is_packed(source.path):
        return source
    target = folder / "unpacked"
    expand(source.path, source.name, target)
    return Source(target, source.name, None)


def _regular(name: str, folder: Path, stdin: BinaryIO | None) -> Source:
    if name == "-":
        return Source(_spool(stdin or sys.stdin.buffer, folder), "<stdin>", None)
    path = Path(name).expanduser()
    try:
        handle = path.open("rb")
    except OSError as exc:
        raise InputError(f"{name}: {exc.strerror}", hint="name a file, or - for standard input") from exc
    with handle:
        mode = os.fstat(handle.fileno()).st_mode
        if stat.S_ISREG(mode):
            return Source(path, name, path.absolute())
        if stat.S_ISFIFO(mode):
            return Source(_spool(handle, folder), name, None)
    raise InputError(f"{name}: not a regular file", hint="name a file, or - for standard input")


def looks_like_requests(source: Source) -> bool:
    """Tell a batch input file from a file of prompts, by its first line that is not blank."""
    with source.path.open("rb") as handle:
        head = handle.read(SNIFF).removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith((b"{", b"["))


def first_model(source: Source) -> str | None:
    """Return the model that the first request names, or None: it can tell the provider before the check."""
    with source.path.open("rb") as handle:
        for number, _, raw in lines(handle):
            if isinstance(raw, int) or number > SNIFF:
                return None
            if raw.strip():
                try:
                    found = msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"), type=_Head).body.model
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    return None
                return found if isinstance(found, str) else None
    return None


def check_file(source: Source, limits: Limits, folder: Path, *, endpoint: str | None = None) -> Checked:
    """Check a batch input file whole, before anything is sent, and return what is to be sent.

    Raises InputError with every problem (capped) if it cannot be.
    """
    ids = folder / "ids"
    splitter = Splitter(limits)
    with source.path.open("rb") as handle, ids.open("wb") as out:

        def keep(stretch: Stretch) -> None:
            if stretch.ids:
                out.write(b'"%b"\n' % b'"\n"'.join(stretch.ids))
            splitter.take(stretch)

        report = check_stream(handle, limits.of_lines(), endpoint=endpoint, on_stretch=keep, places=source.places)
        size = handle.seek(0, os.SEEK_END)
    if not report.ok:
        raise problems_error(source, report)
    path = source.path
    if not report.as_sent or size != report.n_bytes:
        path = folder / "input.jsonl"
        _clean(source, path)
        size = path.stat().st_size
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        handle.seek(0)
        slices = sort_out(handle, folder, limits) if splitter.mixed else splitter.slices()
    if len(slices) == 1:
        pieces: tuple[Slice, ...] = (replace(slices[0], sha256=digest),)
    else:
        pieces = tuple(slices if splitter.mixed else with_hashes(slices, {None: path}))
    return Checked(path, source.origin if path == source.path else None, report, digest, size, ids, pieces, folder)


def problems_error(source: Source, report: Report) -> InputError:
    """Return the error with the problems of a batch file, one a line."""
    if not looks_like_requests(source):
        hint = "requests are JSON; prompts are for `obatch run`, or for `obatch prepare` first"
    elif source.places is not None:
        hint = "fix the files, then run the same command again"
    elif source.origin is None:
        hint = "fix the input"
    else:
        hint = f"fix the file and check it again with `obatch check {source.name}`"
    text = problems_text(source.name, report.errors, report.problem_count, outcome="nothing was sent")
    return InputError(text, hint=hint, problems=report.errors)


def _clean(source: Source, target: Path) -> None:
    r"""Copy the lines as they are to be sent: bytes kept, each ended by one `\n`, blank ones left out."""
    begins = frozenset(source.places.starts if source.places is not None else (1,))
    with source.path.open("rb") as handle, target.open("wb") as out:
        for number, _, raw in lines(handle):
            if isinstance(raw, int):  # the check has refused such a file already
                continue
            kept = (raw.removeprefix(b"\xef\xbb\xbf") if number in begins else raw).removesuffix(b"\r")
            if kept.strip():
                out.write(kept + b"\n")


def _spool(stream: BinaryIO, folder: Path) -> Path:
    path = folder / "stdin"
    try:
        with path.open("wb") as out:
            # read1 ends at a terminal's first Ctrl-D; read would ask for a second one.
            read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
            while chunk := read(1 << 20):
                out.write(chunk)
    except OSError as exc:
        raise BatchError(f"cannot keep the input in {folder}: {exc.strerror}", hint="make room there") from exc
    return path
