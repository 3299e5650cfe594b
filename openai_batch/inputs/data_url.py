"""Data URLs: an image, a sound or a document as text, so that a request can contain it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import mimetypes
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai_batch.errors import InputError
from openai_batch.net.plain_get import TimedHandler
from openai_batch.net.time_limit import cutting

if TYPE_CHECKING:
    from http.client import HTTPMessage
    from typing import IO

MAX_DOWNLOAD_BYTES = 50_000_000  # the most bytes that are downloaded from a URL
READ_TIMEOUT = 30.0  # seconds to wait for the next bytes of a server

DOWNLOAD_TIMEOUT = 300.0
"""Seconds that a whole download may take, since READ_TIMEOUT does not stop a server that keeps sending slowly."""

_UNKNOWN = "application/octet-stream"
_CHUNK = 1 << 16

_STANDARD_NAMES = {"audio/x-wav": "audio/wav", "audio/x-flac": "audio/flac"}
"""Media types that `filetype` calls by older names, and the names that providers know."""


def data_url(arg: Any) -> str:
    """Return a base64 data URL of what `arg` is or points to.

        part = {"type": "image_url", "image_url": {"url": data_url("photo.png")}}

    `arg` may be a path (str or Path), an http(s) URL, a `file:` URI, bytes, bytearray or memoryview, an open binary
    file, a PIL image (PNG if it has transparency, else JPEG of quality 95), or a data URL, which is returned unchanged.
    The media type comes from the content, or from the suffix of the name if the content does not show it. Downloads
    have time limits and may have up to MAX_DOWNLOAD_BYTES.

    Raises InputError (a ValueError) if there is no such file, the download fails, or `arg` is empty or of another type.
    """
    if arg is None or (isinstance(arg, str | bytes | bytearray | memoryview) and not len(arg)):
        raise InputError("Empty argument")
    if isinstance(arg, str) and arg.startswith("data:"):
        return arg
    mime, data = _load(arg)
    if not data:
        raise InputError("Unknown file type.", hint="give a path, a URL, bytes, a binary file or a PIL image")
    return f"data:{mime or guess_mime(data)};base64,{base64.b64encode(data).decode('ascii')}"


def guess_mime(data: bytes, name: str = "") -> str:
    """Return the media type of `data`, from its first bytes if possible, else from the suffix of `name`."""
    import filetype

    kind = filetype.guess(data)
    if kind is not None:
        return _STANDARD_NAMES.get(kind.mime, str(kind.mime))
    return mimetypes.guess_type(name)[0] or _UNKNOWN


def is_web_address(text: str) -> bool:
    """Return whether `text` is an http or https URL. Raises InputError for an invalid one."""
    scheme, slashes, rest = text.partition("://")
    if not slashes or scheme.lower() not in {"http", "https"}:
        return False
    try:
        parts = urllib.parse.urlsplit(text)
        good = bool(parts.hostname) and parts.port != 0 and not re.search(r"[\s\x00-\x1f\x7f]", rest)
    except ValueError:  # the port, or the brackets of an IPv6 address
        good = False
    if not good:
        raise InputError(f"{text[:200]!r} is not a usable web address", hint="fix the host, the port or the spaces")
    return True


def _load(arg: Any) -> tuple[str | None, bytes]:
    """Return the media type, or None if it must be guessed, and the bytes."""
    if isinstance(arg, bytes | bytearray | memoryview):
        return None, bytes(arg)
    if isinstance(arg, str):
        if is_web_address(arg):
            mime, data = download(arg, urllib.request.ProxyHandler(), TimedHandler())
            unknown = mime in ("", _UNKNOWN, "binary/octet-stream")
            return guess_mime(data, urllib.parse.urlsplit(arg).path) if unknown else mime, data
        arg = _path(arg)
    if isinstance(arg, Path):
        return _read(arg)
    if (image := _encode_image(arg)) is not None:
        return image
    read = getattr(arg, "read", None)
    try:
        data = read() if callable(read) else b""
    except (OSError, ValueError) as exc:  # a closed file, or one of text with bytes that are none
        raise InputError(f"the file cannot be read: {exc}", hint="give an open binary file") from None
    return None, data if isinstance(data, bytes) else b""


def _path(text: str) -> Path:
    path = Path(text)
    with contextlib.suppress(OSError, ValueError):  # too long for a name, or with a NUL
        if path.exists():
            return path
    with contextlib.suppress(ValueError):  # brackets that do not match
        parts = urllib.parse.urlsplit(text)
        if parts.scheme == "file" and parts.netloc in ("", "localhost"):
            return Path(urllib.request.url2pathname(parts.path))
    raise InputError(f"String does not point to a file or URL: {text[:300]}")


def _read(path: Path) -> tuple[str, bytes]:
    if not path.is_file():
        raise InputError(f"Path must be a file: {str(path)[:300]}")
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from exc
    return guess_mime(data, path.name), data


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only; the standard handler also follows them to ftp."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()  # the standard handler would read it to its end, which may never arrive
        if not is_web_address(newurl):
            raise InputError(f"{req.full_url} redirects to an address that is neither http nor https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, *handlers: urllib.request.BaseHandler) -> tuple[str, bytes]:
    """Return the media type that the server says, empty if it says none, and the content of `url`.

    `handlers` make the connections. Raises InputError if it cannot be fetched completely, or is too large.
    """
    opener = urllib.request.OpenerDirector()
    known = urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(), _HttpOnly()
    for handler in (*handlers, *known):
        opener.add_handler(handler)
    data, name = bytearray(), url[:200]
    try:
        with opener.open(url, timeout=READ_TIMEOUT) as response, cutting((response.sock,), DOWNLOAD_TIMEOUT) as start:
            start()
            mime = response.headers.get_content_type() if "Content-Type" in response.headers else ""
            announced = response.length
            while chunk := response.read1(_CHUNK):
                data += chunk
                if len(data) > MAX_DOWNLOAD_BYTES:
                    most = MAX_DOWNLOAD_BYTES // 1_000_000
                    raise InputError(f"{name} is larger than {most} MB", hint="fetch it yourself and name the file")
    except urllib.error.HTTPError as exc:
        exc.close()
        hint = "try the URL in a browser"
        raise InputError(f"{name} cannot be fetched: the server said {exc.code}", hint=hint) from None
    except (OSError, ValueError, http.client.HTTPException) as exc:
        if isinstance(exc, InputError):
            raise
        reason = getattr(exc, "reason", None) or exc
        raise InputError(f"{name} cannot be fetched: {reason}", hint="try the URL in a browser") from None
    if announced is not None and len(data) < announced:
        message = f"the download of {name} ended after {len(data):,} of {announced:,} bytes"
        raise InputError(message, hint="try again")
    return mime, bytes(data)


def _encode_image(arg: Any) -> tuple[str, bytes] | None:
    """Return the type and bytes of a PIL image, or None for anything else."""
    module = sys.modules.get("PIL.Image")
    if module is None or not isinstance(arg, module.Image):
        return None  # a PIL image exists only if PIL was imported
    try:
        return _encoded(arg)
    except Exception as exc:  # noqa: BLE001 - a file that is damaged or cut, and an image without pixels, raise anything
        raise InputError(f"the image cannot be encoded: {exc}", hint="is its file complete?") from None


def _encoded(image: Any) -> tuple[str, bytes]:
    target = io.BytesIO()
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image.convert("RGBA").save(target, "PNG")
        return "image/png", target.getvalue()
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    image.save(target, "JPEG", quality=95)
    return "image/jpeg", target.getvalue()
