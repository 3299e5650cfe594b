"""Read a file from the address that a server redirects to, such as one in an object store.

The address itself is the permission to read. So it is requested without a key, a cookie or a header of a profile,
and a key that a caller gives for it stays behind when the server redirects to another host.
"""

from __future__ import annotations

import contextlib
import http.client
import urllib.error
import urllib.request
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai_batch.errors import ApiError, UnreachableError

from .time_limit import cutting, each_in_time
from .transfer import DownloadResponse

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

_CHUNK = 1 << 18


@contextlib.contextmanager
def plain_get(url: str, headers: Mapping[str, str], timeout: float, *, http_too: bool) -> Iterator[DownloadResponse]:
    """Ask once for `url`, with no other headers than `headers`. Without `http_too`, only https is used.

    Raises ApiError if the server refuses, UnreachableError if it does not answer or the connection breaks.
    """
    schemes = ("https", "http") if http_too else ("https",)
    host = urlsplit(url).hostname
    try:
        request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - the scheme is checked
        _check(url, schemes)
        opener = urllib.request.build_opener(_Redirects(schemes), TimedHandler())
        opener.addheaders = []  # not even a User-Agent
        with opener.open(request, timeout=timeout) as response:
            names = {name.lower(): value for name, value in response.headers.items()}
            yield DownloadResponse(response.status, names, _chunks(response, host, timeout))
    except urllib.error.HTTPError as exc:
        exc.close()
        raise ApiError(f"{host}, where the file is, said {exc.code}", status=exc.code) from None
    except (OSError, ValueError, http.client.HTTPException) as exc:
        reason = getattr(exc, "reason", None) or exc
        raise UnreachableError(f"{host}, where the file is, cannot be reached ({reason})") from None


def _chunks(response: Any, host: str | None, seconds: float) -> Iterator[bytes]:
    try:
        yield from each_in_time(iter(lambda: response.read1(_CHUNK), b""), (response.sock,), seconds)
    except (OSError, http.client.HTTPException) as exc:
        raise UnreachableError(f"the connection to {host} broke ({exc})") from None


def _check(url: str, schemes: tuple[str, ...]) -> None:
    if urlsplit(url).scheme not in schemes:
        raise ApiError("the file is at an address that is not https", hint="ask the provider for its files over https")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the allowed schemes only."""

    def __init__(self, schemes: tuple[str, ...]) -> None:
        self._schemes = schemes

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Check the next address. The body of the answer is not read: it may be endless."""
        fp.close()
        _check(newurl, self._schemes)
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and (new.type, new.host) != (req.type, req.host):
            new.remove_header("Authorization")
        return new


class TimedResponse(http.client.HTTPResponse):
    """An answer that keeps its socket, so that its connection can be cut."""

    def __init__(self, sock: socket.socket, *given: Any, **options: Any) -> None:
        super().__init__(sock, *given, **options)
        self.sock = sock


class TimedHttp(http.client.HTTPConnection):
    """A connection on which the timeout is the time for all headers of an answer, not for one read."""

    response_class = TimedResponse

    def getresponse(self) -> http.client.HTTPResponse:
        """Read the status and the headers."""
        with cutting((self.sock,), self.timeout) as start:
            start()
            return super().getresponse()


class TimedHttps(TimedHttp, http.client.HTTPSConnection):
    """The same over TLS."""


class TimedHandler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens http and https URLs on such connections, or on those of the given classes."""

    def __init__(self, plain: type[TimedHttp] = TimedHttp, secure: type[TimedHttps] = TimedHttps) -> None:
        super().__init__()
        self._plain, self._secure = plain, secure

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open an http URL."""
        return self.do_open(self._plain, req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open an https URL."""
        return self.do_open(self._secure, req)
