"""`Jobs` and `Job`: the durable workflow in Python, with real connections to a provider that fails as planned."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.faults import fault_server
from support.servers import wait_until
from support.workbench import request_line

from openai_batch import Job, Jobs, Provider
from openai_batch.errors import (
    ApiError,
    BatchError,
    IncompleteError,
    InputError,
    NotFoundError,
    OutputExistsError,
    WaitTimeoutError,
)
from openai_batch.jobs import Reporter, Result
from openai_batch.results.outcome import Outcome
from openai_batch.results.reasons import ResultError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.workbench import Workbench


@pytest.fixture
def jobs(workbench: Workbench) -> Iterator[Jobs]:
    """`Jobs` with the provider of the workbench."""
    with Jobs() as made:
        yield made
    assert workbench.server.strays == []


def asked(plan: str, count: int = 4) -> Iterator[dict[str, Any]]:
    """Yield the parameters of calls with this plan."""
    for number in range(count):
        yield {"model": plan, "messages": [{"role": "user", "content": f"ask {number}"}]}


def test_a_file_becomes_results_in_the_order_of_the_input(workbench: Workbench, jobs: Jobs) -> None:
    """After submit and wait, each request has its result, in input order."""
    job = jobs.submit(workbench.write("fault:rows=shuffled,string", 5), provider="faulty", name="nightly").wait()
    assert (job.status, job.ended, job.name, job.provider) == ("completed", True, "nightly", "faulty")
    assert (job.counts.total, job.counts.completed, job.counts.failed) == (5, 5, 0)
    assert job.batch_ids == list(workbench.server.batches)
    results = list(job.results())
    assert [result.custom_id for result in results] == [f"id-{n}" for n in range(5)]
    assert results[3] == Result(
        custom_id="id-3",
        outcome=Outcome.SUCCESS,
        status_code=200,
        body=results[3].body,
        answer="answer to id-3",
        texts=("answer to id-3",),
        usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    )
    assert results[3].body["choices"][0]["message"]["content"] == "answer to id-3"
    with pytest.raises(dataclasses.FrozenInstanceError):
        results[0].outcome = Outcome.ERROR  # type: ignore[misc]


def test_parameters_of_calls_are_an_input(workbench: Workbench, jobs: Jobs) -> None:
    """Requests without ids are numbered, and the same requests from a generator are the same job."""
    job = jobs.submit(asked("fault:"), provider="faulty")
    same = jobs.submit(asked("fault:"), provider="faulty").wait()
    other = jobs.submit(asked("fault:"), provider="faulty", again=True)
    labelled = jobs.submit(asked("fault:"), provider="faulty", metadata={"who": "me"})
    assert same.id == job.id
    assert len({job.id, other.id, labelled.id}) == len(workbench.server.creates) == 3
    assert [result.custom_id for result in same.results()] == ["line-1", "line-2", "line-3", "line-4"]
    assert labelled.metadata == {"who": "me"}
    assert [found.id for found in jobs.list()] == [labelled.id, other.id, job.id]
    assert [found.id for found in jobs.list(1)] == [labelled.id]


def test_ready_requests_are_an_input(workbench: Workbench, jobs: Jobs) -> None:
    """Requests with an id and an endpoint keep them; a body alone gets its endpoint."""
    chat = {"model": "fault:", "messages": [{"role": "user", "content": "x"}]}
    job = jobs.submit(
        [
            {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat},
            {"custom_id": "b", "body": chat},
            {"custom_id": "c", **chat},
        ],
        provider="faulty",
    )
    assert [result.custom_id for result in job.wait().results()] == ["a", "b", "c"]
    (file,) = [file for file in workbench.server.files.values() if file.purpose == "batch"]
    lines = [json.loads(line) for line in file.data.splitlines()]
    assert [(line["url"], line["body"]) for line in lines] == [("/v1/chat/completions", chat)] * 3


def test_several_files_are_an_input(workbench: Workbench, jobs: Jobs) -> None:
    """A list of batch files is one job with all results in order, and problems are reported by file."""
    first, second = (workbench.folder / name for name in ("first.jsonl", "second.jsonl"))
    lines = workbench.write("fault:rows=shuffled", 5).read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join(lines[:2]))
    second.write_bytes(b"".join(lines[2:]))
    job = jobs.submit([first, str(second)], provider="faulty").wait()
    assert [result.custom_id for result in job.results()] == [f"id-{n}" for n in range(5)]
    assert (
        jobs.submit(workbench.folder / "in.jsonl", provider="faulty").id == job.id
    )  # the same requests as in the two files
    with pytest.raises(InputError, match=r"second.jsonl:1: custom_id .* is also in .*second.jsonl:1"):
        jobs.submit((second, second), provider="faulty")


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ([{"messages": []}], "request 1: Model must be specified"),
        ([{"model": "m", "messages": [{}]}, "hello"], "request 2: not a dict but str"),
        ({"model": "m"}, "the input is one dict"),
        ([{"model": "m", "messages": [{}], "temperature": float("nan")}], "request 1: line-1: .* not a finite number"),
        ([{"model": "m", "messages": [{}], "tools": [object()]}], "request 1: line-1: .* cannot be written as JSON"),
        ([{"custom_id": "x", "body": "hello"}], "request 1: its body is not a dict but str"),
        ([{"custom_id": "x", "model": "m", "messages": [{}]}] * 2, "the input has 1 problem"),
        ([{"custom_id": 7, "model": "m", "messages": [{}]}], "the input has 1 problem"),
        ([], "there are no requests"),
        (iter([Path("a.jsonl"), {"model": "m"}]), "files and requests"),
        (iter([Path("nowhere.jsonl"), "a.jsonl"]), "nowhere.jsonl: No such file"),
        ("nowhere.jsonl", "nowhere.jsonl: No such file"),
        ("-", "-: No such file"),
    ],
)
def test_an_invalid_input_is_refused(workbench: Workbench, jobs: Jobs, requests: Any, said: str) -> None:
    """An invalid input is an InputError that names the request, and nothing is sent."""
    with pytest.raises(InputError, match=said):
        jobs.submit(requests, provider="faulty")
    assert not workbench.server.files
    assert jobs.list() == []


def test_every_request_that_cannot_be_sent_is_named(jobs: Jobs) -> None:
    """Every invalid request is reported, and the hint is one for Python."""
    requests: Any = [{"model": "m"}, {"model": "m", "messages": [{}]}, {"messages": [{}]}, "hello"]
    with pytest.raises(InputError, match="request 1: Request must include") as caught:
        jobs.submit(requests, provider="faulty")
    assert [line[:10] for line in caught.value.details] == ["request 3:", "request 4:"]
    assert 'name the endpoint: {"url": "/v1/…", "body": {…}}' in caught.value.hint


def test_an_error_of_the_callers_generator_is_raised(workbench: Workbench, jobs: Jobs) -> None:
    """An error in the generator of the requests is raised unchanged, and nothing is sent."""

    def broken() -> Iterator[dict[str, Any]]:
        yield from asked("fault:", 2)
        raise FileNotFoundError("mine")

    with pytest.raises(FileNotFoundError, match="mine"):
        jobs.submit(broken(), provider="faulty")
    assert not workbench.server.files
    assert jobs.list() == []


@pytest.mark.parametrize("count", [1, 2000])
def test_a_full_disk_is_reported(workbench: Workbench, jobs: Jobs, count: int) -> None:
    """If there is no room for the requests, the error names the folder."""
    resource = pytest.importorskip("resource", reason="files have no limit on Windows")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(BatchError, match=r"cannot keep the input in .*spool") as raised:
            jobs.submit(asked("fault:", count), provider="faulty")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert raised.value.hint == "check the free space and the permissions there"
    assert not workbench.server.files


@pytest.mark.slow
def test_a_killed_program_continues(workbench: Workbench, jobs: Jobs) -> None:
    """A program that was killed during the create finds its batch when it runs again."""
    workbench.write("fault:create=made.hang")
    program = "from openai_batch import Jobs; Jobs().submit('in.jsonl', provider='faulty')"
    with subprocess.Popen([sys.executable, "-c", program], cwd=workbench.folder) as process:
        try:
            wait_until(lambda: workbench.server.batches, "the creation of the batch")
        finally:
            process.send_signal(signal.SIGKILL)
    job = jobs.submit(workbench.folder / "in.jsonl", provider="faulty").wait()
    assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1
    assert all(result.ok for result in job.results())


async def waited(job: Job) -> Job:
    """Wait with `wait_async`."""
    return await job.wait_async()


def test_waiting_starts_no_job(workbench: Workbench, jobs: Jobs) -> None:
    """`wait` and `wait_async` do not send a job whose create was refused; submitting it again does."""
    for number in (1, 2):
        batch_file = workbench.write(f"fault:create=400:not today {number}", number)
        with pytest.raises(ApiError, match="not today"):
            jobs.submit(batch_file, provider="faulty")
        job = jobs.get()
        assert (job.status, job.batch_ids) == ("not_sent", [])
        with pytest.raises(BatchError, match=f"job {number} was not sent: .*not today {number}"):
            job.wait() if number == 1 else asyncio.run(waited(job))
        with pytest.raises(BatchError, match="was not sent"):
            list(job.results())
        assert len(workbench.server.creates) == 2 * number - 1
        assert jobs.submit(batch_file, provider="faulty").wait().status == "completed"


def test_a_job_is_found_by_number_name_or_batch_id(workbench: Workbench, jobs: Jobs) -> None:
    """A job is found by number, name and batch id, and without any as the latest; the command lists it too."""
    job = jobs.submit(workbench.write("fault:"), provider="faulty", name="first")
    for reference in (job.id, str(job.id), "first", job.batch_ids[0], None):
        assert jobs.get(reference).id == job.id
    assert repr(job) == f"<Job {job.id} 'first' at faulty: {job.status}>"
    for reference in (99, "second"):
        with pytest.raises(NotFoundError):
            jobs.get(reference)
    shown, _ = workbench.command("ls", "-q").communicate()
    assert shown.split() == [str(job.id)]


def test_batches_made_elsewhere_are_added(workbench: Workbench, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine adds a batch by its id, and the others with `recover`."""
    first, second = (jobs.submit(workbench.write("fault:", n), provider="faulty").wait() for n in (2, 3))
    monkeypatch.setenv("OBATCH_STATE_DIR", str(workbench.folder / "elsewhere"))
    with Jobs() as elsewhere:
        assert elsewhere.list() == []
        taken = elsewhere.get(first.batch_ids[0], provider="faulty")
        assert [result.custom_id for result in taken.results()] == ["id-0", "id-1"]
        assert [job.batch_ids for job in elsewhere.recover("faulty")] == [second.batch_ids]
        assert elsewhere.recover() == []
        assert len(elsewhere.list(provider="faulty")) == 2
    assert len(workbench.server.creates) == 2


