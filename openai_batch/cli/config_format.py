"""How settings and their origins are shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai_batch.providers.config import Settings


def setting_lines(values: Iterable[dict[str, Any]], settings: Settings) -> list[tuple[str, str]]:
    """Return a label and a text for each record of a setting (`key`, `value`, `origin`)."""
    return [(each["key"], f"{_text(each['value'])} ({_origin(each['origin'], settings)})") for each in values]


def setting_record(key: str, value: Any, origin: str) -> dict[str, Any]:
    """Return the JSON record of a setting."""
    return {"key": key, "value": value, "origin": origin}


def _origin(origin: str, settings: Settings) -> str:
    if origin == str(settings.path):
        return "from the file"
    return origin if origin == "built in" else f"from {origin}"


def _toml(table: dict[str, Any]) -> str:
    """Return a table as it can be written in the file; its values are plain, so JSON writes them as TOML does."""
    return f"{{ {', '.join(f'{key} = {json.dumps(value, ensure_ascii=False)}' for key, value in table.items())} }}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        if any(isinstance(item, dict) for item in value.values()):
            return "; ".join(f"{key}: {_text(item)}" for key, item in value.items())
        return ", ".join(f"{key} = {item}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_toml(each) if isinstance(each, dict) else str(each) for each in value) or "none"
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
