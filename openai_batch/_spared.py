"""The rows of a job that are not sent, and where their results come from: an identical request, or an earlier job.

One record a row, in a file: memory does not grow with the rows.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Self

from .errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ._merge import Result

_RECORD = struct.Struct("<IQ")
_OFFSET = struct.Struct("<Q")
_AT_ONCE = 4096

OWN = 0
"""The number of the job's own results among the stores; those of earlier jobs count from 1."""

MAX_OPEN_STORES = 16
"""Files of answers that are open at a time: each day of a growing input leaves one, and a process may open few."""


@dataclass(slots=True)
class Spared:
    """The records of `rows` rows, or those of a file that is only read: (store, place), with places from 1 on.

    (OWN, 0) is a row that is sent itself. In the store OWN the place is an earlier row, else where in a file of
    answers the line begins.
    """

    path: Path
    rows: int | None = None
    _file: int = field(init=False, default=-1)

    def __enter__(self) -> Self:
        if self.rows is None:
            self._file = os.open(self.path, os.O_RDONLY)
        else:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            os.ftruncate(self._file, self.rows * _RECORD.size)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def __getitem__(self, row: int) -> tuple[int, int]:
        """Return the record of a row."""
        store, place = _RECORD.unpack(os.pread(self._file, _RECORD.size, row * _RECORD.size))
        return store, place

    def __setitem__(self, row: int, record: tuple[int, int]) -> None:
        """Write the record of a row."""
        os.pwrite(self._file, _RECORD.pack(*record), row * _RECORD.size)


def read_records(path: Path) -> Iterator[tuple[int, int]]:
    """Yield the records of a file of `Spared`, row by row."""
    with path.open("rb") as handle:
        while block := handle.read(_RECORD.size * _AT_ONCE):
            yield from _RECORD.iter_unpack(block)


def count_spared(path: Path) -> int:
    """Return how many rows of a file of `Spared` are not sent."""
    return sum(1 for _, place in read_records(path) if place)


@dataclass(frozen=True, slots=True)
class Sparing:
    """What is kept of a job's plan: the keys of its requests, and the `count` rows that need not be sent.

    `repeated` of them ask the same as another row, `answered` were answered by an earlier job. `origin` is a file
    with what the input was named, `path` and `stores` are those of `Spared` and of the names of its stores.
    """

    keys: Path
    origin: Path
    path: Path
    stores: Path
    repeated: int = 0
    answered: int = 0

    @property
    def count(self) -> int:
        """How many rows are not sent."""
        return self.repeated + self.answered


@dataclass(frozen=True, slots=True)
class Answers:
    """Successes that a job's own batches brought, one result line each, kept for later jobs that ask the same.

    `places` holds for each row of the job where its line begins, from 1 on; 0 where it has none.
    """

    lines: Path
    places: Path

    def write(self, results: Iterator[Result], lines: BinaryIO, places: BinaryIO) -> None:
        """Write the successes of `results`, which come in the order of the rows."""
        offset = done = 0
        for row, success, line in results:
            if success:
                places.write(bytes(_OFFSET.size * (row - done)) + _OFFSET.pack(offset + 1))
                done = row + 1
                lines.write(line)
                offset += len(line)

    def place_of(self, row: int, places: BinaryIO) -> int:
        """Return where the line of a row begins, from 1 on; 0 if there is none."""
        places.seek(row * _OFFSET.size)
        found = places.read(_OFFSET.size)
        return int(_OFFSET.unpack(found)[0]) if found else 0


class Stores:
    """The files of answers that a job takes from earlier ones, numbered from 1 on; of many a few are open at a time."""

    def __init__(self, paths: Sequence[Path], job: int) -> None:
        self._paths = paths
        self._job = job
        self._open: dict[int, BinaryIO] = {}

    def line(self, store: int, place: int) -> bytes:
        """Return the line at a place, from 1 on, of a store. Raises NotFoundError if the file is gone."""
        handle = self._open.pop(store, None) or self._opened(store)
        self._open[store] = handle  # the last one used stands last
        handle.seek(place - 1)
        return handle.readline()

    def close(self) -> None:
        """Close what is open."""
        while self._open:
            self._open.popitem()[1].close()

    def _opened(self, store: int) -> BinaryIO:
        if len(self._open) >= MAX_OPEN_STORES:
            self._open.pop(next(iter(self._open))).close()
        path = self._paths[store - 1]
        try:
            return path.open("rb")
        except FileNotFoundError as exc:
            raise NotFoundError(
                f"the answers that job {self._job} takes from an earlier job are gone ({path})",
                hint="obatch run with the input again and --again sends, and pays, every row once more",
            ) from exc


def completed(
    results: Iterator[Result], spared: Path, stores: Stores, spool: BinaryIO, index: BinaryIO
) -> Iterator[Result]:
    """Yield `results`, which come in the order of the rows, with those of the spared rows between them.

    `spool` and `index` are files to work in: they hold the results that other rows have too.
    """
    wanted = _originals(spared)
    following = next(results, None)
    for row, (store, place) in enumerate(read_records(spared)):
        own = None
        if following is not None and following[0] == row:
            own, following = following, next(results, None)
        if store != OWN:
            yield row, True, stores.line(store, place)
        elif place:
            found = _spooled(place - 1, spool, index)
            if found is not None:
                yield row, *found
        elif own is not None:
            if wanted[row >> 3] >> (row & 7) & 1:
                _spool(own, spool, index)
            yield own


def _originals(spared: Path) -> bytearray:
    """Return one bit a row: whether its result is another row's too."""
    wanted = bytearray(spared.stat().st_size // _RECORD.size // 8 + 1)
    for store, place in read_records(spared):
        if store == OWN and place:
            wanted[place - 1 >> 3] |= 1 << (place - 1 & 7)
    return wanted


def _spool(result: Result, spool: BinaryIO, index: BinaryIO) -> None:
    row, success, line = result
    index.seek(row * _OFFSET.size)
    index.write(_OFFSET.pack(spool.seek(0, os.SEEK_END) + 1))
    spool.write((b"+" if success else b"-") + line)


def _spooled(row: int, spool: BinaryIO, index: BinaryIO) -> tuple[bool, bytes] | None:
    index.seek(row * _OFFSET.size)
    found = index.read(_OFFSET.size)
    place = _OFFSET.unpack(found)[0] if len(found) == _OFFSET.size else 0
    if not place:
        return None
    spool.seek(place - 1)
    return spool.read(1) == b"+", spool.readline()
