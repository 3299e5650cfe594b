"""Read text tables row by row: prompts one a line, CSV and TSV, and JSON lines.

Every reader yields (where, row): the 1-based line on which the row begins, and a dict from column to value, or the
Problem that stands in its place. Memory holds one row; of prompts, which can be had in blocks too, one block.
"""

from __future__ import annotations

import codecs
import csv
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import msgspec

from ._check import MAX_LINE_BYTES, Problem, lines
from ._strange import MAX_DEPTH, foreign, is_too_deep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Row: TypeAlias = dict[str, Any]
PlacedRow: TypeAlias = "tuple[int | None, Row | Problem]"
Rows: TypeAlias = "Iterable[PlacedRow]"
Line: TypeAlias = "tuple[int, str | Problem]"
Piece: TypeAlias = "Block | list[PlacedRow]"

PROMPT = "prompt"
"""The column of a file of prompts."""

MARK = b"\x7f"
"""What stands between the texts of a block: a character that JSON writes as it is, and that hardly any text has."""

_BLOCK_BYTES = 1 << 15  # what is made of larger ones is given back to the system, and asked for again, each time
_MARK = MARK.decode()
_BLANK = re.compile(rf"{_MARK}\s*{_MARK}")


@dataclass(frozen=True, slots=True)
class Block:
    """Prompts that follow each other, none of them blank: what stands between the quotes of JSON strings."""

    texts: bytes
    count: int

    def between(self, opening: bytes, closing: bytes) -> bytes:
        """Return each text between these two, which do not hold the MARK."""
        return b"".join((opening, self.texts, closing)).replace(MARK, closing + opening)

    def numbered(self, opening: bytes, closing: bytes, first: int) -> bytes:
        """Return each text between these two, where %d is its number, counted from `first`, and %% a percent sign."""
        form = Block(self.texts.replace(b"%", b"%%"), self.count).between(opening, closing)
        return form % tuple(range(first, first + self.count))


class Prompts:
    """A file of prompts: each line that is not blank is a row of the one column `prompt`."""

    def __init__(self, stream: BinaryIO, block_bytes: int = _BLOCK_BYTES) -> None:
        """Read the prompts of `stream`, which can seek, from its beginning; a block has about so many bytes."""
        self._stream = stream
        self._block_bytes = block_bytes

    def __iter__(self) -> Iterator[PlacedRow]:
        """Yield row by row."""
        return _prompts(_lines(self._stream, self._block_bytes))

    def pieces(self, most: int | None = None) -> Iterator[Piece]:
        """Yield the rows, at most so many, in blocks, and as they are where a stretch is not plain.

        That is where a line is blank, is not UTF-8, holds the MARK, is very long or not ended, and where `most` cuts.
        """
        for before, count, found in _stretches(self._stream, self._block_bytes):
            block = _plain(found, count) if isinstance(found, str) else None
            if block is not None and (most is None or block.count <= most):
                yield block
                given = block.count
            else:
                numbered = _numbered(before, found) if isinstance(found, str) else found
                rows = list(islice(_prompts(numbered), most))
                yield rows
                given = len(rows)
            most = None if most is None else most - given
            if most == 0:
                return


def txt_rows(stream: BinaryIO) -> Prompts:
    """Return the prompts of a stream that can seek."""
    return Prompts(stream)


def _plain(text: str, count: int) -> Block | None:
    """Return whole lines as a block, or None if they are to be looked at one by one."""
    if _MARK in text:
        return None
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    marked = _MARK + text.replace("\n", _MARK)
    if _BLANK.search(marked) is not None:
        return None
    return Block(msgspec.json.encode(marked)[2:-2], count)  # without the quotes and the outer marks


def _prompts(found: Iterable[Line]) -> Iterator[PlacedRow]:
    for number, text in found:
        if isinstance(text, Problem):
            yield number, text
        elif text and not text.isspace():
            yield number, {PROMPT: text.removesuffix("\r")}


