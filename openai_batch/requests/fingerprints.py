"""Find equal requests, among any number of them. Each request has a key: the hash of its endpoint and body.

Keys are compared in partitions, and only one partition at a time is in memory.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from contextlib import ExitStack, contextmanager
from itertools import chain, count
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


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

    In memory are a filter, which excludes nearly all rows that are not shared, and one partition of the keys.
    """

    def __init__(self, keys: Path, folder: Path, without: Callable[[int], bool] | None = None) -> None:
        """Take the rows of a file of keys for which `without` is not true. `folder` is for its temporary files."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        rows = keys.stat().st_size // KEY_BYTES
        self._mask = mask = min(_MOST_FILTER_BITS, 1 << (rows * _FILTER_BITS_PER_ROW).bit_length()) - 1
        self._filter = bits = bytearray((mask >> 3) + 1)
        self._number = _number_of(keys)
        self.count = 0
        """How many rows it has."""
        with _partition_files(folder, "own", self._number) as files:
            for key, row in _numbered(keys):
                if without is None or not without(row):
                    self.count += 1
                    files[key[0] % self._number].write(_RECORD.pack(key, row))
                    for word in _WORDS.unpack(key):
                        bits[(word & mask) >> 3] |= 1 << (word & 7)

    def pairs(self, others: Path, *, once: bool) -> Iterator[tuple[int, int]]:
        """Yield (row, row in `others`) for those of a file of keys that have the key of a row, in no order.

        With `once`, each such row of `others` is paired with the first row that has the key. Without it, the rows with
        a key are paired one to one: the first with the first, and so on; the rest are not paired.
        """
        candidates = self._candidates(others)
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
                    yield own[index], other

    def _candidates(self, others: Path) -> Iterator[tuple[bytes, int]]:
        """Yield (key, row) of the rows in a file of keys that pass the filter."""
        bits, mask, first = self._filter, self._mask, 0
        for block in _blocks(others):
            for row, word in enumerate(memoryview(block).cast("I")[::_WORDS_PER_KEY]):
                if bits[(word & mask) >> 3] >> (word & 7) & 1:
                    key = block[row * KEY_BYTES : (row + 1) * KEY_BYTES]
                    if all(bits[(each & mask) >> 3] >> (each & 7) & 1 for each in _WORDS.unpack(key)):
                        yield key, first + row
            first += len(block) // KEY_BYTES


def _number_of(keys: Path) -> int:
    return min(_MOST_PARTITIONS, 1 + keys.stat().st_size // KEY_BYTES // _PARTITION)


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
    for block in _blocks(keys):
        for start in range(0, len(block), KEY_BYTES):
            yield block[start : start + KEY_BYTES], next(rows)


def _blocks(keys: Path) -> Iterator[bytes]:
    """Yield the keys of a file, many at once."""
    with keys.open("rb") as handle:
        while block := handle.read(KEY_BYTES * _AT_ONCE):
            yield block[: len(block) // KEY_BYTES * KEY_BYTES]


def _records(path: Path) -> Iterator[tuple[bytes, int]]:
    with path.open("rb") as handle:
        while block := handle.read(_RECORD.size * _AT_ONCE):
            yield from _RECORD.iter_unpack(block)
