"""Run several items at a time: in order, with a limit, and without starting items after an error."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import pytest

from openai_batch.jobs import parallel
from openai_batch.jobs.parallel import Stopped, in_parallel

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def worker(stopped: threading.Event) -> Iterator[threading.Event]:
    """Return the event itself as the worker."""
    yield stopped


def test_results_are_in_the_order_of_the_items() -> None:
    """Results are in input order, even if the last item is done first."""

    def act(_: threading.Event, item: int) -> int:
        time.sleep((8 - item) / 100)
        return item

    assert list(in_parallel(worker, act, range(8), 4)) == list(range(8))


def test_the_number_of_running_items_is_limited() -> None:
    """Three threads run three items at a time and no more, even if the results are read slowly."""
    together = threading.Barrier(3)
    under_way: set[int] = set()
    most = 0

    def act(_: threading.Event, item: int) -> int:
        nonlocal most
        under_way.add(item)
        most = max(most, len(under_way))
        together.wait(10)
        under_way.discard(item)
        return item

    for _ in in_parallel(worker, act, range(9), 3):
        time.sleep(0.01)
    assert most == 3


def test_items_are_taken_when_a_thread_is_free() -> None:
    """An item is taken from the iterator only when a thread is free for it."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(6):
            taken.append(item)
            yield item

    results = in_parallel(worker, lambda _, item: item, items(), 2)
    next(results)
    assert taken == [0, 1, 2]
    results.close()
    assert taken == [0, 1, 2]


def test_nothing_starts_after_an_error() -> None:
    """After an error, running items end first, no other items start, and then the error is raised."""
    begun: list[int] = []
    ended: list[int] = []

    def act(stopped: threading.Event, item: int) -> None:
        begun.append(item)
        if item == 1:
            raise ValueError(item)
        if item == 0:
            assert stopped.wait(10)
            time.sleep(0.05)
        ended.append(item)

    with pytest.raises(ValueError, match="1"):
        list(in_parallel(worker, act, range(9), 2))
    assert (begun, ended) == ([0, 1], [0])


def test_running_items_end_before_the_error_is_raised() -> None:
    """If the first item fails, the second one, which is running, is waited for."""
    begun = threading.Event()
    ended: list[int] = []

    def act(stopped: threading.Event, item: int) -> None:
        if item == 0:
            assert begun.wait(10)
            raise ValueError(item)
        begun.set()
        assert stopped.wait(10)
        time.sleep(0.3)
        ended.append(item)

    with pytest.raises(ValueError, match="0"):
        list(in_parallel(worker, act, range(4), 2))
    assert ended == [1]


@pytest.mark.parametrize("count", [2, 9])
def test_the_failure_is_raised_and_not_a_stop(count: int) -> None:
    """If one item stops because another one failed, the error of the failed one is raised."""

    def act(stopped: threading.Event, item: int) -> None:
        if item == 1:
            raise ValueError(item)
        assert stopped.wait(10)
        raise Stopped

    with pytest.raises(ValueError, match="1"):
        list(in_parallel(worker, act, range(count), 2))


def test_a_worker_that_cannot_be_created_is_an_error() -> None:
    """An error while a worker is created is raised, and nothing waits forever."""

    @contextlib.contextmanager
    def broken(_: threading.Event) -> Iterator[int]:
        raise OSError("no more files")
        yield 0

    with pytest.raises(OSError, match="no more files"):
        list(in_parallel(broken, lambda _, item: item, range(5), 3))


def test_an_interruption_does_not_wait_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C the threads get limited time to end, and the others are left running."""
    monkeypatch.setattr(parallel, "LAST_SECONDS", 0.2)
    never = threading.Event()

    def act(_: threading.Event, item: int) -> int:
        never.wait(30)
        return item

    def items() -> Iterator[int]:
        yield 0
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(in_parallel(worker, act, items(), 2))
    assert time.monotonic() - begun < 10
    never.set()


def test_an_interruption_while_a_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before a thread has started is still raised as KeyboardInterrupt."""

    def interrupted(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(in_parallel(worker, lambda _, item: item, range(5), 2))


def test_threads_end_with_the_work() -> None:
    """No thread is left when all results are read, or when the iterator is closed."""
    before = set(threading.enumerate())
    list(in_parallel(worker, lambda _, item: item, range(5), 4))
    results = in_parallel(worker, lambda _, item: item, range(5), 4)
    next(results)
    results.close()
    assert set(threading.enumerate()) <= before
