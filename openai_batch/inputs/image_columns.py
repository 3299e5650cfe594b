"""Images from the cells of a row, as URLs for a request: web addresses unchanged, local files as data URLs.

A table may be untrusted, so it must not give access to other files. A local file must be below the folder of the
table or the current folder, after symbolic links are followed. Web addresses are downloaded only if the user asks for
it, and only from the public internet.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai_batch.errors import InputError

from .data_url import MAX_DOWNLOAD_BYTES, data_url, guess_mime, is_web_address
from .templates import no_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .readers import Row


class ImageColumns:
    """Reads the image cells of a table; `inline` downloads web addresses.

    Relative paths start at the folder of `origin`, the file of the table if there is one, or at the current one.
    """

    def __init__(self, columns: Sequence[str], origin: Path | None, *, inline: bool = False) -> None:
        self._columns = columns
        self._folders = [*([origin.parent.resolve()] if origin is not None else []), Path.cwd().resolve()]
        self._inline = inline

    def urls(self, row: Row) -> list[str]:
        """Return a URL for each image of a row; an empty cell gives none.

        Raises InputError with the column if a file is missing, not in an allowed folder, or not an image.
        """
        urls = []
        for column in self._columns:
            if column not in row:
                raise no_column(column, row, f"there is no column {column!r} for images")
            cell = row[column]
            for value in cell if isinstance(cell, list) else [cell]:
                if value is not None and value not in ("", b""):
                    try:
                        urls.append(self._url(value))
                    except InputError as exc:
                        raise InputError(f"{column}: {exc}", hint=exc.hint) from None
        return urls

    def _url(self, value: Any) -> str:
        if isinstance(value, dict):  # how data sets keep images in Parquet
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes | bytearray | memoryview):
            return _image(bytes(value), "the cell")
        if type(value).__module__.startswith("PIL."):
            return data_url(value)
        if not isinstance(value, str):
            raise InputError("the cell has no path, URL, bytes or PIL image", hint="write the path of an image")
        if is_web_address(value):
            if not self._inline:
                return value
            from .public_fetch import fetch_public

            return _image(fetch_public(value), value)
        if value.startswith("data:"):
            return value
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value):
            raise InputError(f"{value[:200]} is not a web address", hint="use http, https, or the path of a file")
        return _image(self._read(value), value)

    def _read(self, name: str) -> bytes:
        try:
            for folder in self._folders:
                path = (folder / name).resolve()
                if not path.exists():
                    continue
                if not any(path.is_relative_to(base) for base in self._folders):
                    raise InputError(f"{name} is outside the input's folder", hint="copy the image below that folder")
                if not path.is_file():
                    raise InputError(f"{name} is not a file", hint="name an image")
                if path.stat().st_size > MAX_DOWNLOAD_BYTES:
                    raise InputError(f"{name} has over {MAX_DOWNLOAD_BYTES:,} bytes", hint="make the image smaller")
                return path.read_bytes()
        except (OSError, ValueError, RuntimeError) as exc:  # no such name, a NUL, links in a circle
            if isinstance(exc, InputError):
                raise
            reason = getattr(exc, "strerror", None) or exc
            raise InputError(f"{name[:200]} cannot be read: {reason}", hint="fix the path") from None
        raise InputError(f"{name[:200]} does not exist", hint="paths start at the input's folder or the current one")


def _image(data: bytes, name: str) -> str:
    if not guess_mime(data).startswith("image/"):  # by the content only: a name proves nothing
        raise InputError(
            f"{name[:200]} is not an image of a known kind", hint="PNG, JPEG, GIF and WebP are safe choices"
        )
    return data_url(data)


def content_parts(text: str, urls: Iterable[str], *, responses: bool) -> list[dict[str, Any]]:
    """Return the content of a user's message that has a text and images, for chat or for responses."""
    if responses:
        images: list[dict[str, Any]] = [{"type": "input_image", "image_url": url} for url in urls]
        return [{"type": "input_text", "text": text}, *images]
    return [{"type": "text", "text": text}, *({"type": "image_url", "image_url": {"url": url}} for url in urls)]
