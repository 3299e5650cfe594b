"""Several batch files as one: their lines one after the other, each still known by its own file and line."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.errors import BatchError, InputError, UsageError

from .source import LineOrigins, Source, open_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_CHUNK = 1 << 20


def globbed(names: Sequence[str]) -> list[str]:
    """Return the names with patterns replaced by the files that match, in the order of their names.

    Raises InputError where a pattern matches nothing, UsageError where standard input is named twice.
    """
    found: list[str] = []
    for name in names:
        if name == "-" or not glob.has_magic(name) or Path(name).exists():
            found.append(name)
            continue
        paths = glob.glob(str(Path(name).expanduser()), recursive=True)  # noqa: PTH207 - it may be absolute
        matches = sorted(path for path in paths if Path(path).is_file())
        if not matches:
            raise InputError(f"{name}: no file matches", hint="name a file, or - for standard input")
        found += matches
    if found.count("-") > 1:
        raise UsageError("standard input can be read once only", hint="name - once")
    return found


def open_joined(names: Sequence[str], folder: Path) -> Source:
    """Return the batch files of these names as one; a single one is used where it lies.

    Pipes and what is compressed are copied into `folder`, one after the other. Raises InputError for what cannot be
    read.
    """
    return (
        join((open_source(name, folder) for name in names), folder)
        if len(names) != 1
        else open_source(names[0], folder)
    )


def join(sources: Iterable[Source], folder: Path) -> Source:
    """Copy the lines of several files into one in `folder`; each source is done with when the next is asked for.

    Not a byte of a line is changed; a last line without its end gets one. Raises BatchError where there is no room.
    """
    target = folder / "joined.jsonl"
    names: list[str] = []
    starts: list[int] = []
    line = 1
    try:
        with target.open("wb") as out:
            for source in sources:
                names.append(source.name)
                starts.append(line)
                line += _append(source.path, out)
    except OSError as exc:
        raise BatchError(f"cannot keep the input in {folder}: {exc.strerror}", hint="make room there") from exc
    return Source(target, f"the input of {len(names):,} files", None, LineOrigins(tuple(names), tuple(starts)))


def _append(path: Path, out: BinaryIO) -> int:
    """Copy a file's lines, and return how many they are."""
    count, last = 0, b"\n"
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            out.write(chunk)
            count += chunk.count(b"\n")
            last = chunk[-1:]
    if last != b"\n":
        out.write(b"\n")
        count += 1
    return count
