"""A clock that jumps, as after a suspend or a correction, does not change timeouts and pauses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from openai_batch.errors import UncertainError, WaitTimeoutError
from openai_batch.jobs import token_limit
from openai_batch.jobs.submit import start

if TYPE_CHECKING:
    from support.workbench import Workbench

DAY = 86_400.0


class Clock:
    """The wall clock of this process; from the fourth reading on it is shifted by `jumps`."""

    def __init__(self, *jumps: float) -> None:
        self._real = time.time
        self._jumps = jumps
        self.readings = 0

    def __call__(self) -> float:
        """Return the shifted time."""
        self.readings += 1
        late = max(0, self.readings - 3)
        return self._real() + (self._jumps[min(late, len(self._jumps) - 1)] if late else 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("jumps", [(0, DAY), (0, -DAY), (0, DAY, -DAY, DAY, 0)])
def test_a_jump_does_not_change_a_time_out(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, jumps: tuple[float, ...]
) -> None:
    """A timeout of three seconds is not shorter if the clock jumps a day ahead or back."""
    job = workbench.submit(f"fault:steps={','.join(['in_progress'] * 14)}")
    clock = Clock(*jumps)
    monkeypatch.setattr(time, "time", clock)
    while clock.readings <= len(jumps) + 3:  # on a slow machine, one wait may not see every jump
        begun = time.monotonic()
        with pytest.raises(WaitTimeoutError):
            workbench.workflow().wait(job, timeout=3)
        assert time.monotonic() - begun >= 3


@pytest.mark.slow
@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_jump_does_not_change_the_grace_period(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """The search for a lost create takes as long as the profile says, even if the clock jumps."""
    workbench.configure(create_timeout=2, create_grace=2)
    spec = workbench.spec("fault:create=reset")
    workflow = workbench.workflow()
    real, before = time.time, 1  # the list is read once before the create

    def shifted() -> float:
        return real() + (jump if len(workbench.server.seen("GET", "/batches")) > before else 0.0)

    monkeypatch.setattr(time, "time", shifted)
    with pytest.raises(UncertainError):
        start(workflow, spec)
    assert len(workbench.server.seen("GET", "/batches")) > before + 1
    assert len(workbench.server.creates) == 1


@pytest.mark.slow
@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_jump_does_not_change_the_pause_after_a_full_queue(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """The part is sent again after the pause, even if the clock jumps."""
    monkeypatch.setattr(token_limit, "REFUSAL_PAUSE", 3.0)
    workbench.server.queue_bytes = 1
    workflow = workbench.workflow()
    job, _ = start(workflow, workbench.spec("m"))
    begun = time.monotonic()
    job = workflow.advance(job)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    workbench.server.queue_bytes = None
    while not job.submitted:
        assert time.monotonic() - begun < 30
        time.sleep(0.1)
        job = workflow.advance(job)
    assert time.monotonic() - begun > 2
    assert len(workbench.server.creates) == 2


def test_a_limit_from_the_future_is_not_kept(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guessed limit is forgotten if the clock is set back by a day."""
    registry = workbench.workflow().registry
    registry.set_limit("account", "m", 7, named=False)
    real = time.time
    assert registry.limit("account", "m", real() - 3600, named=False) == 7
    monkeypatch.setattr(time, "time", lambda: real() - DAY)
    assert registry.limit("account", "m", real() - DAY - 3600, named=False) is None
