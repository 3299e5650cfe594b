"""Check a batch input file whole, and write down in the same pass what a job needs of it.

A file that already stands as it would be sent is used where it lies. Anything else (a pipe, prompts, a byte
order mark, CRLF, blank lines, a missing last newline) gives a copy of ours, which is what is sent.
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
from .fingerprints import fingerprints
from .problems import problems_text
from .source import looks_like_requests
from .split import Slice, Splitter, sort_out

if TYPE_CHECKING:
    from pathlib import Path

    from .limits import Limits
    from .report import Report, RequestChunk
    from .source import Source


@dataclass(frozen=True, slots=True)
class BatchFile:
    """A batch file that passed the check, and what was written down about it in the same pass."""

    path: Path
    """The bytes to send: the user's file itself, or a file in the work folder."""
    origin: Path | None
    """The user's file if `path` is it, else None."""
    report: Report
    """What the check found."""
    sha256: str
    """The hash of the bytes to send, in hexadecimal digits."""
    size: int
    """The number of bytes to send."""
    ids: Path
    """The custom ids in order, one JSON string a line."""
    keys: Path
    """The fingerprint of each request, in the same order (`requests/fingerprints`)."""
    slices: tuple[Slice, ...] = ()
    """What fits one batch each."""
    folder: Path | None = None
    """Where the files of slices are that are not part of `path`."""
    columns: Path | None = None
    """The rows of the table that the requests were made of (`inputs/source_rows`)."""


def check_file(source: Source, limits: Limits, folder: Path, *, endpoint: str | None = None) -> BatchFile:
    """Check a batch input file whole, before anything is sent, and return what is to be sent.

    Raises InputError with every problem (capped) if it cannot be.
    """
    ids, keys = folder / "ids", folder / "keys"
    splitter = Splitter(limits)
    encode_lines = msgspec.json.Encoder().encode_lines
    with source.path.open("rb") as handle, create(ids) as ids_out, create(keys) as keys_out:

        def take(chunk: RequestChunk) -> None:
            id_lines = encode_lines(chunk.ids)
            ids_out.write(id_lines)
            keys_out.write(fingerprints(chunk.url, chunk.bodies))
            splitter.take(chunk, id_lines)

        report = check_stream(handle, limits.of_lines(), endpoint=endpoint, on_chunk=take, places=source.places)
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
            slices = sort_out(handle, folder, limits)
    return BatchFile(path, origin, report, splitter.sha256, size, ids, keys, tuple(slices), folder)


def problems_error(source: Source, report: Report) -> InputError:
    """Return the error with the problems of a batch file, one a line."""
    if not looks_like_requests(source):
        hint = "requests are JSON; prompts are for `obatch run`, or for `obatch prepare` first"
    elif source.places is not None:
        hint = "fix the files, then run the same command again"
    elif source.origin is None:
        hint = "fix the input"
    else:
        hint = f"fix the file and check it again with `obatch check {source.name}`"
    text = problems_text(source.name, report.errors, report.problem_count, outcome="nothing was sent")
    return InputError(text, hint=hint, problems=report.errors)


def _clean(source: Source, target: Path) -> int:
    r"""Copy the lines as they are sent: bytes kept, each ended by one `\n`, blank ones left out. Return the bytes."""
    begins = frozenset(source.places.starts if source.places is not None else (1,))
    with source.path.open("rb") as handle, create(target) as out:
        for number, _, raw in lines(handle):
            if isinstance(raw, int):  # the check has refused such a file already
                continue
            kept = (raw.removeprefix(b"\xef\xbb\xbf") if number in begins else raw).removesuffix(b"\r")
            if kept.strip():
                out.write(kept + b"\n")
        return out.tell()
