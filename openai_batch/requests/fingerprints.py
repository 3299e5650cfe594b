"""Find equal requests, among any number of them. Each request has a key: the hash of its endpoint and body.

Keys are compared in partitions, and only one partition at a time is in memory.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from contextlib import ExitStack, contextmanager
from functools import cached_property
from itertools import chain, count
from os import SEEK_END
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from .row_set import RowSet


KEY_BYTES = 16  # the size of a key: so large that two different requests never have the same key by chance

_PARTITION = 20_000  # keys
_MOST_PARTITIONS = 64
_RECORD = struct.Struct(f"<{KEY_BYTES}sQ")
_WORDS = struct.Struct("=4I")  # a key as words, each of which sets a bit of a filter
_WORDS_PER_KEY = 4
_FILTER_BITS_PER_ROW = 64
_MOST_FILTER_BITS = 1 << 27
_AT_ONCE = 4096
_encode = msgspec.json.Encoder(order="sorted").encode


def fingerprints(url: str, bodies: Iterable[dict[str, Any]]) -> bytes:
    """Return the keys of requests, one after the other: a hash of `url` and of the decoded body.

    Bodies that differ only in the order of keys, in white space or in the spelling of numbers and strings have the same
    key.
    """
    start = hashlib.blake2b(url.encode() + b"\n", digest_size=KEY_BYTES, usedforsecurity=False)
    keys = []
    for body in bodies:
        key = start.copy()
        key.update(_encode(body))
        keys.append(key.digest())
    return b"".join(keys)


def repeats(keys: Path, folder: Path) -> Iterator[tuple[int, int]]:
    """Yield (row, first row) for each row whose key an earlier row has, in no order. Rows count from 0.

    `keys` is a file of keys, and `folder` is for temporary files.
    """
    for part in _partitions(keys, folder, _number_of(keys)):
        firsts: dict[bytes, int] = {}
        for key, row in part:
            first = firsts.setdefault(key, row)
            if first != row:
                yield row, first


class Wanted:
    """Rows that are looked for among those of other jobs, by their keys.

    The rows at the beginning and at the end that are the same in both are found by comparing bytes. For other rows, a
    filter, which excludes nearly all rows that are not shared, and one partition of the keys are in memory.
    """

    def __init__(
        self, keys: Path, folder: Path, without: RowSet, repeated: Callable[[], Iterable[tuple[int, int]]]
    ) -> None:
        """Take the rows of a file of keys that are not in `without`. `folder` is for temporary files.

        `repeated` returns (row, first row) for each row that is not taken because it has the key of an earlier row.
        """
        self._keys, self._folder = keys, folder
        self._without, self._repeated = without, repeated
        self._rows = _rows_in(keys)
        self._mask = min(_MOST_FILTER_BITS, 1 << (self._rows * _FILTER_BITS_PER_ROW).bit_length()) - 1
        self._number = _number_of(keys)
        self.count = self._rows - len(without)
        """How many rows it has."""

    def pairs(self, others: Path, *, once: bool) -> Iterator[tuple[int, int, int]]:
        """Yield (row, row in `others`, count) for ranges of rows with the same keys, in no order.

        With `once`, each row of `others` is paired with the first row that has its key. Without it, the rows with a key
        are paired one to one: the first with the first, and so on; the rest are not paired.
        """
        theirs = _rows_in(others)
        most = min(self._rows, theirs)
        with self._keys.open("rb") as one, others.open("rb") as other:
            head = _common(one, other, most, at_end=False)
            tail = _common(one, other, most - head, at_end=True)
        if head < theirs and not once:
            head = tail = 0  # so that the first row with a key is paired with the first, and so on
        yield from self._range(0, 0, head)
        if head + tail < theirs:
            yield from self._compared(others, range(head, theirs - tail), once=once)
        yield from self._range(self._rows - tail, theirs - tail, tail)

    def _range(self, first: int, other: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Yield the pairs for `count` rows from `first` on, which have the same keys as those from `other` on."""
        for row, number in self._without.lacking(first, count):
            yield row, row - first + other, number
        for row, original in self._repeated() if count else ():
            if first <= row < first + count and original not in self._without:
                yield original, row - first + other, 1

    def _compared(self, others: Path, among: range, *, once: bool) -> Iterator[tuple[int, int, int]]:
        """Yield the pairs for the rows of `others` that are in `among`, each key in the order of the rows."""
        candidates = self._candidates(others, among)
        first = next(candidates, None)
        if first is None:
            return
        with _partition_files(self._folder, "other", self._number) as files:
            for key, other in chain((first,), candidates):
                files[key[0] % self._number].write(_RECORD.pack(key, other))
        for number in range(self._number):
            theirs = self._folder / f"other-{number}"
            rows: dict[bytes, list[int]] = {}
            for key, row in _records(self._folder / f"own-{number}") if theirs.stat().st_size else ():
                rows.setdefault(key, []).append(row)
            taken: Counter[bytes] = Counter()
            for key, other in _records(theirs):
                own = rows.get(key, ())
                index = 0 if once else taken[key]
                if index < len(own):
                    taken[key] += 1
                    yield own[index], other, 1

    @cached_property
    def _filter(self) -> bytearray:
        """A filter that lets all rows pass; when it is made, their keys are written to the files of the partitions."""
        mask, bits = self._mask, bytearray((self._mask >> 3) + 1)
        self._folder.mkdir(parents=True, exist_ok=True)
        with _partition_files(self._folder, "own", self._number) as files:
            for key, row in _numbered(self._keys):
                if row not in self._without:
                    files[key[0] % self._number].write(_RECORD.pack(key, row))
                    for word in _WORDS.unpack(key):
                        bits[(word & mask) >> 3] |= 1 << (word & 7)
        return bits

    def _candidates(self, others: Path, among: range) -> Iterator[tuple[bytes, int]]:
        """Yield (key, row) of those rows of a file of keys in `among` that pass the filter."""
        bits, mask, first = self._filter, self._mask, among.start
        for block in _blocks(others, among):
            for row, word in enumerate(memoryview(block).cast("I")[::_WORDS_PER_KEY]):
                if bits[(word & mask) >> 3] >> (word & 7) & 1:
                    key = block[row * KEY_BYTES : (row + 1) * KEY_BYTES]
                    if all(bits[(each & mask) >> 3] >> (each & 7) & 1 for each in _WORDS.unpack(key)):
                        yield key, first + row
            first += len(block) // KEY_BYTES


