"""Async versions of methods: the method runs in another thread, so that the event loop is not blocked."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

_P = ParamSpec("_P")
_T = TypeVar("_T")
_END = object()


def async_version(function: Callable[_P, _T]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Return the async version of a function or a method: it awaits it in another thread.

    It also takes an async iterable in place of an iterable argument.
    """

    @functools.wraps(function)
    async def awaited(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        import asyncio

        with AsyncInput() as given:
            read: Any = [given.iterable(arg) for arg in args]
            named: Any = {name: given.iterable(arg) for name, arg in kwargs.items()}
            return await asyncio.to_thread(function, *read, **named)

    awaited.__name__, awaited.__qualname__ = f"{function.__name__}_async", f"{function.__qualname__}_async"
    return awaited


class AsyncInput:
    """Gives async iterables of the running event loop to another thread, until the block ends.

    A task that is cancelled ends the block while the thread may still read. Then the loop may close the iterable, which
    looks like its end: the rows that are left out would be missing without an error.
    """

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True

    def iterable(self, value: Any) -> Any:
        """Return an async iterable as an iterable for another thread; any other value as it is."""
        return self._items(value) if isinstance(value, AsyncIterable) and not isinstance(value, Iterable) else value

    def _items(self, source: AsyncIterable[Any]) -> Iterator[Any]:
        import asyncio

        items = aiter(source)
        while True:
            item = asyncio.run_coroutine_threadsafe(_next(items), self._loop).result()
            if self._over:
                raise asyncio.CancelledError
            if item is _END:
                return
            yield item


async def _next(items: AsyncIterator[Any]) -> Any:
    """Return the next item, or `_END` after the last one."""
    return await anext(items, _END)
