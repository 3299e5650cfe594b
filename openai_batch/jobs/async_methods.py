"""Async twins: a method that is done in another thread, while the event loop goes on."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Twinned(Protocol):
    """What can be done in another thread, by an object of that thread."""

    def _apart(self, act: Callable[[Self], _T]) -> _T: ...


_Own = TypeVar("_Own", bound=Twinned)


def async_method(
    method: Callable[Concatenate[_Own, _P], _T],
) -> Callable[Concatenate[_Own, _P], Coroutine[Any, Any, _T]]:
    """Return the async twin of a method: the same in another thread, while the event loop goes on."""

    @functools.wraps(method)
    async def awaited(self: _Own, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        import asyncio

        return await asyncio.to_thread(self._apart, lambda other: method(other, *args, **kwargs))

    awaited.__name__, awaited.__qualname__ = f"{method.__name__}_async", f"{method.__qualname__}_async"
    return awaited
