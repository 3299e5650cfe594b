"""The column of a table with the prompts, if the user does not name it, and its cells that can be used unchanged."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.errors import InputError

from .readers import PROMPT
from .templates import ColumnError, as_text, columns_text, no_column, prompt_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from .readers import Row

_MESSAGES = "messages"


def default_column(row: Row, *, chats: bool) -> str:
    """Return the column with the prompt: prompt, text, for `chats` messages, or the only one.

    Raises InputError if there is none of these.
    """
    for name in (PROMPT, "text", *([_MESSAGES] if chats else [])):
        if name in row:
            return name
    if len(row) == 1:
        return next(iter(row))
    names = list(reversed(list(row)))
    column = next((name for name in names if name.isidentifier()), names[0] if names else "")
    named = f"{prompt_option(column)}; if this is not a table, --format txt"
    hint = named if names else "write an object with a text"
    raise ColumnError(f"no column is called prompt or text; {columns_text(row)}", hint=hint)


def cell_of(row: Row, column: str) -> Any:
    """Return a cell. Raises ColumnError if the row does not have that column."""
    try:
        return row[column]
    except KeyError:
        raise no_column(column, row) from None


def column_reader(column: str) -> Callable[[Row], str]:
    """Return the function that returns the cell of `column` as text. It raises ColumnError for a list or an object."""

    def text(row: Row) -> str:
        value = row.get(column)
        if isinstance(value, str):
            return value
        value = cell_of(row, column)
        if isinstance(value, dict | list | tuple):
            what = "an object" if isinstance(value, dict) else "a list"
            hint = f"{prompt_option(column)} sends it as JSON; a template can also take values out of it"
            raise ColumnError(f"the column {column} contains {what}, not text", hint=hint)
        return as_text(value)

    return text


def messages_of(row: Row) -> list[dict[str, Any]]:
    """Return the chat messages in the column `messages`: a list, or the JSON text of one. Raises InputError."""
    value = cell_of(row, _MESSAGES)
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
            value = msgspec.json.decode(value)
    if value is None or value in ("", []):
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) and item.get("role") for item in value):
        raise InputError("messages is not a list of messages with role and content", hint='or say --prompt "{{ … }}"')
    if value[-1]["role"] == "assistant":
        hint = "remove it: the model writes that message"
        raise InputError("the last message is the assistant's own, as in data for fine-tuning", hint=hint)
    return [{key: part for key, part in item.items() if part is not None} for item in value]


def is_stored_by_columns(row: Row) -> bool:
    """Return whether a row is a whole table, stored by columns: an object of objects with keys 0, 1, 2 and so on."""
    cells = list(row.values())
    if not cells or not all(isinstance(cell, dict) and cell for cell in cells):
        return False
    keys = list(map(str, range(len(cells[0]))))
    return all(list(cell) == keys for cell in cells)
