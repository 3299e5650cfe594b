"""Withdrawn requests are not sent again unless asked for, and running batches are cancelled even if others fail."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from openai_batch import Jobs
from openai_batch.errors import ApiError, IncompleteError, UncertainError
from openai_batch.jobs.cancel import cancel, withdraw
from openai_batch.jobs.collect import collect, raise_if_incomplete
from openai_batch.jobs.missing_reasons import WITHDRAWN
from openai_batch.jobs.retry import retry, survey
from openai_batch.jobs.store.records import PartState
from openai_batch.jobs.submit import start
from openai_batch.results.outcome import Outcome

if TYPE_CHECKING:
    from support.workbench import Workbench

    from openai_batch.jobs.job import Job
    from openai_batch.jobs.store.records import JobRecord
    from openai_batch.jobs.workflow import Workflow

RUNS, FEW = (",".join(["in_progress"] * polls) for polls in (30, 5))


def half_sent(workbench: Workbench, plan: str = "fault:steps=in_progress") -> tuple[Workflow, JobRecord]:
    """Submit six requests in three parts to a queue with room for two."""
    workbench.configure(max_requests=2, parallel=1)
    spec = workbench.spec(plan, 6)
    workbench.server.queue_bytes = spec.batch_file.size * 2 // 3 + 5
    workflow = workbench.workflow()
    job, _ = start(workflow, spec)
    assert job.waiting == 1
    workbench.server.queue_bytes = None
    return workflow, job


def sent(workbench: Workbench) -> list[int]:
    """Return how many requests each batch has."""
    return [len(batch.input.data.splitlines()) for batch in workbench.server.batches.values()]


def test_a_retry_skips_withdrawn_rows(workbench: Workbench) -> None:
    """`retry` skips withdrawn rows and reports how many; `retry --all` sends them."""
    workflow, job = half_sent(workbench)
    job = workflow.wait(withdraw(workflow, job), timeout=60)
    found = survey(workflow, job)
    assert found.rows == {4: WITHDRAWN, 5: WITHDRAWN}
    assert retry(workflow, job, found) == job
    assert sent(workbench) == [2, 2]
    assert any("2 requests were left to a later job" in text for text in workbench.reporter.notes)
    collected = collect(workflow, job, workbench.out)
    with pytest.raises(IncompleteError) as told:
        raise_if_incomplete(collected)
    assert "later job" in told.value.hint
    assert f"retry {job.id} --all" in told.value.hint
    job = workflow.wait(retry(workflow, job, found, lambda _: True), timeout=60)
    assert sent(workbench) == [2, 2, 2]
    assert survey(workflow, job).rows == {}


def test_a_withdrawn_retry_is_skipped_too(workbench: Workbench) -> None:
    """A failed row whose retry was withdrawn is not sent a third time."""
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit("fault:rows=expired"), timeout=60)
    found = survey(workflow, job)
    assert len(found.rows) == 2
    workbench.server.queue_bytes = 1
    job = withdraw(workflow, retry(workflow, job, found))
    assert job.ended
    assert set(survey(workflow, job).rows.values()) == {WITHDRAWN}


def test_missing_rows_are_retried_and_withdrawn_ones_are_not(workbench: Workbench) -> None:
    """`retry` sends the rows that a batch has lost, but not the withdrawn ones."""
    workflow, job = half_sent(workbench, "fault:steps=in_progress;rows=absent")
    job = workflow.wait(withdraw(workflow, job), timeout=60)
    found = survey(workflow, job)
    assert sorted(row for row, cause in found.rows.items() if cause != WITHDRAWN) == [1, 3]
    workflow.wait(retry(workflow, job, found), timeout=60)
    assert sent(workbench) == [2, 2, 2]


@pytest.fixture
def uncertain(workbench: Workbench) -> tuple[Workflow, JobRecord]:
    """Submit three parts: the first runs, the second is uncertain, the third was not sent."""
    workbench.configure(max_requests=2, parallel=1, create_timeout=0.5, create_grace=0.1)
    workflow = workbench.workflow()
    with pytest.raises(UncertainError):
        start(workflow, workbench.spec(f"fault:create=made.reset+later;steps={RUNS}", 6))
    return workflow, workflow.registry.find(None)


def test_cancel_stops_running_batches_if_a_part_is_uncertain(
    workbench: Workbench, uncertain: tuple[Workflow, JobRecord]
) -> None:
    """The running batch is cancelled and the unsent part withdrawn before UncertainError is raised."""
    workflow, job = uncertain
    assert [part.state for part in job.parts] == ["running", PartState.CREATING, "planned"]
    before = len(workbench.server.requests)
    with pytest.raises(UncertainError) as told:
        cancel(workflow, job)
    assert workbench.server.requests[before].path.endswith("/cancel")
    assert f"obatch cancel {job.id}" in told.value.hint
    assert [batch.cancelled for batch in workbench.server.batches.values()] == [True]
    job = workflow.registry.job(job.id)
    assert [part.state for part in job.parts] == ["running", PartState.CREATING, PartState.ENDED]
    workbench.server.settle()
    job = cancel(workflow, job)
    assert job.ended
    assert [batch.cancelled for batch in workbench.server.batches.values()] == [True, True]


def test_an_uncertain_part_can_be_given_up(uncertain: tuple[Workflow, JobRecord]) -> None:
    """`withdraw` raises for an uncertain part, unless `resubmit_uncertain` is given."""
    workflow, job = uncertain
    with pytest.raises(UncertainError):
        withdraw(workflow, job)
    job = withdraw(workflow, job, resubmit_uncertain=True)
    assert [part.state for part in job.parts] == ["running", PartState.ENDED, PartState.ENDED]
    assert job.submitted


def test_cancel_can_give_up_an_uncertain_part(workbench: Workbench, uncertain: tuple[Workflow, JobRecord]) -> None:
    """With `give_up` the job is cancelled, and the results of its other batches can be collected."""
    workflow, job = uncertain
    job = workflow.wait(cancel(workflow, job, give_up=True), timeout=60)
    assert job.status == "cancelled"
    collected = collect(workflow, job, workbench.out)
    assert [collected.tally.outcomes[each] for each in (Outcome.SUCCESS, Outcome.MISSING)] == [2, 4]


def test_a_cancelled_batch_that_was_refused_is_not_sent_again(workbench: Workbench) -> None:
    """If a cancelled batch fails because the queue is full, it is not sent again."""
    workbench.server.queue_bytes = 1
    workbench.server.queue_refuses = False
    workflow = workbench.workflow()
    job = cancel(workflow, workbench.submit(f"fault:steps={RUNS}"))
    workbench.server.queue_bytes = None
    assert workflow.wait(job, timeout=30).ended
    assert len(workbench.server.batches) == 1


@pytest.mark.slow
def test_each_of_several_jobs_is_cancelled(workbench: Workbench, uncertain: tuple[Workflow, JobRecord]) -> None:
    """An uncertain job gives exit code 7, and the job after it is still cancelled."""
    other, _ = start(workbench.workflow(), workbench.spec(f"fault:steps={RUNS}", 1, "two.jsonl"))
    process = workbench.command("cancel", str(uncertain[1].id), str(other.id), "--yes")
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 7, told
    assert [batch.cancelled for batch in workbench.server.batches.values()] == [True, True]


@pytest.mark.slow
def test_one_batch_that_cannot_be_cancelled_does_not_stop_the_others(workbench: Workbench) -> None:
    """If cancelling one batch fails, the others are cancelled or withdrawn first."""
    workflow, job = half_sent(workbench, f"fault:cancel=503*3;steps={RUNS}")
    with pytest.raises(ApiError, match="503"):
        cancel(workflow, job)
    assert [batch.cancelled for batch in workbench.server.batches.values()] == [False, True]
    job = workflow.registry.job(job.id)
    assert job.submitted
    assert workflow.wait(cancel(workflow, job), timeout=60).status == "cancelled"


@pytest.mark.parametrize("kind", ["wait", "wait_async"])
def test_a_job_that_is_cancelled_during_a_wait_is_not_sent_again(workbench: Workbench, kind: str) -> None:
    """Automatic retries end with the cancellation. A wait that begins after it, with retries, sends the job again."""

    def wait(job: Job) -> None:
        asyncio.run(job.wait_async(retries=2)) if kind == "wait_async" else job.wait(retries=2)

    with Jobs() as jobs, ThreadPoolExecutor(1) as pool:
        job = jobs.submit(workbench.write(f"fault:rows=absent;steps={FEW}"), provider="faulty")
        waiting = pool.submit(wait, jobs.get(job.id))
        while not (batch := next(iter(workbench.server.batches.values()))).looks:
            time.sleep(0.01)
        job.cancel()
        waiting.result(60)
        assert batch.cancelled
        assert len(workbench.server.batches) == 1
        assert job.refresh().status == "cancelled"
        again = pool.submit(wait, job)
        while len(workbench.server.batches) == 1 and not again.done():
            time.sleep(0.01)
        jobs.get(job.id).cancel()
        again.result(60)
        assert len(workbench.server.batches) == 2


@pytest.mark.slow
def test_a_run_that_is_cancelled_elsewhere_sends_nothing_again(workbench: Workbench) -> None:
    """`run --retries` says that the job was cancelled, and keeps what its batch has answered."""
    workbench.write(f"fault:rows=absent;steps={RUNS}")
    running = workbench.command("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl", "--retries", "2")
    while not any(batch.looks for batch in workbench.server.batches.values()):
        time.sleep(0.01)
    assert "cancel" in workbench.command("cancel", "1").communicate(timeout=60)[0]
    told = running.communicate(timeout=60)[1]
    assert running.returncode == 5, told
    assert "job 1 was cancelled: its requests are not sent again" in told
    assert len(workbench.server.batches) == 1
    assert len(workbench.rows()) == 2
