"""Texts made of a row: templates over its columns, and plain texts that are the same for every row.

A text is a template if it has `{{` or `{%`: only then is Jinja imported. Templates run in Jinja's sandbox, where
values are data: no attribute that begins with an underscore, and nothing that changes the row, can be reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._rows import Row


class Template:
    """A text for each row; `constant` is that text where it is the same for all of them."""

    def __init__(self, text: str, flag: str) -> None:
        """Compile `text`, which came by `flag`. Raises UsageError where it is no template."""
        self.constant = None if "{{" in text or "{%" in text else text
        if self.constant is None:
            self._render = _compiled(text, flag)

    def text(self, row: Row) -> str:
        """Return the text for a row. Raises InputError where a column is not there or the template fails."""
        if self.constant is not None:
            return self.constant
        from jinja2 import TemplateError, UndefinedError

        try:
            return str(self._render({**row, "row": row} if "row" not in row else row))
        except UndefinedError as exc:
            raise InputError(f"{exc.message}; {known_columns(row)}", hint="mend the template or the row") from None
        except TemplateError as exc:
            raise InputError(f"the template fails: {exc.message}", hint="mend the template") from None
        except Exception as exc:  # noqa: BLE001 - whatever an expression over a user's values may raise
            raise InputError(f"the template fails: {type(exc).__name__}: {exc}", hint="mend the template") from None


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


def _compiled(text: str, flag: str) -> Any:
    from jinja2 import StrictUndefined, TemplateError, meta
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
        if "self" in meta.find_undeclared_variables(environment.parse(text)):
            raise UsageError(f"{flag}: `self` is Jinja's own name", hint='write {{ row["self"] }} for that column')
        return environment.from_string(text).render
    except TemplateError as exc:
        place = getattr(exc, "lineno", 1)
        raise UsageError(
            f"{flag}: line {place} is no template: {exc.message}", hint="write columns as {{ name }}"
        ) from None
