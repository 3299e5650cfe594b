"""Keep where the results of a large file are beside it, so that the next command need not parse the file again."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from openai_batch.errors import BatchError
from openai_batch.files.atomic import part_file, publish

from .index import Place, index
from .result import Result
from .result_line import UNREADABLE
from .usage import ModelUsage

if TYPE_CHECKING:
    from .index import Places
    from .result import Judge
    from .tally import Tally

MIN_BYTES = 1 << 20
"""The size in bytes from which on a file is large."""


class _Index(msgspec.Struct, array_like=True):
    version: str  # of this package: another one may read a result in another way
    size: int  # of the file
    changed: int  # when it was changed, in nanoseconds
    places: dict[str, Place]
    usage: dict[str | None, ModelUsage]


_decode = msgspec.msgpack.Decoder(_Index).decode


def index_kept(
    stream: BinaryIO, number: int, name: str, places: Places, tally: Tally, judge: Judge = Result.of
) -> None:
    """Do what `index` does for a file that is kept.

    Its index is kept too if it is the first of its batch, all of its lines are results of different requests, and no
    schema must be looked at.
    """
    path, status, before = Path(stream.name), os.fstat(stream.fileno()), tally.unreadable_count
    if number or judge != Result.of or status.st_size < MIN_BYTES or path.suffix != ".jsonl":
        index(stream, number, name, places, tally, judge)
        return
    from openai_batch.version import __version__

    path, mark = path.with_suffix(".index"), (__version__, status.st_size, status.st_mtime_ns)
    with contextlib.suppress(OSError, *UNREADABLE):
        known = _decode(path.read_bytes())
        if (known.version, known.size, known.changed) == mark:
            places.update(known.places)
            places.usage = known.usage
            return
    index(stream, number, name, places, tally, judge)
    if not places.others and tally.unreadable_count == before:
        with contextlib.suppress(OSError, BatchError), part_file(path) as (handle, part):
            handle.write(msgspec.msgpack.encode(_Index(*mark, places, places.usage)))
            publish(handle, part, path, replace=True, private=True)
