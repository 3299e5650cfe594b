"""Open an input (a file, a pipe, a compressed file) as a regular file, which can be read more than once."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import sys
from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from openai_batch.errors import InputError, Problem, did_you_mean
from openai_batch.files.compression import MAX_EXPANDED, expand, is_compressed
from openai_batch.files.encodings import to_utf8, wide_encoding
from openai_batch.files.json_documents import is_json_document, to_lines
from openai_batch.files.lines import lines
from openai_batch.files.object_store import is_address, shown
from openai_batch.files.signatures import other_kind
from openai_batch.files.workspace import cannot_keep

from .request_line import decode_request

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class LineOrigins:
    """Which file each line of a joined file comes from."""

    names: tuple[str, ...]  # the names of the files, in order
    starts: tuple[int, ...]  # the line of the joined file at which each of them begins, from 1

    def origin_of(self, line: int) -> tuple[str, int]:
        """Return the file that a line of the joined file comes from, and its number there. Lines count from 1."""
        number = bisect_right(self.starts, line) - 1
        return self.names[number], line - self.starts[number] + 1

    def with_origin(self, problem: Problem) -> Problem:
        """Return a problem of the joined file with the name and line of the file that it comes from."""
        if problem.line is None:
            return problem
        name, line = self.origin_of(problem.line)
        return replace(problem, line=line, file=name)


_STDIN = "<stdin>"  # the name of standard input in messages
SNIFF = 1 << 16  # bytes at the start of a file that decide what kind of file it is


@dataclass(frozen=True, slots=True)
class Source:
    """A regular file to read."""

    path: Path  # the file
    name: str  # its name in messages
    origin: Path | None  # the user's file if `path` is that file; None for a copy or a joined file
    line_origins: LineOrigins | None = None  # which file each line comes from, if several files were joined
    address: str | None = None  # where it came from if the user named it in an object store or on the web


def open_source(name: str, folder: Path, stdin: BinaryIO | None = None, *, documents: bool = True) -> Source:
    """Return the file called `name`, as text in UTF-8 with one JSON object per line if it is text or JSON.

    Standard input (`-`), pipes and what is at an address (`s3://…`, `https://…`) are copied into `folder`, since they
    are read more than once. Files compressed with gzip or zstd are unpacked there, and UTF-16 becomes UTF-8. With
    `documents`, a JSON array of objects and objects over several lines become JSON lines. Raises InputError if there is
    no such file, if it is not a regular file, or if it cannot be unpacked or converted; and the errors of `fetch`.
    """
    source = _regular(name, folder, stdin)
    if is_compressed(source.path):
        expand(source.path, source.name, folder / "unpacked")
        source = replace(source, path=folder / "unpacked", origin=None)
    if (encoding := wide_encoding(source.path)) is not None:
        to_utf8(source.path, source.name, folder / "utf-8", encoding)
        source = replace(source, path=folder / "utf-8", origin=None)
    if documents and is_json_document(source.path):
        to_lines(source.path, source.name, folder / "lines")
        source = replace(source, path=folder / "lines", origin=None)
    return source


def _regular(name: str, folder: Path, stdin: BinaryIO | None) -> Source:
    if name == "-":
        return Source(_spool(stdin or sys.stdin.buffer, folder), _STDIN, None)
    if is_address(name):
        from openai_batch.net.fetch import fetch

        fetch(name, folder / "fetched")
        return Source(folder / "fetched", shown(name), None, address=shown(name))
    path = Path(name).expanduser()
    try:
        handle = path.open("rb")
    except OSError as exc:
        raise InputError(f"{name}: {exc.strerror}", hint=_hint_for(name, path)) from exc
    with handle:
        mode = os.fstat(handle.fileno()).st_mode
        if stat.S_ISREG(mode):
            return Source(path, name, path.absolute())
        if stat.S_ISFIFO(mode):
            return Source(_spool(handle, folder), name, None)
    raise InputError(f"{name}: not a regular file", hint=name_a_file(name))


def as_word(name: str) -> str:
    """Return the name of a source in messages as a word of a command line."""
    return "-" if name == _STDIN else quote(name)


def _hint_for(name: str, path: Path) -> str:
    """Return what to do about an input that cannot be opened: the most similar name, if there is one."""
    if path.is_dir():
        return f"name the files in it, such as {quote(str(Path(name) / '*.csv'))}"
    with contextlib.suppress(OSError):
        names = itertools.islice((entry.name for entry in os.scandir(path.parent) if entry.is_file()), 10_000)
        if near := did_you_mean(path.name, names, likeness=0.8):
            return near
    return name_a_file(name)


def name_a_file(name: str) -> str:
    """Return what to do about a name that is no file; a template in its place needs an option."""
    if "{{" in name:
        return "a prompt is given with --prompt"
    if " " in name and " " in (Path(name).suffix or " "):  # words, not the name of a file
        return "write the prompt to a file, and name that file; - is standard input"
    return "name a file, or - for standard input"


def looks_like_requests(source: Source) -> bool:
    """Return whether one of the first lines looks like a request; prompts and tables have no such line.

    Files that cannot be text also return True: the check says what they are.
    """
    with source.path.open("rb") as handle:
        head = handle.read(SNIFF).removeprefix(b"\xef\xbb\xbf")
    if other_kind(head) is not None or not head.strip():
        return True
    found = next((line for line in map(bytes.strip, head.split(b"\n")) if line.startswith((b"{", b"["))), None)
    if found is None:
        return False
    try:
        row = msgspec.json.decode(found)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True
    return not isinstance(row, dict) or not _KEYS.isdisjoint(row)


_KEYS = {"custom_id", "method", "url", "body"}


def not_requests(source: Source) -> Problem:
    """Return the problem of a file that does not look like requests."""
    message = f"the line is not a request: {source.name} looks like prompts or a table"
    return Problem(1, "invalid_json_line", message, None, f"`obatch run {as_word(source.name)}` takes these")


def require_requests(source: Source) -> None:
    """Raise InputError if a file does not look like requests at all."""
    if not looks_like_requests(source):
        hint = "for prompts and tables use `obatch run`, or `obatch prepare` first"
        message = f"{source.name}: it is not a batch file; nothing was sent"
        raise InputError(message, hint=hint, problems=[not_requests(source)])


def first_model(source: Source) -> str | None:
    """Return the model that the first request names, or None. It can decide the provider before the check."""
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


def _spool(stream: BinaryIO, folder: Path) -> Path:
    path = folder / "stdin"
    try:
        with path.open("wb") as out:
            # read1 ends at a terminal's first Ctrl-D; read would ask for a second one.
            read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
            while chunk := read(1 << 20):
                if out.tell() > MAX_EXPANDED:
                    raise InputError(f"the input has more than {MAX_EXPANDED:,} bytes", hint="split the input")
                out.write(chunk)
    except OSError as exc:
        raise cannot_keep(folder, exc) from exc
    return path
