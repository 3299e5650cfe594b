"""`Jobs` and `Batch` avoid paying twice in the same ways as the command."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from openai_batch import Batch, Jobs, Provider
from openai_batch.providers import get_provider_by_name

if TYPE_CHECKING:
    from support.workbench import Workbench


def chat(text: str, *, backwards: bool = False) -> dict[str, Any]:
    """Return the parameters of a call, with the keys in one of two orders."""
    call = {"model": "fault:", "messages": [{"role": "user", "content": text}], "temperature": 0.5}
    return dict(reversed(call.items())) if backwards else call


def sent(workbench: Workbench) -> list[int]:
    """Return how many requests each batch has."""
    return [len(batch.input.data.splitlines()) for batch in workbench.server.batches.values()]


def test_a_list_reuses_answers_in_any_order(workbench: Workbench) -> None:
    """`reuse` does not send rows of an earlier list again, in any order of rows or keys."""
    with Jobs() as jobs:
        jobs.submit([chat("a"), chat("b"), chat("c")], provider="faulty", reuse=True).wait()
        rows = [chat("c", backwards=True), chat("new"), chat("a", backwards=True), chat("b")]
        job = jobs.submit(rows, provider="faulty", reuse=True).wait()
        results = list(job.results())
    assert sent(workbench) == [3, 1]
    assert [result.custom_id for result in results] == ["line-1", "line-2", "line-3", "line-4"]
    assert [result.text for result in results] == [f"answer to line-{n}" for n in (3, 2, 1, 2)]


def test_identical_requests_may_differ_in_the_order_of_keys(workbench: Workbench) -> None:
    """`dedup` compares requests without regard to the order of keys."""
    with Jobs() as jobs:
        job = jobs.submit([chat("a"), chat("a", backwards=True)], provider="faulty", dedup=True).wait()
        assert len(list(job.results())) == 2
    assert sent(workbench) == [1]


def test_a_lost_registry_is_looked_up_by_programs_too(workbench: Workbench) -> None:
    """Without a registry `Jobs` finds the batch of the same input; `check_remote` always looks."""
    rows = [chat("a")]
    with Jobs() as jobs:
        jobs.submit(rows, provider="faulty").wait()
    shutil.rmtree(os.environ["OBATCH_STATE_DIR"])
    with Jobs() as jobs:
        jobs.submit(rows, provider="faulty").wait()
        with Jobs(workbench.folder / "elsewhere") as others:
            others.submit([chat("b")], provider="faulty").wait()
        jobs.submit([chat("b")], provider="faulty", check_remote=True).wait()
    assert len(workbench.server.batches) == 2


@pytest.mark.parametrize("how", ["variable", "file"])
def test_the_default_provider_is_the_same_everywhere(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """OBATCH_PROVIDER and `provider` in the configuration also apply to `Jobs` and `Batch`."""
    path = Path(os.environ["OBATCH_CONFIG"])
    if how == "variable":
        monkeypatch.setenv("OBATCH_PROVIDER", "faulty")
    else:
        path.write_text('provider = "faulty"\n' + path.read_text(encoding="utf-8"), encoding="utf-8")
    with Jobs() as jobs:
        assert jobs.submit([chat("a")]).wait().provider == "faulty"
    with Batch(workbench.folder / "in.jsonl") as batch:
        batch.add_to_batch(**chat("a"))
        batch.submit()
    assert len(workbench.server.batches) == 2


@pytest.mark.usefixtures("workbench")
def test_one_provider_object_serves_several_sessions() -> None:
    """Closing one `Jobs` object does not close the connections of others."""
    provider = get_provider_by_name("faulty")
    client = provider.get_client()
    with Jobs() as jobs, Jobs() as others:
        job = jobs.submit([chat("a")], provider=provider)
        others.submit([chat("b")], provider=provider).wait()
        others.close()
        assert asyncio.run(job.wait_async(timeout=60)).status == "completed"
        assert asyncio.run(job.refresh_async()).status == "completed"
        assert job.refresh().status == "completed"
    assert not client.is_closed()


def test_keys_given_in_the_program_are_accounts(workbench: Workbench) -> None:
    """Two providers with different keys at one URL have separate jobs, and each uses its own key."""
    workbench.server.by_key = True
    teams = [Provider(base_url=workbench.server.base_url, api_key=f"sk-team-{n}-0123456789") for n in range(2)]
    with Jobs() as jobs:
        made = [jobs.submit([chat("a")], provider=team) for team in teams]
        assert [job.wait(timeout=60).status for job in made] == ["completed"] * 2
        assert made[0].id != made[1].id
        assert jobs.submit([chat("a")], provider=teams[0]).id == made[0].id
    assert len(workbench.server.batches) == 2
    assert workbench.server.other_key_requests == []
