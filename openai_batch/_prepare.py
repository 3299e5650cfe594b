"""Turn the rows of tables into a batch input file, streaming from end to end.

The parts of a line that are the same for every row are encoded once, with holes for what a row fills in.
"""

from __future__ import annotations

import re
import secrets
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

import msgspec

from ._check import MAX_ID_CHARS, Problem
from ._requests import BatchType, request_line
from ._rows import MARK, PROMPT, Block, Prompts, problem
from ._template import Template, as_text, known_columns
from .errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._pictures import Pictures
    from ._recipe import Recipe
    from ._rows import Row, Rows
    from ._tables import Table

    _Line = Callable[[int, Row, int | None], bytes]

MAX_SHOWN = 100
"""Problems that are told in full; the others are counted."""

_FLUSH = 1 << 20
_encode = msgspec.json.encode


def prepare(tables: Iterable[Table], recipe: Recipe, target: BinaryIO, *, limit: int | None = None) -> int:
    """Write one request a row to `target` and return how many, at most `limit`.

    Raises InputError with every problem (capped), each as `file:line: what: remedy`, or if there is no row.
    """
    count = 0
    faults = _Faults()
    name = ""
    kinds = set()
    with ExitStack() as stack:
        compiled = _Compiled(recipe, stack)
        for table in tables:
            name = name or table.name
            kinds.add(table.kind)
            count = _write(table, compiled, target, count, limit, faults)
            if count == limit:
                break
    faults.tell()
    if not count:
        if kinds <= {"txt"}:
            raise InputError(f"{name}: there is no prompt", hint="write one prompt a line")
        raise InputError(f"{name}: there is no row", hint="write one row at least below the header")
    return count


def _write(table: Table, compiled: _Compiled, target: BinaryIO, count: int, limit: int | None, faults: _Faults) -> int:
    """Write the rows of one table and return the new count."""
    most = None if limit is None else limit - count
    if not isinstance(table.rows, Prompts) or (around := compiled.around_prompts()) is None:
        return _write_rows(table, islice(table.rows, most), compiled, target, count, faults)
    for piece in table.rows.pieces(most):
        if not isinstance(piece, Block):
            count = _write_rows(table, piece, compiled, target, count, faults)
            continue
        if not faults.count:
            target.write(piece.numbered(*around, count + 1))
        count += piece.count
    return count


def _write_rows(table: Table, rows: Rows, compiled: _Compiled, target: BinaryIO, count: int, faults: _Faults) -> int:
    """Write the rows of one table, or some of them, one by one, and return the new count."""
    line: _Line | None = None
    out: list[bytes] = []
    size = 0
    for where, row in rows:
        if isinstance(row, Problem):
            faults.add(table.name, row)
            count += 1
            continue
        try:
            if line is None:
                line = compiled.line_of(row, table)
            count += 1
            made = line(count, row, where)
        except InputError as exc:
            faults.add(table.name, problem(where, str(exc), exc.hint))
            if line is None:
                return count + 1  # no row of this table can be told from another
            continue
        if not faults.count:
            out.append(made)
            size += len(made)
            if size > _FLUSH:
                target.write(b"".join(out))
                out.clear()
                size = 0
    target.write(b"".join(out))
    return count


