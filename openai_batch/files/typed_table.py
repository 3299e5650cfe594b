"""Read a table of settings into a typed Struct, with errors that name the key and what it must be."""

from __future__ import annotations

import threading
import typing
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from openai_batch.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*\Z"
"""The pattern of names of environment variables. A key that is given by mistake rarely matches it."""

# The types of settings. The description completes the sentence "KEY must be ...".
Text = Annotated[str, Meta(pattern=r"\S", description="a string that is not empty")]
Span = Annotated[str, Meta(pattern=r"\S", description="a time such as 7d")]
Variable = Annotated[str, Meta(pattern=VARIABLE, description="the name of an environment variable, and not a key")]
UrlPath = Annotated[str, Meta(pattern=r"^/[\w./-]+\Z", description="a path such as /files")]
UrlPaths = Annotated[tuple[UrlPath, ...], Meta(description="a list of paths such as /v1/embeddings")]
Count = Annotated[int, Meta(ge=1, description="a whole number above 0")]
Size = Annotated[int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1,000,000")]
Concurrency = Annotated[int, Meta(ge=1, le=10_000, description="a whole number from 1 to 10,000")]
MAX_PARALLEL = 16  # the most parts of a job that are sent or downloaded at once
Parallel = Annotated[int, Meta(ge=1, le=MAX_PARALLEL, description=f"a whole number from 1 to {MAX_PARALLEL}")]
Seconds = Annotated[float, Meta(ge=0, lt=1e9, description="a number of seconds")]
Idle = Annotated[float, Meta(ge=1, lt=1e9, description="a number of seconds, at least 1")]
Patience = Annotated[float, Meta(gt=0, lt=1e9, description="a number of seconds above 0")]
Dollars = Annotated[float, Meta(ge=0, lt=1e9, description="a number of US dollars")]
Share = Annotated[float, Meta(ge=0, lt=1, description="a number from 0 to below 1, such as 0.5")]
Flag = Annotated[bool, Meta(description="true or false")]
Texts = Annotated[tuple[str, ...], Meta(description="a list of strings")]
TextTable = Annotated[dict[str, str], Meta(description="a table of strings")]
Tables = Annotated[dict[str, dict[str, Any]], Meta(description="a table of tables")]

_Table = TypeVar("_Table", bound=msgspec.Struct)
_LOCK = threading.Lock()


def read_table(where: str, table: Mapping[str, Any], kind: type[_Table]) -> _Table:
    """Return `table` as a `kind`, a Struct whose fields have the types above.

    Raises ConfigError, which begins with `where`, for an unknown key (if `kind` forbids them; the hint is the
    nearest known key), for a value of the wrong type or out of range, and for what the Struct itself refuses.
    """
    try:
        with _LOCK:  # msgspec crashes if two threads read the same Struct for the first time
            return msgspec.convert(table, kind)
    except msgspec.ValidationError as exc:
        if isinstance(exc.__cause__, ConfigError):
            fault = exc.__cause__  # raised by the Struct itself, after its fields were read
            raise ConfigError(f"{where} {fault.message}", hint=fault.hint) from None
        raise _first_fault(where, table, kind) from None


def suggest(word: str, known: Iterable[str]) -> str:
    """Return a hint with the known word most similar to `word`, or with all of them if none is similar."""
    names = sorted(known)
    return did_you_mean(word, names) or f"known: {', '.join(names)}"


def _first_fault(where: str, table: Mapping[str, Any], kind: type[msgspec.Struct]) -> ConfigError:
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in table.items():
        if key in fields:
            try:
                msgspec.convert(value, fields[key])
            except msgspec.ValidationError:
                return ConfigError(f"{where} {key} must be {describe(fields[key])}")
        elif kind.__struct_config__.forbid_unknown_fields:
            return ConfigError(f"{where} unknown key {key!r}", hint=suggest(key, fields))
    missing = [field.encode_name for field in msgspec.structs.fields(kind) if field.required]
    return ConfigError(f"{where} {missing[0]} is missing" if missing else f"{where} cannot be read")


def describe(kind: Any) -> str:
    """Return what a field must be, in words; its type may be optional."""
    parts = (kind, *typing.get_args(kind))
    return next(str(meta.description) for part in parts for meta in getattr(part, "__metadata__", ()))
