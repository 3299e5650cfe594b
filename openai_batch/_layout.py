"""Read many lines at once that look like one which is known to be good: a program wrote nearly every batch file.

`_check` judges line by line, and it alone words what is wrong. Here a good line is taken apart into the text that stays
from line to line, and the values that change. Lines that have the same text around other values are as good, if each
value is one by itself, and nobody needs to look at them one by one. Whatever is not quite so is left to `_check`.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from ._strange import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LONG_TEXT = 500
"""Bytes of unchanging text beyond which it is compared after it was found: a pattern of it would be slow and large."""

_PATIENCE = 8
"""Blocks in a row that may want a layout of their own before some are not asked any more."""

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
    """Acceptable requests that follow each other: one item a request in each sequence.

    `ids` are JSON strings without their quotes, as `msgspec.json.encode` writes them; `inputs` count what embedding
    requests embed. `size` is of all lines in bytes, each with a newline; `lengths` returns those of each, without it.
    """

    ids: Sequence[bytes]
    models: Sequence[str | None]
    inputs: Sequence[int]
    size: int
    lengths: Callable[[], list[int]]


class Layouts:
    """Learns how the lines of one file look, and reads those that look so."""

    def __init__(self) -> None:
        self._present: _Layout | None = None
        self._values: dict[_Path, bytes] = {}
        self._changing: set[_Path] = set()
        self._misses = self._rest = 0

    def read(self, block: bytes) -> Stretch | None:
        """Return the requests of a block of whole lines if each of them looks as learned, else None."""
        found = self._present.read(block) if self._present is not None else None
        if found is not None:
            self._misses = self._rest = 0
        return found

    def learn(self, first: bytes, last: bytes, model: str | None, inputs: int) -> None:
        """Learn from acceptable lines, without newlines; `model` and `inputs` are those of the last one.

        The layout is that of the last one, and what was seen to change is free. Where none lasts, ever fewer are made.
        """
        if self._rest:
            self._rest -= 1
            return
        self._present = None
        self._misses += 1
        self._rest = self._misses // _PATIENCE
        try:
            self._see(first, _places(first))
            places = _places(last)
        except ValueError:
            return
        self._see(last, places)
        self._present = _layout(last, places, self._changing - {_ID}, model, inputs)

    def _see(self, line: bytes, places: dict[_Path, tuple[int, int]]) -> None:
        """Note which values are others than on the line that was seen before."""
        values = {path: line[start:end] for path, (start, end) in places.items()}
        if values.keys() == self._values.keys():
            self._changing.update(path for path, value in values.items() if self._values[path] != value)
        else:
            self._changing.clear()
        self._values = values


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
    line: bytes, places: dict[_Path, tuple[int, int]], free: set[_Path], model: str | None, inputs: int
) -> _Layout | None:
    """Return the layout of a line in which the id and the `free` values may be others; None if it can have none."""
    may = {path for path in places if len(path) > 1} - _NEVER
    if not may or not free <= may:
        return None
    longest = max(free or may, key=lambda path: places[path][1] - places[path][0])
    groups: list[_Path | bytes] = []
    pattern, texts, at = b"", [], 0
    for path in (*sorted({*free, longest, _ID}, key=places.__getitem__), None):
        start, end = places[path] if path is not None else (len(line), len(line))
        if path == _ID:
            start, end = start + 1, end - 1
        text = line[at:start]
        if len(text) > _LONG_TEXT:
            pattern += b"(.{%d})" % len(text)
            groups.append(text)
        else:
            pattern += re.escape(text)
        texts.append(text)
        if path is not None:
            pattern += b"(" + (b".+" if path == longest else _kind(path, line[start:end])) + b")"
            groups.append(path)
        at = end
    fixed = b"".join(texts)
    room = MAX_DEPTH - fixed.count(b"[") - fixed.count(b"{") - len(groups)
    if room < _SHALLOW:
        return None
    plain = sum(len(text) for text in texts if len(text) <= _LONG_TEXT)
    return _Layout(re.compile(pattern + b"\n").findall, plain, groups, longest, room, model, inputs)


def _kind(path: _Path, value: bytes) -> bytes:
    return rb'[^"\\\n]+' if path == _ID else _KINDS.get(value[:1], _SCALAR)


@dataclass(slots=True)
class _Layout:
    """Finds the values of lines that are alike, and judges them.

    `find` returns a tuple of the groups a line, and each of `groups` is the path of a value, or a text that must stand
    there. `text` counts the bytes of a line that are in no group, but for its newline. `longest` is the value that may
    be anything, and `room` how deep it may be nested.
    """

    find: Callable[[bytes], list[tuple[bytes, ...]]]
    text: int
    groups: list[_Path | bytes]
    longest: _Path
    room: int
    model: str | None
    inputs: int
    decode: Callable[[bytes], Any] = _shallow

    def read(self, block: bytes) -> Stretch | None:
        """Return the requests of the block, if all of it is of this layout and each value is sound."""
        found = self.find(block)
        count = len(found)
        columns = list(zip(*found, strict=True))
        if not count or len(block) != sum(sum(map(len, column)) for column in columns) + count * (self.text + 1):
            return None  # some line is no match, or only a part of it is
        ids: Sequence[bytes] = ()
        models: Sequence[str | None] = [self.model] * count
        inputs: Sequence[int] = [self.inputs] * count
        try:
            for group, column in zip(self.groups, columns, strict=True):
                if isinstance(group, bytes):
                    if column.count(group) != count:
                        return None
                elif group == _ID:
                    ids = column
                    if not b"".join(ids).decode().isprintable():
                        return None
                elif group == _MODEL:
                    models = list(map(_model, column))
                elif group == _INPUT:
                    inputs = list(map(_count, self._values(group, column, list)))
                else:
                    self._values(group, column, _drop)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        return Stretch(ids, models, inputs, len(block), partial(_lengths, columns, self.text))

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


def _lengths(columns: list[tuple[bytes, ...]], text: int) -> list[int]:
    sizes = zip(*[map(len, column) for column in columns], strict=True)
    return list(map(sum, sizes, repeat(text)))


_drop = deque[Any](maxlen=0).extend


def _count(value: object) -> int:
    return len(value) if isinstance(value, list) else 1
