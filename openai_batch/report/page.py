"""Write a report as one HTML page: no network, no scripts except its own, and all other text is shown as text.

The data is JSON in an element that browsers do not run. The page's policy allows only the scripts and the style with
these hashes, so nothing in an answer can run, load or send anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from openai_batch.escapes import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What could end the element, or begin markup; the JSON is ASCII otherwise.
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&'"}


def page(title: str, lines: list[tuple[str, str]], record: dict[str, Any], rows: Sequence[Iterable[str]]) -> str:
    """Return the page of a report: its lines, the record that JSON has, and the first requests with their answers."""
    from jinja2 import Environment

    # Not from a folder: the package may be in an archive.
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_content("page.html"))
    chart, script, style = _content("chart.umd.min.js"), _content("page.js"), _content("page.css")
    shown = _safe({"title": title, "lines": lines, "record": record})
    return template.render(
        **shown,
        data=_json(shown["record"] | {"rows": _safe([list(row) for row in rows])}),
        rows=len(rows),
        scripts=[chart, script],
        style=style,
        policy="; ".join(
            [
                "default-src 'none'",
                f"script-src {_hash(chart)} {_hash(script)}",
                f"style-src {_hash(style)}",
                "base-uri 'none'",
                "form-action 'none'",
            ]
        ),
    )


def _safe(value: Any) -> Any:
    """Return a value with its texts as a screen can show them: without control characters and our keys."""
    if isinstance(value, str):
        return escape_controls(value)
    if isinstance(value, dict):
        return {escape_controls(name): _safe(item) for name, item in value.items()}
    return [_safe(item) for item in value] if isinstance(value, list | tuple) else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).translate(_ESCAPES)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _content(name: str) -> str:
    """Return a file of this package, without the address of a source map, which a browser might fetch."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return text.partition("//# sourceMappingURL=")[0]