class _Compiled:
    """A recipe made ready: templates compiled, the fixed parts of a line encoded."""

    def __init__(self, recipe: Recipe, stack: ExitStack) -> None:
        self._recipe = recipe
        self._kind, self._url = recipe.target
        self._token = secrets.token_hex(8)  # what no text of the user's can hold
        self._prompt = Template(recipe.prompt, "--prompt") if recipe.prompt is not None else None
        if self._prompt is not None and self._prompt.constant is not None and not recipe.images:
            raise UsageError(
                "--prompt is the same for every row", hint='write a column as {{ name }}: --prompt "… {{ text }}"'
            )
        self._texts = {
            name: Template(text, f"--{name}")
            for name, text in (("system", recipe.system), ("score", recipe.score), ("rerank", recipe.rerank))
            if text is not None
        }
        self._seen: Callable[[str, str], str | None] | None = None
        if recipe.id_column is not None:
            from ._unique import unique_ids

            self._seen = stack.enter_context(unique_ids())
        self._fixed, self._holes = self._encoded()

    def line_of(self, row: Row, table: Table) -> _Line:
        """Return what makes a line of (number, row, place) for a table with a row like this one."""
        makers = {name: _text_maker(template) for name, template in self._texts.items()}
        makers["prompt"] = self._prompt_maker(row, table)
        fills = [makers[name] for name in self._holes]
        ids = self._id_maker(table.name)
        head, first, *rest = self._fixed
        if len(fills) == 1:
            fill, last = fills[0], rest[0]
            return lambda number, row, where: b"%b%b%b%b%b" % (head, ids(number, row, where), first, fill(row), last)

        def line(number: int, row: Row, where: int | None) -> bytes:
            pieces = [head, ids(number, row, where), first]
            for fill, after in zip(fills, rest, strict=True):
                pieces += (fill(row), after)
            return b"".join(pieces)

        return line

    def around_prompts(self) -> tuple[bytes, bytes] | None:
        """Return what stands before and after the text of each prompt, with %d for its number and %% for %.

        None if lines are made of more than that, so that they are to be made one by one.
        """
        around = self._prompt.around(PROMPT) if self._prompt is not None else ("", "")
        if around is None or self._holes != ["prompt"] or self._recipe.images or self._recipe.id_column is not None:
            return None
        brackets = (b"[", b"]") if self._kind is BatchType.RERANK else (b"", b"")
        head, first, last = self._fixed
        try:
            prefix, before, after = (_json(text)[1:-1] for text in (self._recipe.prefix, *around))
        except InputError:
            return None  # half a surrogate pair, which is told for each line
        opening = b'"'.join((head, prefix + MARK, first + brackets[0], before))
        closing = b'"'.join((after, brackets[1] + last))
        if (opening + closing).count(MARK) > 1:
            return None
        return opening.replace(b"%", b"%%").replace(MARK, b"-%d"), closing.replace(b"%", b"%%")

    def _encoded(self) -> tuple[list[bytes], list[str]]:
        """Return the fixed parts of a line, and the names of the holes after the id's."""
        marks = {
            name: self._mark(name) if template.constant is None else template.constant
            for name, template in self._texts.items()
        }
        whole = request_line(self._mark("id"), self._url, self._recipe.body(self._mark("prompt"), marks))
        pieces = re.split(rb'"%b:([a-z]+)"' % self._token.encode(), whole)
        holes = [name.decode() for name in pieces[3::2]]
        wanted = {"prompt", *(name for name, template in self._texts.items() if template.constant is None)}
        if set(holes) != wanted:
            raise UsageError("a --param replaces what is made of the rows", hint="leave that parameter out")
        return pieces[::2], holes

    def _mark(self, name: str) -> str:
        return f"{self._token}:{name}"

    def _prompt_maker(self, row: Row, table: Table) -> Callable[[Row], bytes]:
        """Return what encodes the prompt of a row, with its images or as documents where that is asked for."""
        if self._kind is BatchType.RERANK and self._prompt is None and "documents" in row:
            return _documents
        text = self._prompt.text if self._prompt is not None else _cell_reader(_default_column(row))

        def checked(row: Row) -> str:
            found = text(row)
            if not found or found.isspace():
                raise InputError("the prompt is empty", hint="fill it in, or leave the row out")
            return found

        if self._kind is BatchType.RERANK:
            return lambda row: b"[%b]" % _json(checked(row))
        if not self._recipe.images:
            return lambda row: _json(checked(row))
        return _picture_maker(self._pictures(table), checked, responses=self._kind is BatchType.RESPONSES)

    def _pictures(self, table: Table) -> Pictures:
        from ._pictures import Pictures, folders_of

        return Pictures(self._recipe.images, folders_of(table.origin), inline=self._recipe.inline_images)

    def _id_maker(self, name: str) -> _Line:
        seen, column = self._seen, self._recipe.id_column
        if seen is None or column is None:
            prefix = _json(self._recipe.prefix)[:-1]
            return lambda number, _row, _where: b'%b-%d"' % (prefix, number)

        def custom_id(_number: int, row: Row, where: int | None) -> bytes:
            value = _cell(row, column)
            text = str(value) if isinstance(value, int | UUID) and not isinstance(value, bool) else value
            if not isinstance(text, str) or not text:
                raise InputError(f"{column} is no id: {_shown(value)}", hint="an id is a text or a whole number")
            if len(text) > MAX_ID_CHARS or not text.isprintable():
                raise InputError(
                    f"{column} is too long for an id or has control characters: {_shown(text)}",
                    hint="use up to 64 printable characters",
                )
            encoded = _json(text)
            if (before := seen(text, f"{name}:{where}")) is not None:
                raise InputError(f"the id {_shown(text)} is also at {before}", hint="give each row an id of its own")
            return encoded

        return custom_id


