"""Every answer has a time limit and a size limit, whatever the server sends."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from support.plan import Fault

from openai_batch.errors import (
    ApiError,
    BatchError,
    InputError,
    UncertainError,
    UnreachableError,
    WaitTimeoutError,
)
from openai_batch.files import paths
from openai_batch.files.locks import locked
from openai_batch.inputs import data_url, public_fetch
from openai_batch.jobs import cancel, workflow
from openai_batch.jobs.collect import collect
from openai_batch.jobs.submit import start
from openai_batch.net import answers, transfer
from openai_batch.net.answers import MAX_ANSWER_BYTES
from openai_batch.net.plain_get import plain_get
from openai_batch.net.time_limit import deadline_in, until
from openai_batch.providers import Provider, get_provider_by_name
from openai_batch.providers import openai_api as api
from openai_batch.providers.openai_api import OpenAIBatchApi

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.workbench import Workbench

resource = pytest.importorskip("resource")

DRIPS = ("drip", "drip:head", "drip:500")


@pytest.mark.slow
@pytest.mark.parametrize("fault", [*DRIPS, "hang"])
def test_a_wait_ends_in_time_while_bytes_arrive(workbench: Workbench, fault: str) -> None:
    """A server that sends a byte now and then does not delay the timeout."""
    job = workbench.submit(f"fault:poll={fault}*9")
    begun = time.monotonic()
    with pytest.raises(WaitTimeoutError):
        workbench.workflow().wait(job, timeout=1.5)
    assert time.monotonic() - begun < 8


def test_the_last_poll_has_time_for_an_answer(workbench: Workbench) -> None:
    """With a timeout of 0, the provider is still asked once."""
    assert workbench.workflow().wait(workbench.submit("m"), timeout=0).status == "completed"


@pytest.mark.parametrize("fault", DRIPS)
@pytest.mark.parametrize("call", ["poll", "list", "cancel", "upload"])
def test_each_call_ends(workbench: Workbench, fault: str, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call has a timeout for the whole answer."""
    monkeypatch.setattr(api, "READ_TIMEOUT", 0.5)
    job = workbench.submit("m" if call == "upload" else f"fault:{call}={fault}*9")
    batch_id = str(job.parts[0].batch_id)
    client = workbench.api()
    client._client = client._sdk().with_options(timeout=0.5)
    path = workbench.write(f"fault:upload={fault}*9", name="another.jsonl")
    with path.open("rb") as handle:
        calls: dict[str, Callable[[], object]] = {
            "poll": lambda: client.get(batch_id),
            "list": lambda: list(client.batches()),
            "cancel": lambda: client.cancel(batch_id),
            "upload": lambda: client.upload(handle, "x.jsonl"),
        }
        begun = time.monotonic()
        with pytest.raises(UnreachableError, match="no answer in time"):
            calls[call]()
    assert time.monotonic() - begun < 8  # older versions of the SDK make three attempts
    client.close()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", ["READ_TIMEOUT", "CALL_SECONDS", "LIST_SECONDS", "LOOK_SECONDS", "CANCEL_SECONDS"])
