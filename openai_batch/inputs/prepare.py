"""Write a batch input file from the rows of tables, one request for each row, without keeping rows in memory.

The parts of a line that are the same for every row are encoded once; each row only fills in the rest.
"""

from __future__ import annotations

import re
import secrets
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

import msgspec

from openai_batch.errors import InputError, Problem, UsageError
from openai_batch.requests.build import request_line
from openai_batch.requests.check import MAX_ID_CHARS
from openai_batch.requests.endpoints import BatchType
from openai_batch.requests.report import problems_text

from .readers import PROMPT, problem
from .templates import Template, as_text, columns_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .formats import Table
    from .readers import Row, Rows
    from .request_spec import RequestSpec

    _MakeLine = Callable[[int, Row, int | None], bytes]  # of (number of the request, row, place of the row)

MAX_SHOWN = 100
"""The most problems that are listed; more are only counted."""

_FLUSH_BYTES = 1 << 20
_encode = msgspec.json.encode


def prepare(tables: Iterable[Table], spec: RequestSpec, target: BinaryIO, *, limit: int | None = None) -> int:
    """Write one request for each row to `target`, at most `limit`, and return how many rows were read.

    Raises InputError if there is a problem or no row. It lists at most MAX_SHOWN problems, each as
    `file:line: message: remedy`. Raises UsageError if `spec` does not fit.
    """
    count = 0
    problems = _Problems()
    first_name = ""
    kinds = set()
    with ExitStack() as stack:
        compiled = _CompiledSpec(spec, stack)
        for table in tables:
            first_name = first_name or table.name
            kinds.add(table.kind)
            rows = islice(table.rows, None if limit is None else limit - count)
            count = _write_rows(table, rows, compiled, target, count, problems)
            if count == limit:
                break
    problems.raise_if_any()
    if not count:
        if kinds <= {"txt"}:
            raise InputError(f"{first_name}: there is no prompt", hint="write one prompt per line")
        raise InputError(f"{first_name}: there is no row", hint="write at least one row below the header")
    return count


def _write_rows(
    table: Table, rows: Rows, compiled: _CompiledSpec, target: BinaryIO, count: int, problems: _Problems
) -> int:
    """Write the requests for the rows of one table and return the new count of rows."""
    make_line: _MakeLine | None = None
    out: list[bytes] = []
    size = 0
    for where, row in rows:
        if isinstance(row, Problem):
            problems.add(table.name, row)
            count += 1
            continue
        try:
            if make_line is None:
                make_line = compiled.line_maker(row, table)
            count += 1
            line = make_line(count, row, where)
        except InputError as exc:
            problems.add(table.name, problem(where, str(exc), exc.hint))
            if make_line is None:
                return count + 1  # every row of this table has the same problem
            continue
        if not problems.count:
            out.append(line)
            size += len(line)
            if size > _FLUSH_BYTES:
                target.write(b"".join(out))
                out.clear()
                size = 0
    target.write(b"".join(out))
    return count


