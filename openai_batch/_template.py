"""Texts made of a row: templates over its columns, and plain texts that are the same for every row.

A text is a template if it has `{{` or `{%`. One that only names columns is filled in here, five times as fast; for
any other Jinja is imported. It runs in its sandbox, where values are data: no attribute that begins with an
underscore, and nothing that changes the row, can be reached.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._rows import Row


_HOLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_NO_COLUMNS = {"row", "range", "self", "true", "false", "none", "True", "False", "None"}
_JINJA = ("{{", "{%", "{#", "}}")


class Template:
    """A text for each row; `constant` is that text where it is the same for all of them."""

    def __init__(self, text: str, flag: str) -> None:
        """Compile `text`, which came by `flag`. Raises UsageError where it is no template."""
        self.constant = None if "{{" in text or "{%" in text else text
        if self.constant is None:
            fixed, names = _holes(text)
            self._fixed, self._names = fixed, names
            self._render = _filled(fixed, names) if names else _compiled(text, flag)

    def around(self, column: str) -> tuple[str, str] | None:
        """Return the texts before and after the column, where the template is that column once and no other."""
        if self.constant is not None or self._names != [column]:
            return None
        return self._fixed[0], self._fixed[1]

    def text(self, row: Row) -> str:
        """Return the text for a row. Raises InputError where a column is not there or the template fails."""
        return self.constant if self.constant is not None else self._render(row)


def as_text(value: Any) -> str:
    """Return a cell as text: strings as they are, lists and objects as JSON, nothing as nothing.

    Raises InputError for bytes, which are no text.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray | memoryview):
        raise InputError("the cell holds bytes, which are no text", hint="choose another column")
    if isinstance(value, bool | dict | list | tuple | set):
        return msgspec.json.encode(value).decode()
    return str(value)


def known_columns(columns: Iterable[str]) -> str:
    """Return a clause that lists columns."""
    names = [str(name) for name in columns]
    shown = ", ".join(names[:30]) + (f" and {len(names) - 30:,} more" if len(names) > 30 else "")  # noqa: PLR2004
    return f"the columns are {shown}" if len(names) != 1 else f"the only column is {shown}"


def _holes(text: str) -> tuple[list[str], list[str]]:
    """Return the fixed parts and the names of a template that only names columns; no names for any other."""
    pieces = _HOLE.split(re.sub("\r\n?", "\n", text))  # as Jinja has it
    fixed, names = pieces[::2], pieces[1::2]
    if not _NO_COLUMNS.isdisjoint(names) or any(mark in part for part in fixed for mark in _JINJA):
        return [], []
    return fixed, names


def _filled(fixed: list[str], names: list[str]) -> Callable[[Row], str]:
    pairs = list(zip(names, fixed[1:], strict=True))

    def render(row: Row) -> str:
        pieces = [fixed[0]]
        try:
            for name, after in pairs:
                value = row[name]
                pieces += (value if isinstance(value, str) else as_text(value), after)
        except KeyError as exc:
            raise _undefined(f"{exc.args[0]!r} is undefined", row) from None
        return "".join(pieces)

    return render


def _compiled(text: str, flag: str) -> Callable[[Row], str]:
    from jinja2 import StrictUndefined, TemplateError, UndefinedError, nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, StrictUndefined) else as_text(value),
        keep_trailing_newline=True,
        autoescape=False,  # prompts are no HTML
    )
    numbers = environment.globals["range"]  # capped by the sandbox
    environment.globals.clear()
    environment.globals["range"] = numbers
    environment.filters["tojson"] = lambda value: msgspec.json.encode(value).decode()
    try:
        if any(node.name == "self" for node in environment.parse(text).find_all(nodes.Name)):
            raise UsageError(f"{flag}: `self` is Jinja's own name", hint='write {{ row["self"] }} for that column')
        template = environment.from_string(text)
    except TemplateError as exc:
        place = getattr(exc, "lineno", 1)
        hint = "write columns as {{ name }}"
        raise UsageError(f"{flag}: line {place} is no template: {exc.message}", hint=hint) from None

    def render(row: Row) -> str:
        try:
            return template.render(row if "row" in row else {**row, "row": row})
        except UndefinedError as exc:
            raise _undefined(exc.message, row) from None
        except InputError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever an expression over a user's values may raise
            reason = str(exc) if isinstance(exc, TemplateError) else f"{type(exc).__name__}: {exc}"
            raise InputError(f"the template fails: {reason}", hint="mend the template") from None

    return render


def _undefined(message: str | None, row: Row) -> InputError:
    return InputError(f"{message}; {known_columns(row)}", hint="mend the template or the row")
