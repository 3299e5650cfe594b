"""Types as the form of answers: a pydantic model, a dataclass or a TypedDict becomes a JSON schema."""

from __future__ import annotations

import sys
import typing
from collections.abc import Mapping
from typing import Any

from openai_batch.errors import InputError, UsageError

from .json_schema import strict_schema


def adapter_of(given: Any) -> Any:
    """Return pydantic's `TypeAdapter` of a type. Raises UsageError if it is not a type with a schema."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        adapter: Any = TypeAdapter(_with_old_python(given))
        adapter.json_schema()
    except (PydanticUserError, TypeError, AttributeError) as exc:
        raise UsageError(
            f"{given!r} is not a schema: {str(exc).splitlines()[0]}",
            hint="give a pydantic model, a dataclass, a TypedDict or a JSON schema",
        ) from None
    return adapter


def with_schemas(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with a JSON schema in place of a type.

    As in the SDK's `parse`, that is the `response_format` of a chat completion and the `text_format` of a response.
    Raises UsageError or InputError for a type that cannot be a schema.
    """
    made = dict(params)
    if isinstance(given := made.get("response_format"), type):
        made["response_format"] = {"type": "json_schema", "json_schema": _schema_of(given, "response_format")}
    if isinstance(given := made.get("text_format"), type):
        del made["text_format"]
        text = made.get("text") or {}
        if not isinstance(text, Mapping) or "format" in text:
            raise InputError("text and text_format both give a format", hint="leave one of them out")
        made["text"] = {**text, "format": {"type": "json_schema", **_schema_of(given, "text_format")}}
    return made


def _schema_of(given: type, name: str) -> dict[str, Any]:
    return strict_schema(adapter_of(given).json_schema(), given.__name__, name)


def _with_old_python(given: Any) -> Any:
    """Return a TypedDict in the form that pydantic needs before Python 3.12; anything else as it is."""
    if sys.version_info >= (3, 12) or not typing.is_typeddict(given):
        return given
    from typing_extensions import TypedDict

    make: Any = TypedDict  # a type checker wants literal fields
    return make(given.__name__, typing.get_type_hints(given, include_extras=True), total=given.__total__)
