"""Turn a JSON array of objects or texts, or objects that go over several lines, into JSON lines.

Only one object is in memory.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, TextIO

from openai_batch.errors import InputError

from .lines import max_line_bytes
from .workspace import not_written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SNIFF = 1 << 16
_CHUNK = 1 << 16
_SPACE = re.compile(r"[ \t\r\n]*")
_ARRAY = re.compile(r"\[[ \t\r\n]*(?=[{\"\]])")
_IN_ARRAY = re.compile(r"[ \t\r\n]*[,\]]")
_BROKEN = re.compile(r"\{[ \t\r]*\n\s*\"|\[[ \t\r]*\n\s*\{\s*\"")  # what cannot be read, but can only be meant as JSON
_REMEDY = "fix the file, or write one JSON object per line"
_scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode


def is_json_document(path: Path) -> bool:
    """Return whether a file is a JSON array of objects or texts, or begins with an object over several lines."""
    with path.open("rb") as handle:
        head = handle.read(_SNIFF).removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not head.startswith((b"{", b"[")):
        return False
    text = head.decode("utf-8", "replace")
    array = _ARRAY.match(text)
    start = array.end() if array is not None else 0
    if text.startswith("]", start):
        return True
    try:
        value, end = _scan(text, start)
    except (ValueError, RecursionError):
        return _BROKEN.match(text) is not None
    if isinstance(value, str):
        return _IN_ARRAY.match(text, end) is not None and (len(head) == _SNIFF or text.rstrip().endswith("]"))
    return array is not None or (isinstance(value, dict) and "\n" in text[:end])


def to_lines(path: Path, name: str, target: Path) -> None:
    """Write the objects of `path` to `target`, one per line; `name` is its name in messages.

    An object is on the line on which it begins in `path`, if no other one begins there. Its text is not changed, but
    for line ends between its parts; a text becomes an object with the key `prompt`. Raises InputError if the file is
    not valid JSON, or if the disk is full.
    """
    lines = 0
    try:
        with (
            path.open(encoding="utf-8-sig", newline="") as stream,
            target.open("w", encoding="utf-8", newline="") as out,
        ):
            for line, value in _values(_Text(stream, name)):
                out.write("\n" * (line - 1 - lines))  # nothing if the number is negative
                row = f'{{"prompt":{value}}}' if value.startswith('"') else value
                out.write(row.replace("\r", " ").replace("\n", " ") + "\n")
                lines = max(lines + 1, line)
    except UnicodeDecodeError:
        raise InputError(f"{name}: not UTF-8 after line {lines}", hint="save the file as UTF-8") from None
    except OSError as exc:
        raise not_written(name, "converted", exc) from exc


def _values(text: _Text) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each element of an array, or of each value if there is no array around them."""
    is_array = text.next() == "["
    if is_array:
        text.skip(1)
        if text.next() == "]":
            raise text.error("the JSON array is empty")
    while (char := text.next()) and not (is_array and char == "]"):
        yield text.value()
        if is_array and text.next() == ",":
            text.skip(1)
        elif is_array and text.next() not in ("]", ""):
            raise text.error("not valid JSON: a comma is missing between two objects")
    if is_array:
        if not char:
            raise text.error("the JSON array is not closed: the file may be cut short")
        text.skip(1)
        if text.next():
            raise text.error("there is text after the JSON array")


class _Text:
    """The text of a file that was not read yet, and its line."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._text = ""
        self._place = 0
        self._line = 1

    def next(self) -> str:
        """Skip white space and return the next character without skipping it; an empty text at the end."""
        while True:
            found = _SPACE.match(self._text, self._place)
            self.skip(found.end() - self._place if found is not None else 0)
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def skip(self, count: int) -> None:
        """Skip characters."""
        self._line += self._text.count("\n", self._place, self._place + count)
        self._place += count

    def value(self) -> tuple[int, str]:
        """Skip the next JSON value; return its line and its text. Raises InputError."""
        while True:
            try:
                _, end = _scan(self._text, self._place)
            except RecursionError:
                raise self.error("the JSON is nested too deeply") from None
            except json.JSONDecodeError as exc:
                offset = exc.pos - self._place
                if len(self._text) - self._place > max_line_bytes() or not self._more():
                    self.skip(offset)
                    raise self.error(f"not valid JSON: {exc.msg}") from None
            else:
                line, value = self._line, self._text[self._place : end]
                self.skip(end - self._place)
                return line, value

    def error(self, message: str) -> InputError:
        """Return an error at this place."""
        return InputError(f"{self._name}:{self._line}: {message}", hint=_REMEDY)

    def _more(self) -> bool:
        """Read more text: at least as much as there is, so that a long value is not tried too often."""
        rest = self._text[self._place :]
        chunk = self._stream.read(max(_CHUNK, len(rest)))
        self._text, self._place = rest + chunk, 0
        return bool(chunk)