def test_a_wait_ends_in_time_and_the_job_continues(workbench: Workbench, jobs: Jobs) -> None:
    """A timeout raises WaitTimeoutError, a running job has no results, and it can be cancelled."""
    job = jobs.submit(workbench.write("fault:steps=" + ",".join(["in_progress"] * 50)), provider="faulty")
    with pytest.raises(WaitTimeoutError, match="still in_progress"):
        job.wait(timeout=0)
    assert job.status == "in_progress"
    for act in (lambda: list(job.results()), lambda: job.download(workbench.out), job.retry):
        with pytest.raises(BatchError, match="is still in_progress"):
            act()
    assert job.refresh().status == "in_progress"
    assert job.cancel().wait().status == "cancelled"
    assert not workbench.out.exists()


def test_a_failed_batch_says_why(workbench: Workbench, jobs: Jobs) -> None:
    """A batch that failed as a whole has errors, and each of its requests is missing with that reason."""
    job = jobs.submit(workbench.write("fault:end=failed", 2), provider="faulty").wait()
    assert job.status == "failed"
    assert job.faults
    reason = "batch_failed: the batch failed: line 2: This line is no JSON. (invalid_json_line)"
    assert [(result.custom_id, result.outcome, str(result.error)) for result in job.results()] == [
        ("id-0", Outcome.MISSING, reason),
        ("id-1", Outcome.MISSING, reason),
    ]


