"""Find the JSON schema that all requests of a batch file ask for, to check their answers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.errors import InputError

from .json_schema import checker

if TYPE_CHECKING:
    from .check_report import RequestChunk


class _Request(msgspec.Struct):
    body: dict[str, msgspec.Raw]  # the parameters, as the bytes in the line


_decode = msgspec.json.Decoder(_Request).decode


class CommonSchema:
    """Takes the requests of a file, a chunk at a time. Requests with several schemas have none in common."""

    def __init__(self) -> None:
        self.schema: dict[str, Any] | None = None
        """The schema of all requests so far; None if they have none, or one that is not valid."""
        self._wanted: bytes | None = None  # the parameter with the schema, as it is in each line

    def add(self, chunk: RequestChunk) -> None:
        """Take the next requests."""
        if self._wanted is None:
            self._wanted = b""
            fields = _decode(chunk.lines[0]).body
            for name in ("response_format", "text"):
                if name in fields and (schema := _schema_in(fields[name])) is not None:
                    self._wanted, self.schema = bytes(fields[name]), schema
        # Quotes are escaped within a text, so a text never holds these bytes.
        if self.schema is not None and chunk.data.count(self._wanted) != len(chunk.ids):
            self.schema = None


def _schema_in(raw: msgspec.Raw) -> dict[str, Any] | None:
    """Return the schema in the `response_format` of a chat completion, or in the `text` of a response."""
    with contextlib.suppress(msgspec.MsgspecError, InputError, RecursionError, KeyError, TypeError):
        value = msgspec.json.decode(raw)
        given = value["format"] if "format" in value else value["json_schema"]
        schema: dict[str, Any] = given["schema"]
        checker(schema)
        return schema
    return None
