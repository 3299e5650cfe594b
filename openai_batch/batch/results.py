"""The input of one batch as it is sent, and the results in its order."""

from __future__ import annotations

import contextlib
import tempfile
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.errors import BatchError
from openai_batch.files.slice import FileSlice
from openai_batch.results.index import Places, as_received, index, reader
from openai_batch.results.result import Result
from openai_batch.results.result_line import ids_in
from openai_batch.results.tally import Tally

from .warn import warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from openai_batch.providers.batch_info import BatchInfo
    from openai_batch.providers.port import BatchApi

    from .input_file import InputFile


class SentInput:
    """The content of an input file as it is uploaded: without a byte order mark, and with its hash."""

    def __init__(self, input_file: InputFile) -> None:
        self._input_file = input_file
        self._sha256: str | None = None  # of what was read first

    @contextlib.contextmanager
    def reading(self) -> Iterator[FileSlice]:
        """Give the content, at its beginning. What is read the first time is remembered by its hash."""
        with self._input_file.reading() as stream:
            content = FileSlice(stream, len(BOM_UTF8) if stream.read(len(BOM_UTF8)) == BOM_UTF8 else 0)
            yield content
            self._sha256 = self._sha256 or content.sha256

    def ids(self) -> list[str] | None:
        """Return the ids in their order; None if the file has changed, or cannot be read."""
        with contextlib.suppress(BatchError), self.reading() as content:
            while content.read(1 << 20):
                pass
            if content.sha256 == self._sha256:
                content.seek(0)
                return _ids_in(content)
        return None


def read_results(api: BatchApi, info: BatchInfo, sent: SentInput | None) -> Iterator[Result]:
    """Yield the result of each request of an ended batch. `sent` is the input, if this program has sent it.

    They are in the order of the input, or of the provider's copy of it; without both, in the order of the results.
    Raises BatchError if there are no results yet, DownloadError or ApiError if a file does not arrive.
    """
    files = [file_id for file_id in (info.output_file_id, info.error_file_id) if file_id is not None]
    if not info.finished or (info.status == "completed" and not files):
        raise BatchError(f"{info.id} is {info.status}: there are no results yet", hint="ask again later")
    for fault in info.errors:
        warn(f"{info.id} {info.status}: {fault}")
    places, tally = Places(), Tally()
    with contextlib.ExitStack() as stack:
        streams: list[BinaryIO] = []
        for file_id in files:
            stream = stack.enter_context(tempfile.TemporaryFile())
            api.download(file_id, stream)
            index(stream, len(streams), f"file {file_id}", places, tally)
            streams.append(stream)
        for problem in tally.unreadable:
            warn(problem)
        ids = (sent.ids() if sent is not None else None) or _ids_at_provider(api, info)
        if ids is None:
            yield from map(Result.of, as_received(streams, places, tally))
            return
        read = reader(streams)
        for custom_id in ids:
            place = places.take(custom_id)
            yield Result.missing(custom_id) if place is None else Result.of(read(place))


def _ids_at_provider(api: BatchApi, info: BatchInfo) -> list[str] | None:
    """Return the ids of the provider's copy of the input in its order; None if they cannot all be read."""
    with contextlib.suppress(BatchError), tempfile.TemporaryFile() as copy:
        if info.input_file_id is not None:
            api.download(info.input_file_id, copy)
            copy.seek(0)
            return _ids_in(copy)
    return None


def _ids_in(lines: Iterable[bytes]) -> list[str] | None:
    ids, problem = ids_in(lines)
    return ids if problem is None else None
