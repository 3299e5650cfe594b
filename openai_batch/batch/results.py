"""The results of one batch, read from the provider's files in the order of its input."""

from __future__ import annotations

import contextlib
import tempfile
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.errors import BatchError
from openai_batch.results.index import Places, as_received, index, reader
from openai_batch.results.result import Result
from openai_batch.results.result_line import ids_in
from openai_batch.results.tally import Tally

from .warn import warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch.providers.api import BatchApi
    from openai_batch.providers.batch_info import BatchInfo

    from .input_file import InputFile


def read_results(api: BatchApi, info: BatchInfo, sent: InputFile | None) -> Iterator[Result]:
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
        ids = _ids(api, info, sent)
        if ids is None:
            yield from map(Result.of, as_received(streams, places, tally))
            return
        read = reader(streams)
        for custom_id in ids:
            place = places.take(custom_id)
            yield Result.missing(custom_id) if place is None else Result.of(read(place))


def _ids(api: BatchApi, info: BatchInfo, sent: InputFile | None) -> list[str] | None:
    """Return the ids of the input in its order; None if they cannot all be read."""
    with contextlib.suppress(BatchError), contextlib.ExitStack() as stack:
        if sent is not None:
            lines = stack.enter_context(sent.reading())
        elif info.input_file_id is not None:
            lines = stack.enter_context(tempfile.TemporaryFile())
            api.download(info.input_file_id, lines)
            lines.seek(0)
        else:
            return None
        ids, problem = ids_in(lines)
        return ids if problem is None else None
    return None
