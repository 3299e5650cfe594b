"""Join several batch files into one. Problems still name the file and line that they come from."""

from __future__ import annotations

import glob
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.errors import InputError, UsageError
from openai_batch.files.object_store import is_address, is_stored, split_address
from openai_batch.files.workspace import cannot_keep

from .source import LineOrigins, Source, name_a_file, open_source, require_requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_CHUNK = 1 << 20


def globbed(names: Sequence[str]) -> list[str]:
    """Return the names with patterns replaced by the files or objects that match, in the order of their names.

    Raises InputError if a pattern matches nothing, and UsageError if standard input is named twice.
    """
    paths: list[str] = []
    for name in names:
        if is_stored(name) and glob.has_magic(name):
            paths += _objects(name)
            continue
        if name == "-" or is_address(name) or not glob.has_magic(name) or Path(name).exists():
            paths.append(name)
            continue
        matches = glob.glob(str(Path(name).expanduser()), recursive=True)  # noqa: PTH207 - it may be absolute
        files = sorted(path for path in matches if Path(path).is_file())
        if not files:
            raise InputError(f"{name}: no file matches", hint=name_a_file(name))
        paths += files
    if paths.count("-") > 1:
        raise UsageError("standard input can be read only once", hint="use - only once")
    return paths


def _objects(name: str) -> list[str]:
    """Return the addresses of the objects that match a pattern. Raises InputError if there are none."""
    store, key = split_address(name)
    if store.stat(key) is not None:
        return [name]
    folder = re.split(r"[*?[]", key)[0].rpartition("/")[0]
    depth = key.count("/")
    keys = [info.key for info in store.list(folder) if info.key.count("/") == depth]
    found = [store.address(known) for known in sorted(keys) if PurePosixPath(known).match(key)]
    if not found:
        raise InputError(f"{name}: no object matches", hint="name an object, or another pattern")
    return found


def open_joined(names: Sequence[str], folder: Path) -> Source:
    """Return the batch files with these names as one source; a single file is used in place.

    Pipes and compressed files are copied into `folder`. Raises InputError if one of them cannot be read.
    """
    if len(names) == 1:
        return open_source(names[0], folder)
    return join((open_source(name, folder) for name in names), folder)


def join(sources: Iterable[Source], folder: Path) -> Source:
    """Copy the lines of several files into one file in `folder`.

    Each source is read before the next one is opened. Lines are not changed; a last line without a newline gets one.
    Raises InputError if a file has no requests at all, BatchError if the disk is full.
    """
    target = folder / "joined.jsonl"
    names: list[str] = []
    starts: list[int] = []
    line = 1
    try:
        with target.open("wb") as out:
            for source in sources:
                require_requests(source)
                names.append(source.name)
                starts.append(line)
                line += _append(source.path, out)
    except OSError as exc:
        raise cannot_keep(folder, exc) from exc
    return Source(target, f"the input of {len(names):,} files", None, LineOrigins(tuple(names), tuple(starts)))


def _append(path: Path, out: BinaryIO) -> int:
    """Copy a file's lines, and return their number."""
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
