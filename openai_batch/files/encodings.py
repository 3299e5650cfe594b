"""Turn UTF-16 and UTF-32 text, which some spreadsheets and shells write, into UTF-8."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from openai_batch.errors import InputError

from .workspace import not_written

if TYPE_CHECKING:
    from pathlib import Path

_ASCII = re.compile(rb"[\t\r\n\x20-\x7e]{2}")
_CHUNK = 1 << 18


def wide_encoding(path: Path) -> str | None:
    """Return the encoding of a file of UTF-16 or UTF-32, by its first bytes; None for any other file.

    UTF-16 without a byte order mark is found if it begins with two ASCII characters.
    """
    with path.open("rb") as handle:
        head = handle.read(4)
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # first: they begin like those of UTF-16
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for zeros, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if head[zeros::2] == b"\0\0" and _ASCII.fullmatch(head[1 - zeros :: 2]):
            return encoding
    return None


def to_utf8(path: Path, name: str, target: Path, encoding: str) -> None:
    """Write the text of `path` to `target` as UTF-8; `name` is its name in messages. Lines and line ends are kept.

    Raises InputError if it is not text of that encoding, or if the disk is full.
    """
    line = 1
    try:
        with path.open(encoding=encoding, newline="") as text, target.open("w", encoding="utf-8", newline="") as out:
            while chunk := text.read(_CHUNK):
                out.write(chunk)
                line += chunk.count("\n")
    except UnicodeError:
        raise InputError(
            f"{name}:{line}: not valid {encoding[:6].upper()} in this line or below", hint="save the file as UTF-8"
        ) from None
    except OSError as exc:
        raise not_written(name, "converted", exc) from exc
