"""Tell whether a host is this machine, or OpenAI's. That decides which keys and proxies are used."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
"""The usual names of this machine."""


def is_loopback(host: str | None) -> bool:
    """Tell whether `host` (a name or an address, without brackets) is this machine."""
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def is_openai(url: str) -> bool:
    """Tell whether `url` points to OpenAI's own API, and so may get OpenAI's key, organisation and project."""
    return f".{urlsplit(url).hostname or ''}".endswith(".openai.com")
