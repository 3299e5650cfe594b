"""If the files, counts or answers of a completed batch are late, they are waited for, and nothing is sent again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from support.faults import StoredBatch, StoredFile
from support.plan import Plan

from openai_batch.errors import IncompleteError, NotFoundError
from openai_batch.jobs import workflow as steps
from openai_batch.jobs.collect import collect, raise_if_incomplete
from openai_batch.jobs.missing_reasons import NO_OUTPUT
from openai_batch.jobs.retry import retry_once, survey, wait_and_retry
from openai_batch.jobs.submit import start
from openai_batch.providers.batch_info import Counts

if TYPE_CHECKING:
    from support.workbench import Workbench


@pytest.mark.parametrize("counts", ["", "shape=nullcounts;", "shape=nocounts,emptyids;"])
def test_a_late_output_file_does_not_cause_a_resubmission(workbench: Workbench, counts: str) -> None:
    """Retries wait for a late output file, whatever the counts say, and send nothing."""
    workflow = workbench.workflow()
    job = start(workflow, workbench.spec(f"fault:{counts}late=2"))[0]
    job = wait_and_retry(workflow, job, timeout=60, retries=2)
    raise_if_incomplete(collect(workflow, job, workbench.out))
    assert len(workbench.server.batches) == 1


@pytest.mark.slow
def test_an_output_file_that_never_comes(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the output file never appears, the job completes after a while, and its requests are not sent again."""
    monkeypatch.setattr(steps, "LATE_FILES", 0.5)
    monkeypatch.setattr("openai_batch.jobs.collect._LATE_TRIES", 1)
    workflow = workbench.workflow()
    job = wait_and_retry(workflow, start(workflow, workbench.spec("fault:shape=nullcounts;late=99"))[0], retries=2)
    assert (job.status, len(workbench.server.batches)) == ("completed", 1)
    assert set(survey(workflow, job).rows.values()) == {NO_OUTPUT}
    assert any("output file may still appear" in text for text in workbench.reporter.notes)
    with pytest.raises(IncompleteError) as told:
        raise_if_incomplete(collect(workflow, job, workbench.out))
    assert "obatch download" in told.value.hint


def test_retries_check_the_answers(workbench: Workbench) -> None:
    """Missing rows are retried even if the counts say that all requests succeeded."""
    workflow = workbench.workflow()
    job = workflow.wait(start(workflow, workbench.spec("fault:rows=absent"))[0], timeout=60)
    workflow.registry.set_part(job.parts[0], counts=Counts(4, 4, 0))
    job = workflow.registry.job(job.id)
    assert retry_once(workflow, job, job)
    assert len(workbench.server.batches) == 2


@pytest.mark.parametrize("status", [400, 404, 429, 422])
def test_a_refusal_that_created_a_batch(workbench: Workbench, status: int) -> None:
    """After a refused create, the list is read once, and finds the batch that it created."""
    job = workbench.submit(f"fault:create=made.{status}")
    assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


def test_a_full_queue_in_the_answer_to_the_create(workbench: Workbench) -> None:
    """If a new batch has failed because the queue is full, its part waits and keeps its file."""
    workbench.server.queue_bytes = 0
    workbench.server.queue_refuses, workbench.server.queue_fails_at_once = False, True
    workflow = workbench.workflow()
    job = start(workflow, workbench.spec("fault:"))[0]
    assert (job.waiting, job.faults) == (1, [])
    workbench.server.queue_bytes = None
    workflow.registry.set_part(job.parts[0], refusals=0)
    job = workflow.wait(job, timeout=60)
    assert (job.status, len(workbench.server.uploads)) == ("completed", 1)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["", "shape=oldestfirst;"])
@pytest.mark.parametrize("clock", [-86400.0, 86400.0])
def test_a_lost_create_among_thousands_of_batches(workbench: Workbench, order: str, clock: float) -> None:
    """A lost create is found among 3,000 batches in either order, with the server's clock a day off."""
    server = workbench.server
    file = StoredFile("file-x", "x.jsonl", b"", Plan())
    for number in range(3000):
        created = time.time() + clock - 3 * 86400 - number
        server.batches[f"batch_x{number}"] = StoredBatch(
            f"batch_x{number}", file, "/v1/embeddings", {"by": "x"}, created
        )
    server.clock = clock
    job = workbench.submit(f"fault:{order}create=made.reset")
    assert job.batch_ids == list(server.batches)[3000:]


@pytest.mark.slow
def test_a_batch_that_the_provider_does_not_find_at_first(workbench: Workbench) -> None:
    """A new batch that is not found at first causes no error and no warning."""
    workflow = workbench.workflow()
    job = start(workflow, workbench.spec("fault:poll=404*4"))[0]
    assert workflow.refresh(job).status == "validating"
    assert workflow.wait(job, timeout=60).status == "completed"
    assert workbench.reporter.warnings == []


def test_an_output_file_that_has_another_id_later(workbench: Workbench) -> None:
    """If a file is not found, the batch is asked for its file ids again."""
    workflow = workbench.workflow()
    job = workflow.wait(start(workflow, workbench.spec("fault:"))[0], timeout=60)
    (batch,) = workbench.server.batches.values()
    file = workbench.server.files.pop(str(job.parts[0].output_file_id))
    workbench.server.files["file-moved"] = file
    batch.view["output_file_id"] = "file-moved"
    raise_if_incomplete(collect(workflow, job, workbench.out))
    assert len(workbench.rows()) == 4


def test_a_batch_that_stops_showing_its_files(workbench: Workbench) -> None:
    """If a batch no longer shows its files, collecting is an error, and the results do not count as missing."""
    workflow = workbench.workflow()
    job = workflow.wait(start(workflow, workbench.spec("fault:"))[0], timeout=60)
    (batch,) = workbench.server.batches.values()
    file_id = str(job.parts[0].output_file_id)
    file = workbench.server.files.pop(file_id)
    batch.view["output_file_id"] = None
    with pytest.raises(NotFoundError, match=file_id):
        collect(workflow, job, workbench.out)
    assert workflow.registry.job(job.id).parts[0].output_file_id == file_id
    workbench.server.files[file_id] = file
    raise_if_incomplete(collect(workflow, job, workbench.out))
    assert len(workbench.rows()) == 4
