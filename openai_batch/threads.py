"""Waiting for a function that runs in another thread, so that Ctrl-C ends the wait."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def call_in_thread(function: Callable[..., Result], *words: Any, **options: Any) -> Result:
    """Call a function that a signal cannot interrupt, and return its result.

    Raises what the function raises. An interruption leaves the function running: its thread does not keep the process.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(function(*words, **options))
        except BaseException as exc:  # noqa: BLE001 - it is raised in the caller's thread
            future.set_exception(exc)

    threading.Thread(target=run, daemon=True).start()
    return result_of(future)


def result_of(future: Future[Result]) -> Result:
    """Wait for a future, and return its result or raise its error.

    The wait is made of short ones: Windows does not interrupt a wait without a time, and a signal that reaches another
    thread does not either.
    """
    while not wait([future], timeout=0.5).done:
        pass
    return future.result()
