"""Find a wheel in the user's own package index.

The index is the one that pip or uv is configured with; there is no default. Both forms of the simple repository API are
read: HTML (PEP 503) and JSON (PEP 691).
"""

from __future__ import annotations

import ast
import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from .model_download import FetchError, request

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_SECONDS = 30
_MAX_PAGE = 64 << 20
_SECTIONS = ("global", "download", ":env:")
"""The sections of pip's configuration that `pip download` reads; a later one overrides the ones before."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """Where a wheel is."""

    url: str  # its address, with the credentials of the index if it needs them
    sha256: str | None  # its digest in hexadecimal digits, if the index shows it


@dataclass(frozen=True, slots=True)
class Sources:
    """What pip or uv is configured with."""

    indexes: tuple[str, ...] = ()  # URLs of indexes
    links: tuple[str, ...] = ()  # folders, or URLs of pages, with files (--find-links)
    cert: str | None = None  # the path of a file of certificates to trust
    proxy: str | None = None  # the address of a proxy

    @classmethod
    def configured(cls) -> Sources:
        """Read the configuration of pip, if it is installed, and the variables of pip and uv."""
        pip = _pip_config()
        for name in ("index-url", "extra-index-url", "find-links", "cert", "proxy"):
            if value := os.environ.get("PIP_" + name.upper().replace("-", "_")):
                pip[name] = value
        indexes = [*pip.get("index-url", "").split(), *pip.get("extra-index-url", "").split()]
        for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"):
            indexes += [re.sub(r"^[\w.-]+=(?=\w+:)", "", url) for url in os.environ.get(name, "").split()]
        links = [*pip.get("find-links", "").split(), *os.environ.get("UV_FIND_LINKS", "").replace(",", " ").split()]
        return cls(tuple(dict.fromkeys(indexes)), tuple(links), pip.get("cert"), pip.get("proxy"))

    def opener(self) -> urllib.request.OpenerDirector:
        """Return an opener for URLs with the configured certificates and proxy."""
        context = ssl.create_default_context(cafile=self.cert if self.cert and Path(self.cert).is_file() else None)
        handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
        if self.proxy:
            proxy = self.proxy if "://" in self.proxy else f"http://{self.proxy}"
            handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
        return urllib.request.build_opener(*handlers)


def find_wheel(sources: Sources, package: str, filename: str) -> Wheel:
    """Return the first place that has the wheel `filename` of `package`. Raises FetchError with the places tried."""
    missing = []
    opener = sources.opener()
    for link in sources.links:
        path = Path(unquote(urlsplit(link).path) if link.startswith("file:") else link).expanduser() / filename
        if "://" not in link.removeprefix("file:") and path.is_file():
            return Wheel(path.absolute().as_uri(), None)
    pages = [link for link in sources.links if link.startswith(("http:", "https:"))]
    pages += [f"{index.rstrip('/')}/{package}/" for index in sources.indexes]
    for page in pages:
        try:
            base, kind, content = _read(opener, page)
        except FetchError as exc:
            missing.append(f"{shown(page)} ({exc})")
            continue
        for wheel in _wheels(base, kind, content):
            if unquote(urlsplit(wheel.url).path).rpartition("/")[2] == filename:
                return Wheel(_with_credentials(wheel.url, page), wheel.sha256)
        missing.append(f"{shown(page)} (no {filename})")
    where = ", ".join(missing) if missing else "no package index is configured"
    raise FetchError(f"the package index: {where}")


def shown(text: str) -> str:
    """Return `text` without users and passwords in its URLs."""
    return re.sub(r"(\w+://)[^/@\s]*@", r"\1", text)


def _pip_config() -> dict[str, str]:
    """Return the options of `pip config list`; none if pip is not installed."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(  # noqa: S603 - a fixed command
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    values: dict[str, str] = {}
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    for section in _SECTIONS:
        for line in lines:
            key, _, text = line.partition("=")
            if key.startswith(f"{section}."):
                try:
                    values[key.removeprefix(f"{section}.")] = str(ast.literal_eval(text))
                except (ValueError, SyntaxError):
                    continue
    return values


def _read(opener: urllib.request.OpenerDirector, page: str) -> tuple[str, str, bytes]:
    """Return the final URL, the type and the bytes of a page. Raises FetchError."""
    url = page + "index.html" if page.startswith("file:") and page.endswith("/") else page
    try:
        with opener.open(request(url, {"Accept": _ACCEPT}), timeout=_SECONDS) as reply:
            return reply.geturl(), reply.headers.get_content_type(), reply.read(_MAX_PAGE)
    except urllib.error.HTTPError as exc:
        with exc:
            raise FetchError(f"HTTP {exc.code}") from exc
    except (OSError, ValueError, http.client.HTTPException) as exc:
        reason = exc.reason if isinstance(exc, urllib.error.URLError) else exc
        missing = isinstance(reason, FileNotFoundError) or "No such file" in str(reason)
        raise FetchError("not there" if missing else str(reason)) from exc


def _wheels(base: str, kind: str, content: bytes) -> Iterator[Wheel]:
    if kind.endswith("json"):
        try:
            listed: Any = json.loads(content)["files"]
            for item in listed:
                yield Wheel(urljoin(base, item["url"]), item.get("hashes", {}).get("sha256"))
        except (ValueError, KeyError, TypeError, AttributeError):
            return
    else:
        anchors = _Anchors()
        anchors.feed(content.decode("utf-8", "replace"))
        for href in anchors.hrefs:
            url, fragment = urldefrag(urljoin(anchors.base or base, href))
            yield Wheel(url, fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None)


class _Anchors(HTMLParser):
    """The links of an HTML page."""

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.base: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if href and tag == "a":
            self.hrefs.append(href)
        elif href and tag == "base":
            self.base = href


def _with_credentials(url: str, page: str) -> str:
    """Return `url` with the credentials of the page that links to it, if both are on the same host."""
    here, there = urlsplit(page), urlsplit(url)
    if not here.username or there.username or here.hostname != there.hostname or here.scheme != there.scheme:
        return url
    return there._replace(netloc=here.netloc.rpartition("@")[0] + "@" + there.netloc).geturl()