class _Faults:
    """The problems so far: the first ones whole, all of them counted."""

    def __init__(self) -> None:
        self.count = 0
        self._told: list[str] = []
        self._problems: list[Problem] = []

    def add(self, name: str, fault: Problem) -> None:
        """Take in a problem of the file `name`."""
        self.count += 1
        if self.count <= MAX_SHOWN:
            self._told.append(fault.located(name))
            self._problems.append(fault)

    def tell(self) -> None:
        """Raise InputError if there is any."""
        if not self.count:
            return
        word = "problem" if self.count == 1 else "problems"
        more = f"\n… and {self.count - MAX_SHOWN:,} more" if self.count > MAX_SHOWN else ""
        general = "mend the input; --format says what a file is, where it was taken for another kind"
        raise InputError(
            f"the input has {self.count:,} {word}; nothing was prepared\n" + "\n".join(self._told) + more,
            hint=self._problems[0].remedy if self.count == 1 else general,
            problems=self._problems,
        )


def _default_column(row: Row) -> str:
    for name in (PROMPT, "text"):
        if name in row:
            return name
    if len(row) == 1:
        return next(iter(row))
    raise InputError(f"no column is called prompt or text; {known_columns(row)}", hint='--prompt "{{ column }}"')


def _cell(row: Row, column: str) -> Any:
    try:
        return row[column]
    except KeyError:
        raise InputError(f"there is no column {column!r}; {known_columns(row)}", hint="mend the row") from None


def _cell_reader(column: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = row.get(column)
        return value if isinstance(value, str) else as_text(_cell(row, column))

    return text


def _text_maker(template: Template) -> Callable[[Row], bytes]:
    return lambda row: _json(template.text(row))


def _picture_maker(pictures: Pictures, text: Callable[[Row], str], *, responses: bool) -> Callable[[Row], bytes]:
    from ._pictures import parts

    return lambda row: _json(parts(text(row), pictures.urls(row), responses=responses))


def _documents(row: Row) -> bytes:
    """Encode the column `documents`: a list of texts, the JSON text of one, or one text."""
    value = _cell(row, "documents")
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = msgspec.json.decode(value)
        except msgspec.MsgspecError:
            value = [value]
    found = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(item, str) and item for item in found):
        raise InputError("documents is no list of texts", hint="write a JSON list of strings")
    return _json(found)


def _json(value: Any) -> bytes:
    try:
        return _encode(value)
    except UnicodeEncodeError:
        raise InputError(
            "the text holds half of a surrogate pair, which is no character", hint="mend or replace it"
        ) from None


def _shown(value: Any) -> str:
    return ascii(value)[:80]
