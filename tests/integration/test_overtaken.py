"""If two processes plan the same input at the same time, the second plans again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from integration.conftest import workbench

from openai_batch.jobs.reuse import find_reusable, plan_submission
from openai_batch.jobs.store.registry import OvertakenError
from openai_batch.jobs.submit import start

if TYPE_CHECKING:
    from support.workbench import Workbench

__all__ = ["workbench"]


def test_a_submission_that_was_overtaken_is_not_sent(workbench: Workbench) -> None:
    """A plan from before another job of the same input is refused, and a new plan reuses that job's rows."""
    workflow = workbench.workflow()
    first = replace(workbench.spec("m", 3, "one.jsonl"), input_name="the table")
    second = replace(workbench.spec("m", 5, "two.jsonl"), input_name="the table")
    stale = plan_submission(
        workflow, find_reusable(workflow, second, workbench.folder / "work-two.jsonl", dedup=False), workflow.wait
    )
    start(
        workflow,
        plan_submission(
            workflow, find_reusable(workflow, first, workbench.folder / "work-one.jsonl", dedup=False), workflow.wait
        ),
    )
    with pytest.raises(OvertakenError):
        start(workflow, stale)
    assert len(workbench.server.batches) == 1
    again = plan_submission(
        workflow, find_reusable(workflow, second, workbench.folder / "work-two.jsonl", dedup=False), workflow.wait
    )
    start(workflow, again)
    assert [batch.input.data.count(b"\n") for batch in workbench.server.batches.values()] == [3, 2]


def test_identical_submissions_share_a_job(workbench: Workbench) -> None:
    """Two identical submissions share one job, whichever comes first."""
    workflow = workbench.workflow()
    spec = replace(workbench.spec("m", 3), input_name="the table")
    plans = [
        plan_submission(workflow, find_reusable(workflow, spec, workbench.folder / "work-in.jsonl", dedup=False), None)
        for _ in range(2)
    ]
    jobs = [start(workflow, plan)[0] for plan in plans]
    assert jobs[0].id == jobs[1].id
    assert len(workbench.server.batches) == 1
