"""Structured output: a JSON schema from a file, checked for what OpenAI's strict mode needs.

Strict mode (OpenAI's guide to structured outputs): the top is an object. Every object lists its properties, requires
all of them and forbids others. The only composition is `anyOf`, not at the top. An optional property may be null.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_DEPTH = 50
"""The most levels of nesting that are checked; OpenAI allows ten."""

_TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}
_UNKNOWN = ("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties")


def load_schema(path: Path) -> dict[str, Any]:
    """Return the `json_schema` for a request: name, schema and `strict`. `path` is a file with a JSON schema.

    Raises InputError with everything that strict mode would refuse, as `file: place: problem`.
    """
    try:
        schema = msgspec.json.decode(path.read_bytes())
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror}", hint="--schema names a file with a JSON schema") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise InputError(f"{path}: not valid JSON: {exc}", hint="--schema names a file with a JSON schema") from None
    problems = list(_problems(schema, schema, "$", 0))
    if problems:
        raise InputError(
            f"{path} is not a schema for structured output",
            details=[f"{path}: {item}" for item in problems[:20]],
            hint='objects need "additionalProperties": false and every property under "required"',
        )
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem)[:64] or "answer"
    return {"name": name, "schema": schema, "strict": True}


def _problems(node: Any, root: Any, place: str, depth: int) -> Iterator[str]:
    """Yield what strict mode refuses at `place` and below."""
    if not isinstance(node, dict):
        yield f"{place}: a schema is a JSON object"
        return
    if depth > MAX_DEPTH:
        yield f"{place}: it is nested too deeply"
        return
    if "$ref" in node:
        yield from _reference(node["$ref"], root, place)
        return
    yield from (f"{place}: strict mode does not allow {word}" for word in _UNKNOWN if word in node)
    kinds = node.get("type")
    names = kinds if isinstance(kinds, list) else [kinds]
    if kinds is not None and not all(isinstance(name, str) and name in _TYPES for name in names):
        yield f"{place}: type is {msgspec.json.encode(kinds).decode()}, not one of {', '.join(sorted(_TYPES))}"
        return
    if depth == 0 and kinds != "object":
        yield f'{place}: the top must have "type": "object"'
        return
    if kinds is None and not {"anyOf", "enum", "const"} & node.keys():
        yield f"{place}: type is missing"
    if "object" in names:
        yield from _object(node, place)
    yield from _below(node, root, place, depth, array="array" in names)


def _object(node: dict[str, Any], place: str) -> Iterator[str]:
    properties, required = node.get("properties"), node.get("required", [])
    if node.get("additionalProperties") is not False:
        yield f'{place}: "additionalProperties": false is missing'
    if not isinstance(properties, dict):
        yield f"{place}: properties are missing"
    elif not isinstance(required, list):
        yield f"{place}: required is not a list"
    else:
        yield from (f"{place}: {name!r} is not under required" for name in properties if name not in required)
        yield from (f"{place}: {name!r} is required but not defined" for name in required if name not in properties)


def _below(node: dict[str, Any], root: Any, place: str, depth: int, *, array: bool) -> Iterator[str]:
    for word in ("properties", "$defs", "definitions"):
        inner = node.get(word)
        if isinstance(inner, dict):
            for name, value in inner.items():
                yield from _problems(value, root, f"{place}.{word}.{name}", depth + 1)
    if array and "items" not in node:
        yield f"{place}: items are missing"
    elif array:
        yield from _problems(node["items"], root, f"{place}.items", depth + 1)
    options = node.get("anyOf", [])
    if not isinstance(options, list):
        yield f"{place}: anyOf is not a list"
        return
    for number, value in enumerate(options):
        yield from _problems(value, root, f"{place}.anyOf[{number}]", depth + 1)


def _reference(target: Any, root: Any, place: str) -> Iterator[str]:
    node = root
    if not isinstance(target, str) or not target.startswith("#"):
        yield f"{place}: $ref must point within the file"
        return
    for step in filter(None, target[1:].split("/")):
        node = node.get(step) if isinstance(node, dict) else None
    if node is None:
        yield f"{place}: $ref points to {target}, which does not exist"
