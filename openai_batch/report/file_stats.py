"""Summarise a batch input file or a file of results, in one pass and little memory."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.errors import InputError, count_text
from openai_batch.files.lines import lines, max_line_bytes
from openai_batch.requests.check import check_stream
from openai_batch.requests.limits import NO_LIMITS
from openai_batch.requests.source import open_source
from openai_batch.requests.unique_ids import IdHashes
from openai_batch.results.distribution import Distribution
from openai_batch.results.index import MAX_RESULT_BYTES
from openai_batch.results.result import Result
from openai_batch.results.result_line import UNREADABLE, read_json
from openai_batch.results.statistics import Statistics, count_name
from openai_batch.results.tally import Tally

from .report import statistics_lines, tally_lines, tally_record
from .texts import numbers_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from openai_batch.requests.source import Source

_CONTENT = frozenset({"messages", "input", "prompt", "text_1", "text_2", "query", "documents"})
"""Fields of a request's body with the question."""

_PARAMETERS = 50
_SHORT = 40
_SNIFFED = 100


class _Request(msgspec.Struct, gc=False):
    custom_id: str
    url: str
    body: dict[str, msgspec.Raw]


_decode = msgspec.json.Decoder(_Request).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(slots=True)
class FileStats:
    """What is in a file of requests or results."""

    name: str  # the name of the file in messages
    n_bytes: int = 0  # its size in bytes, unpacked
    requests: int = 0  # how many requests or results it has
    repeated_ids: int = 0  # how many lines have an id that an earlier line has
    line_bytes: Distribution = field(default_factory=Distribution)  # the bytes of each line
    endpoints: Counter[str] = field(default_factory=Counter)  # the endpoints of the requests
    models: Counter[str] = field(default_factory=Counter)  # the models that the requests name, or that answered
    # The parameters of the requests, with their values as JSON.
    parameters: dict[str, Counter[str]] = field(default_factory=dict)
    # The problems of the requests by code, if they are sent to one endpoint.
    problems: Counter[str] = field(default_factory=Counter)
    tally: Tally | None = None  # how the results ended; None for a file of requests
    statistics: Statistics = field(default_factory=Statistics)  # what is in the results

    def lines(self) -> list[tuple[str, str]]:
        """Return a summary in a few lines, as labels and texts."""
        kind = "batch input file" if self.tally is None else "results"
        repeated = f"{count_text(self.repeated_ids, 'line', 'has')} an id that an earlier line has"
        found = [("file", self.name), ("kind", kind), ("bytes", f"{self.n_bytes:,}")]
        if self.tally is None:
            problems = ", ".join(f"{count:,} {code}" for code, count in self.problems.most_common())
            found += [
                ("requests", f"{self.requests:,}"),
                ("endpoint", _names(self.endpoints)),
                ("model", _names(self.models)),
                ("bytes a line", numbers_text(self.line_bytes, total=False)),
                *((name, _names(values)) for name, values in self.parameters.items()),
                ("problems", problems),
            ]
        else:
            unreadable = count_text(self.tally.unreadable_count, "line", "is")
            found += [
                *tally_lines(self.tally),
                ("model", _names(self.models)),
                ("bytes a line", numbers_text(self.line_bytes, total=False)),
                *statistics_lines(self.statistics),
                ("unreadable", f"{unreadable} no result" if self.tally.unreadable_count else ""),
            ]
        return [*found, ("repeated ids", repeated if self.repeated_ids else "")]

    def record(self) -> dict[str, Any]:
        """Return its JSON record."""
        common = {
            "file": self.name,
            "kind": "requests" if self.tally is None else "results",
            "bytes": self.n_bytes,
            "requests": self.requests,
            "repeated_ids": self.repeated_ids,
            "models": dict(self.models.most_common()),
            "line_bytes": self.line_bytes.record(),
        }
        if self.tally is not None:
            return common | tally_record(self.tally) | self.statistics.record()
        parameters = {name: dict(values.most_common()) for name, values in self.parameters.items()}
        return common | {
            "endpoints": dict(self.endpoints),
            "parameters": parameters,
            "problems": dict(self.problems.most_common()),
        }


