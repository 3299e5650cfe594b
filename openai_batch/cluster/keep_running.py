"""Start the workers of a batch, and start them again if they ended before the batch was complete."""

from __future__ import annotations

import secrets
import socket
import time
from typing import TYPE_CHECKING

from .batches import Start, errors, last_error, note_start, note_started, starts, withdraw_start
from .launchers import State
from .progress import SILENT, count_results, progress

if TYPE_CHECKING:
    from .launchers import Launcher
    from .progress import Progress
    from .store import SharedStore

_START_SECONDS = 600.0
"""Seconds that starting the workers may take."""

_MOST_IN_VAIN = 3
"""Starts of the workers in a row without one more result; then the batch ends as failed."""


def keep_running(store: SharedStore, launcher: Launcher, batch_id: str) -> None:
    """Start the workers of a batch if they do not run, and it has not ended. May be called at any time.

    Each start is written down first, by one process only, and has its number; so workers are not started twice for the
    same number. Raises BatchError if they cannot be started.
    """
    found = progress(store, batch_id)
    if found.end is not None or found.stopped or time.time() >= found.plan.expires_at:
        return
    earlier = starts(store, batch_id)
    if earlier:
        last = earlier[-1]
        state = _state(store, launcher, found, last)
        if state is State.MISSING:
            _start(store, launcher, batch_id, last.number)
            return
        if state is not State.ENDED:
            return
        found = progress(store, batch_id)  # they may have completed it just before they ended
        if found.end is not None:
            return
        in_vain = earlier[-_MOST_IN_VAIN:]
        if len(in_vain) == _MOST_IN_VAIN and count_results(store, found) <= in_vain[0].results:
            why = last_error(store, batch_id) or "their logs say why"
            message = f"the workers ended {_MOST_IN_VAIN} times without one more result: {why}"
            progress(store, batch_id, failure=message)
            return
    start_workers(store, launcher, batch_id, len(earlier) + 1, count_results(store, found))


def start_workers(store: SharedStore, launcher: Launcher, batch_id: str, number: int, results: int) -> None:
    """Start the workers for this number, unless another process does it. Raises BatchError."""
    start = Start(number, socket.gethostname(), results, secrets.token_hex(8))
    if note_start(store, batch_id, start):
        _start(store, launcher, batch_id, number)


def _start(store: SharedStore, launcher: Launcher, batch_id: str, number: int) -> None:
    try:
        launcher.start(batch_id, number)
    except BaseException:
        withdraw_start(store, batch_id, number)  # the same command again starts them
        raise
    note_started(store, batch_id, number)


def why_idle(store: SharedStore, found: Progress) -> str:
    """Return why a batch does not continue now; empty if it does, has ended, or its workers have just been started."""
    if found.end is not None or found.stopped or found.living or not (made := starts(store, found.plan.id)):
        return ""
    failed = errors(store, found.plan.id)
    reported = max([found.last_sign, found.last_part, *(error.modified for error in failed)])
    silence = found.now - max(reported, made[-1].at)
    if silence < SILENT:
        return ""
    text = f"no worker has reported for {silence / 60:.0f} min"
    if reported < made[-1].at:
        return f"{text}, since they were started: see where they run whether they wait for room, or have failed"
    said = f": {last_error(store, found.plan.id)}" if failed and failed[-1].modified >= made[-1].at else ""
    return f"{text}; `obatch wait` starts them again{said}"


def _state(store: SharedStore, launcher: Launcher, found: Progress, last: Start) -> State:
    """Return what became of a start, by what the launcher knows and the store says."""
    state = launcher.state(found.plan.id, last)
    if state is State.UNKNOWN:  # they may wait for room, unless they gave signs of life, and then no more
        last_sign = max([found.last_sign, *(error.modified for error in errors(store, found.plan.id))])
        if last.at <= last_sign:
            state = State.ENDED if last_sign < found.now - SILENT else State.RUNNING
        elif not last.started and last.at < found.now - _START_SECONDS:
            state = State.MISSING  # what started them was killed
    if state is State.MISSING and found.living:
        return State.RUNNING  # only what this machine knew of them is lost
    return state