def test_each_request_has_a_result_even_without_an_answer(workbench: Workbench, jobs: Jobs) -> None:
    """Refused and missing requests have results with the reason, in input order."""
    mixed = jobs.submit(workbench.write("fault:rows=mixed"), provider="faulty").wait()
    refused = [result for result in mixed.results() if not result.ok]
    assert [(result.status_code, result.text, result.usage) for result in refused] == [(400, None, {})] * 2
    assert refused[0].error == ResultError(400, f"refused {refused[0].custom_id}", retryable=False, status=400)
    absent = jobs.submit(workbench.write("fault:rows=absent"), provider="faulty").wait()
    results = list(absent.results())
    assert [(result.custom_id, result.error and str(result.error)) for result in results] == [
        ("id-0", None),
        ("id-1", None),
        ("id-2", "missing: no result"),
        ("id-3", "missing: no result"),
    ]
    assert (results[3].status_code, results[3].body) == (None, None)


def test_a_download_is_complete_or_says_what_is_missing(workbench: Workbench, jobs: Jobs) -> None:
    """An incomplete download writes the file and raises IncompleteError."""
    good = jobs.submit(workbench.write("fault:"), provider="faulty").wait()
    assert good.download(str(workbench.out)) == workbench.out
    assert [row["custom_id"] for row in workbench.rows()] == [f"id-{n}" for n in range(4)]
    assert good.download(workbench.out) == workbench.out
    bad = jobs.submit(workbench.write("fault:rows=absent"), provider="faulty").wait()
    with pytest.raises(OutputExistsError):
        bad.download(workbench.out)
    with pytest.raises(IncompleteError, match="2 missing"):
        bad.download(workbench.out, force=True)
    assert [row["custom_id"] for row in workbench.rows()] == ["id-0", "id-1"]


