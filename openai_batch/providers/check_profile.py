"""Check the values of a profile that a program has made; a configuration file is checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from openai_batch.errors import UsageError
from openai_batch.files.typed_table import MAX_PARALLEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from .provider import Provider


def check_profile(provider: Provider) -> None:
    """Raise UsageError, with the name of the field, for a value that would fail later, perhaps after a payment."""
    for name, (wanted, is_right) in _RULES.items():
        value = getattr(provider, name)
        if not is_right(value):
            raise UsageError(f"{name} of the provider {provider} is {value!r}; nothing was sent", hint=f"give {wanted}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _limit(value: Any) -> bool:
    return value is None or (_is_number(value) and value >= 1)


def _time(value: Any) -> bool:
    return value is None or (_is_number(value) and value > 0)


def _names(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(isinstance(item, str) for item in value)


def _texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(text, str) for pair in value.items() for text in pair)


def _prices(value: Any) -> bool:
    from .provider import Prices

    return isinstance(value, Mapping) and all(isinstance(price, Prices) for price in value.values())


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(
        ("batch_input_max_requests", "batch_input_max_bytes", "batch_input_max_line_bytes", "enqueued_tokens"),
        ("a whole number from 1, or None", _limit),
    ),
    "create_timeout": ("a number of seconds above 0", _time),
    "create_grace": ("a number of seconds", lambda value: _is_number(value) and value >= 0),
    **dict.fromkeys(("models", "endpoints", "api_key_command"), ("a tuple of texts", _names)),
    **dict.fromkeys(("status_map", "headers", "upload_fields"), ("a dict of texts", _texts)),
    **dict.fromkeys(("completion_window", "file_purpose"), ("a text", lambda value: isinstance(value, str))),
    **dict.fromkeys(
        ("base_url", "api_key", "api_key_env_var", "output_expires_after"),
        ("a text, or None", lambda value: value is None or isinstance(value, str)),
    ),
    "parallel": (
        f"a whole number from 1 to {MAX_PARALLEL}",
        lambda value: type(value) is int and 1 <= value <= MAX_PARALLEL,
    ),
    "prices": ("a dict of openai_batch.providers.provider.Prices", _prices),
}
"""For each field what is wanted, and whether a value is that."""
