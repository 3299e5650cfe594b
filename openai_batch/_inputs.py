"""Turn what a user names into a file of request lines that can be read twice, and check it.

A file that already stands as it would be sent is used where it lies. Anything else (a pipe, prompts, a byte
order mark, CRLF, blank lines, a missing last newline) gives a copy of ours, which is what is sent.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from . import _paths
from ._check import Limits, Report, check_stream, lines
from ._expand import expand, is_packed
from ._files import create
from ._keys import fingerprints
from ._locks import clear_away, hold
from ._problems import problems_text
from ._split import Slice, Splitter, decode_request, sort_out
from .errors import BatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._join import Places
    from ._verdict import RequestChunk

SNIFF = 1 << 16


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
    """A batch file that passed the check, and what was written down about it in the same pass."""

    path: Path
    """The bytes to send: the user's file itself, or a file in the work folder."""
    origin: Path | None
    """The user's file if `path` is it, else None."""
    report: Report
    """What the check found."""
    sha256: str
    """The hash of the bytes to send, in hexadecimal digits."""
    size: int
    """The number of bytes to send."""
    ids: Path
    """The custom ids in order, one JSON string a line."""
    keys: Path
    """The fingerprint of each request, in the same order (`_keys`)."""
    slices: tuple[Slice, ...] = ()
    """What fits one batch each."""
    folder: Path | None = None
    """Where the files of slices are that are not part of `path`."""
    columns: Path | None = None
    """The rows of the table that the requests were made of (`_columns`)."""


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
                    return decode_request(raw.removeprefix(b"\xef\xbb\xbf")).body.model
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    return None
    return None


def check_file(source: Source, limits: Limits, folder: Path, *, endpoint: str | None = None) -> Checked:
    """Check a batch input file whole, before anything is sent, and return what is to be sent.

    Raises InputError with every problem (capped) if it cannot be.
    """
    ids, keys = folder / "ids", folder / "keys"
    splitter = Splitter(limits)
    encode_lines = msgspec.json.Encoder().encode_lines
    with source.path.open("rb") as handle, create(ids) as ids_out, create(keys) as keys_out:

        def take(chunk: RequestChunk) -> None:
            id_lines = encode_lines(chunk.ids)
            ids_out.write(id_lines)
            keys_out.write(fingerprints(chunk.url, chunk.bodies))
            splitter.take(chunk, id_lines)

        report = check_stream(handle, limits.of_lines(), endpoint=endpoint, on_chunk=take, places=source.places)
        size = handle.seek(0, os.SEEK_END)
    if not report.ok:
        raise problems_error(source, report)
    path, origin = source.path, source.origin
    if not report.as_sent or size != report.n_bytes:
        path, origin = folder / "input.jsonl", None
        size = _clean(source, path)
    slices = splitter.slices()
    if splitter.mixed:
        with path.open("rb") as handle:
            slices = sort_out(handle, folder, limits)
    return Checked(path, origin, report, splitter.sha256, size, ids, keys, tuple(slices), folder)


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


def _clean(source: Source, target: Path) -> int:
    r"""Copy the lines as they are sent: bytes kept, each ended by one `\n`, blank ones left out. Return the bytes."""
    begins = frozenset(source.places.starts if source.places is not None else (1,))
    with source.path.open("rb") as handle, create(target) as out:
        for number, _, raw in lines(handle):
            if isinstance(raw, int):  # the check has refused such a file already
                continue
            kept = (raw.removeprefix(b"\xef\xbb\xbf") if number in begins else raw).removesuffix(b"\r")
            if kept.strip():
                out.write(kept + b"\n")
        return out.tell()


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
