"""Cut an input into slices that fit the provider's limits. Where possible, a slice is a range of the input file.

Requests are copied only if the provider wants one model per file and the models are mixed: then each model gets its
own file.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from openai_batch.errors import InputError
from openai_batch.files.atomic import create

from .fast_check import count_inputs
from .limits import Limits
from .request_line import RequestLine, decode_request

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .check_report import RequestChunk

MAX_SLICE_REQUESTS = 100_000
"""The most requests in one slice, even if the provider accepts more: merging holds the ids of one slice in memory."""

MAX_MODELS = 200
"""The models whose files are open at the same time, while the requests of mixed models are copied.

If there are more, the files of the model that was not seen for the longest time are closed. That model must not occur
again.
"""

ROW_NUMBER = struct.Struct("<Q")  # how a `.rows` file stores the number of each of its requests in the input


@dataclass(frozen=True, slots=True)
class Slice:
    """A range of a file of requests."""

    first_row: int  # the number of its first request in that file, from 0
    requests: int  # the number of its requests
    offset: int  # where its requests begin, in bytes
    length: int  # the length of its requests in bytes, with newlines
    ids_offset: int  # where its ids begin in the file of ids, in bytes
    # None for the input itself, else the stem of the copied files (`.jsonl`, `.ids`, `.rows`).
    source: str | None = None
    sha256: str = ""  # the hash of its bytes, in hexadecimal digits


class Splitter:
    """Gets the requests of one file in order, decides where to cut, and hashes their bytes."""

    def __init__(self, limits: Limits, source: str | None = None) -> None:
        self._limits = limits
        self._source = source
        self._max_requests = min(limits.max_requests or MAX_SLICE_REQUESTS, MAX_SLICE_REQUESTS)
        self._done: list[Slice] = []
        self._rows = self._bytes = self._ids = 0
        self._start = (0, 0, 0)
        self._inputs = 0
        self._model: str | None = None
        self._models: set[str | None] = set()
        self._runs = 0
        # The first slice begins where the file begins, so both share one hash until the first cut.
        self._whole_hash = self._slice_hash = hashlib.sha256()

    def add(self, line: bytes, id_length: int, inputs: int = 0, model: str | None = None) -> None:
        """Add one request: its line with the newline, the length of its id's line in bytes, its model.

        `inputs` is how many texts it embeds; 0 if it is no embedding request.
        """
        limits = self._limits
        new_model = self._rows == 0 or model != self._model
        if new_model:
            self._runs += 1
            self._models.add(model)
        rows, size = self._rows - self._start[0], self._bytes - self._start[1]
        full = (
            rows >= self._max_requests
            or (limits.max_bytes is not None and size + len(line) > limits.max_bytes)
            or (limits.max_embedding_inputs is not None and self._inputs + inputs > limits.max_embedding_inputs)
            or (limits.one_model and new_model)
        )
        if rows and full:
            self._cut()
        self._model = model
        self._count(1, line, id_length, inputs)

    def add_chunk(self, chunk: RequestChunk, id_lines: bytes) -> None:
        """Add many requests; `id_lines` are their ids, one JSON string per line."""
        limits, count, inputs = self._limits, len(chunk.ids), sum(chunk.inputs)
        fits = (
            self._rows > self._start[0]
            and chunk.models.count(self._model) == count
            and self._rows - self._start[0] + count <= self._max_requests
            and (limits.max_bytes is None or self._bytes - self._start[1] + len(chunk.data) <= limits.max_bytes)
            and (limits.max_embedding_inputs is None or self._inputs + inputs <= limits.max_embedding_inputs)
        )
        if fits:
            self._count(count, chunk.data, len(id_lines), inputs)
            return
        id_lengths = map(len, id_lines.splitlines(keepends=True))
        for line, id_length, n_inputs, model in zip(chunk.lines, id_lengths, chunk.inputs, chunk.models, strict=True):
            self.add(line + b"\n", id_length, n_inputs, model)

    def _count(self, requests: int, data: bytes, id_bytes: int, inputs: int) -> None:
        """Add requests to the current slice."""
        self._rows += requests
        self._bytes += len(data)
        self._ids += id_bytes
        self._inputs += inputs
        self._slice_hash.update(data)
        if self._whole_hash is not self._slice_hash:
            self._whole_hash.update(data)

    @property
    def sha256(self) -> str:
        """The SHA-256 of all requests so far, in hexadecimal digits."""
        return self._whole_hash.hexdigest()

    @property
    def mixed(self) -> bool:
        """Whether each file must have one model, and a model occurs again after another one."""
        return self._limits.one_model and self._runs > len(self._models)

    def slices(self) -> list[Slice]:
        """Return the slices of the requests so far."""
        if self._rows > self._start[0]:
            self._cut()
        return self._done

    def _cut(self) -> None:
        row, offset, ids = self._start
        digest = self._slice_hash.hexdigest()
        self._done.append(Slice(row, self._rows - row, offset, self._bytes - offset, ids, self._source, digest))
        self._slice_hash = hashlib.sha256()
        self._start = (self._rows, self._bytes, self._ids)
        self._inputs = 0


class RequestFiles:
    """Requests copied from an input: files of one stem with their lines, their ids, and their row numbers."""

    def __init__(self, folder: Path, stem: str, limits: Limits) -> None:
        self._splitter = Splitter(limits, stem)
        self._out = [create(folder / f"{stem}{kind}") for kind in (".jsonl", ".ids", ".rows")]

    def add(self, row: int, line: bytes, request: RequestLine | None = None) -> None:
        """Add the request of a row of the input; `line` ends with a newline."""
        request = request or decode_request(line)
        custom_id = msgspec.json.encode(request.custom_id) + b"\n"
        inputs = request.body.input
        count = count_inputs(request.url, msgspec.json.decode(inputs) if bytes(inputs)[:1] == b"[" else None)
        for handle, data in zip(self._out, (line, custom_id, ROW_NUMBER.pack(row)), strict=True):
            handle.write(data)
        self._splitter.add(line, len(custom_id), count, request.body.model)

    def slices(self) -> list[Slice]:
        """Return the slices of the requests so far."""
        return self._splitter.slices()

    def close(self) -> None:
        """Close the files."""
        for handle in self._out:
            handle.close()


def copy_requests(
    source: BinaryIO, folder: Path, limits: Limits, wanted: Iterable[bool] | None = None, *, by_model: bool = True
) -> list[Slice]:
    """Copy requests into files in `folder`, one set of files for each model, and return the slices of these files.

    `source` has one request per line, already checked. `wanted` says for each whether it is copied (None: all are).
    Without `by_model` they all go into one set of files. Raises InputError if there are too many models.
    """
    files: dict[str | None, RequestFiles] = {}
    opened: dict[str | None, RequestFiles] = {}  # the model used last is the last one
    try:
        for row, line in itertools.compress(enumerate(source), wanted or itertools.repeat(True)):
            request = decode_request(line)
            model = request.body.model if by_model else None
            if model in files and model not in opened:
                raise InputError(
                    f"the input has more than {MAX_MODELS} models, and the provider accepts one per file",
                    hint="sort the input by model",
                )
            if model not in files:
                if len(opened) >= MAX_MODELS:
                    opened.pop(next(iter(opened))).close()
                files[model] = RequestFiles(folder, f"model-{len(files) + 1}" if by_model else "sent", limits)
            opened[model] = opened.pop(model, files[model])
            opened[model].add(row, line, request)
    finally:
        for request_files in opened.values():
            request_files.close()
    return [part for request_files in files.values() for part in request_files.slices()]


def cut(requests: BinaryIO, ids: BinaryIO, whole: Slice, max_bytes: int) -> list[Slice]:
    """Cut a slice into slices of at most `max_bytes` each; a longer line is a slice of its own.

    The streams are the two files that the slice is in: `requests`, and `ids` with their ids.
    """
    requests.seek(whole.offset)
    ids.seek(whole.ids_offset)
    splitter = Splitter(Limits(None, max_bytes, one_model=False, max_embedding_inputs=None), whole.source)
    for line, custom_id in zip(itertools.islice(requests, whole.requests), ids, strict=False):
        splitter.add(line, len(custom_id))
    return [
        replace(
            part,
            first_row=whole.first_row + part.first_row,
            offset=whole.offset + part.offset,
            ids_offset=whole.ids_offset + part.ids_offset,
        )
        for part in splitter.slices()
    ]
