"""The same order twice is one job, in one process, in two, or in many; and a killed one is gone on with."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from openai_batch.errors import InputError, NotFoundError
from openai_batch.jobs.collect import collect, raise_if_incomplete
from openai_batch.jobs.recover import adopt
from openai_batch.jobs.store.records import CREATING, PLANNED, UPLOADING
from openai_batch.jobs.store.registry import Registry
from openai_batch.jobs.submit import start

if TYPE_CHECKING:
    from support.provider_home import Shop


def test_the_same_order_again_is_the_same_job(shop: Shop) -> None:
    """Nothing is uploaded or created again, by the same process or a later one; `again` asks for it."""
    order = shop.order("fault:end=completed")
    flow = shop.flow()
    first, new = start(flow, order)
    assert new
    assert [start(flow, order) for flow in (flow, shop.flow())] == [(first, False)] * 2
    assert len(shop.server.uploads) == len(shop.server.creates) == 1
    second, new = start(shop.flow(), order, again=True)
    assert new
    assert second.id != first.id
    assert len(shop.server.batches) == 2


def test_another_input_is_another_job(shop: Shop) -> None:
    """One byte more makes it another order."""
    one = start(shop.flow(), shop.order("fault:end=completed"))[0]
    other = start(shop.flow(), shop.order("fault:end=completed", requests=5))[0]
    assert one.id != other.id


def test_an_input_that_changes_before_it_is_sent_is_refused(shop: Shop) -> None:
    """What was checked is what is sent: no batch is made of a file that changed in between."""
    order = shop.order("fault:end=completed")
    order.batch_file.path.write_bytes(order.batch_file.path.read_bytes().replace(b"ask", b"ASK"))
    with pytest.raises(InputError, match="has changed"):
        start(shop.flow(), order)
    assert shop.server.creates == []


@pytest.mark.parametrize("more", [b"\n", None])
def test_an_input_of_another_size_or_that_is_gone_is_not_uploaded(shop: Shop, more: bytes | None) -> None:
    """What a look at the file tells is told before anything is sent."""
    order = shop.order("fault:end=completed")
    path = order.batch_file.path
    if more is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + more)
    with pytest.raises(InputError, match="has changed" if more else "cannot be read"):
        start(shop.flow(), order)
    assert shop.server.uploads == []


def test_two_processes_at_once_make_one_batch(shop: Shop) -> None:
    """Several shells with the same command share one job, one upload and one batch."""
    path = shop.write("fault:end=completed")
    running = [shop.command("submit", str(path), "-p", "faulty", "-q") for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 4, outputs
    assert len({out for out, _ in outputs}) == 1
    assert len(shop.server.batches) == len(shop.server.creates) == len(shop.server.uploads) == 1
    assert len(Registry().jobs()) == 1


def test_a_process_that_comes_meanwhile_waits_for_the_first(shop: Shop) -> None:
    """While one process uploads, another with the same order sends nothing of its own."""
    path = shop.write("fault:upload=hold")
    first = shop.command("submit", str(path), "-p", "faulty", "-q")
    while not shop.server.uploads:
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    second = shop.command("submit", str(path), "-p", "faulty")
    assert second.stderr is not None
    assert "another obatch is sending" in second.stderr.readline()
    shop.server.settle()
    outputs = [process.communicate(timeout=60) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outputs
    assert len(shop.server.uploads) == len(shop.server.creates) == 1


@pytest.mark.parametrize(
    ("plan", "state"), [("upload=hang", UPLOADING), ("create=made.hang", CREATING), ("create=hang", CREATING)]
)
def test_a_killed_submit_is_gone_on_with(shop: Shop, plan: str, state: str) -> None:
    """SIGKILL in the midst of an upload or a create: the next run goes on, looks first, and makes one batch."""
    path = shop.write(f"fault:{plan}")
    process = shop.command("submit", str(path), "-p", "faulty")
    seen = shop.server.creates if state == CREATING else shop.server.uploads
    while not seen:
        assert process.poll() is None, process.communicate()
        seen = shop.server.creates if state == CREATING else shop.server.uploads
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    (job,) = Registry().jobs()
    assert job.parts[0].state == state
    if plan == "create=hang":
        shop.hurry()
    again = shop.command("submit", str(path), "-p", "faulty", "-q")
    _, said = again.communicate(timeout=60)
    made = len(shop.server.batches)
    if plan == "create=hang":
        assert (again.returncode, made) == (7, 0), said
    else:
        assert (again.returncode, made) == (0, 1), said
        (job,) = Registry().jobs()
        assert job.batch_ids == list(shop.server.batches)
    assert len(shop.server.creates) == 1


def test_a_job_is_planned_before_anything_is_sent(shop: Shop) -> None:
    """The row stands before the upload begins; without a key there is neither."""
    with pytest.raises(Exception, match="401"):
        shop.submit("fault:upload=401")
    (job,) = shop.flow().registry.jobs()
    assert job.parts[0].state in (PLANNED, UPLOADING)
    assert job.requests == 4


def test_a_batch_from_elsewhere_is_adopted_once_and_collected(shop: Shop) -> None:
    """A batch id made by another program becomes one job; an unknown id is no job."""
    order = shop.order("fault:rows=shuffled")
    api = shop.api()
    with order.batch_file.path.open("rb") as handle:
        file = api.upload(handle, "x.jsonl")
    made = api.create(input_file_id=file.id, endpoint="/v1/chat/completions", window="24h", metadata={"by": "hand"})
    flow = shop.flow()
    job = adopt(flow, made.id, order.provider)
    assert adopt(flow, made.id).id == job.id
    raise_if_incomplete(collect(flow, flow.wait(job, timeout=30), shop.out))
    assert [row["custom_id"] for row in shop.rows()] == [f"id-{n}" for n in range(4)]
    with pytest.raises(NotFoundError):
        adopt(flow, "batch_unknown", order.provider)
    api.close()


def test_the_key_is_in_no_file_and_in_no_place_but_its_header(shop: Shop) -> None:
    """After a whole job, and one that failed, the key is in no file; it was sent as a bearer token only."""
    shop.run("fault:end=completed")
    with pytest.raises(Exception, match="401"):
        shop.submit("fault:create=401;end=completed")
    for path in shop.folder.rglob("*"):
        assert not path.is_file() or b"sk-canary" not in path.read_bytes(), path
    for request in shop.server.requests:
        assert request.headers.pop("authorization") == "Bearer sk-canary-0123456789abcdef"
        assert "sk-canary" not in f"{request.headers}{request.path}{request.query}"
        assert b"sk-canary" not in request.body
        assert not any(name.startswith("openai-") for name in request.headers)


WRITER = """
import sys
from openai_batch.jobs.store.records import Job, Part
from openai_batch.jobs.store.registry import Registry
registry = Registry()
name = sys.argv[1]
def order(identity, uid):
    job = Job(id=0, identity=identity, uid=uid, provider="p", base_url="http://x", endpoint="/v1/c", window="24h",
              created_at=1.0)
    return registry.add(job, [Part(0, 1)])[0]
job = order(name, name)
part = job.parts[0]
for n in range(10):
    part = registry.set_part(part, expect=part.state, requests=registry.job(job.id).parts[0].requests + 1)
order("shared", name + "s")
registry.close()
"""


def test_twenty_processes_share_one_registry() -> None:
    """No write is lost, nobody finds the database locked, and one identity is one job."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, f"w{n}"], stderr=subprocess.PIPE, text=True) for n in range(20)
    ]
    errors = [writer.communicate(timeout=120)[1] for writer in writers]
    assert errors == [""] * 20
    jobs = {job.identity: job for job in Registry().jobs()}
    assert len(jobs) == len(Registry().jobs()) == 21
    assert {jobs[f"w{n}"].parts[0].requests for n in range(20)} == {10}
