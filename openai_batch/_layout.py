"""Read many lines at once that look like one which is known to be good: a program wrote nearly every batch file.

`_check` judges line by line, and it alone words what is wrong. Here a good line is taken apart into the text that stays
from line to line, and the values that change. Lines that have the same text around other values are as good, if each
value is one by itself, and nobody needs to look at them one by one. Whatever is not quite so is left to `_check`.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from ._strange import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_MOST_TEXT = 1 << 16
"""Bytes of unchanging text for which a pattern is made; making one takes some microseconds a byte."""

_CREDIT = 16
"""How often a layout is learned in vain before the file is taken for one that has none."""

_SHALLOW = 4
"""Levels of nesting that `_shallow` lets pass, at most."""

_NEVER = frozenset({("method",), ("url",), ("body", "stream")})
"""What a line is judged by; where such a value changes, there is no layout."""

# What a value begins with -> the pattern of its kind: nothing nested, and no escapes, where its end would be unclear.
_KINDS = {b'"': rb'"[^"\\\n]*"', b"{": rb"\{[^][{}\n]*\}", b"[": rb"\[[^][{}\n]*\]"}
_SCALAR = rb'[^][{}",\s]+'

_Path = tuple[str, ...]
_ID: _Path = ("custom_id",)
_MODEL: _Path = ("body", "model")
_INPUT: _Path = ("body", "input")


class _Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: str
    content: str


_any = msgspec.json.Decoder().decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_shallow = msgspec.json.Decoder(str | list[_Message | str]).decode
_model = msgspec.json.Decoder(Annotated[str, msgspec.Meta(min_length=1)]).decode


@dataclass(frozen=True, slots=True)
class Stretch:
    """Acceptable requests that follow each other: one item a request in each list.

    `lengths` are of the lines, in bytes, without newlines; `inputs` count what embedding requests embed.
    """

    ids: list[str]
    lengths: list[int]
    models: Sequence[str | None]
    inputs: Sequence[int]


class Layouts:
    """Learns how the lines of one file look, and reads those that look so."""

    def __init__(self) -> None:
        self._present: _Layout | None = None
        self._values: dict[_Path, bytes] = {}
        self._changing: set[_Path] = set()
        self._credit = _CREDIT

    def read(self, block: bytes) -> Stretch | None:
        """Return the requests of a block of whole lines if each of them looks as learned, else None."""
        found = self._present.read(block) if self._present is not None else None
        if found is not None:
            self._credit = _CREDIT
        return found

    def learn(self, line: bytes, model: str | None, inputs: int) -> None:
        """Learn from an acceptable line, without its newline, the model that it names, and the inputs that it counts.

        The layout is that of the last line, and what changed among the lines is free to change.
        """
        self._present = None
        if self._credit <= 0:
            return
        self._credit -= 1
        try:
            places = _places(line)
        except ValueError:
            return
        values = {path: line[start:end] for path, (start, end) in places.items()}
        if values.keys() == self._values.keys():
            self._changing.update(path for path, value in values.items() if self._values[path] != value)
        else:
            self._changing.clear()
        self._values = values
        self._present = _layout(line, places, self._changing, model, inputs)


def _places(line: bytes) -> dict[_Path, tuple[int, int]]:
    """Return where each value of a request and of its body stands. Raises ValueError where a key stands twice."""
    places: dict[_Path, tuple[int, int]] = {}
    for key, start, end in _walk(line, 0, len(line)):
        if key == "body":
            places.update({(key, inner): (first, last) for inner, first, last in _walk(line, start, end)})
        else:
            places[key,] = (start, end)
    return places


def _walk(line: bytes, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Yield each key of the object that stands there, and where its value stands; there is nothing else in it."""
    before = b"{"
    for key, value in _members(line[start:end]).items():
        name, text = msgspec.json.encode(key), bytes(value)
        at = line.index(name, start)
        found = line.index(text, at + len(name))
        if line[start:at].strip() != before or line[at + len(name) : found].strip() != b":":
            raise ValueError(key)
        start, before = found + len(text), b","
        yield key, found, start
    if line[start:end].strip() != b"}":
        raise ValueError(line[start:end])


def _layout(
    line: bytes, places: dict[_Path, tuple[int, int]], changing: set[_Path], model: str | None, inputs: int
) -> _Layout | None:
    """Return the layout of a line in which the id and what changes may be another; None if it can have none."""
    inner = [path for path in places if len(path) > 1]
    free = changing - {_ID}
    if not inner or free & _NEVER or not free.issubset(inner):
        return None
    longest = max(free or inner, key=lambda path: places[path][1] - places[path][0])
    paths = sorted({*free, longest, _ID}, key=places.__getitem__)
    pattern, text, at = b"", b"", 0
    for path in paths:
        start, end = places[path]
        if path == _ID:
            start, end, group = start + 1, end - 1, rb'[^"\\\n]+'
        elif path == longest:
            group = b".+"
        else:
            group = _KINDS.get(line[start : start + 1], _SCALAR)
        pattern += re.escape(line[at:start]) + b"(" + group + b")"
        text += line[at:start]
        at = end
    text += line[at:]
    room = MAX_DEPTH - text.count(b"[") - text.count(b"{") - len(paths)
    if len(text) > _MOST_TEXT or room < _SHALLOW:
        return None
    find = re.compile(pattern + re.escape(line[at:] + b"\n")).findall
    return _Layout(find, len(text), paths, longest, room, model, inputs)


@dataclass(slots=True)
class _Layout:
    """Finds the values of lines that are alike, and judges them.

    `text` counts the bytes of a line that do not change, its newline not among them. `paths` name the values in their
    order, `longest` the one that may be anything; `room` is how deep that may be nested.
    """

    find: Callable[[bytes], list[tuple[bytes, ...]]]
    text: int
    paths: list[_Path]
    longest: _Path
    room: int
    model: str | None
    inputs: int
    decode: Callable[[bytes], Any] = _shallow

    def read(self, block: bytes) -> Stretch | None:
        """Return the requests of the block, if all of it is of this layout and each value is sound."""
        found = self.find(block)
        if not found:
            return None
        columns = list(zip(*found, strict=True))
        sizes = zip(*[map(len, column) for column in columns], strict=True)
        lengths = list(map(sum, sizes, repeat(self.text)))
        if sum(lengths) + len(lengths) != len(block):
            return None  # some line is no match, or only a part of it is
        models: Sequence[str | None] = [self.model] * len(found)
        inputs: Sequence[int] = [self.inputs] * len(found)
        try:
            for path, column in zip(self.paths, columns, strict=True):
                if path == _ID:
                    text = b'"'.join(column).decode()
                elif path == _MODEL:
                    models = list(map(_model, column))
                elif path == _INPUT:
                    inputs = list(map(_count, self._values(path, column, list)))
                else:
                    self._values(path, column, _drop)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        return Stretch(text.split('"'), lengths, models, inputs) if text.isprintable() else None

    def _values(self, path: _Path, column: Sequence[bytes], take: Callable[[Iterator[Any]], Any]) -> Any:
        """Parse the values under one key, and let `take` have them. Raises what msgspec does, and ValueError."""
        if path != self.longest:
            return take(map(_any, column))
        if self.decode is _shallow:
            try:
                return take(map(_shallow, column))
            except msgspec.ValidationError:
                self.decode = _any
        if any(value.count(b"[") + value.count(b"{") > self.room for value in column if len(value) > self.room):
            raise ValueError(path)
        return take(map(_any, column))


_drop = deque[Any](maxlen=0).extend


def _count(value: object) -> int:
    return len(value) if isinstance(value, list) else 1