def test_each_look_ends(workbench: Workbench, seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing, refreshing and cancelling each end at their own timeout, even if bytes arrive."""
    job = workbench.submit("fault:poll=drip*9;cancel=drip*9;list=drip*9")
    (module,) = (module for module in (api, workflow, cancel) if seconds in vars(module))
    monkeypatch.setattr(module, seconds, 0.5)
    works, client = workbench.workflow(), workbench.api()
    calls: dict[str, Callable[[], object]] = {
        "LIST_SECONDS": lambda: list(client.batches()),
        "CANCEL_SECONDS": lambda: cancel.cancel(works, job),
    }
    begun = time.monotonic()
    with pytest.raises(UnreachableError, match="no answer in time"):
        calls.get(seconds, lambda: works.refresh(job))()
    assert time.monotonic() - begun < 8
    client.close()


def test_a_delay_that_is_longer_than_the_time_is_not_waited_for(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a server asks for a delay longer than the time limit, the call fails at once."""
    monkeypatch.setattr(api, "CALL_SECONDS", 10)
    job = workbench.submit("fault:poll=429:50*9")
    begun = time.monotonic()
    with pytest.raises(ApiError, match="said 429"):
        workbench.workflow().refresh(job)
    assert time.monotonic() - begun < 8


@pytest.mark.slow
def test_a_wait_ends_in_time_while_it_looks_for_a_batch(workbench: Workbench) -> None:
    """The timeout also applies to the search for a lost batch, and nothing is sent again."""
    workbench.use_short_timeouts()
    with pytest.raises(UncertainError):
        workbench.submit("fault:create=reset;list=404*999")
    workbench.configure(create_grace=60)
    for fault in ("drip", "404"):
        for plan in workbench.server._plans.values():
            plan.faults["list"] = deque([Fault(fault)] * 9)
        (job,) = workbench.workflow().registry.jobs()
        begun = time.monotonic()
        with pytest.raises(WaitTimeoutError, match="still uncertain"):
            workbench.workflow().wait(job, timeout=1.5)
        assert time.monotonic() - begun < 8
    assert len(workbench.server.creates) == 1


@pytest.mark.slow
def test_an_interrupted_search_proves_nothing(workbench: Workbench) -> None:
    """After a refused create, nothing is sent again if the search for its batch was interrupted."""
    spec = workbench.spec("fault:create=made.400;list=lag:99")
    with pytest.raises(ApiError):
        start(workbench.workflow(), spec)
    (plan,) = workbench.server._plans.values()
    plan.faults["list"] = deque([Fault("drip")] * 99)
    with pytest.raises(UnreachableError, match="no answer in time"), until(deadline_in(1.0)):
        start(workbench.workflow(), spec)
    assert len(workbench.server.creates) == 1
    workbench.server.settle()
    assert start(workbench.workflow(), spec)[0].batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


@pytest.mark.slow
def test_a_wait_ends_in_time_while_another_process_is_at_work(workbench: Workbench) -> None:
    """The timeout also applies while another process holds the lock of the job."""
    with pytest.raises(ApiError):
        workbench.submit("fault:create=429*9")
    (job,) = workbench.workflow().registry.jobs()
    begun = time.monotonic()
    with locked(paths.job_lock(job.uid)), pytest.raises(WaitTimeoutError):
        workbench.workflow().wait(job, timeout=1.5)
    assert time.monotonic() - begun < 8


@pytest.mark.slow
def test_waiting_for_several_jobs_has_one_time(workbench: Workbench) -> None:
    """Several jobs share one timeout."""
    jobs = [start(workbench.workflow(), workbench.spec("fault:poll=drip*9", n, f"{n}.jsonl"))[0] for n in range(1, 5)]
    begun = time.monotonic()
    errors = [error for _, error in workbench.workflow().wait_all(jobs, timeout=1.5)]
    assert time.monotonic() - begun < 7
    assert all(isinstance(error, WaitTimeoutError) for error in errors)
    assert len(errors) == 4


@pytest.mark.slow
@pytest.mark.parametrize("words", [("batch_1",), ("1", "--strict")])
def test_the_command_waits_no_longer(workbench: Workbench, words: tuple[str, ...]) -> None:
    """`--timeout` also applies to looking up an unknown batch, and to reading results for `--strict`."""
    job = workbench.submit("fault:content=drip*9" if "--strict" in words else "fault:poll=drip*9")
    if words[0] == "1":
        workbench.workflow().wait(job, timeout=30)
    else:
        words = (str(job.parts[0].batch_id),)
        paths.registry_file().unlink()
    begun = time.monotonic()
    process = workbench.command("wait", *words, "-p", "faulty", "--timeout", "3s")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 124, said
    assert time.monotonic() - begun < 30  # mostly the start of the command


def test_a_create_with_a_slow_answer_is_looked_for(workbench: Workbench) -> None:
    """If the answer to a create is too slow, its batch is found, and nothing is sent again."""
    workbench.configure(create_timeout=1, create_grace=10)
    workflow = workbench.workflow()
    job, _ = start(workflow, workbench.spec("fault:create=made.drip"))
    assert job.parts[0].batch_id in workbench.server.batches
    assert len(workbench.server.creates) == 1


FLOODS = ("flood", "flood:gzip", "flood:deflate", "flood:zstd", "flood:-429", "flood:gzip-429", "flood:-500")


@pytest.mark.parametrize("fault", [*FLOODS, "heads:one"])
@pytest.mark.parametrize("call", ["poll", "list"])
def test_a_large_answer_is_refused(workbench: Workbench, fault: str, call: str) -> None:
    """An answer of 256 MB, compressed or not, or headers of 1 MB, are refused without using much memory."""
    job = workbench.submit(f"fault:{call}={fault}*9")
    client = workbench.api()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if fault.startswith("flood:"):
        before += 40_000  # the server compresses its answer in this process
    with pytest.raises(ApiError):
        _ = client.get(str(job.parts[0].batch_id), once=True) if call == "poll" else list(client.batches())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 120_000
    client.close()


class Endless(BaseHTTPRequestHandler):
    """Answers every request with endless spaces, or with invalid gzip."""

    def do_POST(self) -> None:
        """Send the answer."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        broken = "broken" in self.path
        if broken:
            self.send_header("content-encoding", "gzip")
        self.end_headers()
        with contextlib.suppress(OSError):
            while self.wfile.write(b" " * 1_000_000) and not broken:
                pass

    do_GET = do_POST  # noqa: N815 - the name that the library looks for

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_other_answers_are_limited_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of models and answers outside of a batch have size limits; the latter count as sent."""
    monkeypatch.setattr(answers, "MAX_RESPONSE_BYTES", 20_000_000)
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server, contextlib.ExitStack() as ends:
        threading.Thread(target=server.serve_forever).start()
        ends.callback(server.shutdown)
        client = OpenAIBatchApi(
            Provider(name="endless", base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="k")
        )
        ends.callback(client.close)
        with pytest.raises(ApiError, match="more than 16,777,216 bytes"):
            client.models()
        for path, said in (("chat/completions", "more than 20,000,000 bytes"), ("broken", "is damaged")):
            with pytest.raises(UnreachableError, match=said) as lost:
                client.respond(f"/v1/{path}", {"model": "m"})
            assert lost.value.sent


def test_a_large_list_of_models_is_refused(workbench: Workbench) -> None:
    """A list of models over the size limit is an error."""
    workbench.server.models = ["m" * MAX_ANSWER_BYTES]
    client = workbench.api()
    with pytest.raises(ApiError, match="more than 16,777,216 bytes"):
        client.models()
    client.close()


@pytest.mark.parametrize("status", [408, 409, 429])
def test_a_refusal_that_may_pass_says_what_the_server_said(workbench: Workbench, status: int) -> None:
    """The error of a temporary refusal has the status, the message and the requested delay."""
    job = workbench.submit(f"fault:poll={status}:7")
    client = workbench.api()
    with pytest.raises(ApiError, match=f"said {status}: as planned") as refused:
        client.get(str(job.parts[0].batch_id), once=True)
    assert (refused.value.status, refused.value.retry_after) == (status, 7)
    client.close()


def test_a_program_may_read_a_large_file_at_once(workbench: Workbench) -> None:
    """`files.content` of a profile's client has no size limit."""
    workflow = workbench.workflow()
    workflow.wait(workbench.submit("m"), timeout=30)
    (output,) = (file for file in workbench.server.files.values() if file.purpose == "batch_output")
    output.data = b" " * (MAX_ANSWER_BYTES + 1)
    with get_provider_by_name("faulty").get_client() as client:
        assert len(client.files.content(output.id).read()) == MAX_ANSWER_BYTES + 1


def test_many_short_headers_are_accepted(workbench: Workbench) -> None:
    """Ten thousand short headers, which are less than 100 KB, are accepted."""
    job = workbench.submit("fault:poll=heads")
    client = workbench.api()
    assert client.get(str(job.parts[0].batch_id), once=True).id == job.parts[0].batch_id
    client.close()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["drip", "drip:head", "drip:chunk", "drip:trailer"])
