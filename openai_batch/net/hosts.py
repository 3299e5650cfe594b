"""Whether a URL is valid, and its host this machine or OpenAI's. That decides which keys and proxies are used."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")  # the usual names of this machine


def is_loopback(host: str | None) -> bool:
    """Return whether `host` (a name or an address, without brackets) is this machine."""
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def is_http_url(url: str) -> bool:
    """Return whether `url` is an absolute http(s) URL of visible characters."""
    try:
        parts = urlsplit(url)
        valid = parts.port is None or parts.port > 0
    except ValueError:  # brackets that do not match, or an invalid port
        return False
    return valid and parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url


def is_openai(url: str) -> bool:
    """Return whether `url` points to OpenAI's own API, and so may get OpenAI's key, organisation and project."""
    return f".{urlsplit(url).hostname or ''}".endswith(".openai.com")
