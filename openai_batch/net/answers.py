"""Read the answers of a server within limits: of size, when unpacked, and of time.

The limits apply even if the server announces something else. Works with every version of the HTTP library that the SDK
uses, which is imported nowhere here.
"""

from __future__ import annotations

import functools
import math
import os
import re
import sys
import zlib
from typing import TYPE_CHECKING, Any
from weakref import finalize

from openai_batch.errors import ApiError

from .time_limit import cutting, seconds_left

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator

MAX_ANSWER_BYTES = 16 << 20
"""The most bytes of a record, a list or a refusal, when unpacked: many times a full page of a list."""

MAX_RESPONSE_BYTES = 256 << 20
"""The most bytes of an answer to a request outside of a batch: it can be a line of a result file."""

_RECORDS = re.compile(r"/(files|batches|models)(/[^/]+)?(/cancel)?/?$")
"""Ends the paths of what is small: records of files, batches and models, and lists of them."""

_FILE = re.compile(r"/files/[^/]+/content/?$")  # ends the paths of files, which may have any size
_PIECE = 1 << 18  # the most bytes that are unpacked at once


class _OfOneProcess:
    """A part of an HTTP client: a process that was forked leaves the connections of the other one as they are."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._given = given
        self._process = os.getpid()
        self._inherited: Any = None  # what belongs to the other process
        self._sockets: set[socket.socket] = set()
        # Python may destroy the sockets of a client before the client, and then warns that they were not closed.
        finalize(self, _close_all, self._sockets)

    def close(self) -> None:
        """Close the connections, unless they belong to another process."""
        if self._process == os.getpid():
            super().close()  # type: ignore[misc] # the other part of the client has it

    def _leave_inherited(self) -> None:
        """In a forked process, start without connections. The inherited ones are kept: closing TLS sends data."""
        if self._process != os.getpid():
            inherited = vars(self).copy()
            self.__init__(**self._given)  # type: ignore[misc] # with no connection yet
            self._inherited = inherited


def _close_all(sockets: set[socket.socket]) -> None:
    for one in sockets:
        one.close()


def limited_client(kind: Any, refused: Callable[[Any], None] | None = None, **options: Any) -> Any:
    """Return a client of the class `kind` (the SDK's default one), whose answers are limited.

    `refused` is called with each error answer; it may change the headers.

    The read timeout of a request is the time for its whole answer, not for one read, and `until` may shorten it. An
    answer that is streamed must begin in that time. Raises TimeoutError, or ApiError if the answer is too large.

    A process that was forked makes connections of its own: on a shared one, each process could read the answers to the
    other one's requests.
    """

    class LimitedClient(_OfOneProcess, kind):  # type: ignore[misc] # the class depends on the version of the SDK
        """Sends requests, and reads their answers within the limits."""

        def send(self, request: Any, *, stream: bool = False, **given: Any) -> Any:
            """Send a request, and return its answer."""
            self._leave_inherited()
            times = {name: seconds_left(limit) for name, limit in request.extensions.get("timeout", {}).items()}
            if times.get("read") == 0:
                raise TimeoutError("the time limit has passed")
            with cutting(self._sockets, times.get("read")) as start:

                def trace(event: str, details: Any) -> None:
                    # A TLS connection has another socket than the connection below it.
                    if event.endswith(("connect_tcp.complete", "start_tls.complete")):
                        self._sockets.difference_update([one for one in self._sockets if one.fileno() < 0])
                        self._sockets.add(details["return_value"].get_extra_info("socket"))
                    elif event.endswith("receive_response_headers.started"):
                        start()  # a large upload has been sent by now

                request.extensions = {**request.extensions, "timeout": times, "trace": trace}
                response = super().send(request, stream=True, **given)
                if stream and response.is_success:
                    return response
                answer = _whole(response)
                if refused is not None and not answer.is_success:
                    refused(answer)
                return answer

    return LimitedClient(**options)


@functools.lru_cache
def certificates(kind: Any, _named: tuple[str | None, ...], *, trust_env: bool) -> Any:
    """Return the TLS context that a client of the class `kind` would make: one for all, since each takes a megabyte.

    `_named` are the files that the environment names, which count with `trust_env`.
    """
    library = next(each.__module__ for each in kind.__mro__ if each.__name__ == "Client").partition(".")[0]
    return sys.modules[library].create_ssl_context(trust_env=trust_env)


def unpacked(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the bytes of an answer without its compression, in small pieces.

    Raises ApiError if they are damaged, or compressed in another way than with gzip or deflate: neither was asked for.
    """
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        yield from chunks
        return
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise ApiError(f"the answer is compressed with {coding[:20]!r}, which was not asked for")
    automatic = zlib.MAX_WBITS + 32  # the header tells gzip and deflate apart
    packed = zlib.decompressobj(automatic)
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if packed.eof:
                    packed = zlib.decompressobj(automatic)  # one more member
                yield packed.decompress(rest, _PIECE)
                rest = packed.unconsumed_tail or packed.unused_data
    except zlib.error as exc:
        raise ApiError(f"the compressed answer is damaged ({exc})") from None
    if not packed.eof:
        raise ApiError("the compressed answer is cut short")


def _whole(response: Any) -> Any:
    """Read the body of a response; return a response with the same head that holds it. Raises ApiError."""
    most = _most_bytes(response)
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in unpacked(response.iter_raw(), response.headers.get("content-encoding", "")):
            size += len(piece)
            if size > most:
                raise ApiError(f"the answer has more than {most:,} bytes", hint="is the base URL the provider's API?")
            pieces.append(piece)
    finally:
        response.close()
    about_body = ("content-encoding", "content-length", "transfer-encoding")
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in about_body]
    return type(response)(
        response.status_code,
        headers=headers,
        content=b"".join(pieces),
        request=response.request,
        extensions=response.extensions,
    )


def _most_bytes(response: Any) -> float:
    """Return how many bytes the body of a response may have."""
    path = response.request.url.path
    if not response.is_success or _RECORDS.search(path):
        return MAX_ANSWER_BYTES
    return math.inf if _FILE.search(path) else MAX_RESPONSE_BYTES
