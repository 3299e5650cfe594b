"""The async twins: the same work, while the event loop goes on."""

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
    """Return a plan whose batch runs on and on."""
    return "fault:steps=" + ",".join(["in_progress"] * 200)


def test_several_jobs_are_awaited_at_once(workbench: Workbench) -> None:
    """Two jobs end while the event loop goes on, and their results come in order."""

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
    """`wait_async(retries=…)` sends what failed once more, and no more often than asked."""

    async def main() -> None:
        with Jobs() as jobs:
            job = jobs.submit(workbench.write("fault:rows=absent"), provider="faulty")
            assert (await job.wait_async(retries=1)).ended
            assert len(job.batch_ids) == 2

    asyncio.run(main())


def test_an_awaited_job_has_its_time(workbench: Workbench) -> None:
    """A time-out and a cancelled task both leave the job running, and the loop ends at once."""

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
def test_errors_that_pass_are_waited_out_and_others_are_not(workbench: Workbench) -> None:
    """A server that stumbles is asked again; one that says no for good is believed."""

    async def main() -> None:
        with Jobs() as jobs:
            job = jobs.submit(workbench.write("fault:poll=500"), provider="faulty")
            assert (await job.wait_async()).status == "completed"
            lost = jobs.submit(workbench.write("fault:poll=400:no*9"), provider="faulty")
            with pytest.raises(ApiError, match="no"):
                await lost.wait_async()

    asyncio.run(main())


@pytest.mark.slow
def test_a_refused_key_is_read_again(workbench: Workbench) -> None:
    """A refused key is no proof at once; one that is refused again and again is believed."""

    async def main() -> None:
        with Jobs() as jobs:
            job = jobs.submit(workbench.write("fault:poll=401*9"), provider="faulty")
            with pytest.raises(AuthError):
                await job.wait_async()

    asyncio.run(main())


def test_every_method_has_an_async_version(workbench: Workbench) -> None:
    """A program in an event loop submits, looks, cancels, reads and retries without holding the loop up."""

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
    """What one thread was given the others know, whoever was first."""
    provider = Provider(name="mine", base_url=workbench.server.base_url, api_key="sk-canary-of-mine-0123456789")

    async def main() -> None:
        with Jobs() as jobs:
            assert jobs.list() == []
            job = await jobs.submit_async(workbench.write("fault:"), provider=provider)
            assert (await job.wait_async()).refresh().status == "completed"
            assert (await (await jobs.get_async()).refresh_async()).batch_ids == job.batch_ids

    asyncio.run(main())


def test_event_loops_in_several_threads_share_jobs(workbench: Workbench) -> None:
    """Each loop submits, waits and reads with one `Jobs` object, which closes all connections at its end."""

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
    gc.collect()  # what is not closed warns, and a warning is an error
    assert len(workbench.server.batches) == 5
