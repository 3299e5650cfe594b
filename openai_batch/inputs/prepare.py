"""Write a batch input file from the rows of tables, one request for each row, without keeping rows in memory.

The parts of a line that are the same for every row are encoded once; each row only fills in the rest.
"""

from __future__ import annotations

import re
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

import msgspec

from openai_batch.errors import InputError, Problem, UsageError
from openai_batch.requests.build import request_line
from openai_batch.requests.check import MAX_ID_CHARS
from openai_batch.requests.check_report import problem_lines
from openai_batch.requests.endpoints import BatchType

from .default_column import cell_of, column_reader, default_column, is_stored_by_columns, messages_of
from .readers import PROMPT, Prompts, problem
from .source_rows import encoded_row
from .templates import ColumnError, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .formats import Table
    from .readers import Row
    from .request_spec import RequestSpec

    _MakeLine = Callable[[int, Row, int | None], bytes]  # of (number of the request, row, place of the row)

MAX_SHOWN = 100  # the most problems that are listed; more are only counted

_FLUSH_BYTES = 1 << 20
_BY_ROWS = 'write it by rows: to_json(FILE, orient="records", lines=True)'
_encode = msgspec.json.encode
_encode_lines = msgspec.json.Encoder().encode_lines
_AROUND_ROW = (b'{"' + PROMPT.encode() + b'":', b"}\n")  # as `encoded_row` writes a row of a prompt


@dataclass(slots=True)
class Prepared:
    """The result of making requests from rows."""

    requests: int = 0  # the number of requests
    skipped: int = 0  # the number of rows that were skipped because their prompt is empty
    # The column with the prompts if the user did not name it and the input is not only prompts; else None.
    column: str | None = None


def prepare(
    tables: Iterable[Table],
    spec: RequestSpec,
    target: BinaryIO,
    *,
    limit: int | None = None,
    skip_empty: bool = False,
    rows_to: BinaryIO | None = None,
) -> Prepared:
    """Write one request for each row to `target`, at most `limit`, and return what was made.

    With `skip_empty`, rows with an empty prompt are skipped. Each row that became a request is written to `rows_to`
    (see `source_rows`). Raises InputError if there is a problem or no request. It lists at most MAX_SHOWN problems,
    each as `file:line: message: remedy`. Raises UsageError if `spec` does not fit.
    """
    problems = _Problems()
    first_name = ""
    kinds = set()
    with ExitStack() as stack:
        writer = _Writer(_CompiledSpec(spec, stack), problems, target, rows_to, limit, skip_empty=skip_empty)
        for table in tables:
            first_name = first_name or table.name
            kinds.add(table.kind)
            writer.write(table)
            if writer.full:
                break
    problems.raise_if_any()
    made = writer.made
    if not made.requests:
        if made.skipped:
            raise NoPromptError(f"{first_name}: every prompt is empty", hint="fill them in, or choose another --prompt")
        if kinds <= {"txt"}:
            raise InputError(f"{first_name}: there is no prompt", hint="write one prompt per line")
        raise InputError(f"{first_name}: there is no row", hint="write at least one row below the header")
    return made


