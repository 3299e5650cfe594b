"""Find where each result is in the files of a batch, and read the results back in any order.

Nearly all lines are plain successes: whole blocks of them are parsed at once.
"""

from __future__ import annotations

import os
import re
from codecs import BOM_UTF8
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from openai_batch.errors import DownloadError
from openai_batch.files.lines import lines
from openai_batch.hidden_keys import beginning
from openai_batch.requests.strict_json import may_be_too_deep

from .outcome import SUCCEEDED, Outcome
from .plain_success import TypedLine, plain_body
from .result import Result
from .result_line import UNREADABLE
from .tally import SAMPLES
from .usage import TokenCounts, Usage, add_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .result import Judge
    from .tally import Tally

MAX_RESULT_BYTES = 256 * 1024 * 1024
"""The longest result that is read, in bytes. Lines can be long, since they can contain images and vectors."""

_SHOWN = 8_000  # how many bytes of a line that is not a result are read, to show its beginning

_KEY_LIKE = re.compile(rb"\w*sk[-_][\w-]{8,}")
"""What looks like an API key: a server that refuses a key may repeat it in an error page."""

_BLOCK = 1 << 18

RAW_HINT = "`obatch download --raw FOLDER` fetches the provider's own files as they are"
"""What to do if the results cannot be read."""


class Place(msgspec.Struct, gc=False, array_like=True):
    """Where one result is. There is one for each request of a part, so the garbage collector skips them."""

    stream: int  # the number of the file among those of the batch
    offset: int  # where the line begins, in bytes
    length: int  # of the line, in bytes, without its end
    outcome: Outcome  # how the request ended


class Places(dict[str, Place]):
    """Where the best result of each id is."""

    def __init__(self) -> None:
        super().__init__()
        self.others: dict[str, list[Place]] = {}
        """Where the other results of an id are, if it has several, in the order of the files."""
        self.usage: Usage = {}
        """The tokens of all results, by model."""

    def put(self, custom_id: str, place: Place) -> None:
        """Add a result. A line without a response and an error is not a result."""
        if place.outcome is Outcome.MISSING:
            return
        known = self.get(custom_id)
        if known is None:
            self[custom_id] = place
            return
        if place.outcome.number < known.outcome.number:
            self[custom_id], place = place, known
        self.others.setdefault(custom_id, []).append(place)

    def take(self, custom_id: str) -> Place | None:
        """Remove and return a result of an id: the best one, and after it the others in their order."""
        others = self.others.get(custom_id)
        return self.pop(custom_id, None) or (others.pop(0) if others else None)


def index(stream: BinaryIO, number: int, name: str, places: Places, tally: Tally, judge: Judge = Result.of) -> None:
    """Add the place of each result of `stream` to `places`. A better result takes the place of another one of its id.

    `number` is the number of the stream, `name` its name for messages. `judge` reads a line; `Result.of` is called only
    for a line that is not a plain success. Lines that are not results are counted. Raises DownloadError if no line is a
    result: then the download is not the provider's file.
    """
    collector = _PlaceCollector(number, name, places, tally, judge)
    decode = msgspec.json.Decoder(TypedLine).decode_lines
    stream.seek(0)
    line, offset = 0, len(BOM_UTF8) if stream.read(len(BOM_UTF8)) == BOM_UTF8 else 0
    while block := _block(stream, offset):
        parsed = _parsed(block, decode)
        if parsed is None:
            line = _by_line(stream, offset, len(block), line, collector)
        else:
            collector.add_block(offset, line, *parsed)
            line += len(parsed[0])
        offset += len(block)
    # The rest: a last line without a newline, or one that is longer than a block.
    _by_line(stream, offset, None, line, collector)
    collector.finish()


def _block(stream: BinaryIO, offset: int) -> bytes:
    """Return a block of whole lines from `offset` on; empty at the end of the file."""
    stream.seek(offset)
    block = stream.read(_BLOCK)
    if len(block) == _BLOCK and b"\n" not in block:
        block += stream.readline(MAX_RESULT_BYTES)
    return block[: block.rfind(b"\n") + 1]


def _parsed(block: bytes, decode: Callable[[bytes], list[TypedLine]]) -> tuple[list[TypedLine], list[bytes]] | None:
    """Return the parsed lines of a block, and the lines; None if a line must be read on its own."""
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


