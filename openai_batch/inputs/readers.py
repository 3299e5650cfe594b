"""Read text tables row by row: one prompt per line, CSV and TSV, and JSON lines.

Every reader yields (where, row): the 1-based line on which the row begins, and a dict from column to value, or a
Problem instead of the row. Only one row, and the lines of one chunk of the file, are in memory.
"""

from __future__ import annotations

import codecs
import csv
import re
from contextlib import suppress
from itertools import chain, compress, islice
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import msgspec

from openai_batch.errors import Problem, count_text
from openai_batch.files.lines import LINE_VARIABLE, lines, max_line_bytes
from openai_batch.files.signatures import other_kind
from openai_batch.requests.strict_json import MAX_DEPTH, is_too_deep, json_fault

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

Row: TypeAlias = dict[str, Any]
Rows: TypeAlias = "Iterable[tuple[int | None, Row | Problem]]"
RowGenerator: TypeAlias = "Generator[tuple[int | None, Row | Problem], None, None]"
Line: TypeAlias = "tuple[int, str | Problem]"

PROMPT = "prompt"  # the name of the only column of a file of prompts

_SEPARATOR = re.compile(r'"?sep=([,;\t|])"?\s*')  # the first line of some CSV files, for Excel
_CHUNK_BYTES = 1 << 15  # the system would allocate and free a larger buffer each time


class Prompts:
    """A file of prompts: each line that is not blank is a row of the one column `prompt`."""

    def __init__(self, stream: BinaryIO, chunk_bytes: int = _CHUNK_BYTES) -> None:
        """Take a stream, which must be seekable; about `chunk_bytes` bytes of it are read at once."""
        self._stream = stream
        self._chunk_bytes = chunk_bytes

    def __iter__(self) -> Iterator[tuple[int, Row | Problem]]:
        """Yield row by row."""
        for numbers, texts in self.chunks():
            for number, text in zip(numbers, texts, strict=True):
                yield number, text if isinstance(text, Problem) else {PROMPT: text}

    def chunks(self) -> Iterator[tuple[list[int], list[str | Problem]]]:
        """Yield (the numbers of their lines, the prompts) of many rows at once."""
        for before, lines_of_chunk in _chunks(self._stream, self._chunk_bytes):
            kept = [isinstance(line, Problem) or line.strip() for line in lines_of_chunk]
            numbers = list(compress(range(before + 1, before + 1 + len(kept)), kept))
            texts = compress(lines_of_chunk, kept)
            yield numbers, [text if isinstance(text, Problem) else text.removesuffix("\r") for text in texts]