def test_a_retry_sends_only_what_it_can_help(workbench: Workbench, jobs: Jobs) -> None:
    """`retry` sends failed requests again, but not refused ones unless `where` names them."""
    absent = jobs.submit(workbench.write("fault:rows=absent"), provider="faulty").wait()
    assert absent.retry(where="429, batch_expired") == 0
    assert absent.retry(where=["missing"]) == 2
    assert absent.wait().retry(where=lambda error: error.startswith("missing")) == 1  # half of them are missing again
    assert absent.wait().retry() == 0
    assert [data.count(b"custom_id") for data in sent(workbench)] == [4, 2, 1]
    assert len(absent.batch_ids) == len(workbench.server.creates) == 3
    assert all(result.ok for result in absent.results())
    refused = jobs.submit(workbench.write("fault:rows=mixed"), provider="faulty")
    assert refused.retry() == 0  # `retry` first refreshes the job
    assert refused.ended
    assert refused.retry(where="400") == 2


def test_failed_requests_are_sent_again_while_waiting(workbench: Workbench, jobs: Jobs) -> None:
    """`wait(retries=1)` sends only the failed requests again."""
    job = jobs.submit(workbench.write("fault:rows=absent"), provider="faulty").wait(retries=1)
    assert len(job.batch_ids) == 2
    sent = [batch.input.data.count(b"\n") for batch in workbench.server.batches.values()]
    assert sent[0] == 4
    assert sent[1] < 4


def test_an_existing_output_is_refused_before_anything_is_sent(workbench: Workbench, jobs: Jobs) -> None:
    """If `output` exists already, `submit` raises an error."""
    taken = workbench.folder / "taken.jsonl"
    taken.write_text("mine\n")
    with pytest.raises(OutputExistsError, match="already exists"):
        jobs.submit(workbench.write("fault:"), provider="faulty", output=taken)
    assert workbench.server.uploads == []
    assert taken.read_text() == "mine\n"


def test_results_that_were_downloaded_are_not_fetched_again(workbench: Workbench, jobs: Jobs) -> None:
    """A second download to the same path sends no request."""
    job = jobs.submit(workbench.write("fault:"), provider="faulty").wait()
    job.download(workbench.out)
    asked = len(workbench.server.requests)
    assert job.download(workbench.out) == workbench.out
    assert len(workbench.server.requests) == asked


