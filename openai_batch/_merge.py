"""Join the results of a job's parts into the order of its input, holding the ids of one part at a time in memory.

Parts that are stretches of the input follow each other. Others (requests sorted out by model) are first written out
in the order of their rows, then merged row by row; a success beats an error.
"""

from __future__ import annotations

import heapq
import itertools
import struct
from typing import TYPE_CHECKING, BinaryIO

from ._index import reader
from ._results import SAMPLES, Tally, cause_of, with_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._index import Place

_RECORD = struct.Struct("<QBI")

MISSING = "missing: no result"
"""The cause of a request that has no result at all."""

Result = tuple[int, bool, bytes]
"""A row's number in the input, whether it is a success, and its line with a newline."""


def rows_in_order(
    rows: Iterable[tuple[int, str]], streams: list[BinaryIO], places: dict[str, Place], tally: Tally
) -> Iterator[Result]:
    """Yield the results of one part in the order of `rows`, (row number, id) pairs; what is left over are strangers."""
    read = reader(streams)
    for row, custom_id in rows:
        place = places.pop(custom_id, None)
        if place is not None:
            yield row, bool(place & 1), read(place)
    tally.strangers += len(places)


def write_rows(results: Iterable[Result], target: BinaryIO) -> None:
    """Write results out, to be read again by `read_rows`."""
    for row, success, line in results:
        target.write(_RECORD.pack(row, success, len(line)) + line)
    target.seek(0)


def read_rows(source: BinaryIO) -> Iterator[Result]:
    """Yield what `write_rows` wrote."""
    while head := source.read(_RECORD.size):
        row, success, length = _RECORD.unpack(head)
        yield row, bool(success), source.read(length)


def merged(parts: Iterable[Iterator[Result]]) -> Iterator[Result]:
    """Merge parts by row number; of several results of one row the first success stands, else the last error."""
    ordered = heapq.merge(*parts, key=lambda result: result[0])
    for _, group in itertools.groupby(ordered, key=lambda result: result[0]):
        best = None
        for result in group:
            if best is None or not best[1]:
                best = result
        if best is not None:
            yield best


def complete(
    ids: Iterable[str],
    results: Iterator[Result],
    tally: Tally,
    note: Callable[[int, str, str | None], None] | None = None,
    *,
    rename: bool = False,
) -> Iterator[bytes]:
    """Yield the lines of `results`, which come in the order of `ids`, and count what became of each request.

    With `rename` lines may bear the ids of other rows, and get their own. `note` hears of each request its row
    number, its id, and why it has no success (None: it has one).
    """
    following = next(results, None)
    for row, custom_id in enumerate(ids):
        tally.requests += 1
        if following is None or following[0] != row:
            tally.missing_count += 1
            if len(tally.missing) < SAMPLES:
                tally.missing.append(custom_id)
            if note is not None:
                note(row, custom_id, MISSING)
            continue
        _, success, line = following
        if rename:
            line = with_id(line, custom_id)
        cause = None if success else cause_of(line)
        if cause is None:
            tally.succeeded += 1
        else:
            tally.failed += 1
            tally.causes[cause] += 1
        if note is not None:
            note(row, custom_id, cause)
        yield line
        following = next(results, None)
