"""`Jobs(FOLDER)`: jobs in a separate state folder."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.servers import echo_upstream

from openai_batch import Jobs
from openai_batch.errors import NotFoundError
from openai_batch.files import paths
from openai_batch.jobs import Reporter
from openai_batch.local import launch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.workbench import Workbench


def test_each_state_folder_has_its_own_jobs(workbench: Workbench) -> None:
    """Jobs in two state folders are independent, and the command sees only those in its own."""
    path = workbench.write("fault:")
    with Jobs() as jobs, Jobs(workbench.folder / "apart") as apart:
        mine = jobs.submit(path, provider="faulty").wait()
        assert apart.list() == []
        theirs = apart.submit(path, provider="faulty", name="theirs", again=True).wait()
        taken = iter(theirs.results())
        next(taken)  # a half-read iterator does not affect the other folder
        assert [result.ok for result in mine.results()] == [True] * 4
        assert len(list(taken)) == 3
        assert theirs.batch_ids != mine.batch_ids
        assert theirs.refresh().cancel().retry() == 0
        assert theirs.download(workbench.out) == workbench.out
        assert apart.get("theirs").id == theirs.id
        with pytest.raises(NotFoundError):
            jobs.get("theirs")
        assert [job.id for job in jobs.list()] == [mine.id]
        assert len(apart.recover("faulty")) == 1  # the batch of the other folder is at the same provider
    shown, _ = workbench.command("ls", "-q").communicate()
    assert shown.split() == [str(mine.id)]
    assert not list(workbench.folder.glob("apart/spool/work-*"))


def test_folders_are_kept_apart_in_threads_and_in_an_event_loop(workbench: Workbench) -> None:
    """State folders are independent in threads and in an event loop."""
    folders = [workbench.folder / f"state-{number}" for number in range(4)]
    start = threading.Barrier(2)

    def write(folder: Path) -> Path:
        return workbench.write("fault:steps=in_progress", 4 + folders.index(folder), f"{folder.name}.jsonl")

    def in_a_thread(folder: Path) -> list[str]:
        with Jobs(folder) as jobs:
            start.wait()
            job = jobs.submit(write(folder), provider="faulty")
            return job.wait(timeout=60).batch_ids

    async def awaited(folder: Path) -> list[str]:
        with Jobs(folder) as jobs:
            job = jobs.submit(write(folder), provider="faulty")
            await job.wait_async(timeout=60)
            assert all([result.ok async for result in job.results_async()])
            return job.batch_ids

    async def both() -> list[list[str]]:
        return list(await asyncio.gather(*map(awaited, folders[2:])))

    with ThreadPoolExecutor(2) as pool:
        made = [*pool.map(in_a_thread, folders[:2]), *asyncio.run(both())]
    assert sorted(batch for (batch,) in made) == sorted(workbench.server.batches)
    for folder, ids in zip(folders, made, strict=True):
        with Jobs(folder) as jobs:
            assert [job.batch_ids for job in jobs.list()] == [ids]
            assert len(list((folder / "jobs").iterdir())) == 1
    assert not Path(os.environ["OBATCH_STATE_DIR"]).exists()


def test_a_program_that_uses_jobs_inside_jobs_keeps_them_apart(workbench: Workbench) -> None:
    """Code of the caller that runs during a submit uses its own state folder."""
    seen: list[int] = []

    def look() -> None:
        with Jobs() as jobs:
            seen.append(len(jobs.list()))

    class RecordingReporter(Reporter):
        def progress(self, what: str, done: int, total: int | None) -> None:  # noqa: ARG002 - the interface's
            look()

    def requests() -> Iterator[dict[str, object]]:
        look()
        yield {"model": "fault:", "messages": [{"role": "user", "content": "x"}]}

    with Jobs(workbench.folder / "apart", reporter=RecordingReporter()) as apart:
        apart.submit(requests(), provider="faulty").wait()
        assert len(apart.list()) == 1
    assert len(seen) > 1
    assert not any(seen)


def test_a_relative_folder_stays_where_it_was(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative folder is resolved once, so a program that changes its working folder keeps its jobs."""
    monkeypatch.chdir(workbench.folder)
    with Jobs("state") as jobs:
        monkeypatch.chdir("/")
        job = jobs.submit(workbench.write("fault:"), provider="faulty")
        jobs.close()
        assert jobs.get().id == job.id
    assert (workbench.folder / "state" / "registry.db").exists()


@pytest.mark.slow
def test_each_state_folder_has_its_own_local_server(tmp_path: Path, home: Path) -> None:
    """Each state folder has its own local server."""
    folder = tmp_path / "apart"
    with echo_upstream(models=False) as echo:
        (home / "config.toml").write_text(f'[providers.local]\nupstream = "{echo.base_url}"\n', encoding="utf-8")
        try:
            with Jobs(folder) as jobs:
                asked = [{"model": "any", "messages": [{"role": "user", "content": "one"}]}]
                job = jobs.submit(asked, provider="local").wait(timeout=60)
                assert [result.ok for result in job.results()] == [True]
            assert (folder / "local" / "server.json").exists()
            assert not launch.server_file().exists()
        finally:
            with paths.state_at(folder):
                launch.stop()
