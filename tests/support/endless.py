"""Answers that are too slow or too large: single bytes with delays, and compressed or uncompressed floods."""

from __future__ import annotations

import sys
import time
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from support.exchange import Exchange
    from support.plan import Fault

UNPACKED = 1 << 28
DROP = 0.2
"""Seconds between two bytes of an endless answer."""
_BESIDE = {"chunk": b"1;", "trailer": b"1\r\na\r\n0\r\nX-Slow: "}
"""What is sent before the endless bytes that are not part of the body."""


def drip(exchange: Exchange, good: bytes, fault: Fault, stopping: threading.Event) -> None:
    """Send an answer byte by byte, without an end: its body, its headers (`drip:head`), or an error's (`drip:500`).

    `drip:chunk` and `drip:trailer` send endless bytes in the length of a chunk, or after the last chunk.
    """
    status = int(fault.arg) if fault.arg.isdigit() else 200
    head = {"Content-Type": "application/json", "Content-Length": "1000000"}
    if fault.arg == "head":
        exchange.send_bytes(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    elif fault.arg in _BESIDE:
        exchange.send_bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + _BESIDE[fault.arg])
    else:
        exchange.send_raw(status, head, good[:1])
    until = time.monotonic() + 60
    while not stopping.wait(DROP) and time.monotonic() < until:
        exchange.send_bytes(b"a" if fault.arg in ("head", *_BESIDE) else b" ")


def flood(exchange: Exchange, good: bytes, fault: Fault, _stopping: threading.Event) -> None:
    """Send a body that becomes 256 MB when unpacked (`flood:gzip`, `deflate`, `zstd`), or a large one (`flood`).

    `flood:gzip-429` or `flood:-429` sends another status than 200.
    """
    packing, _, number = fault.arg.partition("-")
    status = int(number or 200)
    head = {"Content-Type": "application/json", "Connection": "close", "Location": "/elsewhere"}
    if packing:
        packed = _PACKED[packing]()
        exchange.send_raw(status, {**head, "Content-Encoding": packing, "Content-Length": str(len(packed))}, packed)
        return
    exchange.send_raw(status, head, good)
    for _ in range(UNPACKED >> 20):
        exchange.send_bytes(b" " * (1 << 20))


def heads(exchange: Exchange, good: bytes, fault: Fault, _stopping: threading.Event) -> None:
    """Send 10,000 headers, or one of 1 MB (`heads:one`)."""
    many = {"X-Big": "a" * (1 << 20)} if fault.arg == "one" else {f"X-{n}": "a" for n in range(10_000)}
    exchange.send_raw(200, {**many, "Content-Length": str(len(good))}, good)


def _zeros() -> Iterator[bytes]:
    for _ in range(UNPACKED >> 20):
        yield b" " * (1 << 20)


def _zipped(packer: zlib._Compress) -> bytes:
    return b"".join(packer.compress(piece) for piece in _zeros()) + packer.flush()


def _zstd() -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    packer = zstd.ZstdCompressor()
    return b"".join(packer.compress(piece) for piece in _zeros()) + packer.flush()


_PACKED: dict[str, Callable[[], bytes]] = {
    "gzip": lambda: _zipped(zlib.compressobj(1, wbits=31)),
    "deflate": lambda: _zipped(zlib.compressobj(1)),
    "zstd": _zstd,
}

ENDLESS: dict[str, Callable[[Exchange, bytes, Fault, threading.Event], None]] = {
    "drip": drip,
    "flood": flood,
    "heads": heads,
}
