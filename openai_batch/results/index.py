"""Find where each result is in the files of a batch, and read the results back in any order.

Nearly all lines are plain successes. Whole blocks of them are parsed at once, and only the fields that tell a success
from an error are read.
"""

from __future__ import annotations

import os
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from openai_batch.errors import DownloadError
from openai_batch.files.lines import lines

from .result_line import failure_cause, judge, read_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .tally import Tally

MAX_RESULT_BYTES = 256 * 1024 * 1024
"""The longest result that is read, in bytes. Lines can be long, since they can contain images and vectors."""

_KEY_LIKE = re.compile(rb"\w*sk[-_][\w-]{8,}")
"""What looks like an API key: a server that refuses a key may repeat it in an error page."""

_BLOCK = 1 << 18


class Place(msgspec.Struct, gc=False):
    """Where one result is. There is one for each request of a part, so the garbage collector skips them."""

    stream: int  # the number of the file among those of the batch
    offset: int  # where the line begins, in bytes
    length: int  # of the line, in bytes, without its end
    success: bool  # whether it is a success, not an error


# The fields that tell a plain success from anything else. The body of a plain success is an object.
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
    """Add the place of each result of `stream` to `places`. A success replaces an error of the same id.

    `number` is the number of the stream, `name` its name for messages. Raises DownloadError if a line is not a result:
    then the download is not the provider's file.
    """
    collector = _PlaceCollector(number, places, tally)
    decode = msgspec.json.Decoder(_Line).decode_lines
    line = offset = 0
    while block := _block(stream, offset):
        parsed = _parsed(block, decode)
        if parsed is None:
            line = _by_line(stream, offset, len(block), line, name, collector)
        else:
            collector.add_block(offset, *parsed)
            line += len(parsed[0])
        offset += len(block)
    # The rest: a last line without a newline, or one that is longer than a block.
    _by_line(stream, offset, None, line, name, collector)


def _block(stream: BinaryIO, offset: int) -> bytes:
    """Return a block of whole lines from `offset` on; empty at the end of the file."""
    stream.seek(offset)
    block = stream.read(_BLOCK)
    if len(block) == _BLOCK and b"\n" not in block:
        block += stream.readline(MAX_RESULT_BYTES)
    return block[: block.rfind(b"\n") + 1]


def _parsed(block: bytes, decode: Callable[[bytes], list[_Line]]) -> tuple[list[_Line], list[bytes]] | None:
    """Return the parsed lines of a block, and the lines; None if a line must be read by itself."""
    raws = block.split(b"\n")
    raws.pop()
    # The parser treats a line break like a space, so it does not check that each line is one value. This checks it:
    # inside a JSON value, a line that ends with } is never followed by a line that begins with {.
    if not all(raw.startswith(b"{") and raw.endswith(b"}") for raw in raws):
        return None
    try:
        block.decode()
        parsed = decode(block)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return (parsed, raws) if len(parsed) == len(raws) else None


def _by_line(
    stream: BinaryIO, offset: int, length: int | None, before: int, name: str, collector: _PlaceCollector
) -> int:
    """Add the results of a part of a file line by line. Return the number of lines from the start of the file."""
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
                    f"{name}: line {line} is not a result ({exc}): {shown}",
                    hint="run the same command again to download it again; nothing was published",
                ) from None
            success, _, _ = judge(result.response, result.error)
            collector.add(result.custom_id, offset + begin, len(raw), success=success)
        if length is not None and begin + len(raw) + 1 >= length:
            break
    return line


class _PlaceCollector:
    """Adds the results of one stream to the places by id."""

    def __init__(self, stream: int, places: dict[str, Place], tally: Tally) -> None:
        self._stream = stream
        self._places = places
        self._tally = tally

    def add_block(self, offset: int, parsed: list[_Line], raws: list[bytes]) -> None:
        """Add the results of a block that begins at `offset`."""
        stream, places = self._stream, self._places
        begins = accumulate((len(raw) + 1 for raw in raws), initial=offset)
        for line, raw, begin in zip(parsed, raws, begins, strict=False):
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
                self.add(line.custom_id, begin, len(raw), success=plain or not failure_cause(raw))

    def add(self, custom_id: str, begin: int, length: int, *, success: bool) -> None:
        """Add one result."""
        known = self._places.get(custom_id)
        if known is not None:
            self._tally.repeats += 1
            if known.success or not success:
                return
        self._places[custom_id] = Place(self._stream, begin, length, success)


def reader(streams: list[BinaryIO]) -> Callable[[Place], bytes]:
    r"""Return a function that reads the line at a place, ended by `\n` without `\r`."""
    try:
        files = [stream.fileno() for stream in streams]
    except OSError:  # the streams are in memory

        def read(place: Place) -> bytes:
            stream = streams[place.stream]
            stream.seek(place.offset)
            return stream.read(place.length).removesuffix(b"\r") + b"\n"
    else:
        pread = os.pread

        def read(place: Place) -> bytes:
            return pread(files[place.stream], place.length, place.offset).removesuffix(b"\r") + b"\n"

    return read


def as_received(streams: list[BinaryIO], places: dict[str, Place], tally: Tally) -> Iterator[bytes]:
    r"""Yield the result lines of a batch whose input is not known, in the order of its files, each ended by `\n`."""
    read = reader(streams)
    for place in places.values():
        line = read(place)
        tally.requests += 1
        if place.success:
            tally.succeeded += 1
        else:
            tally.failed += 1
            tally.causes[failure_cause(line)] += 1
        yield line
