"""The calls that a launcher has, and the options that each worker is started with."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from openai_batch.cluster.batches import Start
    from openai_batch.cluster.settings import ShardSettings


class State(StrEnum):
    """What a launcher knows about one start of the workers."""

    MISSING = "missing"
    """It was never started: the command was interrupted before."""
    RUNNING = "running"
    """It waits for room, or it runs."""
    ENDED = "ended"
    """It has ended, with or without success."""
    UNKNOWN = "unknown"
    """This launcher cannot tell."""


class Launcher(Protocol):
    """Starts workers. `number` counts the starts of one batch, from 1."""

    def check(self) -> None:
        """Raise BatchError if workers could not be started; nothing is started."""

    def start(self, batch_id: str, number: int) -> None:
        """Start the workers, once for each number. Raises BatchError."""

    def state(self, batch_id: str, start: Start) -> State:
        """Return what became of a start. Raises BatchError if the launcher cannot be asked."""
        ...


def worker_options(settings: ShardSettings) -> list[str]:
    """Return the options of `obatch worker` for these settings: names of variables and URLs, never a key."""
    options = [word for url in settings.upstream for word in ("--upstream", url)]
    given = {
        "--upstream-key-env": settings.upstream_key_env,
        "--concurrency": settings.concurrency,
        "--request-timeout": f"{settings.timeout_seconds:f}s",
        "--tries": settings.max_tries,
    }
    options += [word for name, value in given.items() if value is not None for word in (name, str(value))]
    return [*options, *(f"--engine={word}" for word in settings.engine)]
