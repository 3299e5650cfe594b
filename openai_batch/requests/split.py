"""Cut an input into slices that fit the provider's limits: stretches of the file itself wherever they will do.

Only where a provider wants one model a file and the models stand mixed are the requests copied, into one file
for each model.
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

from .limits import Limits
from .request_line import RequestLine, decode_request

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .report import RequestChunk

MAX_SLICE_REQUESTS = 100_000
"""Requests in one slice, whatever the provider takes: joining its results holds the ids of one slice in memory."""

MAX_MODELS = 200
"""Models that may stand mixed in one input: each has its own files open while the input is sorted out.

Of more models those that were not seen for the longest time are closed, and must not come back.
"""

ROW_NUMBER = struct.Struct("<Q")
"""How a `.rows` file holds the number of each of its requests in the input."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of a file of requests. Offsets and lengths are in bytes.

    `source` is None for the input itself, else the stem of the files (`.jsonl`, `.ids`, `.rows`) that it lies in.
    `first_row` is the number of its first request in that file, from 0; `ids_offset` where its ids begin.
    """

    first_row: int
    requests: int
    offset: int
    length: int
    ids_offset: int
    source: str | None = None
    sha256: str = ""


class Splitter:
    """Takes the requests of one file in order, tells where to cut, and hashes what it takes."""

    def __init__(self, limits: Limits, source: str | None = None) -> None:
        self._limits = limits
        self._source = source
        self._most = min(limits.max_requests or MAX_SLICE_REQUESTS, MAX_SLICE_REQUESTS)
        self._done: list[Slice] = []
        self._rows = self._bytes = self._ids = 0
        self._start = (0, 0, 0)
        self._inputs = 0
        self._model: str | None = None
        self._models: set[str | None] = set()
        self._runs = 0
        # The first slice begins where the file does: until the first cut one hash serves both.
        self._whole_hash = self._slice_hash = hashlib.sha256()

    def add(self, line: bytes, id_length: int, inputs: int = 1, model: str | None = None) -> None:
        """Take one request: its line with the newline, the bytes of its id's line, its inputs, its model."""
        limits = self._limits
        new_model = self._rows == 0 or model != self._model
        if new_model:
            self._runs += 1
            self._models.add(model)
        rows, size = self._rows - self._start[0], self._bytes - self._start[1]
        full = (
            rows >= self._most
            or (limits.max_bytes is not None and size + len(line) > limits.max_bytes)
            or (limits.max_embedding_inputs is not None and self._inputs + inputs > limits.max_embedding_inputs)
            or (limits.one_model and new_model)
        )
        if rows and full:
            self._cut()
        self._model = model
        self._count(1, line, id_length, inputs)

    def take(self, chunk: RequestChunk, id_lines: bytes) -> None:
        """Take many requests; `id_lines` are their ids, one JSON string a line."""
        limits, count, inputs = self._limits, len(chunk.ids), sum(chunk.inputs)
        fits = (
            self._rows > self._start[0]
            and chunk.models.count(self._model) == count
            and self._rows - self._start[0] + count <= self._most
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
        """Add requests to the present slice."""
        self._rows += requests
        self._bytes += len(data)
        self._ids += id_bytes
        self._inputs += inputs
        self._slice_hash.update(data)
        if self._whole_hash is not self._slice_hash:
            self._whole_hash.update(data)

    @property
    def sha256(self) -> str:
        """The SHA-256 of everything that was taken, in hexadecimal digits."""
        return self._whole_hash.hexdigest()

    @property
    def mixed(self) -> bool:
        """Whether a model comes back after another one, where each file must have one model."""
        return self._limits.one_model and self._runs > len(self._models)

    def slices(self) -> list[Slice]:
        """Return the slices of what was taken so far."""
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
    """Requests copied out of an input: their lines, their ids, and their numbers in it, in files of one stem."""

    def __init__(self, folder: Path, stem: str, limits: Limits) -> None:
        self._splitter = Splitter(limits, stem)
        self._out = [create(folder / f"{stem}{kind}") for kind in (".jsonl", ".ids", ".rows")]

    def add(self, row: int, line: bytes, request: RequestLine | None = None) -> None:
        """Take the request that stands at `row` of the input; `line` ends with a newline."""
        request = request or decode_request(line)
        custom_id = msgspec.json.encode(request.custom_id) + b"\n"
        inputs = request.body.input
        count = len(msgspec.json.decode(inputs)) if inputs is not None and bytes(inputs)[:1] == b"[" else 1
        for handle, data in zip(self._out, (line, custom_id, ROW_NUMBER.pack(row)), strict=True):
            handle.write(data)
        self._splitter.add(line, len(custom_id), count, request.body.model)

    def slices(self) -> list[Slice]:
        """Return what was taken, cut to fit."""
        return self._splitter.slices()

    def close(self) -> None:
        """Close the files."""
        for handle in self._out:
            handle.close()


def sort_out(
    source: BinaryIO, folder: Path, limits: Limits, wanted: Iterable[bool] | None = None, *, by_model: bool = True
) -> list[Slice]:
    """Copy each model's requests into files of their own in `folder`, and return the slices of these.

    `source` holds one request a line, checked before; `wanted` tells of each whether it is copied (None: all are).
    Without `by_model` they all go into one file. Raises InputError where there are too many models.
    """
    files: dict[str | None, RequestFiles] = {}
    opened: dict[str | None, RequestFiles] = {}  # the one used last stands last
    try:
        for row, (line, is_wanted) in enumerate(zip(source, wanted or itertools.repeat(True), strict=False)):
            if not is_wanted:
                continue
            request = decode_request(line)
            model = request.body.model if by_model else None
            if model in files and model not in opened:
                raise InputError(
                    f"the input names over {MAX_MODELS} models, mixed, and the provider takes one a file",
                    hint="sort the input by model",
                )
            if model not in files:
                if len(opened) >= MAX_MODELS:
                    opened.pop(next(iter(opened))).close()
                files[model] = RequestFiles(folder, f"model-{len(files) + 1}" if by_model else "sent", limits)
            opened[model] = opened.pop(model, files[model])
            opened[model].add(row, line, request)
    finally:
        for each in opened.values():
            each.close()
    return [piece for each in files.values() for piece in each.slices()]


def cut(requests: BinaryIO, ids: BinaryIO, whole: Slice, max_bytes: int) -> list[Slice]:
    """Cut a slice into several of `max_bytes` at most each; a longer line is one by itself.

    The streams are the files that the slice lies in, its requests and their ids.
    """
    requests.seek(whole.offset)
    ids.seek(whole.ids_offset)
    splitter = Splitter(Limits(None, max_bytes, one_model=False, max_embedding_inputs=None), whole.source)
    for line, custom_id in zip(itertools.islice(requests, whole.requests), ids, strict=False):
        splitter.add(line, len(custom_id))
    return [
        replace(
            piece,
            first_row=whole.first_row + piece.first_row,
            offset=whole.offset + piece.offset,
            ids_offset=whole.ids_offset + piece.ids_offset,
        )
        for piece in splitter.slices()
    ]
