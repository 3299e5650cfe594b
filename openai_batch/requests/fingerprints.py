"""Find equal requests, among any number of them. Each request has a key: the hash of its endpoint and body.

Keys are compared in partitions, and memory holds one partition at a time.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


KEY_BYTES = 16
"""The size of a key: so large that two different requests never have the same key by chance."""

_PARTITION = 20_000  # keys
_MOST_PARTITIONS = 64
_RECORD = struct.Struct(f"<{KEY_BYTES}sQ")
_AT_ONCE = 4096
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


def fingerprints(url: str, bodies: Iterable[bytes | msgspec.Raw]) -> bytes:
    """Return the keys of requests, one after the other: a hash of `url` and of the body.

    Bodies that differ only in the order of keys, in white space or in the spelling of numbers and strings have the same
    key.
    """
    hashed = partial(hashlib.blake2b, digest_size=KEY_BYTES, usedforsecurity=False)
    start = url.encode() + b"\n"
    return b"".join([hashed(start + _normal(body)).digest() for body in bodies])


def _normal(body: bytes | msgspec.Raw) -> bytes:
    """Return a body in one spelling. One that msgspec cannot read, such as half a surrogate pair, keeps its own."""
    try:
        return _encode(_decode(body))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return bytes(body)


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


def paired(keys: Path, others: Path, folder: Path, *, once: bool) -> Iterator[tuple[int, int]]:
    """Yield (row, other row) for the rows of `others` whose key is in `keys`, in no order.

    With `once`, each such row of `others` is paired with the first row of `keys` that has the key. Without it, the
    rows with a key are paired one to one: the first with the first, and so on; the rest have no partner.
    """
    number = max(_number_of(keys), _number_of(others))
    (folder / "others").mkdir(exist_ok=True)
    parts = zip(_partitions(keys, folder, number), _partitions(others, folder / "others", number), strict=True)
    for own_part, other_part in parts:
        rows: dict[bytes, list[int]] = {}
        for key, row in own_part:
            rows.setdefault(key, []).append(row)
        taken: Counter[bytes] = Counter()
        for key, other in other_part:
            candidates = rows.get(key, ())
            index = 0 if once else taken[key]
            if index < len(candidates):
                taken[key] += 1
                yield candidates[index], other


def _number_of(keys: Path) -> int:
    return min(_MOST_PARTITIONS, 1 + keys.stat().st_size // KEY_BYTES // _PARTITION)


def _partitions(keys: Path, folder: Path, number: int) -> Iterator[Iterable[tuple[bytes, int]]]:
    """Yield the (key, row) pairs in `number` partitions, by the first byte of the key, each in the order of rows."""
    if number == 1:
        yield _numbered(keys)
        return
    paths = [folder / f"keys-{index}" for index in range(number)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb", 1 << 14)) for path in paths]
        pack = _RECORD.pack
        for key, row in _numbered(keys):
            files[key[0] % number].write(pack(key, row))
    for path in paths:
        with path.open("rb") as handle:
            yield _records(handle)
        path.unlink()


def _numbered(keys: Path) -> Iterator[tuple[bytes, int]]:
    rows = count()
    with keys.open("rb") as handle:
        while block := handle.read(KEY_BYTES * _AT_ONCE):
            for start in range(0, len(block), KEY_BYTES):
                yield block[start : start + KEY_BYTES], next(rows)


def _records(handle: BinaryIO) -> Iterator[tuple[bytes, int]]:
    while block := handle.read(_RECORD.size * _AT_ONCE):
        yield from _RECORD.iter_unpack(block)