def jsonl_rows(stream: BinaryIO) -> Rows:
    """Yield each JSON object, one per line; blank lines are skipped."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    remedy = "write one JSON object per line"
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
            yield number, problem(number, *json_fault(text, exc, remedy))
        else:
            deep = len(text) > MAX_DEPTH and text.count("{") + text.count("[") > MAX_DEPTH
            if deep and is_too_deep(text.encode(), row):
                yield number, problem(number, "the JSON is nested too deeply", "flatten the row")
            else:
                yield number, row


def csv_rows(stream: BinaryIO, usual: str = ",") -> Rows:
    """Yield the records below the header, as text.

    `usual` is the usual delimiter of such a file (see `delimiter_of`). Quoted cells may contain newlines; the place of
    a row is the line on which it begins. Blank lines between records are skipped.
    """
    csv.field_size_limit(max_line_bytes())  # a long document has more than the default 131,072 characters
    line_problems: list[Problem] = []
    feed = _csv_feed(stream, line_problems)
    first = next(feed, "")
    delimiter = delimiter_of(first, usual)
    if (said := _SEPARATOR.fullmatch(first)) is not None:
        first, delimiter = "\n", said[1]
    reader = csv.reader(chain((first,), feed), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    begin = 1
    try:
        for record in reader:
            place, begin = begin, reader.line_num + 1
            if line_problems:
                yield from ((item.line, item) for item in line_problems)
                line_problems.clear()
                if header is None:
                    return
            elif not record:
                continue
            elif header is None:
                header = record
                if (wrong := header_problem(place, record)) is not None:
                    yield place, wrong
                    return
            elif len(record) != len(header):
                message = f"the row has {count_text(len(record), 'cell')}, but the header has {len(header):,}"
                yield (
                    place,
                    problem(place, message, "fix the row; put quotes around a cell with a delimiter"),
                )
            else:
                yield place, dict(zip(header, record, strict=True))
    except csv.Error as exc:
        yield begin, problem(begin, *_csv_problem(str(exc)))
    yield from ((item.line, item) for item in line_problems)


def delimiter_of(header: str, usual: str = ",") -> str:
    """Return the comma, semicolon, tab or pipe that occurs most often in a header, outside of quotes.

    A `usual` one other than the comma only has to occur. If none occurs, it is the `usual` one.
    """
    plain = re.sub('"[^"]*"', "", header)
    if usual != "," and usual in plain:
        return usual
    most = max("\t,;|", key=plain.count)
    return most if most in plain else usual


def problem(line: int | None, message: str, remedy: str) -> Problem:
    """Return the problem with a row."""
    return Problem(line, "invalid_row", message, None, remedy)


def _lines(stream: BinaryIO, chunk_bytes: int = _CHUNK_BYTES) -> Iterator[Line]:
    r"""Yield (line number, its text without the `\n`, or the problem with it), without a byte order mark."""
    for before, texts in _chunks(stream, chunk_bytes):
        yield from enumerate(texts, before + 1)


def _chunks(stream: BinaryIO, chunk_bytes: int) -> Iterator[tuple[int, Sequence[str | Problem]]]:
    r"""Yield (number of the lines before, the texts of some lines without the `\n`, or the problems with them).

    A chunk of whole lines is decoded at once, which is three times as fast as line by line. If that is not possible,
    the lines of the chunk are read again one by one: one of them is not UTF-8, is very long, has no newline, or is the
    first line of a file of another kind.
    """
    before = start = 0
    while raw := stream.read(chunk_bytes) + stream.readline(chunk_bytes):
        text = None
        has_signature = not before and (raw.startswith(codecs.BOM_UTF8) or other_kind(raw) is not None)
        if raw.endswith(b"\n") and not has_signature:
            with suppress(UnicodeDecodeError):
                text = raw.decode()
        if text is not None:
            texts = text[:-1].split("\n")
            yield before, texts
            before += len(texts)
        else:
            count = raw.count(b"\n") + (not raw.endswith(b"\n"))
            stream.seek(start)
            yield before, [found for _, found in islice(_each_line(stream, before), count)]
            if not before and other_kind(raw) is not None:
                return
            before += count
        start = stream.tell()


def _each_line(stream: BinaryIO, before: int) -> Iterator[Line]:
    """Yield lines one by one, without reading ahead; `before` is the number of lines before them."""
    for place, _, raw in lines(stream):
        number = before + place
        if isinstance(raw, int):
            yield (
                number,
                problem(
                    number,
                    f"the line has {raw:,} bytes",
                    f"a line can have at most {max_line_bytes():,}; {LINE_VARIABLE} changes that",
                ),
            )
            continue
        if number == 1:
            if (kind := other_kind(raw)) is not None:
                yield 1, problem(1, f"the file is {kind[0]}", kind[1])
                return
            raw = raw.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901 - the mark is not part of the text
        try:
            yield number, raw.decode()
        except UnicodeDecodeError as exc:
            yield number, problem(number, f"not UTF-8 (byte {exc.start + 1})", "save the file as UTF-8")


def _csv_feed(stream: BinaryIO, problems: list[Problem]) -> Iterator[str]:
    """Yield the lines for the csv module. A line that cannot be read becomes blank, and is added to `problems`."""
    for _, text in _lines(stream):
        if isinstance(text, Problem):
            problems.append(text)
            yield "\n"
        else:
            yield text + "\n"


def header_problem(
    place: int | None, header: list[str], remedy: str = "give each column its own name"
) -> Problem | None:
    """Return the problem of a header in which a name occurs twice, else None."""
    repeated = next((name for n, name in enumerate(header) if name in header[:n]), None)
    return None if repeated is None else problem(place, f"two columns are called {repeated!r}", remedy)


def _csv_problem(reason: str) -> tuple[str, str]:
    """Return the meaning of an error message of the csv module in plain words, and what to do."""
    if "field limit" in reason:
        return f"a cell has more than {max_line_bytes():,} characters", "look for a quote that is never closed"
    if "unexpected end" in reason:
        return "a quote is opened here and never closed", "close it, or double the quotes inside cells"
    if "new-line" in reason:
        return "a carriage return has no newline after it", "write \\n line ends, or put quotes around the cell"
    if "expected after" in reason:
        return "text follows a closing quote", "double the quotes inside cells"
    return reason, "fix the row"