def test_two_objects_of_one_job_agree(workbench: Workbench, jobs: Jobs) -> None:
    """If one object retries the job, another one waits for it, and both have all results."""
    one = jobs.submit(workbench.write("fault:rows=absent", 2), provider="faulty").wait()
    other = jobs.get(one.id)
    assert one.retry() == 1
    assert other.wait().ended
    assert len(other.batch_ids) == 2
    assert [result.ok for result in one.results()] == [result.ok for result in other.results()] == [True, True]


def sent(workbench: Workbench) -> list[bytes]:
    """Return the inputs that were uploaded."""
    return [file.data for file in workbench.server.files.values() if file.name.startswith("obatch-")]


def test_a_provider_may_be_an_object(workbench: Workbench) -> None:
    """A `Provider` object that is in no configuration can run jobs, and a later program continues them."""
    with fault_server() as server:
        provider = Provider(name="mine", base_url=server.base_url, api_key="sk-canary-of-mine-0123456789")
        with Jobs() as jobs:
            job = jobs.submit(workbench.write("fault:"), provider=provider)
            assert asyncio.run(job.wait_async()).status == "completed"
        with Jobs() as later:
            again = later.submit(workbench.write("fault:"), provider=provider)
            assert again.id == job.id
            assert len(list(again.results())) == 4
        assert len(server.creates) == 1
    assert not workbench.server.files


@pytest.mark.slow
def test_a_reporter_gets_all_messages(workbench: Workbench, capfd: pytest.CaptureFixture[str]) -> None:
    """Messages go to the reporter, and nothing is printed."""
    heard: list[str] = []

    class RecordingReporter(Reporter):
        def warn(self, text: str) -> None:
            heard.append(text)

    with Jobs(reporter=RecordingReporter()) as jobs:
        jobs.submit(workbench.write("fault:poll=500"), provider="faulty").wait()
    assert len(heard) == 1
    assert "trying again" in heard[0]
    assert capfd.readouterr() == ("", "")


def test_threads_share_jobs(workbench: Workbench, jobs: Jobs) -> None:
    """Eight threads share one `Jobs` object, and nothing is left open after them."""

    def use(number: int) -> list[str]:
        requests = [{"model": "fault:", "messages": [{"role": "user", "content": f"{number}-{row}"}]} for row in (1, 2)]
        job = jobs.submit(requests, provider="faulty").wait()
        return [result.custom_id for result in shared.results() if job.ended]

    shared = jobs.submit(workbench.write("fault:", 3), provider="faulty").wait()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(8))) == [["id-0", "id-1", "id-2"]] * 8
    assert len(workbench.server.batches) == 9
    gc.collect()  # an open connection gives a warning, which is an error
    assert len(jobs._session._open) <= 1


def test_closed_jobs_open_again(workbench: Workbench) -> None:
    """`close` closes the connections and may be called twice; the object can be used again."""
    jobs = Jobs()
    job = jobs.submit(workbench.write("fault:"), provider="faulty")
    jobs.close()
    jobs.close()
    assert isinstance(jobs.get(job.id), Job)
    with jobs:
        pass
    assert job.wait().status == "completed"
    jobs.close()


def test_each_request_is_paid_once_where_that_is_asked(workbench: Workbench, jobs: Jobs) -> None:
    """`dedup` sends identical requests once, and `reuse` sends only requests without an answer."""
    path = workbench.folder / "grown.jsonl"
    texts = ["a", "b", "a"]
    for more in ([], ["c"]):
        texts += more
        path.write_bytes(
            b"".join(request_line(f"id-{n}", messages=[{"role": "user", "content": t}]) for n, t in enumerate(texts))
        )
        job = jobs.submit(path, provider="faulty", dedup=True, reuse=True).wait(timeout=60)
        results = list(job.results())
        assert [result.custom_id for result in results] == [f"id-{n}" for n in range(len(texts))]
        assert all(result.ok for result in results)
    assert [batch.input.data.count(b"\n") for batch in workbench.server.batches.values()] == [2, 1]
