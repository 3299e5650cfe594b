"""Fetch an address that others wrote down: from the public net only, checked where the connection is made.

The name is resolved once for each connection and the address that was checked is the one connected to, so neither a
redirect nor a name that changes its address in between leads into a private network. Proxies are not used.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from openai_batch.errors import InputError
from openai_batch.inputs.data_url import DOWNLOAD_TIMEOUT, MAX_DOWNLOAD_BYTES, READ_TIMEOUT, _HttpOnly

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 1 << 16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the public net, also as what it stands for within IPv6."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def fetch_public(url: str, allowed: Callable[[str], bool] = is_public) -> bytes:
    """Return what `url` gives, up to 50 MB. Raises InputError, also for an address that is not `allowed`."""
    try:
        with _opener(allowed).open(url, timeout=READ_TIMEOUT) as answer:
            return _read(answer, url)
    except urllib.error.HTTPError as exc:
        exc.close()
        reason: object = f"the server said {exc.code}"
    except InputError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as exc:
        reason = getattr(exc, "reason", None) or exc
    raise InputError(f"{url} cannot be fetched: {reason}", hint="try the URL in a browser")


def _opener(allowed: Callable[[str], bool]) -> urllib.request.OpenerDirector:
    """Return what opens URLs over connections to allowed addresses only."""

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = _connected(self.host, self.port, allowed)

    class Secure(http.client.HTTPSConnection):
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


def _read(answer: http.client.HTTPResponse, url: str) -> bytes:
    deadline = time.monotonic() + DOWNLOAD_TIMEOUT
    data = bytearray()
    while chunk := answer.read1(_CHUNK):
        data += chunk
        if len(data) > MAX_DOWNLOAD_BYTES or time.monotonic() > deadline:
            raise InputError(f"{url} is too large or too slow", hint="fetch it yourself and name the file")
    if answer.length:
        raise InputError(f"{url} broke off after {len(data):,} bytes", hint="try again")
    return bytes(data)


def _connected(host: str, port: int, allowed: Callable[[str], bool]) -> socket.socket:
    """Connect to the first address of `host`, once every one of them has passed."""
    results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(item[4][0]).partition("%")[0] for item in results]
    if not addresses or not all(allowed(address) for address in addresses):
        raise OSError(f"{host} is no public address")
    return socket.create_connection((addresses[0], port), timeout=READ_TIMEOUT)
