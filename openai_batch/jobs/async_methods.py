"""Async versions of methods: the method runs in another thread, so that the event loop is not blocked."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Twinned(Protocol):
    """A class whose methods can run in another thread, on a copy of the object for that thread."""

    def _apart(self, act: Callable[[Self], _T]) -> _T: ...


_Object = TypeVar("_Object", bound=Twinned)


def async_method(
    method: Callable[Concatenate[_Object, _P], _T],
) -> Callable[Concatenate[_Object, _P], Coroutine[Any, Any, _T]]:
    """Return the async version of a method: it awaits the method in another thread."""

    @functools.wraps(method)
    async def awaited(self: _Object, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        import asyncio

        return await asyncio.to_thread(self._apart, lambda other: method(other, *args, **kwargs))

    awaited.__name__, awaited.__qualname__ = f"{method.__name__}_async", f"{method.__qualname__}_async"
    return awaited