class _CompiledSpec:
    """A RequestSpec with its templates compiled and the fixed parts of a line encoded."""

    def __init__(self, spec: RequestSpec, stack: ExitStack) -> None:
        self._spec = spec
        self._kind, self._url = spec.target
        self._prompt = Template(spec.prompt, "--prompt") if spec.prompt is not None else None
        if self._prompt is not None and self._prompt.constant is not None and not spec.images:
            raise UsageError(
                "--prompt is the same for every row", hint='write a column as {{ name }}: --prompt "… {{ text }}"'
            )
        self._texts = {
            name: Template(text, f"--{name}")
            for name, text in (("system", spec.system), ("score", spec.score), ("rerank", spec.rerank))
            if text is not None
        }
        if spec.id_column is not None:
            from openai_batch.requests.unique_ids import unique_ids

            self._earlier_place = stack.enter_context(unique_ids())
        self._line_format, self._fields = self._encode_fixed_parts()

    def line_maker(self, row: Row, table: Table) -> _MakeLine:
        """Return the function that makes the line for each row of a table with the columns of `row`.

        Raises InputError if no column holds the prompt.
        """
        encoders = {name: _text_encoder(template) for name, template in self._texts.items()}
        encoders["prompt"] = self._prompt_encoder(row, table)
        fields, line_format = [encoders[name] for name in self._fields], self._line_format
        if self._spec.id_column is None:
            if len(fields) == 1:  # the usual case, made faster
                encode = fields[0]
                return lambda number, row, _where: line_format % (number, encode(row))
            return lambda number, row, _where: line_format % (number, *[encode(row) for encode in fields])
        make_id = self._id_maker(self._spec.id_column, table.name)
        return lambda _number, row, where: line_format % (make_id(row, where), *[encode(row) for encode in fields])

    def _encode_fixed_parts(self) -> tuple[bytes, list[str]]:
        """Return the format of a line, for the % operator, and the names of its fields after the id."""
        token = secrets.token_hex(8)  # no text of the user contains it
        fields = {
            name: f"{token}:{name}" if template.constant is None else template.constant
            for name, template in self._texts.items()
        }
        line = request_line(f"{token}:id", self._url, self._spec.body(f"{token}:prompt", fields))
        fixed = re.split(rb'"%b:([a-z]+)"' % token.encode(), line.replace(b"%", b"%%"))
        names = [name.decode() for name in fixed[3::2]]
        expected = {"prompt", *(name for name, template in self._texts.items() if template.constant is None)}
        if set(names) != expected:
            raise UsageError("a --param replaces a parameter made from the rows", hint="leave that parameter out")
        if self._spec.id_column is None:
            custom_id = _json(self._spec.prefix)[:-1].replace(b"%", b"%%") + b'-%d"'
        else:
            custom_id = b"%b"
        return fixed[0] + custom_id + b"%b".join(fixed[2::2]), names

    def _prompt_encoder(self, row: Row, table: Table) -> Callable[[Row], bytes]:
        """Return the function that encodes the prompt of a row, with images or as documents if asked for."""
        if self._kind is BatchType.RERANK and self._prompt is None and "documents" in row:
            return _encode_documents
        text = self._prompt.text if self._prompt is not None else _column_reader(default_column(row))

        wrap = self._prompt_wrapper(table)

        def encode(row: Row) -> bytes:
            value = text(row)
            if not value or value.isspace():
                raise InputError("the prompt is empty", hint="fill it in, or leave the row out")
            return _json(value if wrap is None else wrap(value, row))

        return encode

    def _prompt_wrapper(self, table: Table) -> Callable[[str, Row], list[Any]] | None:
        """Return the function that makes the prompt of a row a list; None if the prompt is sent as text."""
        if self._kind is BatchType.RERANK:
            return lambda prompt, _row: [prompt]
        if not self._spec.images:
            return None
        from .image_columns import ImageColumns, content_parts, folders_of

        images = ImageColumns(self._spec.images, folders_of(table.origin), inline=self._spec.inline_images)
        responses = self._kind is BatchType.RESPONSES
        return lambda prompt, row: content_parts(prompt, images.urls(row), responses=responses)

    def _id_maker(self, column: str, table_name: str) -> Callable[[Row, int | None], bytes]:
        """Return the function that encodes the id of (row, place of the row), which is in `column`."""

        def custom_id(row: Row, where: int | None) -> bytes:
            value = _cell(row, column)
            text = str(value) if isinstance(value, int | UUID) and not isinstance(value, bool) else value
            if not isinstance(text, str) or not text:
                raise InputError(f"{column} is not an id: {_shown(value)}", hint="an id is a text or a whole number")
            if len(text) > MAX_ID_CHARS or not text.isprintable():
                raise InputError(
                    f"{column} is too long for an id or has control characters: {_shown(text)}",
                    hint="use up to 64 printable characters",
                )
            encoded = _json(text)
            if (earlier := self._earlier_place(text, f"{table_name}:{where}")) is not None:
                raise InputError(f"the id {_shown(text)} is also at {earlier}", hint="give each row its own id")
            return encoded

        return custom_id


class _Problems:
    """The problems so far: the first MAX_SHOWN are kept, all are counted."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[Problem] = []

    def add(self, file: str, new: Problem) -> None:
        """Count a problem in the file `file`, and keep it if there is room."""
        self.count += 1
        if self.count <= MAX_SHOWN:
            self._first.append(replace(new, file=file))

    def raise_if_any(self) -> None:
        """Raise InputError if there is a problem."""
        if not self.count:
            return
        general = "fix the input; if a file was taken for another kind, say what it is with --format"
        raise InputError(
            problems_text("the input", self._first, self.count, outcome="nothing was prepared"),
            hint=self._first[0].remedy if self.count == 1 else general,
            problems=self._first,
        )


def default_column(row: Row) -> str:
    """Return the column with the prompt: prompt, text or the only one. Raises InputError if there is none of these."""
    for name in (PROMPT, "text"):
        if name in row:
            return name
    if len(row) == 1:
        return next(iter(row))
    raise InputError(f"no column is called prompt or text; {columns_text(row)}", hint='--prompt "{{ column }}"')


def _cell(row: Row, column: str) -> Any:
    """Return a cell. Raises InputError if the row does not have that column."""
    try:
        return row[column]
    except KeyError:
        raise InputError(f"there is no column {column!r}; {columns_text(row)}", hint="fix the row") from None


def _column_reader(column: str) -> Callable[[Row], str]:
    """Return the function that returns the cell of `column` as text."""

    def text(row: Row) -> str:
        value = row.get(column)
        return value if isinstance(value, str) else as_text(_cell(row, column))

    return text


def _text_encoder(template: Template) -> Callable[[Row], bytes]:
    return lambda row: _json(template.text(row))


def _encode_documents(row: Row) -> bytes:
    """Encode the column `documents`: a list of texts, the JSON text of one, or one text."""
    value = _cell(row, "documents")
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = msgspec.json.decode(value)
        except msgspec.MsgspecError:
            value = [value]
    documents = value if isinstance(value, list) else [value]
    if not documents or not all(isinstance(item, str) and item for item in documents):
        raise InputError("documents is not a list of texts", hint="write a JSON list of strings")
    return _json(documents)


def _json(value: Any) -> bytes:
    """Encode a value. Raises InputError if a text in it has half of a surrogate pair."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        raise InputError(
            "the text contains half of a surrogate pair, which is not a character", hint="fix or replace it"
        ) from None


def _shown(value: Any) -> str:
    return ascii(value)[:80]
