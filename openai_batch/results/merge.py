"""Put the results of a job's parts in the order of its input. Memory holds the ids of one part at a time.

Parts that are consecutive ranges of the input are read one after the other. Other parts (requests sorted by model) are
first written to files in the order of their rows, and then merged row by row. A success replaces an error.
"""

from __future__ import annotations

import heapq
import itertools
import struct
from operator import itemgetter
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from .index import reader
from .result_line import failure_cause, with_id
from .tally import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .index import Place
    from .tally import Tally

    Note = Callable[[int, str, str | None], None]
    """Called for each request with its row number, its id, and why it failed (None: it succeeded)."""

_row = itemgetter(0)
_RECORD = struct.Struct("<QBI")

NO_RESULT = "missing: no result"
"""The cause of a request without any result."""


class OrderedResult(NamedTuple):
    """The result of one row of the input."""

    row: int  # the number of the row, from 0
    success: bool  # whether it is a success, not an error
    line: bytes  # the result line, with its newline


def rows_in_order(
    rows: Iterable[tuple[int, str]], streams: list[BinaryIO], places: dict[str, Place], tally: Tally
) -> Iterator[OrderedResult]:
    """Yield the results of one part in the order of `rows`, which are (row number, id) pairs.

    Removes them from `places`. Places that are left have ids that are not in `rows`; they are only counted.
    """
    read = reader(streams)
    for row, custom_id in rows:
        place = places.pop(custom_id, None)
        if place is not None:
            yield OrderedResult(row, place.success, read(place))
    tally.unknown_ids += len(places)


def write_rows(results: Iterable[OrderedResult], target: BinaryIO) -> None:
    """Write results to a file, for `read_rows`."""
    for row, success, line in results:
        target.write(_RECORD.pack(row, success, len(line)) + line)
    target.seek(0)


def read_rows(source: BinaryIO) -> Iterator[OrderedResult]:
    """Yield the results that `write_rows` wrote."""
    while head := source.read(_RECORD.size):
        row, success, length = _RECORD.unpack(head)
        yield OrderedResult(row, bool(success), source.read(length))


def merged(parts: Iterable[Iterator[OrderedResult]]) -> Iterator[OrderedResult]:
    """Merge parts by row number. If a row has several results, yield the first success, or else the last error."""
    ordered = heapq.merge(*parts, key=_row)
    for _, group in itertools.groupby(ordered, key=_row):
        best = None
        for result in group:
            if best is None or not best.success:
                best = result
        if best is not None:
            yield best


def complete(
    ids: Iterable[str],
    results: Iterator[OrderedResult],
    tally: Tally,
    note: Note | None = None,
    *,
    rename: bool = False,
) -> Iterator[bytes]:
    """Yield the lines of `results`, which must be in the order of `ids`, and count how each request ended.

    With `rename`, a line may have the id of another row; it gets the id of its own row. `note` is called for each
    request, before its line is yielded.
    """
    following = next(results, None)
    for row, custom_id in enumerate(ids):
        tally.requests += 1
        if following is None or following.row != row:
            tally.missing_count += 1
            if len(tally.missing) < SAMPLES:
                tally.missing.append(custom_id)
            if note is not None:
                note(row, custom_id, NO_RESULT)
            continue
        _, success, line = following
        if rename:
            line = with_id(line, custom_id)
        cause = None if success else failure_cause(line)
        if cause is None:
            tally.succeeded += 1
        else:
            tally.failed += 1
            tally.causes[cause] += 1
        if note is not None:
            note(row, custom_id, cause)
        yield line
        following = next(results, None)
