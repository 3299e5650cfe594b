"""Access to the server: only for programs of its owner, and not for web pages.

A web page in the owner's browser can reach a loopback port. It sends an Origin header, or another name as Host (DNS
rebinding), and it cannot know the token. Each of the three is checked.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from openai_batch.net.hosts import LOOPBACK_NAMES

from .api_objects import Refused

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_HEADER_BYTES = 32 * 1024
_UPLOADS = re.compile(r"/v1/(files|uploads/[^/]+/parts)")
_MULTIPART_TOO = ("/v1/images/edits", "/v1/audio/transcriptions", "/v1/audio/translations")
_BODILESS = ("/cancel",)


class Guard:
    """ASGI middleware that refuses every request that is not from its owner.

    `hosts` holds the allowed Host headers; None allows any, for a server that was bound to the network on purpose.
    """

    def __init__(self, app: ASGIApp, *, token: str, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            try:
                self._check(scope)
            except Refused as exc:
                response = exc.response()
                if exc.code == "two_lengths":  # readers differ on where the next request begins
                    response.headers["connection"] = "close"
                await response(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _check(self, scope: Scope) -> None:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            raise Refused(431, "the headers are too large", code="headers_too_large")
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        if b"content-length" in headers and b"transfer-encoding" in headers:
            raise Refused(400, "the request has Content-Length and Transfer-Encoding", code="two_lengths")
        host = headers.get(b"host", [])
        if len(host) != 1 or (self._hosts is not None and host[0].decode("latin-1").lower() not in self._hosts):
            raise Refused(421, "the Host header does not name this server", code="wrong_host")
        if b"origin" in headers:
            raise Refused(403, "requests from web pages are refused", code="origin_refused")
        given = headers.get(b"authorization", [])
        if len(given) != 1 or not hmac.compare_digest(given[0], self._expected):
            raise Refused(401, "the token is missing or wrong", code="invalid_api_key")
        scope["connection"].keep()  # see `connections`
        if scope["method"] == "POST":
            _check_type(scope["path"], b"".join(headers.get(b"content-type", [])))


def _check_type(path: str, value: bytes) -> None:
    kind = value.split(b";")[0].strip().lower()
    upload = _UPLOADS.fullmatch(path)
    if kind == b"application/json" and not upload:
        return
    if kind == b"multipart/form-data" and (upload or path in _MULTIPART_TOO):
        return
    if not kind and path.endswith(_BODILESS):
        return
    wanted = "multipart/form-data" if upload else "application/json"
    raise Refused(415, f"the content type must be {wanted}", code="unsupported_media_type")


def loopback_hosts(port: int) -> frozenset[str]:
    """Return the Host headers that a loopback server on `port` accepts."""
    return frozenset(f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in LOOPBACK_NAMES)
