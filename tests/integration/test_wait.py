"""Waiting continues through temporary errors, and ends at others."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

from openai_batch.errors import ApiError, AuthError, NotFoundError, UnreachableError, WaitTimeoutError
from openai_batch.jobs import workflow
from openai_batch.jobs.cancel import cancel
from openai_batch.jobs.retry import retry, survey
from openai_batch.jobs.store.records import PartState
from openai_batch.net.delays import delays
from openai_batch.providers import polling
from openai_batch.providers.batch_info import BatchFault
from openai_batch.providers.polling import Poller

if TYPE_CHECKING:
    from support.workbench import Workbench


@pytest.mark.slow
@pytest.mark.parametrize(
    "poll",
    [
        # The SDK makes three attempts, so only the third fault in a row is seen by the wait.
        *("429:0*3", "429:-5", "429:nan", "429:1e999", "429:soon", "429:Mon, 23 Nov 2020 10:00:00 GMT"),
        *("500*3", "502", "503:1", "reset*3", "close", "garbage", "html", "cut", "string", "empty", "deep"),
        *("404", "408", "409", "made.500", "made.reset", "made.cut"),
    ],
)
def test_temporary_errors_do_not_end_the_wait(workbench: Workbench, poll: str) -> None:
    """A temporary error or an invalid answer does not end the wait, and nothing is sent again."""
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit(f"fault:poll={poll};steps=in_progress"), timeout=60)
    assert job.parts[0].state == PartState.ENDED
    assert job.status == "completed"
    assert len(workbench.server.creates) == 1


@pytest.mark.slow
@pytest.mark.parametrize("words", ["validating,in_progress,finalizing", "PENDING,Running,WRAPPING_UP", "moderating"])
def test_an_unknown_status_counts_as_running(workbench: Workbench, words: str) -> None:
    """Only the four known final statuses end the wait."""
    job = workbench.workflow().wait(workbench.submit(f"fault:steps={words}"), timeout=30)
    assert job.status == "completed"
    assert len(workbench.server.seen("GET", "/batches/.*")) == len(words.split(",")) + 1


@pytest.mark.slow
def test_an_unknown_status_that_lasts_is_reported_once(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One warning names the status and how to map it; with that map, the batch has ended."""
    monkeypatch.setattr(polling, "UNKNOWN_PATIENCE", 0.0)
    workflow, job = workbench.workflow(), workbench.submit("fault:end=wound_up")
    with pytest.raises(WaitTimeoutError, match="still wound_up"):
        workflow.wait(job, timeout=3)
    named = [text for text in workbench.reporter.warnings if 'status_map = { "wound_up" = "completed" }' in text]
    assert len(named) == 1
    with (workbench.home / "config.toml").open("a") as config:
        config.write('status_map = { "wound_up" = "completed" }\n')
    assert workbench.workflow().wait(job, timeout=30).status == "completed"
    assert len(workbench.server.creates) == 1


@pytest.mark.parametrize("end", ["completed", "failed", "expired", "cancelled"])
def test_each_final_status_ends_the_wait(workbench: Workbench, end: str) -> None:
    """Each of the four final statuses ends the wait."""
    job = workbench.workflow().wait(workbench.submit(f"fault:end={end}"), timeout=30)
    assert (job.status, job.ended) == (end, True)
    assert job.ended_at is not None


def test_a_timeout_ends_the_wait(workbench: Workbench) -> None:
    """After a timeout the error has exit code 124, and the hint is `obatch wait`."""
    steps = ",".join(["in_progress"] * 50)
    job = workbench.submit(f"fault:steps={steps}")
    with pytest.raises(WaitTimeoutError) as told:
        workbench.workflow().wait(job, timeout=0.6)
    assert told.value.code == 124
    assert f"obatch wait {job.id}" in told.value.hint


