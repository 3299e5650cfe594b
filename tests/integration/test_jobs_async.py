"""The async methods of `Jobs` and `Job` do the same work without blocking the event loop."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from openai_batch import Job, Jobs, Provider
from openai_batch.errors import ApiError, AuthError, BatchError, IncompleteError, NotFoundError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from support.workbench import Workbench

T = TypeVar("T")


def endless() -> str:
    """Return a plan whose batch keeps running."""
    return "fault:steps=" + ",".join(["in_progress"] * 200)


def test_several_jobs_are_awaited_at_once(workbench: Workbench) -> None:
    """Two jobs can be awaited together, and their results are in order."""

    async def main() -> None:
        with Jobs() as jobs:
            both = [jobs.submit(workbench.write("fault:steps=in_progress", n), provider="faulty") for n in (3, 1200)]
            ended = await asyncio.gather(*(job.wait_async() for job in both))
            assert ended == both
            assert [job.status for job in both] == ["completed", "completed"]
            for job, count in zip(both, (3, 1200), strict=True):
                found = [result.custom_id async for result in job.results_async()]
                assert found == [f"id-{n}" for n in range(count)]

    asyncio.run(main())


def test_an_awaited_job_sends_its_failed_requests_again(workbench: Workbench) -> None:
    """`wait_async(retries=1)` sends the failed requests again once."""

    async def main() -> None:
        with Jobs() as jobs:
            job = jobs.submit(workbench.write("fault:rows=absent"), provider="faulty")
            assert (await job.wait_async(retries=1)).ended
            assert len(job.batch_ids) == 2

    asyncio.run(main())


def test_an_awaited_job_can_time_out_or_be_cancelled(workbench: Workbench) -> None:
    """After a timeout or a cancelled task, the job keeps running."""

    async def main() -> None:
        with Jobs() as jobs:
            job = jobs.submit(workbench.write(endless()), provider="faulty")
            with pytest.raises(WaitTimeoutError, match="still in_progress"):
                await job.wait_async(timeout=0)
            with pytest.raises(BatchError, match="still in_progress"):
                _ = [result async for result in job.results_async()]
            waiting = asyncio.create_task(job.wait_async())
            await asyncio.sleep(0.2)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert job.refresh().status == "in_progress"

    asyncio.run(main())
    assert not next(iter(workbench.server.batches.values())).cancelled


@pytest.mark.slow
def test_temporary_errors_are_retried_while_awaiting(workbench: Workbench) -> None:
    """A temporary error is retried; a permanent one is raised."""

    async def main() -> None:
        with Jobs() as jobs:
            job = jobs.submit(workbench.write("fault:poll=500"), provider="faulty")
            assert (await job.wait_async()).status == "completed"
            lost = jobs.submit(workbench.write("fault:poll=400:no*9"), provider="faulty")
            with pytest.raises(ApiError, match="no"):
                await lost.wait_async()

    asyncio.run(main())


@pytest.mark.slow
def test_a_key_that_stays_refused_ends_an_awaited_job(workbench: Workbench) -> None:
    """If the key is refused repeatedly, AuthError is raised."""

    async def main() -> None:
        with Jobs() as jobs:
            job = jobs.submit(workbench.write("fault:poll=401*9"), provider="faulty")
            with pytest.raises(AuthError):
                await job.wait_async()

    asyncio.run(main())


def test_every_method_has_an_async_version(workbench: Workbench) -> None:
    """Submitting, refreshing, cancelling, retrying and downloading do not block the event loop."""

    async def main() -> None:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0)

        async def alive(step: Coroutine[Any, Any, T]) -> T:
            before = beats
            try:
                return await step
            finally:
                assert beats > before + 1

        heart = asyncio.create_task(beat())
        with Jobs(workbench.folder / "apart") as jobs:
            job = await alive(jobs.submit_async(workbench.write("fault:rows=absent"), provider="faulty", name="steps"))
            assert await alive(job.refresh_async()) is job
            assert await alive(job.cancel_async()) is job
            assert await alive(job.wait_async()) is job
            assert await alive(job.retry_async(where="missing")) == 2
            await alive(job.wait_async())
            with pytest.raises(IncompleteError):
                await alive(job.download_async(workbench.out))
            assert len(workbench.rows()) == 3
            assert job.refresh().id == (await alive(jobs.get_async("steps"))).refresh().id  # in this thread too
            assert await alive(jobs.recover_async("faulty")) == []
            with pytest.raises(NotFoundError):
                await alive(jobs.get_async("nothing"))
        heart.cancel()

    asyncio.run(main())
    assert workbench.server.strays == []


def test_async_methods_know_providers_of_the_program(workbench: Workbench) -> None:
    """A `Provider` object that was passed once is known in other threads too."""
    provider = Provider(name="mine", base_url=workbench.server.base_url, api_key="sk-canary-of-mine-0123456789")

    async def main() -> None:
        with Jobs() as jobs:
            assert jobs.list() == []
            job = await jobs.submit_async(workbench.write("fault:"), provider=provider)
            assert (await job.wait_async()).refresh().status == "completed"
            assert (await (await jobs.get_async()).refresh_async()).batch_ids == job.batch_ids

    asyncio.run(main())


def test_event_loops_in_several_threads_share_jobs(workbench: Workbench) -> None:
    """Event loops in several threads share one `Jobs` object, which closes all connections at its end."""

    async def use(jobs: Jobs, shared: Job, number: int) -> list[str]:
        requests = [{"model": "fault:", "messages": [{"role": "user", "content": f"{number}"}]}]
        job = await jobs.submit_async(requests, provider="faulty")
        await asyncio.gather(job.wait_async(), shared.wait_async())
        return [result.custom_id async for result in (await jobs.get_async(job.id)).results_async()]

    async def main() -> None:
        async with Jobs() as jobs:
            shared = await jobs.submit_async(workbench.write("fault:", 3), provider="faulty")
            with ThreadPoolExecutor(4) as pool:
                ended = [pool.submit(lambda number: asyncio.run(use(jobs, shared, number)), n) for n in range(4)]
                assert [each.result() for each in ended] == [["line-1"]] * 4
            assert len(jobs._session._open) > 0
        assert all(owned.closed for owned in jobs._session._open)

    asyncio.run(main())
    gc.collect()  # an open connection gives a warning, which is an error
    assert len(workbench.server.batches) == 5
