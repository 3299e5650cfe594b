"""Copy what an address names to a local file: an object of a store, a file on the web, or one of a data set.

A key of Hugging Face goes to its own host only, and never over plain http to another machine.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from openai_batch.errors import ApiError, AuthError, InputError, NotFoundError, UsageError
from openai_batch.files.compression import MAX_EXPANDED
from openai_batch.files.object_store import is_stored, shown, split_address
from openai_batch.files.workspace import cannot_keep
from openai_batch.hidden_keys import hide_key

from .hosts import is_http_url, is_loopback
from .plain_get import plain_get
from .transfer import transfer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from .transfer import DownloadResponse

_DATA_SET = re.compile(r"hf://datasets/([^/@]+/[^/@]+)(?:@(refs/(?:convert|pr)/[^/]+|[^/]+))?/(.*[^/])", re.IGNORECASE)
_VISIBLE = "%/:=&?~#+!$,;'@()*[]"
"""Characters that stay as they are in a URL that a user types."""

_TIMEOUT = 60.0
_DENIED, _GONE = (401, 403), (404, 410)


def fetch(address: str, target: Path) -> None:
    """Copy the content of an address to `target`, whole. The copy needs little memory.

    Raises InputError if there is nothing at the address, or too much; AuthError if a key is missing or refused;
    UsageError for an address that cannot be one; and UnreachableError or DownloadError if it does not arrive.
    """
    try:
        with target.open("wb+") as out:
            if is_stored(address):
                _copy_object(address, out)
            else:
                _download(address, out)
    except NotFoundError as exc:
        raise InputError(exc.message, hint=exc.hint) from None
    except OSError as exc:
        raise cannot_keep(target.parent, exc) from exc


def _copy_object(address: str, out: BinaryIO) -> None:
    store, key = split_address(address)
    for piece in store.stream(key):
        out.write(piece)
        _check_size(out.tell())


def _download(address: str, out: BinaryIO) -> None:
    url, key = _data_set_url(address) if address.lower().startswith("hf:") else (address, "")
    name = shown(address)
    parts = urlsplit(quote(url, safe=_VISIBLE))
    if "@" in parts.netloc:
        raise UsageError("the address has a password in it", hint="leave it out; a signed URL needs none")
    url = urlunsplit(parts._replace(fragment=""))
    if not is_http_url(url):
        raise UsageError(f"{name} is not a URL", hint="https://HOST/NAME")
    headers = {"User-Agent": "openai-batch", "Accept-Encoding": "identity"}
    if key:
        headers["Authorization"] = f"Bearer {key}"

    @contextlib.contextmanager
    def read(offset: int, etag: str | None) -> Iterator[DownloadResponse]:
        rest = {"Range": f"bytes={offset}-", "If-Range": etag} if offset and etag else {}
        with plain_get(url, headers | rest, _TIMEOUT, http_too=parts.scheme == "http") as response:
            yield response

    try:
        transfer(read, out, name, progress=lambda count, _: _check_size(count))
    except ApiError as exc:
        if exc.status in _GONE:
            raise InputError(f"{name} does not exist: {exc.message}", hint="check the address") from None
        if exc.status in _DENIED:
            hint = "set HF_TOKEN to a token that may read it" if address.startswith("hf:") else "use a signed URL"
            raise AuthError(f"{name} cannot be read: {exc.message}", hint=hint) from None
        raise


def _check_size(count: int) -> None:
    if count > MAX_EXPANDED:
        raise InputError(f"the input has more than {MAX_EXPANDED:,} bytes", hint="split the input")


def _data_set_url(address: str) -> tuple[str, str]:
    """Return the URL of a file of a data set on Hugging Face, and the key for it, which may be empty."""
    match = _DATA_SET.fullmatch(address)
    if match is None:
        raise UsageError(
            f"{address} names no file of a data set", hint="hf://datasets/OWNER/NAME/FILE, or …/NAME@REVISION/FILE"
        )
    name, revision, path = match.groups()
    base = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    parts = urlsplit(base)
    if parts.scheme != "https" and not is_loopback(parts.hostname):
        raise UsageError("HF_ENDPOINT is not an https URL", hint="unset it, or correct it")
    key = _token()
    hide_key(key)
    return f"{base}/datasets/{name}/resolve/{quote(revision or 'main', safe='')}/{quote(path)}", key


def _token() -> str:
    """Return the token that the tools of Hugging Face would use; it is empty if there is none."""
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    path = Path(os.environ.get("HF_TOKEN_PATH") or f"{home}/token").expanduser()
    with contextlib.suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8").strip()
    return ""