@pytest.mark.slow
def test_a_key_that_stays_refused_ends_the_wait(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is refused repeatedly ends the wait with AuthError."""
    monkeypatch.setattr(polling, "MAX_ACCESS_ERRORS", 2)
    job = workbench.submit("fault:poll=401*9;steps=in_progress")
    with pytest.raises(AuthError) as told:
        workbench.workflow().wait(job, timeout=30)
    assert "FAULTY_KEY" in told.value.hint
    assert "canary" not in str(told.value)


@pytest.mark.slow
def test_a_key_that_is_refused_once_does_not_end_the_wait(workbench: Workbench) -> None:
    """A key that is refused once does not end the wait."""
    job = workbench.workflow().wait(workbench.submit("fault:poll=401;steps=in_progress"), timeout=30)
    assert job.status == "completed"


@pytest.mark.parametrize("answered", [False, True])
def test_a_refusal_counts_less_once_the_provider_has_answered(*, answered: bool) -> None:
    """A refused key is retried only if the provider has answered before."""
    warnings: list[str] = []
    poller = Poller(delays(7.0), warnings.append, max_access_errors=1)
    if answered:
        with poller.attempt():
            pass
        assert poller.next_delay() == 7
    with contextlib.nullcontext() if answered else pytest.raises(AuthError), poller.attempt():
        raise AuthError("the key is refused")
    assert warnings == (["the key is refused; trying again in 2 s"] if answered else [])
    assert not answered or 2 <= poller.next_delay() <= 2.5


def test_a_fault_that_comes_and_goes_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named again if it comes back after a while."""
    warnings: list[str] = []
    poller = Poller(delays(0.0), warnings.append)
    fault = BatchFault("upstream_unavailable", "the upstream answers HTTP 500")
    for faults in ((fault,), (fault,), (), (fault,)):
        poller.next_delay("job 1", faults=faults)
    assert warnings == ["job 1: the upstream answers HTTP 500"]
    monkeypatch.setattr(polling, "FAULT_GONE", 0.0)
    poller.next_delay("job 1", faults=[fault])
    assert len(warnings) == 2


@pytest.mark.slow
def test_a_batch_that_is_not_found_ends_the_wait(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the batch is not found several times in a row, the wait ends with NotFoundError."""
    monkeypatch.setattr(polling, "MAX_ACCESS_ERRORS", 2)
    monkeypatch.setattr(workflow, "NEW_BATCH", 0.0)
    with pytest.raises(NotFoundError):
        workbench.workflow().wait(workbench.submit("fault:poll=404*9"), timeout=60)
    assert len(workbench.server.seen("GET", "/batches/.*")) == 2


@pytest.mark.slow
def test_an_unreachable_provider_does_not_end_the_wait(workbench: Workbench) -> None:
    """While the provider cannot be reached the wait continues."""
    workflow = workbench.workflow()
    job = workbench.submit("fault:steps=in_progress")
    workbench.server.stop_listening()
    back = threading.Timer(2.5, workbench.server.listen_again)
    back.start()
    job = workflow.wait(job, timeout=60)
    back.join()
    assert job.status == "completed"
    assert any("cannot be reached" in text for text in workbench.reporter.warnings)


@pytest.mark.slow
def test_the_results_of_a_retry_replace_those_written_before(workbench: Workbench) -> None:
    """After a run with failed rows, the same command with --retries exits with 0, and so does the next."""
    workbench.write("fault:rows=expired", 2)
    command = ("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl")
    for words, code in (((), 5), (("--retries", "1"), 0), ((), 0)):
        process = workbench.command(*command, *words)
        told = process.communicate(timeout=60)[1]
        assert process.returncode == code, told
    assert [bool(row["error"]) for row in workbench.rows()] == [False, False]
    assert len(workbench.server.batches) == 2


@pytest.mark.parametrize("sent", [True, False], ids=["while it runs", "before it was sent"])
def test_a_job_that_is_sent_again_is_not_collected(workbench: Workbench, sent: bool) -> None:
    """After a retry, a job no longer counts as collected, even if the retry is not sent yet."""
    workflow = workbench.workflow()
    job = workbench.run("fault:rows=expired").job
    assert job.collected
    found = survey(workflow, job)
    workbench.server.queue_bytes = None if sent else 1
    job = retry(workflow, job, found)
    assert (job.collected, job.answered) == (False, None)
    workflow.registry.set_job(job.id, answered=2)  # as another process that has begun to collect would
    assert not workflow.registry.job(job.id).collected


@pytest.mark.parametrize("steps", ["in_progress,in_progress", ""])
def test_a_cancelled_job_ends_as_cancelled_or_completed(workbench: Workbench, steps: str) -> None:
    """A running batch is cancelled and its results kept; a completed one stays completed."""
    workflow = workbench.workflow()
    job = workbench.submit(f"fault:steps={steps};rows=absent")
    job = workflow.wait(cancel(workflow, job), timeout=30)
    assert job.status == ("cancelled" if steps else "completed")
    assert job.parts[0].output_file_id


def test_which_errors_are_temporary() -> None:
    """A lost connection and a busy server are temporary errors; a refusal is not."""
    assert UnreachableError("gone").passes
    assert all(ApiError("busy", status=status).passes for status in (408, 409, 429, 500, 502, 503, 504))
    assert not any(ApiError("no", status=status).passes for status in (400, 413, 422))
