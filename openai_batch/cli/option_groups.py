"""Option groups: a dataclass whose fields are options that several commands share."""

from __future__ import annotations

import functools
import inspect
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from openai_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


_WORDS = ("NAME", "COLUMN", "TIME", "FILE", "FOLDER")  # kinds of values that are never empty


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command for Typer: each dataclass parameter is replaced by its fields, which become options.

    The command itself still gets the dataclass, filled with the values of the options.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        group = parameter.annotation
        if not is_dataclass(group):
            parameters.append(parameter)
            continue
        groups[parameter.name] = group
        hints = get_type_hints(group, include_extras=True)
        parameters += [
            parameter.replace(name=field.name, annotation=hints[field.name], default=field.default)
            for field in fields(group)
        ]

    texts = [parameter.name for parameter in parameters if not _takes(parameter, "FILE", "FOLDER")]
    words = [parameter for parameter in parameters if _takes(parameter, *_WORDS)]

    @functools.wraps(command)
    def called(**values: Any) -> None:
        for name in texts:
            _check_text(name, values[name])
        for parameter in words:
            _check_given(parameter, values[parameter.name])
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called


def _takes(parameter: inspect.Parameter, *kinds: str) -> bool:
    """Return whether the value of a parameter is of one of these kinds. A FILE may hold bytes that are no text."""
    described = getattr(parameter.annotation, "__metadata__", ())
    return any(getattr(info, "metavar", None) in kinds for info in described)


def _check_given(parameter: inspect.Parameter, value: Any) -> None:
    """Raise UsageError for an empty word, which a shell makes of a variable that is not set."""
    given = [word for word in (value if isinstance(value, list) else [value]) if isinstance(word, str)]
    if not all(given) or (_takes(parameter, "NAME", "TIME") and not all(map(str.strip, given))):
        infos = parameter.annotation.__metadata__
        flags = [word for info in infos for word in (info.default, *(info.param_decls or ())) if str(word)[:2] == "--"]
        raise UsageError(f"{flags[0] if flags else infos[0].metavar} is empty", hint="give a value, or leave it out")


def _check_text(name: str, value: Any) -> None:
    """Raise UsageError if a value, or a text in a list, was typed with bytes that are no text."""
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and not text.startswith("@") and any("\ud800" <= char <= "\udfff" for char in text):
            raise UsageError(f"{name.replace('_', '-')} {text!r} is not valid text", hint="type it in UTF-8")
