"""Fetch a URL from an untrusted table, from the public internet only.

Each connection resolves the name once, checks the addresses, and connects to an address that it checked. So neither a
redirect nor a name that changes its address in between can lead to a private network. Proxies are not used.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from openai_batch.net.addresses import is_public
from openai_batch.net.plain_get import TimedHandler, TimedHttp, TimedHttps

from .data_url import READ_TIMEOUT, download

if TYPE_CHECKING:
    from collections.abc import Callable


def fetch_public(url: str, allowed: Callable[[str], bool] = is_public) -> bytes:
    """Return the content of `url`. Raises InputError if it is too large, fails, or its address is not `allowed`."""

    class Plain(TimedHttp):
        def connect(self) -> None:
            self.sock = _connected(self.host, self.port, allowed)

    class Secure(TimedHttps):
        def connect(self) -> None:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(_connected(self.host, self.port, allowed), server_hostname=self.host)

    return download(url, TimedHandler(Plain, Secure))[1]


def _connected(host: str, port: int, allowed: Callable[[str], bool]) -> socket.socket:
    """Connect to the first address of `host`, if all of its addresses are allowed. Raises OSError."""
    results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(item[4][0]).partition("%")[0] for item in results]
    if not addresses or not all(allowed(address) for address in addresses):
        raise OSError(f"{host} is not a public address")
    return socket.create_connection((addresses[0], port), timeout=READ_TIMEOUT)