def jsonl_rows(stream: BinaryIO) -> Rows:
    """Yield each JSON object, one a line; blank lines are passed over."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    remedy = "write one JSON object a line"
    for number, text in _lines(stream):
        if isinstance(text, Problem):
            yield number, text
            continue
        if not text or text.isspace():
            continue
        try:
            row = decode(text)
        except msgspec.ValidationError:
            yield number, problem(number, "the line is not a JSON object", remedy)
        except RecursionError:
            yield number, problem(number, "the JSON is nested too deeply", "flatten the row")
        except (msgspec.DecodeError, UnicodeError) as exc:
            reason = str(exc).removeprefix("JSON is malformed: ")
            yield number, problem(number, f"not valid JSON: {reason}", remedy)
        else:
            deep = len(text) > MAX_DEPTH and text.count("{") + text.count("[") > MAX_DEPTH
            if deep and is_too_deep(text.encode(), row):
                yield number, problem(number, "the JSON is nested too deeply", "flatten the row")
            else:
                yield number, row


def csv_rows(stream: BinaryIO, delimiter: str | None = None) -> Rows:
    """Yield the records below the header, as text.

    Without `delimiter` it is the comma, or the semicolon where the header has no comma. Quoted cells may hold
    newlines; the place of a row is the line on which it begins. Blank lines between records are passed over.
    """
    csv.field_size_limit(MAX_LINE_BYTES)  # the module's own 131,072 characters are less than a long document
    faults: list[Problem] = []
    feed = _csv_feed(stream, faults)
    first = next(feed, "")
    if delimiter is None:
        delimiter = ";" if ";" in first and "," not in first else ","
    reader = csv.reader(_chained(first, feed), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    begin = 1
    try:
        for record in reader:
            place, begin = begin, reader.line_num + 1
            if faults:
                yield from ((fault.line, fault) for fault in faults)
                faults.clear()
                if header is None:
                    return
            elif not record:
                continue
            elif header is None:
                header = record
                if (fault := _header_fault(place, record)) is not None:
                    yield place, fault
                    return
            elif len(record) != len(header):
                message = f"the row has {_cells(len(record))}, and the header {len(header):,}"
                yield place, problem(place, message, "mend the row, and put quotes around cells with a delimiter")
            else:
                yield place, dict(zip(header, record, strict=True))
    except csv.Error as exc:
        yield begin, problem(begin, *_csv_fault(str(exc)))
    yield from ((fault.line, fault) for fault in faults)


def problem(line: int | None, message: str, remedy: str) -> Problem:
    """Return what is wrong with a row."""
    return Problem(line, "invalid_row", message, None, remedy)


def _lines(stream: BinaryIO, size: int = _BLOCK_BYTES) -> Iterator[Line]:
    r"""Yield (line, its text without the `\n`, or what is wrong with it); a byte order mark is left out."""
    for before, _, found in _stretches(stream, size):
        yield from _numbered(before, found) if isinstance(found, str) else found


def _numbered(before: int, text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, its text) of whole lines, the first of which comes after `before` others."""
    return enumerate(text[:-1].split("\n"), before + 1)


def _stretches(stream: BinaryIO, size: int) -> Iterator[tuple[int, int, str | list[Line]]]:
    """Yield (lines before, lines, these lines as one text) of about so many bytes.

    Lines stand in a list where one of them is not UTF-8, very long, not ended, or the first of another kind of file.
    """
    before = start = 0
    while raw := stream.read(size) + stream.readline(size):
        text = None
        if raw.endswith(b"\n") and (before or not _has_mark(raw)):
            with suppress(UnicodeDecodeError):
                text = raw.decode()
        count = len(raw) - len(raw.replace(b"\n", b""))  # faster than bytes.count
        if text is not None:
            yield before, count, text
        else:
            count += not raw.endswith(b"\n")
            stream.seek(start)
            yield before, count, list(islice(_each_line(stream, before), count))
            if not before and foreign(raw) is not None:
                return
        before += count
        start = stream.tell()


def _has_mark(raw: bytes) -> bool:
    """Tell whether a file begins with a byte order mark, or like a file of another kind."""
    return raw.startswith(codecs.BOM_UTF8) or foreign(raw) is not None


def _each_line(stream: BinaryIO, before: int) -> Iterator[Line]:
    """Yield lines one by one, reading none ahead; `before` of them are read already."""
    for place, _, raw in lines(stream):
        number = before + place
        if isinstance(raw, int):
            yield number, problem(number, f"the line has {raw:,} bytes", f"{MAX_LINE_BYTES:,} are read")
            continue
        if number == 1:
            if (found := foreign(raw)) is not None:
                yield 1, problem(1, f"the file is {found[0]}", found[1])
                return
            raw = raw.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901 - the mark is no part of the text
        try:
            yield number, raw.decode()
        except UnicodeDecodeError as exc:
            yield number, problem(number, f"not UTF-8 (byte {exc.start + 1})", "save the file as UTF-8")


def _csv_feed(stream: BinaryIO, faults: list[Problem]) -> Iterator[str]:
    """Yield the lines as the csv module wants them; what is wrong with one goes into `faults`."""
    for _, text in _lines(stream):
        if isinstance(text, Problem):
            faults.append(text)
            yield "\n"
        else:
            yield text + "\n"


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest


def _header_fault(place: int, header: list[str]) -> Problem | None:
    twice = next((name for n, name in enumerate(header) if name in header[:n]), None)
    if twice is None:
        return None
    return problem(place, f"two columns are called {twice!r}", "give each column a name of its own")


def _cells(count: int) -> str:
    return f"{count:,} cell" if count == 1 else f"{count:,} cells"


def _csv_fault(reason: str) -> tuple[str, str]:
    """Return what a message of the csv module means, and what to do."""
    if "field limit" in reason:
        return f"a cell has more than {MAX_LINE_BYTES:,} characters", "look for a quote that is never closed"
    if "unexpected end" in reason:
        return "a quote is opened here and never closed", "close it, or double the quotes within cells"
    if "new-line" in reason:
        return "a return stands without a newline", "write \\n line ends, or put quotes around the cell"
    if "expected after" in reason:
        return "text follows a closing quote", "double the quotes within cells"
    return reason, "mend the row"