def file_stats(name: str) -> FileStats:
    """Return what is in a file; `-` is standard input. Raises InputError if it has neither requests nor results."""
    with TemporaryDirectory(prefix="obatch-") as folder:
        source = open_source(name, Path(folder))
        stats = FileStats(source.name, source.path.stat().st_size)
        if _has_results(source):
            _read_results(source, stats)
        else:
            _read_requests(source, stats)
    return stats


def _has_results(source: Source) -> bool:
    """Return whether a file has results. Raises InputError if it has neither results nor requests."""
    with source.path.open("rb") as handle:
        for number, _, raw in lines(handle, MAX_RESULT_BYTES):
            if number > _SNIFFED:
                break
            keys = _keys(raw.removeprefix(BOM_UTF8)) if isinstance(raw, bytes) else ()
            if "body" in keys and "url" in keys:
                return False
            if "custom_id" in keys and ("response" in keys or "error" in keys):
                return True
    raise InputError(
        f"{source.name}: it contains neither requests nor results (one JSON object per line)",
        hint="`obatch prepare FILE --show 3` shows what prompts and tables become",
    )


def _keys(line: bytes) -> Collection[str]:
    """Return the keys of the JSON object in a line; none if there is no object."""
    for read in (_fields, read_json):  # the second one reads NaN, too
        with suppress(*UNREADABLE):
            if isinstance(value := read(line), dict):
                return value.keys()
    return ()


def _read_requests(source: Source, stats: FileStats) -> None:
    hashes = IdHashes()
    with source.path.open("rb") as handle:
        for _, _, raw in lines(handle, max_line_bytes()):
            try:
                request = _decode(raw.removeprefix(BOM_UTF8) if isinstance(raw, bytes) else b"")
            except UNREADABLE:
                continue  # the check says what it is
            hashes.add((request.custom_id,))
            stats.line_bytes.add(len(raw) if isinstance(raw, bytes) else raw)
            count_name(stats.endpoints, request.url)
            _count_body(request.body, stats)
        handle.seek(0)
        report = check_stream(handle, NO_LIMITS)
    stats.requests, stats.problems, stats.repeated_ids = report.requests, report.codes, hashes.repeated()


def _count_body(body: dict[str, msgspec.Raw], stats: FileStats) -> None:
    """Count the model and the parameters of a request."""
    for name, value in body.items():
        text = bytes(value).decode("utf-8", "replace") if len(bytes(value)) <= _SHORT else "(long)"
        if name == "model":
            count_name(stats.models, text.strip('"'))
        elif name not in _CONTENT and (name in stats.parameters or len(stats.parameters) < _PARAMETERS):
            count_name(stats.parameters.setdefault(name, Counter()), text)


def _read_results(source: Source, stats: FileStats) -> None:
    tally, hashes = Tally(), IdHashes()
    with source.path.open("rb") as handle:
        for number, _, raw in lines(handle, MAX_RESULT_BYTES):
            if isinstance(raw, int):  # too long to be a result
                tally.unreadable_count += 1
                continue
            try:
                result = Result.of(raw.removeprefix(BOM_UTF8) if number == 1 else raw)
            except UNREADABLE:
                tally.unreadable_count += bool(raw.strip())
                continue
            hashes.add((result.custom_id,))
            tally.count(result.verdict, result.custom_id)
            stats.statistics.add(result)
            stats.line_bytes.add(len(raw))
    stats.tally, stats.requests, stats.models = tally, tally.requests, stats.statistics.models
    stats.repeated_ids = hashes.repeated()


def _names(names: Counter[str]) -> str:
    """Return the most common names, with their counts if there are several."""
    most = names.most_common(5)
    if len(names) == 1:
        return most[0][0]
    return ", ".join(f"{name} ({count:,})" for name, count in most) + (", …" if len(names) > len(most) else "")
