"""Texts made from a row: templates with columns, and plain texts that are the same for every row.

A text is a template if it contains `{{` or `{%`. A template that only names columns is filled in here, five times as
fast as with Jinja; Jinja's sandbox fills in all others. There, values are only data: a template cannot use attributes
that begin with an underscore, or anything that changes the row. Jinja's own filters and functions work, except for
`random` and `lipsum`: the same input must give the same requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from shlex import quote
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from .readers import Row
    from .template_limits import LimitedEnvironment


_FUNCTIONS = ("range", "dict", "cycler", "joiner", "namespace")
_COLUMN = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_NO_COLUMNS = {*_FUNCTIONS, "row", "self", "true", "false", "none", "True", "False", "None"}
_JINJA = ("{{", "{%", "{#", "}}")


class ColumnError(InputError):
    """A column is missing, or cannot be used in this way: most often, all rows of the table have the same problem."""


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

    Other values with items, such as the results of many filters, become a list. Raises InputError for bytes and
    functions.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray | memoryview):
        raise InputError("the cell contains bytes, not text", hint="choose another column")
    if isinstance(value, bool | dict | list | tuple | set):
        return _to_json(value)
    if isinstance(value, Iterable) and not isinstance(value, type):
        return _to_json(list(value))
    if callable(value):
        raise InputError("the template outputs a function", hint='call it with (), or write row["name"]')
    return str(value)


def no_column(name: str, row: Row, message: str | None = None) -> ColumnError:
    """Return the error for a column that a row does not have."""
    hint = did_you_mean(name, map(str, row)) or "fix the name, or the row"
    return ColumnError(f"{message or f'there is no column {name!r}'}; {columns_text(row)}", hint=hint)


def prompt_option(column: str) -> str:
    """Return the option whose prompt is a column, as it is typed in a shell."""
    if column.isidentifier() and column not in _NO_COLUMNS:
        return f'--prompt "{{{{ {column} }}}}"'
    return "--prompt " + quote(f"{{{{ row[{json.dumps(column, ensure_ascii=False)}] }}}}")


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
            raise no_column(exc.args[0], row, f"{exc.args[0]!r} is undefined") from None
        return "".join(parts)

    return render


def _jinja_renderer(text: str, flag: str) -> Callable[[Row], str]:
    from jinja2 import TemplateError, UndefinedError, nodes

    environment = _environment()
    try:
        if any(node.name == "self" for node in environment.parse(text).find_all(nodes.Name)):
            raise UsageError(f"{flag}: `self` is Jinja's own name", hint='write {{ row["self"] }} for that column')
        template = environment.compiled(text)
    except RecursionError:
        raise UsageError(f"{flag}: the template is nested too deeply", hint="make it simpler") from None
    except TemplateError as exc:
        line = getattr(exc, "lineno", 1)
        own = str(exc.message).startswith("No filter")
        hint = "the filters are Jinja's own, without random" if own else "write columns as {{ name }}"
        raise UsageError(f"{flag}: line {line} is not a valid template: {exc.message}", hint=hint) from None

    def render(row: Row) -> str:
        try:
            return environment.rendered(template, row if "row" in row else {**row, "row": _Columns(row)})
        except UndefinedError as exc:
            raise _undefined(exc.message or "a value is undefined", row) from None
        except InputError:
            raise
        except Exception as exc:  # noqa: BLE001 - an expression with the values of a row may raise anything
            raise InputError(f"the template fails: {_plain_reason(exc)}", hint="fix the template") from None

    return render


def _environment() -> LimitedEnvironment:
    from jinja2 import StrictUndefined

    from .template_limits import LimitedEnvironment

    environment = LimitedEnvironment(
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, StrictUndefined) else as_text(value),
        keep_trailing_newline=True,
        autoescape=False,  # prompts are not HTML
    )
    known = environment.globals  # the sandbox limits the length of `range`
    environment.globals = {name: known[name] for name in _FUNCTIONS}
    environment.filters["tojson"] = environment.limited("tojson", _to_json)
    del environment.filters["random"]
    return environment


def _to_json(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON, for the filter `tojson`. Jinja's own also writes some characters as escapes, for HTML."""
    text = msgspec.json.encode(value, enc_hook=str)
    return (msgspec.json.format(text, indent=indent) if indent is not None else text).decode()


def _plain_reason(exc: Exception) -> str:
    """Return the message of an exception, without the names of Jinja's own functions."""
    text = re.sub(r"[\w.<>]*<locals>\.(?:<lambda>)?|\b(?:sync_)?do_(?=\w+\(\))", "", str(exc)).strip()
    return text.replace("_to_json()", "tojson()").replace("'_Columns'", "row") or type(exc).__name__


class _Columns(dict[str, Any]):
    """A row within a template, to distinguish Jinja's errors about it and about an object in a cell."""


_UNDEFINED = re.compile(r"'([^']*)' is undefined|'[\w.]*_Columns object' has no attribute '([^']*)'")
_KINDS = {"str": "a text", "dict": "an object", "list": "a list", "int": "a number", "float": "a number"}


def _undefined(message: str, row: Row) -> InputError:
    """Return the error for an undefined value: a column, or an attribute of a value."""
    found = _UNDEFINED.fullmatch(message)
    if found is not None and (name := found[1] or found[2]) not in row:
        return no_column(name, row, f"{name!r} is undefined")
    plain = re.sub(r"'(\w+) object'", lambda kind: _KINDS.get(kind[1], kind[0]), message)
    return InputError(plain, hint=f"fix the template or the row; {columns_text(row)}")