def test_a_download_has_a_minimum_rate(workbench: Workbench, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that is too slow fails."""
    monkeypatch.setattr(api, "READ_TIMEOUT", 1.0)
    monkeypatch.setattr(transfer, "RATE_SPAN", 1.0)
    monkeypatch.setattr(transfer, "MAX_TRIES", 2)
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit(f"fault:content={fault}*2"), timeout=30)
    begun = time.monotonic()
    with pytest.raises(BatchError):
        collect(workflow, job, workbench.out)
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("fault", ["drip:head", "drip:chunk", "drip:trailer"])
def test_the_target_of_a_redirect_has_the_same_timeout(workbench: Workbench, fault: str) -> None:
    """The target of a redirect has the same timeout as the provider."""
    job = workbench.submit(f"fault:poll={fault}*9")
    begun = time.monotonic()
    url = f"{workbench.server.base_url}/batches/{job.parts[0].batch_id}"
    with pytest.raises(UnreachableError), plain_get(url, {}, 1.0, http_too=True) as answer:
        list(answer.chunks)
    assert time.monotonic() - begun < 5


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["drip", "drip:head", "drip:chunk", "drip:trailer", "flood:-302"])
def test_fetching_an_image_has_limits(workbench: Workbench, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image address has time and size limits, in a table and in `data_url`."""
    for module in (public_fetch, data_url):
        monkeypatch.setattr(module, "READ_TIMEOUT", 1.0)
    monkeypatch.setattr(data_url, "DOWNLOAD_TIMEOUT", 1.0)
    url = f"{workbench.server.base_url}/batches/{workbench.submit(f'fault:poll={fault}*9').parts[0].batch_id}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"in time|said 404"):
        public_fetch.fetch_public(url, allowed=lambda _: True)
    with pytest.raises(InputError, match=r"in time|said 404"):
        data_url.data_url(url)
    assert time.monotonic() - begun < 8
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 120_000
