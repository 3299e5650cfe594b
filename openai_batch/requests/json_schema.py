"""Structured output: a JSON schema in the form that OpenAI's strict mode needs.

Strict mode (OpenAI's guide to structured outputs): the top is an object. Every object lists its properties, requires
all of them and forbids others. The only composition is `anyOf`, not at the top. An optional property may be null.
Schemas of pydantic and others are converted to this form, like the SDK does for its own classes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.errors import InputError

from .strict_json import json_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAX_DEPTH = 50  # the most levels of nesting that are checked; OpenAI allows ten

_TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}
_UNKNOWN = ("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties")


def load_schema(path: Path) -> dict[str, Any]:
    """Return the `json_schema` for a request: name, schema and `strict`. `path` is a file with a JSON schema.

    Raises InputError with everything that strict mode would refuse, as `file: place: problem`.
    """
    try:
        raw = path.read_bytes()
        schema = msgspec.json.decode(raw)
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror}", hint="--schema names a file with a JSON schema") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        fault, remedy = json_fault(raw, exc, "--schema names a file with a JSON schema")
        raise InputError(f"{path}: {fault}", hint=remedy) from None
    return strict_schema(schema, path.stem, str(path))


def strict_schema(schema: Any, title: str, source: str) -> dict[str, Any]:
    """Return the `json_schema` for a request: name, schema and `strict`.

    Objects are changed to require all of their properties and forbid others. Defaults are left out, and
    `oneOf` becomes `anyOf`. `title` is the name, `source` says where the schema is from. Raises InputError with
    everything else that strict mode would refuse, as `source: place: problem`.
    """
    made = _strict(schema, schema)
    problems = list(_problems(made, made, "$", 0))
    if problems:
        raise InputError(
            f"{source} is not a schema for structured output",
            details=[f"{source}: {item}" for item in problems[:20]],
            hint="change the schema; OpenAI's guide to structured outputs says what it may have",
        )
    return {"name": re.sub(r"[^A-Za-z0-9_-]+", "_", title)[:64] or "answer", "schema": made, "strict": True}


def checker(schema: dict[str, Any]) -> Callable[[Any], str | None]:
    """Return a function that says what is wrong with a value that does not fit a schema; None if it fits.

    Raises InputError if the schema is not valid. Nothing is fetched.
    """
    import jsonschema_rs

    try:
        validator = jsonschema_rs.validator_for(schema, retriever=_not_fetched)
    except ValueError as exc:
        problem = str(exc).splitlines()[0]
        raise InputError(f"the schema is not valid: {problem}", hint="change the schema") from None

    def check(value: Any) -> str | None:
        error = next(validator.iter_errors(value), None)
        if error is None:
            return None
        place = ".".join(map(str, error.instance_path))
        return f"{place}: {error.message}" if place else str(error.message)

    return check


def _not_fetched(address: str) -> Any:
    raise ValueError(f"{address} is not fetched")


def _strict(node: Any, root: Any, inlined: tuple[str, ...] = (), depth: int = 0) -> Any:
    """Return a schema in the form of strict mode, if it has the same meaning. `inlined` are the references above."""
    if not isinstance(node, dict) or depth > MAX_DEPTH:
        return node
    made = {word: value for word, value in node.items() if word not in ("default", "discriminator")}
    single = made.get("allOf")
    if isinstance(single, list) and len(single) == 1 and isinstance(single[0], dict):
        del made["allOf"]
        made = {**single[0], **made}
    reference = made.get("$ref")
    if isinstance(reference, str) and (len(made) > 1 or not depth):  # strict mode allows nothing next to it
        target = _target(reference, root)
        if reference in inlined or not isinstance(target, dict):
            return {"$ref": reference}
        beside = {word: value for word, value in made.items() if word != "$ref"}
        return _strict({**target, **beside}, root, (*inlined, reference), depth)
    return _with_strict_parts(made, root, inlined, depth)


def _with_strict_parts(made: dict[str, Any], root: Any, inlined: tuple[str, ...], depth: int) -> dict[str, Any]:
    """Make a schema that is not a reference strict, and all schemas in it."""
    if "oneOf" in made and "anyOf" not in made:
        made["anyOf"] = made.pop("oneOf")
    properties = made.get("properties")
    if made.get("type") == "object" and isinstance(properties, dict):
        made.setdefault("additionalProperties", False)
        made["required"] = list(dict.fromkeys([*_texts(made.get("required")), *properties]))

    def below(value: Any) -> Any:
        return _strict(value, root, inlined, depth + 1)

    for word in ("properties", "$defs", "definitions"):
        if isinstance(inner := made.get(word), dict):
            made[word] = {name: below(value) for name, value in inner.items()}
    if "items" in made:
        made["items"] = below(made["items"])
    if isinstance(options := made.get("anyOf"), list):
        made["anyOf"] = [below(option) for option in options]
    return made


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


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
    if not isinstance(target, str) or not target.startswith("#"):
        yield f"{place}: $ref must point within the file"
    elif _target(target, root) is None:
        yield f"{place}: $ref points to {target}, which does not exist"


def _target(reference: Any, root: Any) -> Any:
    """Return what a reference within a schema points to; None if that does not exist."""
    node = root
    for step in filter(None, str(reference)[1:].split("/")):
        node = node.get(step) if isinstance(node, dict) else None
    return node
