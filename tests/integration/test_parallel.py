"""Parts that are sent and downloaded in parallel: each has one batch, whatever happens to the others."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from openai_batch.errors import ApiError, UncertainError
from openai_batch.jobs.collect import collect
from openai_batch.jobs.submit import start

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.workbench import Workbench

PARTS = 7


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def rows_of_batches(workbench: Workbench) -> Counter[str]:
    """Count in how many batches each request is."""
    batches = workbench.server.batches.values()
    return Counter(json.loads(line)["custom_id"] for batch in batches for line in batch.input.data.splitlines())


def each_once(workbench: Workbench) -> bool:
    """Return whether each request is in exactly one batch."""
    return rows_of_batches(workbench) == Counter({f"id-{n}": 1 for n in range(PARTS)})


@pytest.mark.parametrize(("parallel", "begun"), [(4, 4), (1, 1), (16, PARTS)])
def test_parallel_limits_the_uploads(workbench: Workbench, parallel: int, begun: int) -> None:
    """`parallel` in the profile is the number of parts that are sent at the same time."""
    workbench.configure(max_requests=1, parallel=parallel)
    spec = workbench.spec(f"fault:upload=hold*{PARTS}", PARTS)
    sending = threading.Thread(target=lambda: start(workbench.workflow(), spec))
    sending.start()
    until(lambda: len(workbench.server.uploads) >= begun)
    time.sleep(0.3)
    assert len(workbench.server.uploads) == begun
    workbench.server.settle()
    sending.join(30)
    assert each_once(workbench)


def test_results_are_downloaded_several_at_a_time(workbench: Workbench) -> None:
    """Result files are downloaded in parallel, and the results are in input order."""
    workbench.configure(max_requests=1)
    workflow = workbench.workflow()
    plan = f"fault:content=hold*{PARTS};rows=shuffled"
    job = workflow.wait(start(workflow, workbench.spec(plan, PARTS))[0], timeout=60)
    reading = threading.Thread(target=lambda: collect(workbench.workflow(), job, workbench.out))
    reading.start()
    until(lambda: len(workbench.server.seen("GET", "/files/[^/]+/content")) >= 4)
    time.sleep(0.3)
    assert len(workbench.server.seen("GET", "/files/[^/]+/content")) == 4
    workbench.server.settle()
    reading.join(30)
    assert [row["custom_id"] for row in workbench.rows()] == [f"id-{n}" for n in range(PARTS)]
    assert len(workbench.server.seen("GET", "/files/[^/]+/content")) == PARTS


def test_no_part_is_started_after_an_error(workbench: Workbench) -> None:
    """After a refused create no more parts are started; the next command sends them, each once."""
    workbench.configure(max_requests=1)
    spec = workbench.spec("fault:create=400:no*4", PARTS)  # so that none of the first four parts succeeds
    with pytest.raises(ApiError, match="no"):
        start(workbench.workflow(), spec)
    assert len(workbench.server.uploads) <= 4
    for _ in range(4):  # a part that was stopped before its create has left a refusal
        with contextlib.suppress(ApiError):
            job, new = start(workbench.workflow(), spec)
            break
    assert (new, job.submitted) == (False, True)
    assert each_once(workbench)


def test_an_uploaded_part_is_not_created_after_an_error(workbench: Workbench) -> None:
    """If a part was refused, a part whose upload ends later gets no batch until the next command."""
    workbench.configure(max_requests=1, parallel=2)
    spec = workbench.spec("fault:upload=hold;create=400:no", PARTS)
    errors: list[Exception] = []

    def send() -> None:
        try:
            start(workbench.workflow(), spec)
        except ApiError as exc:
            errors.append(exc)

    sending = threading.Thread(target=send)
    sending.start()
    until(lambda: len(workbench.server.creates) == 1)
    time.sleep(1)
    workbench.server.settle()
    sending.join(30)
    assert len(errors) == len(workbench.server.creates) == 1
    start(workbench.workflow(), spec)
    assert each_once(workbench)


@pytest.mark.slow
def test_a_limited_queue_keeps_the_order(workbench: Workbench) -> None:
    """With `enqueued_tokens`, parts are created one at a time, in input order."""
    workbench.configure(max_requests=1, enqueued_tokens=100_000)
    spec = workbench.spec("fault:create=hold", PARTS)
    sending = threading.Thread(target=lambda: start(workbench.workflow(), spec))
    sending.start()
    until(lambda: len(workbench.server.creates) == 1)
    time.sleep(1.5)
    assert len(workbench.server.uploads) == 1
    workbench.server.settle()
    sending.join(30)
    made = [json.loads(batch.input.data)["custom_id"] for batch in workbench.server.batches.values()]
    assert made == [f"id-{n}" for n in range(PARTS)]


def test_a_lost_answer_among_others(workbench: Workbench) -> None:
    """If the answer to a parallel create is lost, its batch is found, and each part has one batch."""
    workbench.configure(max_requests=1)
    workflow = workbench.workflow()
    job, _ = start(workflow, workbench.spec("fault:create=made.reset*2", PARTS))
    assert job.submitted
    assert each_once(workbench)
    assert len(workbench.server.creates) == PARTS


def test_an_uncertain_part_among_others(workbench: Workbench) -> None:
    """If one part is uncertain, the others are sent once, and its batch is adopted when it appears."""
    workbench.configure(max_requests=1, create_timeout=0.5, create_grace=0.1)
    spec = workbench.spec("fault:create=later", PARTS)
    with pytest.raises(UncertainError):
        start(workbench.workflow(), spec)
    workbench.server.settle()
    workbench.configure(max_requests=1)
    job, _ = start(workbench.workflow(), spec)
    assert job.submitted
    assert each_once(workbench)


@pytest.mark.slow
@pytest.mark.parametrize("held", ["upload=hold*4", "create=hold*4", "create=hang*4"])
def test_an_interruption_pays_nothing_twice(workbench: Workbench, held: str) -> None:
    """Ctrl-C during four parallel parts ends the command soon, and the same command sends the rest once."""
    workbench.configure(max_requests=1, create_timeout=20)
    workbench.write(f"fault:{held}", PARTS)
    process = workbench.command("submit", "in.jsonl", "-p", "faulty")
    until(lambda: len(workbench.server.uploads if held.startswith("upload") else workbench.server.creates) == 4)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130, told
    assert time.monotonic() - begun < 15
    assert "Traceback" not in told
    workbench.server.settle()
    workbench.configure(max_requests=1, create_timeout=1, create_grace=1)
    again = workbench.command("submit", "in.jsonl", "-p", "faulty")
    told = again.communicate(timeout=60)[1]
    if held.startswith("create=hang"):  # it is unknown whether these creates took effect
        assert again.returncode == 7, told
        assert set(rows_of_batches(workbench).values()) <= {1}
    else:
        assert again.returncode == 0, told
        assert each_once(workbench)


def test_the_key_command_runs_once(workbench: Workbench) -> None:
    """The threads share the key, so `api_key_command` runs once."""
    log = workbench.folder / "asked"
    workbench.configure(
        max_requests=1, api_key_command=["sh", "-c", f"echo asked >> {log}; echo $FAULTY_KEY"], api_key_env="UNSET_KEY"
    )
    job, _ = start(workbench.workflow(), workbench.spec("m", PARTS))
    assert job.submitted
    assert log.read_text().split() == ["asked"]
    keys = {request.headers["authorization"] for request in workbench.server.requests}
    assert len(keys) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("held", "parallel", "batches"),
    [("create=hold*9", 4, 4), ("create=hold*9", 1, 1), ("upload=hold*9", 4, 0), ("upload=hold*9", 1, 0)],
)
def test_a_cancel_while_parts_are_sent(workbench: Workbench, held: str, parallel: int, batches: int) -> None:
    """The parts in flight are the last ones that are sent, and the batches that are just created are cancelled."""
    workbench.configure(max_requests=1, parallel=parallel)
    workbench.write(f"fault:{held};steps={','.join(['in_progress'] * 99)}", PARTS)
    sending = workbench.command("submit", "in.jsonl", "-p", "faulty")
    until(lambda: len(workbench.server.uploads if batches == 0 else workbench.server.creates) == parallel)
    cancelling = workbench.command("cancel", "1")
    if batches:
        line = cancelling.stderr.readline() if cancelling.stderr else ""
        assert "another obatch is sending job 1; waiting for it" in line
    else:  # nothing is paid for an upload, so the command does not wait for it
        assert "nothing had been sent" in cancelling.communicate(timeout=60)[1]
    workbench.server.settle()
    told = sending.communicate(timeout=60)[1]
    assert sending.returncode == 0, told
    assert told.count("job 1 was cancelled; nothing more of it is sent") == 1
    told = cancelling.communicate(timeout=60)[1] if batches else ""
    assert cancelling.returncode == 0, told
    assert len(workbench.server.batches) == batches
    assert all(batch.cancelled for batch in workbench.server.batches.values())
    shown = workbench.command("status", "1").communicate(timeout=60)[0]
    assert f"parts\t{batches} of {PARTS} sent" in shown
    assert f"status\t{'cancel' if batches else 'withdrawn'}" in shown
