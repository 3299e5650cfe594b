"""Check a batch input file, line by line, against what a provider accepts.

Nothing here changes the file: lines are parsed only to check them, and the user's own bytes are sent.
In memory are one block of lines, and 8 bytes per id.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from openai_batch.errors import Problem
from openai_batch.files.lines import LINE_VARIABLE, blocks, lines, lines_of_block, max_line_bytes
from openai_batch.files.signatures import other_kind

from .check_report import CheckReport, RequestChunk, Row
from .fast_check import chunk_of, count_inputs, read_chunk
from .limits import MAX_EMBEDDING_INPUTS, Limits
from .strict_json import MAX_DEPTH, is_too_deep, json_fault, repeated_key
from .unique_ids import IdHashes, unique_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .source import LineOrigins

MAX_ID_CHARS = 512  # the longest custom id, in characters. Some providers accept only 64, so longer ones get a warning.

_SHORT_ID_CHARS = 64

_TOO_LONG = f"split or shorten the request, or set {LINE_VARIABLE}"


class AnyRequest(msgspec.Struct):
    """The fields of a request line, of any type; UNSET for a field that is missing."""

    custom_id: Any = msgspec.UNSET
    method: Any = msgspec.UNSET
    url: Any = msgspec.UNSET
    body: Any = msgspec.UNSET


decode_any = msgspec.json.Decoder(AnyRequest).decode


def check_stream(
    stream: BinaryIO,
    limits: Limits,
    *,
    endpoint: str | None = None,
    on_row: Callable[[Row], None] | None = None,
    on_chunk: Callable[[RequestChunk], None] | None = None,
    max_problems: int = 100,
    line_origins: LineOrigins | None = None,
    longest: int | None = None,
) -> CheckReport:
    """Check `stream`, which must be seekable, from here to its end. Return the report.

    The report counts every problem, and describes at most `max_problems` of them. Each line's url must be `endpoint`,
    or the url of the first line if `endpoint` is None. `on_row` is called for each acceptable line, in order, and makes
    the check slow. `on_chunk` is called for many acceptable lines at once, in order; ignore what it got if the report
    is not ok. `line_origins` says which file each line comes from, if several files were joined. A line of more than
    `longest` bytes is not read (None: `max_line_bytes`).
    """
    longest = longest or max_line_bytes()
    rules = (limits, endpoint, max_problems, line_origins)
    if on_row is None:
        start = stream.tell()
        hashes = IdHashes()
        checker = _Checker(*rules, hashes.seen)
        _by_chunks(stream, checker, hashes, on_chunk, longest)
        if hashes.all_unique():
            return checker.finish()
        stream.seek(start)  # read again, to find the lines with the repeated ids
    with unique_ids() as seen:
        checker = _Checker(*rules, seen)
        for number, offset, raw in lines(stream, longest):
            row = checker.line(number, offset, raw)
            if row is not None and on_row is not None:
                on_row(row)
    return checker.finish()


def _by_chunks(
    stream: BinaryIO,
    checker: _Checker,
    hashes: IdHashes,
    on_chunk: Callable[[RequestChunk], None] | None,
    longest: int,
) -> None:
    """Check a block of lines at once if all of them are good, else line by line."""
    number = offset = 0
    for block, skipped in blocks(stream, longest):
        end = offset + len(block) + skipped
        chunk = None if skipped else read_chunk(block)
        if chunk is not None and checker.accepts(chunk, number, end, longest):
            number += len(chunk.ids)
            hashes.add(chunk.ids)
        else:
            rows: list[Row] = []
            for start, raw in lines_of_block(block, skipped, longest):
                number += 1
                row = checker.line(number, offset + start, raw)
                if row is not None:
                    rows.append(row)
            chunk = None
            if rows and on_chunk is not None:
                starts = [row.offset - offset for row in rows]
                accepted = [block[start : start + row.length] for start, row in zip(starts, rows, strict=True)]
                chunk = chunk_of(rows, accepted)
        if chunk is not None and on_chunk is not None:
            on_chunk(chunk)
        offset = end


class _Checker:
    """The rules, and what they need to remember from one line to the next."""

    def __init__(
        self,
        limits: Limits,
        endpoint: str | None,
        max_problems: int,
        line_origins: LineOrigins | None,
        seen: Callable[[str, str], str | None],
    ) -> None:
        self._limits = limits
        self._line_origins = line_origins
        self._first_lines = frozenset(line_origins.starts if line_origins is not None else (1,))
        self._max_problems = max_problems
        self._report = CheckReport(endpoint=endpoint)
        self._seen = seen
        self._long_id_line: int | None = None
        self._other_kind = False

    def line(self, number: int, offset: int, raw: bytes | int) -> Row | None:
        """Check one line. Return its row if it is acceptable, else None."""
        report = self._report
        report.lines = number
        if isinstance(raw, int):
            report.n_bytes = offset + raw
            if self._other_kind:
                return None
            self._add(number, "line_too_long", f"the line has {raw:,} bytes", None, _TOO_LONG)
            return None
        report.n_bytes = offset + len(raw) + 1
        is_first = number in self._first_lines
        if self._other_kind and not is_first:
            return None
        if is_first:
            kind = other_kind(raw)
            self._other_kind = kind is not None
            if kind is not None:
                self._add(number, "invalid_encoding", f"the file is {kind[0]}", None, kind[1])
                return None
            if raw.startswith(codecs.BOM_UTF8):
                self._warn(number, "byte_order_mark", "the file starts with a byte order mark", "it is not sent")
                raw, offset = raw[3:], offset + 3
                report.as_sent = False
        if raw.endswith(b"\r"):
            raw = raw[:-1]
            report.as_sent = False
        if not raw.strip():
            report.as_sent = False
            return None
        problems = report.problem_count
        parsed = self._parse(number, raw)
        if parsed is None or not self._is_plain(number, raw, parsed):
            return None
        row = self._judge(number, offset, len(raw), parsed)
        return row if report.problem_count == problems else None

    def accepts(self, chunk: RequestChunk, before: int, end: int, longest: int) -> bool:
        """Count the requests of a chunk and return True; return False if a line must be checked on its own.

        There are `before` lines before them. `end` is the byte offset after the last one's newline. A line of more than
        `longest` bytes is not accepted.
        """
        limits, report = self._limits, self._report
        longest = min(n for n in (limits.max_line_bytes, longest) if n is not None)
        if (
            self._other_kind
            or chunk.url != report.endpoint
            or max(map(len, chunk.ids)) > (_SHORT_ID_CHARS if self._long_id_line is None else MAX_ID_CHARS)
            or max(map(len, chunk.lines)) > longest
            or max(chunk.inputs) > MAX_EMBEDDING_INPUTS
            or not self._models_fit(set(chunk.models))
        ):
            return False
        count = len(chunk.ids)
        report.lines = before + count
        report.n_bytes = end
        report.requests += count
        report.embedding_inputs += sum(chunk.inputs)
        return True

    def _models_fit(self, models: set[str | None]) -> bool:
        """Return whether these models need no problem and no new entry in the report."""
        if None in models and self._report.endpoint != "/v1/moderations":
            return False
        if self._limits.one_model:
            return models <= {None, self._report.model}
        return len(self._report.models) >= self._max_problems or models - {None} <= self._report.models.keys()

    def finish(self) -> CheckReport:
        """Check the file as a whole, and return the report with its problems in the order of their lines."""
        report, limits = self._report, self._limits
        if not report.requests and not report.problem_count:
            message = "the file has no requests" if report.lines else "the file is empty, so it has no requests"
            self._add(None, "empty_file", message, None, "write one JSON object per line")
        for code, message in over_limits(report, limits):
            self._add(None, code, message, None, "split the file")
        if self._long_id_line is not None:
            self._warn(
                self._long_id_line, "long_custom_id", "custom_id has over 64 characters", "some providers refuse it"
            )
        report.problems.sort(key=lambda p: (p.line is None, p.line or 0))
        if self._line_origins is not None:
            report.problems = [self._line_origins.with_origin(problem) for problem in report.problems]
        return report

    def _parse(self, number: int, raw: bytes) -> AnyRequest | None:
        try:
            parsed = decode_any(raw)
            raw.decode()  # the decoder skips the values of other keys
        except UnicodeDecodeError as exc:
            message = f"invalid UTF-8 at or near byte {_bad_byte(raw, exc)}"
            self._add(number, "invalid_encoding", message, None, "save the file as UTF-8")
        except RecursionError:
            self._add(number, "invalid_json_line", "the JSON is nested too deeply", None, "flatten the request")
        except msgspec.ValidationError as exc:
            if raw.lstrip()[:1] == b"{":
                self._add(
                    number, "invalid_json_line", f"a number is out of range ({exc})", None, "write it as JSON allows"
                )
            else:
                remedy = "write one JSON object per line, without an array around them"
                self._add(number, "invalid_json_line", "the line is not a JSON object", None, remedy)
        except msgspec.DecodeError as exc:
            self._add(number, "invalid_json_line", *_json_fault(number, raw, exc))
        else:
            return parsed
        return None

    def _is_plain(self, number: int, raw: bytes, parsed: AnyRequest) -> bool:
        """Return whether every parser reads the line in the same way."""
        body = parsed.body if isinstance(parsed.body, dict) else {}
        try:
            too_deep = is_too_deep(raw, body)
            key = None if too_deep else repeated_key(raw, (*AnyRequest.__struct_fields__, *body))
        except RecursionError:  # nested too deeply outside the body
            too_deep, key = True, None
        if too_deep:
            message = f"the JSON is nested more than {MAX_DEPTH} levels deep"
            self._add(number, "invalid_json_line", message, None, "flatten the request")
            return False
        if key is not None:
            self._add(number, "invalid_json_line", f"the key {_show(key)} occurs twice", key, "keep one of them")
            return False
        return True

    def _judge(self, number: int, offset: int, length: int, parsed: AnyRequest) -> Row | None:
        limits, report = self._limits, self._report
        report.requests += 1
        if limits.max_line_bytes is not None and length > limits.max_line_bytes:
            message = f"the line has {length:,} bytes; the provider accepts {limits.max_line_bytes:,}"
            self._add(number, "line_too_long", message, None, "shorten the request")
        self._custom_id(number, parsed.custom_id)
        if parsed.method is msgspec.UNSET:
            self._missing(number, "method", 'add "method": "POST"')
        elif parsed.method != "POST":
            self._add(number, "invalid_request", f"method is {_show(parsed.method)}", "method", 'it must be "POST"')
        self._url(number, parsed.url)
        inputs = count_inputs(parsed.url, parsed.body.get("input") if isinstance(parsed.body, dict) else None)
        model = self._body(number, parsed.body, inputs)
        if not isinstance(parsed.custom_id, str) or not isinstance(parsed.url, str):
            return None
        return Row(number, offset, length, parsed.custom_id, parsed.url, model, inputs)

    def _custom_id(self, number: int, value: object) -> None:
        if value is msgspec.UNSET:
            self._missing(number, "custom_id", "give each line its own id")
        elif not isinstance(value, str) or not value:
            remedy = "it must be a string that is not empty"
            if isinstance(value, int) and not isinstance(value, bool):
                remedy = f'write it as a string: "{value}"'
            self._add(number, "invalid_request", f"custom_id is {_show(value)}", "custom_id", remedy)
        else:
            first = self._seen(value, str(number))
            if first is not None:
                message = f"custom_id {_show(value)} is also {self._location(int(first))}"
                self._add(number, "duplicate_custom_id", message, "custom_id", "give each line its own id")
            if len(value) > MAX_ID_CHARS or not value.isprintable():
                message = f"custom_id {_show(value)} is too long or has control characters"
                self._add(number, "invalid_request", message, "custom_id", "use up to 64 printable characters")
            elif len(value) > _SHORT_ID_CHARS and self._long_id_line is None:
                self._long_id_line = number

    def _url(self, number: int, value: object) -> None:
        limits, report = self._limits, self._report
        if value is msgspec.UNSET:
            self._missing(number, "url", 'add "url": "/v1/chat/completions", or the endpoint that you use')
        elif not isinstance(value, str) or not value.startswith("/"):
            self._add(
                number, "invalid_url", f"url is {_show(value)}", "url", 'it must be a path like "/v1/chat/completions"'
            )
        elif report.endpoint is None:
            report.endpoint = value
            if limits.endpoints and value not in limits.endpoints:
                known = ", ".join(limits.endpoints)
                self._add(number, "invalid_url", f"the provider has no batches for {value}", "url", f"it has {known}")
        elif value != report.endpoint:
            message = f"url is {value}, but the batch's endpoint is {report.endpoint}"
            remedy = "put each endpoint in its own file" if self._line_origins is None else "send each one separately"
            self._add(number, "url_mismatch", message, "url", remedy)

    def _body(self, number: int, body: object, inputs: int) -> str | None:
        report = self._report
        if body is msgspec.UNSET:
            self._missing(number, "body", "add the parameters of the request")
            return None
        if not isinstance(body, dict):
            self._add(number, "invalid_request", "body is not an object", "body", "write the parameters there")
            return None
        if body.get("stream"):
            self._add(
                number, "streaming_unsupported", "the request asks for streaming", "body.stream", "leave stream out"
            )
        report.embedding_inputs += inputs
        if report.endpoint == "/v1/embeddings" and inputs > MAX_EMBEDDING_INPUTS:
            message = f"{inputs:,} inputs in one request; one file may have {MAX_EMBEDDING_INPUTS:,}"
            self._add(number, "too_many_tasks", message, "body.input", "split it into several requests")
        model = body.get("model")
        if model is None:
            if report.endpoint != "/v1/moderations":  # there the model has a default
                self._missing(number, "body.model", "name the model")
            return None
        if not isinstance(model, str) or not model:
            self._add(number, "invalid_request", f"model is {_show(model)}", "body.model", "it must be a string")
            return None
        first = report.models.setdefault(model, number) if len(report.models) < self._max_problems else number
        if self._limits.one_model and first == number and report.model != model:
            message = (
                f"model is {_show(model)}, but line {report.models[report.model or model]} has {_show(report.model)}"
            )
            self._add(number, "model_mismatch", message, "body.model", "put each model in its own file")
        return model

    def _location(self, number: int) -> str:
        if self._line_origins is None:
            return f"on line {number}"
        name, line = self._line_origins.origin_of(number)
        return f"in {name}:{line}"

    def _missing(self, number: int, param: str, remedy: str) -> None:
        self._add(number, "missing_required_parameter", f"{param} is missing", param, remedy)

    def _warn(self, number: int | None, code: str, message: str, remedy: str) -> None:
        self._report.warning_count += 1
        self._report.problems.append(Problem(number, code, message, None, remedy, warning=True))

    def _add(self, number: int | None, code: str, message: str, param: str | None, remedy: str) -> None:
        report = self._report
        report.problem_count += 1
        report.codes[code] += 1
        # A problem of the whole file is always listed, even if the problems of lines fill the list.
        if number is None or report.problem_count <= self._max_problems:
            report.problems.append(Problem(number, code, message, param, remedy))


def over_limits(report: CheckReport, limits: Limits) -> Iterator[tuple[str, str]]:
    """Yield (code, message) for each limit of a file that the file as a whole exceeds."""
    if limits.max_requests is not None and report.requests > limits.max_requests:
        yield "too_many_tasks", f"{report.requests:,} requests; the provider accepts {limits.max_requests:,} per file"
    if limits.max_bytes is not None and report.n_bytes > limits.max_bytes:
        yield "file_too_large", f"{report.n_bytes:,} bytes; the provider accepts {limits.max_bytes:,} per file"
    inputs, max_inputs = report.embedding_inputs, limits.max_embedding_inputs
    if report.endpoint == "/v1/embeddings" and max_inputs is not None and inputs > max_inputs:
        yield "too_many_tasks", f"{inputs:,} embedding inputs; one file may have {max_inputs:,}"


def _show(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - fits a line of a terminal


def _bad_byte(raw: bytes, exc: UnicodeDecodeError) -> int:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as where:
        return where.start + 1
    return exc.start + 1


def _json_fault(number: int, raw: bytes, exc: Exception) -> tuple[str, None, str]:
    """Return what is wrong with a line that is not valid JSON, the parameter, and what to do."""
    text = raw.strip()
    message, remedy = json_fault(raw, exc, "write one whole JSON object per line")
    if b"\0" in raw:
        remedy = "the line contains NUL bytes, perhaps after a crash: write the file again"
    elif b"\r{" in raw and not (number == 1 and text in (b"[", b"{")):
        remedy = "the file has old Mac line ends: write \\n line ends"
    return message, None, remedy
