"""Errors that are also errors of the SDK, so that `except openai.APIError` catches them, as in programs for 0.3.4."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import OpenAIError

    from openai_batch.errors import BatchError

_NOT_PICKLED = ("request", "response")  # attributes that cannot be sent to another process


def as_both(error: BatchError, sdk_error: OpenAIError, **changed: Any) -> BatchError:
    """Return `error` as one that is also of the class of `sdk_error`, with the attributes of both.

    `changed` are attributes that replace those of `sdk_error`. `code` stays the exit code; the provider's own code is
    `api_code`.
    """
    theirs = {name: value for name, value in vars(sdk_error).items() if name != "code"}
    return _made(type(error), type(sdk_error), error.args, theirs | changed | vars(error))


def if_imported(error: BatchError, name: str) -> BatchError:
    """Return `error` as one that is also of the SDK's class `name`, if the program has imported the SDK at all."""
    sdk = sys.modules.get("openai")
    return error if sdk is None else as_both(error, getattr(sdk, name)(str(error)))


class _Both(Exception):  # noqa: N818 - never raised by itself
    """The first base of each class that has two: they would need other arguments."""

    def __init__(self, *args: Any) -> None:
        Exception.__init__(self, *args)

    def __reduce__(self) -> tuple[Any, ...]:
        _, ours, theirs = type(self).__bases__
        kept = {name: value for name, value in vars(self).items() if name not in _NOT_PICKLED}
        return _made, (ours, theirs, self.args, kept)


def _made(ours: Any, theirs: Any, args: tuple[Any, ...], attributes: dict[str, Any]) -> BatchError:
    error: BatchError = _class_of(ours, theirs)(*args)
    vars(error).update(attributes)
    return error


@functools.cache
def _class_of(ours: Any, theirs: Any) -> Any:
    """Return a class that has both classes as bases, and the name of `ours`."""
    return type(ours.__name__, (_Both, ours, theirs), {"__module__": ours.__module__, "__doc__": ours.__doc__})
