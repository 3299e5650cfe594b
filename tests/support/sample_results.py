"""Result lines to export in this process, and the exported rows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai_batch.results.export import Export

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def chat(custom_id: str, *texts: str, **body: Any) -> dict[str, Any]:
    """Return the result line of a chat request, with a choice for each text."""
    choices = [{"message": {"content": text}, "finish_reason": "stop"} for text in texts]
    return answered(custom_id, {"choices": choices, **body})


def answered(custom_id: str, body: Any, status: int = 200) -> dict[str, Any]:
    """Return the result line of a request whose response has this body."""
    return {"custom_id": custom_id, "response": {"status_code": status, "body": body}, "error": None}


def exported(export: Export, lines: Iterable[dict[str, Any]], note: Callable[[int], None] = lambda _: None) -> bytes:
    """Return the export of result lines; `note` is called with the number of each line before it is read."""

    def noted() -> Iterator[bytes]:
        for number, line in enumerate(lines):
            note(number)
            yield json.dumps(line).encode() + b"\n"

    out = io.BytesIO()
    export.write(noted(), out)
    return out.getvalue()


def rows(*lines: dict[str, Any], fields: bool = False) -> list[dict[str, Any]]:
    """Return the flat rows of result lines."""
    text = exported(Export("rows", fields=fields), lines).decode()
    return [json.loads(line) for line in text.splitlines()]


def read_csv(path: str) -> list[dict[str, str]]:
    """Read a CSV file with a header."""
    return list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8"), newline="")))


def read_json(text: str) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in text.splitlines()]
