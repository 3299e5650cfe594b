"""Check a whole batch input file, and record in the same pass what a job needs to know about it.

A file that can be sent as it is is used in place. Anything else (a pipe, prompts, a byte order mark, CRLF, blank
lines, no newline at the end) is copied to the work folder, and the copy is sent.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from openai_batch.errors import InputError
from openai_batch.files.atomic import create
from openai_batch.files.lines import lines

from .check import check_stream
from .check_report import problem_lines
from .common_schema import CommonSchema
from .fingerprints import fingerprints
from .source import as_word, require_requests
from .split import Slice, Splitter, copy_requests

if TYPE_CHECKING:
    from pathlib import Path

    from .check_report import CheckReport, RequestChunk
    from .limits import Limits
    from .source import Source


@dataclass(frozen=True, slots=True)
class BatchFile:
    """A batch file that passed the check, and what was recorded about it."""

    path: Path  # the bytes to send: the user's file itself, or a file in the work folder
    origin: Path | None  # the user's file if `path` is that file, else None
    report: CheckReport  # what the check found
    sha256: str  # the hash of the bytes to send, in hexadecimal digits
    size: int  # the number of bytes to send
    ids: Path  # the custom ids in order, one JSON string a line
    keys: Path  # the fingerprint of each request, in the same order (`requests/fingerprints`)
    slices: tuple[Slice, ...] = ()  # the slices of the file, each of which fits one batch
    folder: Path | None = None  # the folder with the files of the slices that are not parts of `path`
    # The rows of the table that the requests were made from (`inputs/source_rows`), or None.
    columns: Path | None = None
    schema: Path | None = None  # the JSON schema that all requests ask for, or None


def check_file(source: Source, limits: Limits, folder: Path) -> BatchFile:
    """Check a whole batch input file before anything is sent. Return what will be sent.

    `folder` is for the files that this makes. Raises InputError with the problems (a limited number of them) if the
    file cannot be sent.
    """
    if source.line_origins is None:
        require_requests(source)
    ids, keys = folder / "ids", folder / "keys"
    splitter, common = Splitter(limits), CommonSchema()
    encode_lines = msgspec.json.Encoder().encode_lines
    with source.path.open("rb") as handle, create(ids) as ids_out, create(keys) as keys_out:

        def record(chunk: RequestChunk) -> None:
            id_lines = encode_lines(chunk.ids)
            ids_out.write(id_lines)
            keys_out.write(fingerprints(chunk.url, chunk.bodies))
            splitter.add_chunk(chunk, id_lines)
            common.add(chunk)

        report = check_stream(handle, limits.of_lines(), on_chunk=record, line_origins=source.line_origins)
        size = handle.seek(0, os.SEEK_END)
    if not report.ok:
        raise problems_error(source, report)
    path, origin = source.path, source.origin
    if not report.as_sent or size != report.n_bytes:
        path, origin = folder / "input.jsonl", None
        size = _clean(source, path)
    slices = splitter.slices()
    if splitter.mixed:
        with path.open("rb") as handle:
            slices = copy_requests(handle, folder, limits)
    schema = None if common.schema is None else folder / "schema"
    if schema is not None:
        schema.write_bytes(msgspec.json.encode(common.schema))
    return BatchFile(path, origin, report, splitter.sha256, size, ids, keys, tuple(slices), folder, schema=schema)


def problems_error(source: Source, report: CheckReport) -> InputError:
    """Return the error with the problems of a batch file, one a line."""
    if source.line_origins is not None:
        hint = "fix the files, then run the same command again"
    elif source.origin is None:
        hint = "fix the input"
    else:
        hint = f"fix the file and check it again with `obatch check {as_word(source.name)}`"
    first, *rest = problem_lines(source.name, report.errors, report.problem_count, outcome="nothing was sent")
    return InputError(first, hint=hint, details=rest, problems=report.errors)


def _clean(source: Source, target: Path) -> int:
    r"""Copy the lines to `target` without blank ones, each ended by one `\n`. Return the size of `target` in bytes."""
    first_lines = frozenset(source.line_origins.starts if source.line_origins is not None else (1,))
    with source.path.open("rb") as handle, create(target) as out:
        for number, _, raw in lines(handle):
            if isinstance(raw, int):  # too long a line: the check has already refused such a file
                continue
            kept = (raw.removeprefix(b"\xef\xbb\xbf") if number in first_lines else raw).removesuffix(b"\r")
            if kept.strip():
                out.write(kept + b"\n")
        return out.tell()
