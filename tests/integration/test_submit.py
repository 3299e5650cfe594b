"""Submitting the same input twice is one job, in one or many processes, and after a kill it continues."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from openai_batch.errors import InputError, NotFoundError
from openai_batch.jobs.collect import collect, raise_if_incomplete
from openai_batch.jobs.job_spec import SubmitOptions
from openai_batch.jobs.recover import adopt
from openai_batch.jobs.store.records import PartState
from openai_batch.jobs.store.registry import Registry
from openai_batch.jobs.submit import start
from openai_batch.providers.attempt import Attempt, new_token

if TYPE_CHECKING:
    from support.workbench import Workbench


def test_the_same_input_again_is_the_same_job(workbench: Workbench) -> None:
    """The same input is not uploaded or created again, except with `again`."""
    spec = workbench.spec("fault:end=completed")
    workflow = workbench.workflow()
    first, new = start(workflow, spec)
    assert new
    assert [start(workflow, spec) for workflow in (workflow, workbench.workflow())] == [(first, False)] * 2
    assert len(workbench.server.uploads) == len(workbench.server.creates) == 1
    second, new = start(workbench.workflow(), spec, SubmitOptions(again=True))
    assert new
    assert second.id != first.id
    assert len(workbench.server.batches) == 2


def test_another_input_is_another_job(workbench: Workbench) -> None:
    """A different input is another job."""
    one = start(workbench.workflow(), workbench.spec("fault:end=completed"))[0]
    other = start(workbench.workflow(), workbench.spec("fault:end=completed", requests=5))[0]
    assert one.id != other.id


def test_an_input_that_changes_before_it_is_sent_is_refused(workbench: Workbench) -> None:
    """No batch is created from a file that has changed since it was checked."""
    spec = workbench.spec("fault:end=completed")
    spec.batch_file.path.write_bytes(spec.batch_file.path.read_bytes().replace(b"ask", b"ASK"))
    with pytest.raises(InputError, match="has changed"):
        start(workbench.workflow(), spec)
    assert workbench.server.creates == []


@pytest.mark.parametrize("more", [b"\n", None])
def test_an_input_of_another_size_or_that_is_gone_is_not_uploaded(workbench: Workbench, more: bytes | None) -> None:
    """A file that was deleted or has another size is an error before the upload."""
    spec = workbench.spec("fault:end=completed")
    path = spec.batch_file.path
    if more is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + more)
    with pytest.raises(InputError, match="has changed" if more else "cannot be read"):
        start(workbench.workflow(), spec)
    assert workbench.server.uploads == []


@pytest.mark.slow
def test_two_processes_at_once_make_one_batch(workbench: Workbench) -> None:
    """Several processes with the same command share one job, one upload and one batch."""
    path = workbench.write("fault:end=completed")
    running = [workbench.command("submit", str(path), "-p", "faulty", "-q") for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 4, outputs
    assert len({out for out, _ in outputs}) == 1
    assert len(workbench.server.batches) == len(workbench.server.creates) == len(workbench.server.uploads) == 1
    assert len(Registry().jobs()) == 1


@pytest.mark.slow
def test_a_second_process_waits_for_the_first(workbench: Workbench) -> None:
    """While one process uploads, another one with the same command waits and sends nothing."""
    path = workbench.write("fault:upload=hold")
    first = workbench.command("submit", str(path), "-p", "faulty", "-q")
    while not workbench.server.uploads:
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    second = workbench.command("submit", str(path), "-p", "faulty")
    assert second.stderr is not None
    assert second.stderr.readline().startswith("4 requests, model")
    assert "another obatch is sending" in second.stderr.readline()
    workbench.server.settle()
    outputs = [process.communicate(timeout=60) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outputs
    assert len(workbench.server.uploads) == len(workbench.server.creates) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plan", "state"),
    [
        ("upload=hang", PartState.UPLOADING),
        ("create=made.hang", PartState.CREATING),
        ("create=hang", PartState.CREATING),
    ],
)
def test_a_killed_submit_is_continued(workbench: Workbench, plan: str, state: str) -> None:
    """After a kill during an upload or a create, the next run looks for the batch and makes no second one."""
    path = workbench.write(f"fault:{plan}")
    process = workbench.command("submit", str(path), "-p", "faulty")
    seen = workbench.server.creates if state == PartState.CREATING else workbench.server.uploads
    while not seen:
        assert process.poll() is None, process.communicate()
        seen = workbench.server.creates if state == PartState.CREATING else workbench.server.uploads
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    (job,) = Registry().jobs()
    assert job.parts[0].state == state
    if plan == "create=hang":
        workbench.use_short_timeouts()
    again = workbench.command("submit", str(path), "-p", "faulty", "-q")
    _, said = again.communicate(timeout=60)
    made = len(workbench.server.batches)
    if plan == "create=hang":
        assert (again.returncode, made) == (7, 0), said
    else:
        assert (again.returncode, made) == (0, 1), said
        (job,) = Registry().jobs()
        assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


def test_a_job_is_planned_before_anything_is_sent(workbench: Workbench) -> None:
    """A job is in the registry before its upload begins."""
    with pytest.raises(Exception, match="401"):
        workbench.submit("fault:upload=401")
    (job,) = workbench.workflow().registry.jobs()
    assert job.parts[0].state in (PartState.PLANNED, PartState.UPLOADING)
    assert job.requests == 4


def test_a_batch_from_elsewhere_is_adopted_once_and_collected(workbench: Workbench) -> None:
    """A batch of another program is adopted as one job; an unknown id is an error."""
    spec = workbench.spec("fault:rows=shuffled")
    api = workbench.api()
    with spec.batch_file.path.open("rb") as handle:
        file = api.upload(handle, "x.jsonl")
    made = api.create(Attempt(file.id, "/v1/chat/completions", "24h", new_token(), time.time(), {"by": "hand"}))
    workflow = workbench.workflow()
    job = adopt(workflow, made.id, spec.provider)
    assert adopt(workflow, made.id).id == job.id
    raise_if_incomplete(collect(workflow, workflow.wait(job, timeout=30), workbench.out))
    assert [row["custom_id"] for row in workbench.rows()] == [f"id-{n}" for n in range(4)]
    with pytest.raises(NotFoundError):
        adopt(workflow, "batch_unknown", spec.provider)
    api.close()


def test_the_key_is_in_no_file_and_in_no_place_but_its_header(workbench: Workbench) -> None:
    """The key is in no file, and is sent only in the Authorization header."""
    workbench.run("fault:end=completed")
    with pytest.raises(Exception, match="401"):
        workbench.submit("fault:create=401;end=completed")
    for path in workbench.folder.rglob("*"):
        assert not path.is_file() or b"sk-canary" not in path.read_bytes(), path
    for request in workbench.server.requests:
        assert request.headers.pop("authorization") == "Bearer sk-canary-0123456789abcdef"
        assert "sk-canary" not in f"{request.headers}{request.path}{request.query}"
        assert b"sk-canary" not in request.body
        assert not any(name.startswith("openai-") for name in request.headers)


WRITER = """
import sys
from openai_batch.jobs.store.records import JobRecord, PartRecord
from openai_batch.jobs.store.registry import Registry
registry = Registry()
name = sys.argv[1]
def order(identity, uid):
    job = JobRecord(id=0, identity=identity, uid=uid, provider="p", base_url="http://x", account="", endpoint="/v1/c",
              window="24h", created_at=1.0)
    return registry.add(job, [PartRecord(0, 1)])[0]
job = order(name, name)
part = job.parts[0]
for n in range(10):
    part = registry.set_part(part, expect=part.state, requests=registry.job(job.id).parts[0].requests + 1)
order("shared", name + "s")
registry.close()
"""


@pytest.mark.slow
def test_twenty_processes_share_one_registry() -> None:
    """No write is lost, no process finds the database locked, and one identity is one job."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, f"w{n}"], stderr=subprocess.PIPE, text=True) for n in range(20)
    ]
    errors = [writer.communicate(timeout=120)[1] for writer in writers]
    assert errors == [""] * 20
    jobs = {job.identity: job for job in Registry().jobs()}
    assert len(jobs) == len(Registry().jobs()) == 21
    assert {jobs[f"w{n}"].parts[0].requests for n in range(20)} == {10}