def _common(one: BinaryIO, other: BinaryIO, most: int, *, at_end: bool) -> int:
    """Return how many rows are the same at the beginning, or at the end, of two files of keys; at most `most`."""

    def keys(handle: BinaryIO, done: int, number: int) -> bytes:
        handle.seek(*((-KEY_BYTES * (done + number), SEEK_END) if at_end else (KEY_BYTES * done,)))
        return handle.read(KEY_BYTES * number)

    found = 0
    for step in (_AT_ONCE, 64, 1):
        while found + step <= most and keys(one, found, step) == keys(other, found, step):
            found += step
    return found


def _rows_in(keys: Path) -> int:
    return keys.stat().st_size // KEY_BYTES


def _number_of(keys: Path) -> int:
    return min(_MOST_PARTITIONS, 1 + _rows_in(keys) // _PARTITION)


def _partitions(keys: Path, folder: Path, number: int) -> Iterator[Iterable[tuple[bytes, int]]]:
    """Yield the (key, row) pairs in `number` partitions, by the first byte of the key, each in the order of rows."""
    if number == 1:
        yield _numbered(keys)
        return
    with _partition_files(folder, "keys", number) as files:
        for key, row in _numbered(keys):
            files[key[0] % number].write(_RECORD.pack(key, row))
    for index in range(number):
        path = folder / f"keys-{index}"
        yield _records(path)
        path.unlink()


@contextmanager
def _partition_files(folder: Path, stem: str, number: int) -> Iterator[list[BinaryIO]]:
    with ExitStack() as stack:
        yield [stack.enter_context((folder / f"{stem}-{index}").open("wb", 1 << 14)) for index in range(number)]


def _numbered(keys: Path) -> Iterator[tuple[bytes, int]]:
    rows = count()
    for block in _blocks(keys, range(_rows_in(keys))):
        for start in range(0, len(block), KEY_BYTES):
            yield block[start : start + KEY_BYTES], next(rows)


def _blocks(keys: Path, rows: range) -> Iterator[bytes]:
    """Yield the keys of these rows of a file, many at once."""
    with keys.open("rb") as handle:
        handle.seek(KEY_BYTES * rows.start)
        for start in range(rows.start, rows.stop, _AT_ONCE):
            yield handle.read(KEY_BYTES * min(_AT_ONCE, rows.stop - start))


def _records(path: Path) -> Iterator[tuple[bytes, int]]:
    with path.open("rb") as handle:
        while block := handle.read(_RECORD.size * _AT_ONCE):
            yield from _RECORD.iter_unpack(block)
