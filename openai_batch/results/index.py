"""Find where each result is in the files of a batch, and read the results back in any order.

Nearly all lines are plain successes. Blocks of them are parsed at once, and only the fields that decide are read.
"""

from __future__ import annotations

import os
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from openai_batch.errors import DownloadError
from openai_batch.files.lines import lines

from .result_line import cause_of, judge, read_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .tally import Tally

MAX_RESULT_BYTES = 256 * 1024 * 1024
"""The longest result that is read. Lines can be long, since they hold images and vectors."""

_KEY_LIKE = re.compile(rb"\w*sk[-_][\w-]{8,}")
"""What looks like an API key: a server that refuses a key may repeat it in an error page."""

_BLOCK = 1 << 18


class Place(msgspec.Struct, gc=False):
    """Where one result is. There is one for each request of a part, so the garbage collector is not told of them."""

    stream: int  # the number of the file among those of the batch
    offset: int  # where the line begins, in bytes
    length: int  # of the line, in bytes, without its end
    success: bool


class _Body(msgspec.Struct, gc=False):
    error: Any = None


class _Response(msgspec.Struct, gc=False):
    status_code: Any = None
    body: _Body | str | int | float | bool | list[msgspec.Raw] | None = None


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    response: _Response | None = None
    error: Any = None


def index(stream: BinaryIO, number: int, name: str, places: dict[str, Place], tally: Tally) -> None:
    """Add the place of each result of `stream` to `places`. A success beats an error of the same id.

    `number` is that of the stream, `name` is for messages. Raises DownloadError if a line is not a result: then this
    is not the file that the provider holds.
    """
    note = _Notes(number, places, tally)
    decode = msgspec.json.Decoder(_Line).decode_lines
    line = offset = 0
    while block := _block(stream, offset):
        found = _parsed(block, decode)
        if found is None:
            line = _by_line(stream, offset, len(block), line, name, note)
        else:
            note.block(offset, *found)
            line += len(found[0])
        offset += len(block)
    # The rest: a last line without a newline, or one that is longer than a block.
    _by_line(stream, offset, None, line, name, note)


def _block(stream: BinaryIO, offset: int) -> bytes:
    """Return whole lines from `offset` on, as many as a block holds; nothing at the end."""
    stream.seek(offset)
    block = stream.read(_BLOCK)
    if len(block) == _BLOCK and b"\n" not in block:
        block += stream.readline(MAX_RESULT_BYTES)
    return block[: block.rfind(b"\n") + 1]


def _parsed(block: bytes, decode: Callable[[bytes], list[_Line]]) -> tuple[list[_Line], list[bytes]] | None:
    """Return the parsed lines of a block, and the lines; None if any of them must be read by itself."""
    raws = block.split(b"\n")
    raws.pop()
    # The parser takes a line break for a blank, so it does not check that each line is one value. This does: inside a
    # JSON value, a line that ends with } is never followed by a line that begins with {.
    if not all(raw.startswith(b"{") and raw.endswith(b"}") for raw in raws):
        return None
    try:
        block.decode()
        found = decode(block)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return (found, raws) if len(found) == len(raws) else None


def _by_line(stream: BinaryIO, offset: int, length: int | None, before: int, name: str, note: _Notes) -> int:
    """Add the results of a part of a file line by line; return how many lines there are up to its end."""
    stream.seek(offset)
    line = before
    for number, begin, raw in lines(stream, MAX_RESULT_BYTES):
        line = before + number
        if isinstance(raw, int):
            raise DownloadError(f"{name}: line {line} is too long to be a result ({raw:,} bytes)")
        if raw.strip():
            try:
                result = read_line(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as exc:
                shown = _KEY_LIKE.sub(b"(key)", raw)[:80].decode("utf-8", "backslashreplace")
                raise DownloadError(
                    f"{name}: line {line} is no result ({exc}): {shown}",
                    hint="the same command again downloads it anew; nothing was published",
                ) from None
            note.one(result.custom_id, offset + begin, len(raw), success=judge(result.response, result.error)[0])
        if length is not None and begin + len(raw) + 1 >= length:
            break
    return line


class _Notes:
    """The places found so far."""

    def __init__(self, stream: int, places: dict[str, Place], tally: Tally) -> None:
        self._stream = stream
        self._places = places
        self._tally = tally

    def block(self, offset: int, found: list[_Line], raws: list[bytes]) -> None:
        """Add the results of a block."""
        stream, places = self._stream, self._places
        begins = accumulate((len(raw) + 1 for raw in raws), initial=offset)
        for line, raw, begin in zip(found, raws, begins, strict=False):
            response = line.response
            plain = (
                response is not None
                and not line.error
                and type(response.body) is _Body
                and not response.body.error
                and type(response.status_code) is int
                and 200 <= response.status_code < 300  # noqa: PLR2004 - HTTP's own numbers
            )
            if plain and line.custom_id not in places:
                places[line.custom_id] = Place(stream, begin, len(raw), True)
            else:
                self.one(line.custom_id, begin, len(raw), success=plain or not cause_of(raw))

    def one(self, custom_id: str, begin: int, length: int, *, success: bool) -> None:
        """Add one result."""
        known = self._places.get(custom_id)
        if known is not None:
            self._tally.repeats += 1
            if known.success or not success:
                return
        self._places[custom_id] = Place(self._stream, begin, length, success)


def reader(streams: list[BinaryIO]) -> Callable[[Place], bytes]:
    r"""Return a function that reads the line at a place, ended by `\n` alone."""
    try:
        files = [stream.fileno() for stream in streams]
    except OSError:  # they are in memory

        def read(place: Place) -> bytes:
            stream = streams[place.stream]
            stream.seek(place.offset)
            return stream.read(place.length).removesuffix(b"\r") + b"\n"
    else:
        pread = os.pread

        def read(place: Place) -> bytes:
            return pread(files[place.stream], place.length, place.offset).removesuffix(b"\r") + b"\n"

    return read


def as_they_stand(streams: list[BinaryIO], places: dict[str, Place], tally: Tally) -> Iterator[bytes]:
    r"""Yield the result lines of a batch whose input is not available, in order of arrival, each ended by `\n`."""
    read = reader(streams)
    for place in places.values():
        line = read(place)
        tally.requests += 1
        if place.success:
            tally.succeeded += 1
        else:
            tally.failed += 1
            tally.causes[cause_of(line)] += 1
        yield line
