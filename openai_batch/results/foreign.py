"""Turn what other tools write into result lines: rows with a response, the body of one, an answer or an error.

Lines as OpenAI writes them stay as they are; `vllm run-batch` writes such lines too.
"""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from .reasons import has_content
from .result_line import UNREADABLE, read_json

ANSWER = "answer"  # the usual name of the column with the answer

_OF_BODIES = frozenset({"choices", "output", "data", "results", "object"})
"""A body of a response has one of these keys; any other object is an answer."""


def result_line(row: dict[str, Any], answer: str = ANSWER, raw: bytes | None = None) -> bytes | None:
    """Return a row as a result line, without its newline; None if it has neither a result nor an error.

    `answer` is the column with the answer, and `raw` is the line that the row was read from. A column `body` is the
    body of the response, unless there is a `url` too: then it is that of the request. Raises ValueError without an id.
    """
    custom_id = row.get("custom_id")
    if not isinstance(custom_id, str | int):
        raise ValueError("it has no custom_id")  # noqa: TRY004 - the errors of lines are ValueErrors
    response, error = _read(row.get("response")), row.get("error")
    if isinstance(response, dict) and response.get("status_code") is not None:
        if raw is not None and isinstance(custom_id, str) and response is row["response"]:
            return raw
    elif has_content(error):
        response = None
    else:
        given = (response, row.get(answer), None if "url" in row else _read(row.get("body")))
        body = next((value for value in given if value is not None and not _is_blank(value)), None)
        if body is None:
            return None
        response = {"status_code": 200, "body": _body(body)}
    line = {"custom_id": str(custom_id), "response": response, "error": error}
    return msgspec.json.encode(line, enc_hook=str)


def _read(value: Any) -> Any:
    """Return the object that a text of JSON holds, if it is a response or the body of one; else the value as it is."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        with contextlib.suppress(*UNREADABLE):
            read = read_json(value)
            if not (_OF_BODIES | {"status_code"}).isdisjoint(read):
                return read
    return value


def _is_blank(value: Any) -> bool:
    """Return whether a value is an object without any value, such as an empty struct of a table."""
    return isinstance(value, dict) and all(each is None for each in value.values())


def _body(value: Any) -> dict[str, Any]:
    """Return the body of a response; of an answer alone, the one that a server would have sent with it."""
    if isinstance(value, dict) and not _OF_BODIES.isdisjoint(value):
        return value
    if isinstance(value, list) and value and all(isinstance(item, float | int) for item in value):
        return {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": value}]}
    text = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
    message = {"role": "assistant", "content": text}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
