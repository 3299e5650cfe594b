"""Fetch a URL from an untrusted table, from the public internet only.

Each connection resolves the name once, checks the addresses, and connects to an address that it checked. So neither a
redirect nor a name that changes its address in between can lead to a private network. Proxies are not used.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from openai_batch.errors import InputError
from openai_batch.net.addresses import is_public
from openai_batch.net.plain_get import TimedHttp, TimedHttps, TimedResponse
from openai_batch.net.time_limit import cutting

from .data_url import DOWNLOAD_TIMEOUT, MAX_DOWNLOAD_BYTES, READ_TIMEOUT, _HttpOnly

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 1 << 16


def fetch_public(url: str, allowed: Callable[[str], bool] = is_public) -> bytes:
    """Return the content of `url`. Raises InputError if it is too large, fails, or its address is not `allowed`."""
    try:
        with _opener(allowed).open(url, timeout=READ_TIMEOUT) as response:
            return _read(response, url)
    except urllib.error.HTTPError as exc:
        exc.close()
        reason: object = f"the server said {exc.code}"
    except InputError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as exc:
        reason = getattr(exc, "reason", None) or exc
    raise InputError(f"{url[:200]} cannot be fetched: {reason}", hint="try the URL in a browser")


def _opener(allowed: Callable[[str], bool]) -> urllib.request.OpenerDirector:
    """Return an opener that connects to allowed addresses only."""

    class Plain(TimedHttp):
        def connect(self) -> None:
            self.sock = _connected(self.host, self.port, allowed)

    class Secure(TimedHttps):
        def connect(self) -> None:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(_connected(self.host, self.port, allowed), server_hostname=self.host)

    class OpenPlain(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, req)

    class OpenSecure(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Secure, req)

    opener = urllib.request.OpenerDirector()
    for handler in (
        OpenPlain(),
        OpenSecure(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _HttpOnly(),
    ):
        opener.add_handler(handler)
    return opener


def _read(response: TimedResponse, url: str) -> bytes:
    data = bytearray()
    with cutting((response.sock,), DOWNLOAD_TIMEOUT) as start:
        start()
        while chunk := response.read1(_CHUNK):
            data += chunk
            if len(data) > MAX_DOWNLOAD_BYTES:
                raise InputError(f"{url[:200]} is too large", hint="fetch it yourself and name the file")
    if response.length:
        raise InputError(f"the download of {url[:200]} ended after {len(data):,} bytes", hint="try again")
    return bytes(data)


def _connected(host: str, port: int, allowed: Callable[[str], bool]) -> socket.socket:
    """Connect to the first address of `host`, if all of its addresses are allowed. Raises OSError."""
    results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(item[4][0]).partition("%")[0] for item in results]
    if not addresses or not all(allowed(address) for address in addresses):
        raise OSError(f"{host} is not a public address")
    return socket.create_connection((addresses[0], port), timeout=READ_TIMEOUT)