def _by_line(stream: BinaryIO, offset: int, length: int | None, before: int, collector: _PlaceCollector) -> int:
    """Add the results of a part of a file line by line. Return the number of lines from the start of the file."""
    stream.seek(offset)
    line = before
    for number, begin, raw in lines(stream, MAX_RESULT_BYTES):
        line = before + number
        if isinstance(raw, int):
            collector.skip(line, f"it is too long to be a result ({raw:,} bytes)", b"")
        elif raw.strip():
            collector.add_line(line, offset + begin, raw)
        if length is not None and begin + (raw if isinstance(raw, int) else len(raw)) + 1 >= length:
            break
    return line


class _PlaceCollector:
    """Adds the results of one stream to the places by id."""

    def __init__(self, stream: int, name: str, places: Places, tally: Tally, judge: Judge) -> None:
        self._stream = stream
        self._name = name
        self._places = places
        self._tally = tally
        self._judge = judge
        self._look_at_all = judge != Result.of  # each needs a check against its request
        self._read = self._skipped = 0
        self._first = ""  # the first line that is not a result

    def add_block(self, offset: int, before: int, parsed: list[TypedLine], raws: list[bytes]) -> None:
        """Add the results of a block that begins at `offset`; `before` is the number of lines before it."""
        stream, places, usage = self._stream, self._places, self._places.usage
        begins = accumulate((len(raw) + 1 for raw in raws), initial=offset)
        for number, (line, raw, begin) in enumerate(zip(parsed, raws, begins, strict=False), before + 1):
            careful = self._look_at_all or line.custom_id in places or may_be_too_deep(raw)
            body = None if careful else plain_body(line)
            if body is not None:
                places[line.custom_id] = Place(stream, begin, len(raw), Outcome.SUCCESS)
                add_usage(usage, body.model, body.usage, answered=True)
                self._read += 1
            else:
                self.add_line(number, begin, raw)

    def add_line(self, number: int, begin: int, raw: bytes) -> None:
        """Add the result of one line, which begins at `begin`."""
        try:
            result = self._judge(raw)
        except UNREADABLE as exc:
            self.skip(number, str(exc), raw)
            return
        self._read += 1
        body = result.body if isinstance(result.body, dict) else {}
        answered = result.outcome.answered or result.answer is not None  # one that does not fit is billed too
        usage = TokenCounts.of(given) if (given := body.get("usage")) else None
        add_usage(self._places.usage, body.get("model"), usage, answered=answered)
        self._places.put(result.custom_id, Place(self._stream, begin, len(raw), result.outcome))

    def skip(self, line: int, reason: str, raw: bytes) -> None:
        """Count a line that is not a result, and remember what it says."""
        shown = beginning(_KEY_LIKE.sub(b"(key)", raw[:_SHOWN]).decode("utf-8", "backslashreplace"), 80)
        text = f"{self._name}: line {line} is not a result ({reason})" + (f": {shown}" if shown else "")
        self._skipped += 1
        self._first = self._first or text
        self._tally.unreadable_count += 1
        if len(self._tally.unreadable) < SAMPLES:
            self._tally.unreadable.append(text)

    def finish(self) -> None:
        """Raise DownloadError if there are lines, and none of them is a result."""
        if self._skipped and not self._read:
            raise DownloadError(self._first, hint=f"run the same command again to download it again; {RAW_HINT}")


def reader(streams: list[BinaryIO]) -> Callable[[Place], bytes]:
    r"""Return a function that reads the line at a place, ended by `\n` without `\r`."""
    try:
        files = [stream.fileno() for stream in streams]
        pread = os.pread
    except (OSError, AttributeError):  # the streams are in memory, or this is Windows

        def read(place: Place) -> bytes:
            stream = streams[place.stream]
            stream.seek(place.offset)
            return stream.read(place.length).removesuffix(b"\r") + b"\n"
    else:

        def read(place: Place) -> bytes:
            return pread(files[place.stream], place.length, place.offset).removesuffix(b"\r") + b"\n"

    return read


def as_received(streams: list[BinaryIO], places: Places, tally: Tally, judge: Judge = Result.of) -> Iterator[bytes]:
    r"""Yield the result lines of a batch whose input is not known, in the order of its files, each ended by `\n`.

    If an id was used more than once, each of its answers is yielded.
    """
    read = reader(streams)
    for custom_id, best in places.items():
        answers = [place for place in places.others.get(custom_id, ()) if place.outcome.answered]
        for place in (best, *answers):
            line = read(place)
            tally.count(SUCCEEDED if place.outcome is Outcome.SUCCESS else judge(line).verdict, custom_id)
            yield line
