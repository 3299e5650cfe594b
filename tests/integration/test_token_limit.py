"""If the queue of the provider is full, parts wait, none is lost, and none is paid twice."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from openai_batch.jobs import token_limit
from openai_batch.jobs.collect import collect, raise_if_incomplete
from openai_batch.jobs.job_spec import JobSpec
from openai_batch.jobs.submit import start
from openai_batch.jobs.token_limit import EnqueuedTokens
from openai_batch.providers import get_provider_by_name
from openai_batch.requests.batch_file import check_file
from openai_batch.requests.source import Source

if TYPE_CHECKING:
    from pathlib import Path

    from support.workbench import Workbench

    from openai_batch.jobs.store.records import JobRecord

pytestmark = pytest.mark.slow


ROWS = 12


def spec(workbench: Workbench, model: str) -> JobSpec:
    """Write twelve requests, and return a job spec for them."""
    rows = [
        {
            "custom_id": f"r{n:02}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": model, "messages": []},
        }
        for n in range(ROWS)
    ]
    path = workbench.folder / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    work = workbench.folder / "work"
    work.mkdir(exist_ok=True)
    provider = get_provider_by_name("faulty")
    return JobSpec(check_file(Source(path, "in.jsonl", path), provider.limits, work), provider)


def ids(path: Path) -> list[str]:
    """Return the ids of result lines."""
    return [json.loads(line)["custom_id"] for line in path.read_text(encoding="utf-8").splitlines()]


def finish(workbench: Workbench, job: JobRecord) -> None:
    """Wait for a job and check that every row has one result, in order."""
    workflow = workbench.workflow()
    done = collect(workflow, workflow.wait(job, timeout=120), workbench.out)
    raise_if_incomplete(done)
    assert ids(workbench.out) == [f"r{n:02}" for n in range(ROWS)]


@pytest.mark.parametrize("refuses", [True, False], ids=["at the create", "after the create"])
def test_parts_without_room_wait_and_are_sent(workbench: Workbench, refuses: bool) -> None:
    """With room for two of four parts, all are sent one after another, and each request is answered once."""
    workbench.configure(max_requests=3)
    whole = spec(workbench, "fault:steps=in_progress")
    workbench.server.queue_bytes = whole.batch_file.size * 2 // 4 + 10
    workbench.server.queue_refuses = refuses
    job, _ = start(workbench.workflow(), whole)
    if refuses:
        assert job.waiting == 2
        assert len(workbench.server.batches) == 2
    finish(workbench, job)
    ran = [batch for batch in workbench.server.batches.values() if not batch.refused]
    assert sorted(row for batch in ran for row in batch.input.data.splitlines()) == sorted(
        (workbench.folder / "in.jsonl").read_bytes().splitlines()
    )


def test_a_limit_in_the_profile_is_kept_without_asking(workbench: Workbench) -> None:
    """With the limit in the profile, no part is refused."""
    workbench.configure(max_requests=3)
    whole = spec(workbench, "fault:steps=in_progress,in_progress")
    limit = whole.batch_file.size * 2 // 4 + 10
    workbench.configure(max_requests=3, enqueued_tokens=limit // token_limit.BYTES_PER_TOKEN)
    workbench.server.queue_bytes = limit
    job, _ = start(workbench.workflow(), spec(workbench, "fault:steps=in_progress,in_progress"))
    assert job.waiting == 2
    finish(workbench, job)
    assert len(workbench.server.creates) == 4


def test_a_refused_part_is_sent_again_after_a_pause(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the queue was full, the part is sent again after a pause, not at every poll."""
    monkeypatch.setattr(token_limit, "REFUSAL_PAUSE", 3.0)
    workbench.configure(max_requests=50)
    whole = spec(workbench, "m")
    workbench.server.queue_bytes = 1
    workflow = workbench.workflow()
    job, _ = start(workflow, whole)
    assert job.status == "uploaded"
    job = workflow.advance(job)
    assert len(workbench.server.creates) == 1
    part = job.parts[0]
    assert not EnqueuedTokens(workflow.registry, whole.provider).has_room(job, part, (part.attempted_at or 0) + 2.9)
    assert EnqueuedTokens(workflow.registry, whole.provider).has_room(job, part, (part.attempted_at or 0) + 3.1)
    workbench.server.queue_bytes = None
    finish(workbench, job)
    assert len(workbench.server.creates) == 2


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        ("Enqueued token limit reached. Limit: 90,000 enqueued tokens.", 90_000),
        ("Enqueued token limit reached: the limit is 90000.", 90_000),
        ("enqueued token limit of 2M tokens", 2_000_000),
        ("enqueued token limit = 1.5m", 1_500_000),
        ("Enqueued token limit: 90.000", 90_000),
        ("Enqueued token limit reached for model m-1.", None),
        ("Enqueued token limit: 3rd tier", None),
    ],
)
def test_the_limit_is_read_from_the_error_message(workbench: Workbench, words: str, limit: int | None) -> None:
    """A number in the error message is the limit; without one no limit is known."""
    workflow = workbench.workflow()
    job = workbench.submit("fault:steps=in_progress")
    queue = EnqueuedTokens(workflow.registry, workflow.api(job).provider)
    queue.learn(job, job.parts[0], words)
    assert queue.limit(job) == limit
    assert workflow.registry.limit(job.base_url, job.model, time.time() + 1, named=True) is None


