"""A day of waiting, in seconds: whatever the provider does, there is one batch, and its results are collected."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from support.full import FULL, keep_figures
from support.lapse import EPISODES, PHASES, SPEED, Day, run_with_fast_clock

from openai_batch.jobs.collect import collect, raise_if_incomplete

if TYPE_CHECKING:
    from support.workbench import Workbench

pytestmark = pytest.mark.slow


SECONDS = 86.4 if FULL else 10.8
"""The length of the simulated day, in seconds: 24 hours, or three of them as a sample."""

SHORTEST_PAUSE = 60.0
"""The interval between two polls of a long wait, in seconds of the waiting process."""


@pytest.fixture(autouse=True)
def _faketime() -> None:
    """Skip the test if there is no `faketime`, which makes the clock run faster."""
    if shutil.which("faketime") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("faketime is not installed")
        pytest.skip("needs faketime")


def test_a_day_of_waiting(workbench: Workbench) -> None:
    """A wait through every temporary error exits with code 0, with one batch and a limited number of polls."""
    workbench.submit("fault:end=completed")
    (batch,) = workbench.server.batches.values()
    day = batch.input.plan = Day(server=workbench.server, seconds=SECONDS)
    done = run_with_fast_clock(workbench.folder, "wait", "1", limit=SECONDS + 120)
    assert done.returncode == 0, done.stderr
    assert day.share >= 1
    assert set(day.served) == {"away" if e.away else e.fault.kind for e in EPISODES}
    assert len(workbench.server.batches) == len(workbench.server.creates) == len(workbench.server.uploads) == 1
    for _, phase in PHASES:
        assert phase.replace("_", " ") in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    # The SDK sends up to three requests in one poll; each episode begins with some polls in quick succession.
    most = 3 * (day.share * SECONDS * SPEED / SHORTEST_PAUSE + 12 * len(EPISODES))
    assert day.looks <= most, (day.looks, most)
    assert day.early_polls == [], "asked sooner than the server had said"
    raise_if_incomplete(collect(workbench.workflow(), workbench.workflow().registry.job(1), workbench.out))
    assert len(workbench.rows()) == 4
    keep_figures(
        "test_a_day_of_waiting",
        hours=round(SECONDS * SPEED / 3600, 1),
        looks=day.looks,
        faults=sum(day.served.values()),
    )


def test_a_timeout_of_an_hour(workbench: Workbench) -> None:
    """`wait --timeout 1h` exits with code 124 after an hour, and the job keeps running."""
    workbench.submit("fault:end=completed")
    (batch,) = workbench.server.batches.values()
    batch.input.plan = Day(server=workbench.server, seconds=1000)
    begun = time.monotonic()
    done = run_with_fast_clock(workbench.folder, "wait", "1", "--timeout", "1h", limit=60)
    assert done.returncode == 124, done.stderr
    assert (time.monotonic() - begun) * SPEED >= 3600
    assert workbench.server.batches[batch.id].cancelled is False
