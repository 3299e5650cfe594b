"""Put the results of a job's parts in the order of its input. Only the ids of one part at a time are in memory.

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
from .outcome import NO_RESULT, OUTCOMES, SUCCEEDED, Outcome
from .result import Result
from .result_line import ids_of, with_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .index import Places
    from .outcome import Verdict
    from .result import Judge
    from .tally import Tally

    Note = Callable[[int, str, Verdict], None]
    """Called for each request with its row number, its id, and how it ended."""

_row = itemgetter(0)
_RECORD = struct.Struct("<QBI")


class OrderedResult(NamedTuple):
    """The result of one row of the input."""

    row: int  # the number of the row, from 0
    outcome: Outcome  # how it ended
    line: bytes  # the result line, with its newline


class Successes:
    """The results of consecutive rows, which are all successes. Iterating yields their lines."""

    __slots__ = ("count", "lines", "row")

    def __init__(self, row: int, count: int, lines: bytes) -> None:
        """Take `count` result lines, each with its newline, of the rows from `row` on."""
        self.row, self.count, self.lines = row, count, lines

    def __iter__(self) -> Iterator[bytes]:
        for line in self.lines[:-1].split(b"\n"):
            yield line + b"\n"


def rows_in_order(
    rows: Iterable[tuple[int, str]], streams: list[BinaryIO], places: Places, tally: Tally
) -> Iterator[OrderedResult]:
    """Yield the results of one part in the order of `rows`, which are (row number, id) pairs.

    Removes them from `places`. Places that are left are only counted: their ids are not in `rows`, or not so often.
    """
    read = reader(streams)
    for row, custom_id in rows:
        place = places.take(custom_id)
        if place is not None:
            yield OrderedResult(row, place.outcome, read(place))
    for custom_id, others in places.others.items():
        if custom_id not in places:
            tally.repeats += len(others)
    tally.unknown_ids += len(places)


def write_rows(results: Iterable[OrderedResult], target: BinaryIO) -> None:
    """Write results to a file, for `read_rows`."""
    for row, outcome, line in results:
        target.write(_RECORD.pack(row, outcome.number, len(line)) + line)
    target.seek(0)


def read_rows(source: BinaryIO) -> Iterator[OrderedResult]:
    """Yield the results that `write_rows` wrote."""
    while head := source.read(_RECORD.size):
        row, number, length = _RECORD.unpack(head)
        yield OrderedResult(row, OUTCOMES[number], source.read(length))


def merged(parts: Iterable[Iterator[OrderedResult]]) -> Iterator[OrderedResult]:
    """Merge parts by row number. If a row has several results, yield the best one; of equal ones a success stays first.

    Of other equal ones, the last is yielded.
    """
    ordered = heapq.merge(*parts, key=_row)
    for _, group in itertools.groupby(ordered, key=_row):
        best = None
        for result in group:
            if best is None or (best.outcome is not Outcome.SUCCESS and result.outcome.number <= best.outcome.number):
                best = result
        if best is not None:
            yield best


def complete(
    ids: Iterable[str],
    results: Iterator[OrderedResult | Successes],
    tally: Tally,
    note: Note | None = None,
    *,
    missing: Callable[[int], Verdict] = lambda _: NO_RESULT,
    rename: bool = False,
    judge: Judge = Result.of,
) -> Iterator[bytes]:
    """Yield the lines of `results`, which must be in the order of `ids`, and count how each request ended.

    With `rename`, a line may have the id of another row; it gets the id of its own row. `note` is called for each
    request, before its line is yielded; without it, many lines may be yielded as one. `missing` returns the verdict on
    a row without a result, and `judge` reads a line.
    """
    numbered, counted, done = enumerate(ids), _counter(tally, note), 0
    for found in results:
        for row, custom_id in itertools.islice(numbered, found.row - done):
            counted(row, custom_id, missing(row))
        if isinstance(found, Successes):
            own = list(itertools.islice(numbered, found.count))
            if note is None and [custom_id for _, custom_id in own] == ids_of(found.lines):
                tally.count_successes(found.count)
                yield found.lines
            else:
                for (row, custom_id), line in zip(own, found, strict=False):
                    counted(row, custom_id, SUCCEEDED)
                    yield with_id(line, custom_id)
            done = found.row + found.count
        else:
            for row, custom_id in itertools.islice(numbered, 1):
                line = with_id(found.line, custom_id) if rename else found.line
                counted(row, custom_id, SUCCEEDED if found.outcome is Outcome.SUCCESS else judge(line).verdict)
                yield line
            done = found.row + 1
    for row, custom_id in numbered:
        counted(row, custom_id, missing(row))


def _counter(tally: Tally, note: Note | None) -> Note:
    """Return a function that counts a request in `tally`, and then calls `note`, if it is not None."""

    def counted(row: int, custom_id: str, verdict: Verdict) -> None:
        tally.count(verdict, custom_id)
        if note is not None:
            note(row, custom_id, verdict)

    return counted