def two_jobs(workbench: Workbench) -> tuple[JobRecord, JobRecord]:
    """Submit one request, which runs, and a job of twelve that has no room beside it."""
    first, _ = start(workbench.workflow(), workbench.spec("fault:steps=in_progress", 1, "one.jsonl"))
    whole = spec(workbench, "fault:steps=in_progress")
    workbench.server.queue_bytes = whole.batch_file.size
    second, _ = start(workbench.workflow(), whole)
    assert second.status == "uploaded"
    return first, second


def test_a_guessed_limit_splits_no_part(workbench: Workbench) -> None:
    """After a refusal without a number, a large part waits for the running batch, and is not split."""
    first, second = two_jobs(workbench)
    workflow = workbench.workflow()
    assert len(workflow.advance(second).parts) == 1
    assert len(workbench.server.creates) == 2
    workflow.wait(first, timeout=60)
    finish(workbench, second)
    assert len(workbench.server.batches) == 2
    assert len(workbench.server.creates) == 3


def test_a_guessed_limit_is_forgotten(workbench: Workbench) -> None:
    """A limit that was guessed from a refusal expires."""
    first, second = two_jobs(workbench)
    workflow = workbench.workflow()
    queue = EnqueuedTokens(workflow.registry, workflow.api(first).provider)
    part = second.parts[0]
    assert not queue.has_room(second, part, time.time() + token_limit.GUESSED_FOR - 60)
    assert queue.has_room(second, part, time.time() + token_limit.GUESSED_FOR + 60)


def test_a_waiting_job_watches_the_batches_of_other_jobs(workbench: Workbench) -> None:
    """A job that waits for room also refreshes the batches of other jobs."""
    first, second = two_jobs(workbench)
    finish(workbench, second)
    assert workbench.workflow().registry.job(first.id).ended


def test_a_deleted_batch_of_another_job_does_not_end_the_waiting(workbench: Workbench) -> None:
    """A batch that is not found is skipped, and needs no room after its window has ended."""
    first, second = two_jobs(workbench)
    workflow = workbench.workflow()
    (gone,) = [batch for batch in workbench.server.batches.values() if len(batch.input.data.splitlines()) == 1]
    del workbench.server.batches[gone.id]
    workflow.registry.set_part(first.parts[0], expires_at=time.time() + 60)
    assert workflow.poll(second).waiting == 1
    workflow.registry.set_part(first.parts[0], expires_at=time.time() - 7200)
    finish(workbench, second)
    assert not workflow.registry.job(first.id).ended


def test_recover_leaves_out_refused_batches(workbench: Workbench) -> None:
    """`recover` does not add the batches that failed because the queue was full."""
    from openai_batch.jobs.recover import recover

    workbench.configure(max_requests=3)
    whole = spec(workbench, "m")
    workbench.server.queue_bytes = whole.batch_file.size * 2 // 4 + 10
    workbench.server.queue_refuses = False
    finish(workbench, start(workbench.workflow(), whole)[0])
    (workbench.home / "state" / "registry.db").unlink()
    (job,) = recover(workbench.workflow(), [whole.provider])
    assert len(job.parts) == 4


def test_a_late_poll_does_not_undo_another_process(workbench: Workbench) -> None:
    """A process with an old state of the job does not change a part that another process has sent again."""
    workbench.configure(max_requests=50)
    whole = spec(workbench, "m")
    workbench.server.queue_bytes = 1
    workbench.server.queue_refuses = False
    workflow, other = workbench.workflow(), workbench.workflow()
    job, _ = start(workflow, whole)
    stale = job
    job = workflow.refresh(job)
    assert job.parts[0].batch_id is None
    workbench.server.queue_bytes = None
    workflow.registry.set_part(job.parts[0], refusals=0)
    job = workflow.advance(job)
    running = job.parts[0].batch_id
    assert running is not None
    other.refresh(stale)
    part = workflow.registry.job(job.id).parts[0]
    assert (part.batch_id, part.state) == (running, "running")
    finish(workbench, job)
    assert len(workbench.server.creates) == 2


@pytest.mark.parametrize("known", [True, False], ids=["in the profile", "from the refusal"])
def test_a_part_larger_than_the_queue_is_split(workbench: Workbench, known: bool) -> None:
    """A part that is larger than the limit is split, and each request is sent once."""
    whole = spec(workbench, "fault:steps=in_progress")
    room = whole.batch_file.size // 4 + 10
    tokens = room // token_limit.BYTES_PER_TOKEN
    workbench.configure(**({"enqueued_tokens": tokens} if known else {}))
    workbench.server.queue_bytes = room
    workbench.server.queue_words = f"Enqueued token limit reached. Limit: {tokens:,} enqueued tokens."
    job, _ = start(workbench.workflow(), spec(workbench, "fault:steps=in_progress"))
    job = workbench.workflow().advance(job)
    assert len(job.parts) in (4, 5)
    finish(workbench, job)
    ran = [batch for batch in workbench.server.batches.values() if not batch.refused]
    assert sorted(row for batch in ran for row in batch.input.data.splitlines()) == sorted(
        (workbench.folder / "in.jsonl").read_bytes().splitlines()
    )
    assert len(workbench.server.creates) == len(job.parts) + (not known)


def test_one_request_larger_than_the_queue_is_sent_alone(workbench: Workbench) -> None:
    """A single request that is larger than the limit is still sent."""
    workbench.configure(enqueued_tokens=1)
    job, _ = start(workbench.workflow(), spec(workbench, "m"))
    finish(workbench, job)
    assert len(workbench.server.creates) == ROWS
