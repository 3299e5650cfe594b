"""Async versions of methods: the method runs in another thread, so that the event loop is not blocked."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

_P = ParamSpec("_P")
_T = TypeVar("_T")


def async_version(function: Callable[_P, _T]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Return the async version of a function or a method: it awaits it in another thread.

    It also takes an async iterable in place of an iterable argument.
    """

    @functools.wraps(function)
    async def awaited(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        import asyncio

        loop = asyncio.get_running_loop()
        given: Any = [in_thread(arg, loop) for arg in args]
        return await asyncio.to_thread(function, *given, **kwargs)

    awaited.__name__, awaited.__qualname__ = f"{function.__name__}_async", f"{function.__qualname__}_async"
    return awaited


def in_thread(value: Any, loop: AbstractEventLoop) -> Any:
    """Return an async iterable of a loop as an iterable for another thread; any other value as it is."""
    return _items(value, loop) if isinstance(value, AsyncIterable) and not isinstance(value, Iterable) else value


def _items(source: AsyncIterable[_T], loop: AbstractEventLoop) -> Iterator[_T]:
    import asyncio

    items = aiter(source)
    while True:
        item = asyncio.run_coroutine_threadsafe(_next(items), loop).result()
        if not item:
            return
        yield item[0]


async def _next(items: AsyncIterator[_T]) -> tuple[_T, ...]:
    """Return the next item in a tuple, which is empty at the end."""
    try:
        return (await anext(items),)
    except StopAsyncIteration:
        return ()