class _Writer:
    """Writes the requests for the rows of one table after the other."""

    def __init__(
        self,
        compiled: _CompiledSpec,
        problems: _Problems,
        target: BinaryIO,
        rows_to: BinaryIO | None,
        limit: int | None,
        *,
        skip_empty: bool,
    ) -> None:
        self._compiled = compiled
        self._problems = problems
        self._target = target
        self._rows_to = rows_to
        self._left = limit
        self._skip_empty = skip_empty
        self._make_line: _MakeLine | None = None
        self._number = 0  # of the last row, or of the last line of prompts
        self._lines: list[bytes] = []
        self._rows: list[bytes] = []
        self._size = 0
        self.made = Prepared()

    @property
    def full(self) -> bool:
        """Whether there are as many requests as the limit allows."""
        return self._left == 0

    def write(self, table: Table) -> None:
        """Write the requests for the rows of one table."""
        before = self._number
        self._make_line = None
        if isinstance(table.rows, Prompts) and (around := self._compiled.around_prompt) is not None:
            self._write_prompts(table, table.rows, around, before)
        else:
            for where, row in table.rows:
                # Prompts have the number of their line, which blank lines count in.
                is_line = table.kind == "txt" and where is not None
                if not self._write_row(table, where, row, before + (where or 0) if is_line else self._number + 1):
                    break
        self._flush()

    def _write_prompts(self, table: Table, prompts: Prompts, around: tuple[bytes, bytes], before: int) -> None:
        """Write the requests for prompts, many at once unless one of them has a problem or the limit is near."""
        opening, closing = around
        for numbers, texts in prompts.chunks():
            limited = self._left is not None and self._left < len(texts)
            if limited or self._problems.count or set(map(type, texts)) != {str}:
                for where, text in zip(numbers, texts, strict=True):
                    row = text if isinstance(text, Problem) else {PROMPT: text}
                    if not self._write_row(table, where, row, before + where):
                        return
                continue
            ids = [before + number for number in numbers]
            encoded = _encode_lines(texts)
            self._lines.append(_framed(encoded.replace(b"%", b"%%"), opening, closing) % tuple(ids))
            if self._rows_to is not None:
                self._rows.append(_framed(encoded, *_AROUND_ROW))
            self.made.requests += len(texts)
            self._number = ids[-1]
            self._flush()
            if self._left is not None:
                self._left -= len(texts)
                if not self._left:
                    return

    def _write_row(self, table: Table, where: int | None, row: Row | Problem, number: int) -> bool:
        """Write the request for a row. Return whether more rows of the table are wanted."""
        self._number = number
        if isinstance(row, Problem):
            self._problems.add(table.name, row)
        else:
            try:
                self._add(row, where, table)
            except _EmptyPromptError as exc:
                if self._skip_empty:
                    self.made.skipped += 1
                    return True
                self._problems.add(table.name, problem(where, str(exc), exc.hint))
            except InputError as exc:
                once = isinstance(exc, ColumnError)
                self._problems.add(table.name, problem(where, str(exc), exc.hint), once=once)
                if self._make_line is None:
                    return False  # every row of this table has the same problem
        if self._left is not None:
            self._left -= 1
        return not self.full

    def _add(self, row: Row, where: int | None, table: Table) -> None:
        """Add the request for a row. Raises InputError."""
        make_line = self._make_line
        if make_line is None:
            make_line, column = self._compiled.line_maker(row, table)
            self._make_line = make_line
            self.made.column = self.made.column or column
        line = make_line(self._number, row, where)
        if self._problems.count:
            return
        self.made.requests += 1
        self._lines.append(line)
        self._size += len(line)
        if self._rows_to is not None:
            self._rows.append(encoded_row(row))
        if self._size > _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._target.write(b"".join(self._lines))
        if self._rows_to is not None:
            self._rows_to.write(b"".join(self._rows))
        self._lines.clear()
        self._rows.clear()
        self._size = 0


class NoPromptError(InputError):
    """Every row was skipped, because its prompt is empty."""


