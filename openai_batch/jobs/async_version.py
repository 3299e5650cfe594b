"""Async versions of methods: the method runs in another thread, so that the event loop is not blocked."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_P = ParamSpec("_P")
_T = TypeVar("_T")


def async_version(function: Callable[_P, _T]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Return the async version of a function or a method: it awaits it in another thread."""

    @functools.wraps(function)
    async def awaited(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        import asyncio

        return await asyncio.to_thread(function, *args, **kwargs)

    awaited.__name__, awaited.__qualname__ = f"{function.__name__}_async", f"{function.__qualname__}_async"
    return awaited
