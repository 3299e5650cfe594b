"""The content of a file as a provider may send it: whole, cut, compressed, replaced, or from an offset."""

from __future__ import annotations

import gzip
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from support.exchange import Exchange, Request
    from support.plan import Fault

BYTES = "application/octet-stream"


def send_content(
    exchange: Exchange,
    data: bytes,
    tag: str,
    mode: str,
    request: Request,
    fault: Fault | None,
    elsewhere: socket.socket,
) -> None:
    """Send `data` with the fault, if any; `mode` is the plan's `range`, `tag` names this version of the file."""
    shared = {"ETag": f'W/"{tag}"' if mode == "weak" else f'"{tag}"', "Accept-Ranges": "bytes"} if mode else {}
    found = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
    start = int(found[1]) if found and mode in ("good", "wrong", "noheader", "weak", "swapped") else 0
    if fault is None:
        if mode in ("changed", "swapped") and found:
            shared["ETag"] = '"another"'
        _send_from(exchange, data, start, mode, shared)
    elif fault.kind in ("half", "reset"):
        _break_off(exchange, data, start if mode == "good" else 0, shared, fault)
    elif fault.kind in _ODD:
        _ODD[fault.kind](exchange, data, fault)
    else:
        exchange.misbehave(fault, data, elsewhere)


def _send_from(exchange: Exchange, data: bytes, start: int, mode: str, shared: Mapping[str, str]) -> None:
    """Send what was requested, or, in some modes, another range or one without its header."""
    if not start:
        exchange.send_raw(200, _head(len(data), **shared), data)
        return
    start = max(0, start - (10 if mode == "wrong" else 0))
    told = {} if mode == "noheader" else _span(start, len(data))
    exchange.send_raw(206, _head(len(data) - start, **shared, **told), data[start:])


def _break_off(exchange: Exchange, data: bytes, start: int, shared: Mapping[str, str], fault: Fault) -> None:
    """Announce the whole rest, send a part of it, and end the connection with a FIN or a reset."""
    told = _span(start, len(data)) if start else {}
    sent = data[start : start + int(fault.number(len(data) // 2))]
    exchange.send_raw(206 if start else 200, _head(len(data) - start, **shared, **told), sent)
    if fault.kind == "reset":
        exchange.wait_until_read()  # a reset discards unread data
        exchange.reset()


def _head(length: int, **more: str) -> dict[str, str]:
    return {"Content-Type": BYTES, "Content-Length": str(length), "Connection": "close", **more}


def _span(start: int, length: int) -> dict[str, str]:
    return {"Content-Range": f"bytes {start}-{length - 1}/{length}"}


def _no_length(exchange: Exchange, data: bytes, fault: Fault) -> None:
    sent = data if fault.kind == "wholenolength" else data[: len(data) // 2]
    exchange.send_raw(200, {"Content-Type": BYTES, "Connection": "close"}, sent)


def _short(exchange: Exchange, data: bytes, fault: Fault) -> None:
    exchange.send(200, data[: int(fault.number(len(data) // 2))], BYTES)


def _long(exchange: Exchange, data: bytes, _fault: Fault) -> None:
    exchange.send_raw(200, _head(len(data) + 100), data)


def _cut_chunk(exchange: Exchange, data: bytes, _fault: Fault) -> None:
    head = {"Content-Type": BYTES, "Transfer-Encoding": "chunked", "Connection": "close"}
    exchange.send_raw(200, head, f"{len(data):x}\r\n".encode() + data[: len(data) // 2])


def _chunked(exchange: Exchange, data: bytes, _fault: Fault) -> None:
    head = {"Content-Type": BYTES, "Transfer-Encoding": "chunked", "Connection": "close"}
    exchange.send_raw(200, head, f"{len(data):x}\r\n".encode() + data + b"\r\n0\r\n\r\n")


def _packed(exchange: Exchange, data: bytes, fault: Fault) -> None:
    packed = gzip.compress(data)
    exchange.send(
        200, packed[: len(packed) // 2] if fault.kind == "gzipcut" else packed, BYTES, Content_Encoding="gzip"
    )


def _json_error(exchange: Exchange, _data: bytes, _fault: Fault) -> None:
    exchange.send(200, b'{"error": {"message": "try again", "type": "server_error"}}')


def _slow(exchange: Exchange, data: bytes, _fault: Fault) -> None:
    exchange.send_raw(200, _head(len(data)), b"")
    step = len(data) // 5 + 1
    for start in range(0, len(data), step):
        time.sleep(0.05)
        exchange.send_bytes(data[start : start + step])


_ODD: dict[str, Callable[[Exchange, bytes, Fault], None]] = {
    **dict.fromkeys(("nolength", "wholenolength"), _no_length),
    **dict.fromkeys(("gzip", "gzipcut"), _packed),
    "short": _short,
    "long": _long,
    "chunkcut": _cut_chunk,
    "chunked": _chunked,
    "jsonerror": _json_error,
    "slow": _slow,
}
