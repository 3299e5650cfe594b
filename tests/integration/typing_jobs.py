"""A program that uses jobs, for the type checkers only: they must report no error."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

from openai_batch import Job, Jobs, Outcome, Provider, Result
from openai_batch.jobs import Reporter


def start(jobs: Jobs, provider: Provider) -> list[Job]:
    """Submit every kind of input."""
    requests = ({"model": "m", "messages": [{"role": "user", "content": text}]} for text in ("a", "b"))
    ready = [{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": "x"}}]
    return [
        jobs.submit("in.jsonl", provider="local", name="nightly", metadata={"who": "me"}),
        jobs.submit(Path("in.jsonl"), provider=provider, again=True),
        jobs.submit(["a.jsonl", Path("b.jsonl")]),
        jobs.submit(sorted(Path("shards").glob("*.jsonl"))),
        jobs.submit(requests),
        jobs.submit(ready),
        jobs.submit([{"model": "m", "input": "x"}, {"custom_id": "b", "body": {"model": "m", "input": "x"}}]),
        jobs.submit(Path("shards").glob("*.jsonl")),
        jobs.get(3),
        jobs.get("nightly"),
        *jobs.list(),
        *jobs.recover(),
    ]


def use(job: Job) -> dict[str, str | None]:
    """Wait for a job and read its results."""
    assert_type(job.refresh().wait(timeout=3.0).status, str)
    assert_type(job.counts.completed, int)
    assert_type(job.batch_ids, list[str])
    assert_type(job.download("out.jsonl", force=True), Path)
    assert_type(job.retry() + job.retry("429") + job.retry(["missing"]) + job.retry(lambda error: "429" in error), int)
    first: Result = next(job.results())
    assert_type(first.status_code, int | None)
    assert_type(first.outcome, Outcome)
    assert_type(first.ok, bool)
    assert_type(first.text, str | None)
    assert_type(first.finish_reason, str | None)
    assert_type(first.refusal, str | None)
    assert_type(first.usage, dict[str, Any])
    if first.error is not None:
        assert_type(first.error.retryable, bool)
        assert_type(first.error.message, str)
    return {result.custom_id: result.text if result.ok else str(result.error) for result in job.results()}


async def look(job: Job) -> int:
    """Do the same with async methods."""
    assert_type(await (await job.refresh_async()).cancel_async(), Job)
    assert_type(await job.download_async(Path("out.jsonl"), force=True), Path)
    assert_type(await job.retry_async("429"), int)
    await job.wait_async(timeout=60)
    return len([result.text async for result in job.results_async()])


async def begin(jobs: Jobs) -> None:
    """Start and find jobs with async methods."""
    assert_type(await jobs.submit_async("in.jsonl", provider="local", again=True), Job)
    assert_type(await jobs.get_async(3), Job)
    assert_type(await jobs.recover_async(), list[Job])


class RecordingReporter(Reporter):
    """A reporter that gets warnings."""

    def warn(self, text: str) -> None:
        """Get a warning."""


def main() -> None:
    """Use a reporter."""
    with Jobs(Path("state"), reporter=RecordingReporter()) as jobs:
        print(jobs.get().cancel().ended)
