"""Texts made from a row: templates with columns, and plain texts that are the same for every row.

A text is a template if it contains `{{` or `{%`. A template that only names columns is filled in here, five times as
fast as with Jinja; Jinja's sandbox fills in all others. There, values are only data: a template cannot use attributes
that begin with an underscore, or anything that changes the row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .readers import Row


_COLUMN = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_NO_COLUMNS = {"row", "range", "self", "true", "false", "none", "True", "False", "None"}
_JINJA = ("{{", "{%", "{#", "}}")


class Template:
    """A text for each row; `constant` is the text if it is the same for all rows, else None."""

    def __init__(self, text: str, flag: str) -> None:
        """Compile `text`, the value of the option `flag`. Raises UsageError if it is not a valid template."""
        self.constant = None if "{{" in text or "{%" in text else text
        if self.constant is None:
            fixed, names = _parse_columns(text)
            self._render = _column_renderer(fixed, names) if names else _jinja_renderer(text, flag)

    def text(self, row: Row) -> str:
        """Return the text for a row. Raises InputError if a column is missing or the template fails."""
        return self.constant if self.constant is not None else self._render(row)


def as_text(value: Any) -> str:
    """Return a cell as text: strings unchanged, lists, objects and booleans as JSON, None as an empty text.

    Raises InputError for bytes.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray | memoryview):
        raise InputError("the cell contains bytes, not text", hint="choose another column")
    if isinstance(value, bool | dict | list | tuple | set):
        return msgspec.json.encode(value).decode()
    return str(value)


def columns_text(columns: Iterable[str]) -> str:
    """Return the part of a message that lists the columns."""
    names = [str(name) for name in columns]
    shown = ", ".join(names[:30]) + (f" and {len(names) - 30:,} more" if len(names) > 30 else "")  # noqa: PLR2004
    return f"the columns are {shown}" if len(names) != 1 else f"the only column is {shown}"


def _parse_columns(text: str) -> tuple[list[str], list[str]]:
    """Return the fixed parts and the columns of a template that only names columns; two empty lists for any other."""
    parts = _COLUMN.split(re.sub("\r\n?", "\n", text))  # Jinja changes line ends in the same way
    fixed, names = parts[::2], parts[1::2]
    if not _NO_COLUMNS.isdisjoint(names) or any(mark in part for part in fixed for mark in _JINJA):
        return [], []
    return fixed, names


def _column_renderer(fixed: list[str], names: list[str]) -> Callable[[Row], str]:
    pairs = list(zip(names, fixed[1:], strict=True))

    def render(row: Row) -> str:
        parts = [fixed[0]]
        try:
            for name, after in pairs:
                value = row[name]
                parts += (value if isinstance(value, str) else as_text(value), after)
        except KeyError as exc:
            raise _undefined(f"{exc.args[0]!r} is undefined", row) from None
        return "".join(parts)

    return render


def _jinja_renderer(text: str, flag: str) -> Callable[[Row], str]:
    from jinja2 import StrictUndefined, TemplateError, UndefinedError, nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, StrictUndefined) else as_text(value),
        keep_trailing_newline=True,
        autoescape=False,  # prompts are not HTML
    )
    limited_range = environment.globals["range"]  # the sandbox limits its length
    environment.globals.clear()
    environment.globals["range"] = limited_range
    environment.filters["tojson"] = lambda value: msgspec.json.encode(value).decode()
    try:
        if any(node.name == "self" for node in environment.parse(text).find_all(nodes.Name)):
            raise UsageError(f"{flag}: `self` is Jinja's own name", hint='write {{ row["self"] }} for that column')
        template = environment.from_string(text)
    except TemplateError as exc:
        line = getattr(exc, "lineno", 1)
        hint = "write columns as {{ name }}"
        raise UsageError(f"{flag}: line {line} is not a valid template: {exc.message}", hint=hint) from None

    def render(row: Row) -> str:
        try:
            return template.render(row if "row" in row else {**row, "row": row})
        except UndefinedError as exc:
            raise _undefined(exc.message, row) from None
        except InputError:
            raise
        except Exception as exc:  # noqa: BLE001 - an expression with the values of a row may raise anything
            reason = str(exc) if isinstance(exc, TemplateError) else f"{type(exc).__name__}: {exc}"
            raise InputError(f"the template fails: {reason}", hint="fix the template") from None

    return render


def _undefined(message: str | None, row: Row) -> InputError:
    return InputError(f"{message}; {columns_text(row)}", hint="fix the template or the row")