class _EmptyPromptError(InputError):
    """The prompt of a row is empty."""


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
        self._prompt_parts = self._encode_fixed_parts()

    def line_maker(self, row: Row, table: Table) -> tuple[_MakeLine, str | None]:
        """Return the function that makes the line for each row of a table with the columns of `row`.

        Return also the column with the prompts, if the user did not name it and the input is not only prompts. Raises
        InputError if no column has the prompt.
        """
        if is_stored_by_columns(row):
            raise ColumnError("the table is stored by columns, as pandas' to_json() does", hint=_BY_ROWS)
        column = None
        if self._prompt is None:
            rerank = self._kind is BatchType.RERANK and "documents" in row
            column = "documents" if rerank else default_column(row, chats=self._has_chats)
        messages = column == "messages" and self._has_chats
        encoders = {name: _text_encoder(template) for name, template in self._texts.items()}
        encoders["prompt"] = self._messages_encoder() if messages else self._prompt_encoder(column, table)
        parts, names = self._encode_fixed_parts(messages=True) if messages else self._prompt_parts
        make_line = self._joined(b"%b".join(parts), [encoders[name] for name in names], table.name)
        return make_line, column if table.kind != "txt" else None

    @property
    def around_prompt(self) -> tuple[bytes, bytes] | None:
        """The parts of a line before and after the text of its prompt, for the % operator.

        None if more than the number of the row and the text as it is are filled in.
        """
        spec = self._spec
        if self._prompt is not None or self._kind is BatchType.RERANK or spec.images or spec.id_column is not None:
            return None
        parts, names = self._prompt_parts
        return (parts[0], parts[1]) if names == ["prompt"] else None

    @property
    def _has_chats(self) -> bool:
        """Whether a request can have a list of messages in place of a prompt."""
        return self._kind in (BatchType.CHAT_COMPLETION, BatchType.RESPONSES) and not self._spec.images

    def _joined(self, line_format: bytes, fields: list[Callable[[Row], bytes]], table_name: str) -> _MakeLine:
        """Return the function that makes the line of (number of the request, row, place of the row)."""
        if self._spec.id_column is None:
            if len(fields) == 1:  # the usual case, made faster
                encode = fields[0]
                return lambda number, row, _where: line_format % (number, encode(row))
            return lambda number, row, _where: line_format % (number, *[encode(row) for encode in fields])
        make_id = self._id_maker(self._spec.id_column, table_name)

        def line_with_id(_number: int, row: Row, where: int | None) -> bytes:
            cells = [encode(row) for encode in fields]  # first, so that the id of a row that is skipped stays free
            return line_format % (make_id(row, where), *cells)

        return line_with_id

    def _encode_fixed_parts(self, *, messages: bool = False) -> tuple[list[bytes], list[str]]:
        """Return the parts of a line around its fields, for the % operator, and the names of the fields after the id.

        With `messages`, the prompt is a list of messages; in a chat request it includes the system message.
        """
        token = secrets.token_hex(8)  # no text of the user contains it
        in_messages = messages and self._kind is BatchType.CHAT_COMPLETION
        texts = {} if in_messages else self._texts
        fields = {
            name: f"{token}:{name}" if template.constant is None else template.constant
            for name, template in texts.items()
        }
        body = self._spec.body(f"{token}:prompt", fields)
        if in_messages and "messages" not in self._spec.params:
            body["messages"] = f"{token}:prompt"
        try:
            line = request_line(f"{token}:id", self._url, body)
        except InputError as exc:  # it is in no row
            raise InputError(f"{exc.message.removeprefix(f'{token}:id: ')}; nothing was sent", hint=exc.hint) from None
        fixed = re.split(rb'"%b:([a-z]+)"' % token.encode(), line.replace(b"%", b"%%"))
        names = [name.decode() for name in fixed[3::2]]
        expected = {"prompt", *(name for name, template in texts.items() if template.constant is None)}
        if set(names) != expected:
            raise UsageError("a parameter replaces one that is made from the rows", hint="leave that parameter out")
        if self._spec.id_column is None:
            custom_id = _json(self._spec.prefix)[:-1].replace(b"%", b"%%") + b'-%d"'
        else:
            custom_id = b"%b"
        return [fixed[0] + custom_id + fixed[2], *fixed[4::2]], names

    def _prompt_encoder(self, column: str | None, table: Table) -> Callable[[Row], bytes]:
        """Return the function that encodes the prompt of a row: of its `column`, or from the template."""
        if column == "documents" and self._kind is BatchType.RERANK:
            return _encode_documents
        text = self._prompt.text if self._prompt is not None else column_reader(column or PROMPT)
        wrap = self._prompt_wrapper(table)

        def encode(row: Row) -> bytes:
            value = text(row)
            if not value or value.isspace():
                raise _EmptyPromptError("the prompt is empty", hint="fill it in, or skip such rows with --skip-empty")
            return _json(value if wrap is None else wrap(value, row))

        return encode

    def _messages_encoder(self) -> Callable[[Row], bytes]:
        """Return the function that encodes the messages of a row, after the system message of a chat request."""
        system = self._texts.get("system") if self._kind is BatchType.CHAT_COMPLETION else None

        def encode(row: Row) -> bytes:
            messages = messages_of(row)
            if not messages:
                raise _EmptyPromptError("there is no message", hint="fill it in, or skip such rows with --skip-empty")
            first = [{"role": "system", "content": system.text(row)}] if system is not None else []
            return _json([*first, *messages])

        return encode

    def _prompt_wrapper(self, table: Table) -> Callable[[str, Row], list[Any]] | None:
        """Return the function that makes the prompt of a row a list; None if the prompt is sent as text."""
        if self._kind is BatchType.RERANK:
            return lambda prompt, _row: [prompt]
        if not self._spec.images:
            return None
        from .image_columns import ImageColumns, content_parts

        images = ImageColumns(self._spec.images, table.origin, inline=self._spec.inline_images)
        responses = self._kind is BatchType.RESPONSES
        return lambda prompt, row: content_parts(prompt, images.urls(row), responses=responses)

    def _id_maker(self, column: str, table_name: str) -> Callable[[Row, int | None], bytes]:
        """Return the function that encodes the id of (row, place of the row), which is in `column`."""

        def custom_id(row: Row, where: int | None) -> bytes:
            value = cell_of(row, column)
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
        self._rows: dict[tuple[str | None, str], int] = {}  # by file and the start of the message

    def add(self, file: str, new: Problem, *, once: bool = False) -> None:
        """Count a problem in the file `file`, and keep it if there is room.

        With `once`, a problem that other rows of the file have as well is one problem.
        """
        if once:
            key = (file, new.message.partition(";")[0])
            self._rows[key] = self._rows.get(key, 0) + 1
            if self._rows[key] > 1:
                return
        self.count += 1
        if self.count <= MAX_SHOWN:
            self._first.append(replace(new, file=file))

    def _shown(self) -> list[Problem]:
        """Return the problems to list; one that several rows have says how many."""
        shown = []
        for item in self._first:
            rows = self._rows.get((item.file, item.message.partition(";")[0]), 1)
            shown.append(item if rows == 1 else replace(item, message=f"{item.message} (in {rows:,} rows)"))
        return shown

    def raise_if_any(self) -> None:
        """Raise InputError if there is a problem."""
        if not self.count:
            return
        shown = self._shown()
        remedies = {item.remedy for item in shown}
        hint, lines = "fix the input", shown
        if len(remedies) == 1:
            hint, lines = remedies.pop(), [replace(item, remedy="") for item in shown]
        if self.count > 1:
            hint += "; if a file was taken for another kind, say what it is with --format"
        first, *rest = problem_lines("the input", lines, self.count, outcome="nothing was prepared")
        raise InputError(first, hint=hint, details=rest, problems=shown)


def _framed(texts: bytes, opening: bytes, closing: bytes) -> bytes:
    """Return JSON texts, one a line, each between two parts. No text has a newline in it: there it is escaped."""
    return opening + texts.replace(b"\n", closing + opening).removesuffix(opening)


def _text_encoder(template: Template) -> Callable[[Row], bytes]:
    return lambda row: _json(template.text(row))


def _encode_documents(row: Row) -> bytes:
    """Encode the column `documents`: a list of texts, the JSON text of one, or one text."""
    value = cell_of(row, "documents")
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
    """Encode a value. Raises InputError if a text in it has a lone surrogate."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        raise InputError(
            "the text contains half of a surrogate pair, which is not a character", hint="fix or replace it"
        ) from None


def _shown(value: Any) -> str:
    return ascii(value)[:80]
