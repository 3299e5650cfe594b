"""An input is compared with all earlier jobs, however many and however old they are."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integration.conftest import workbench

import openai_batch
from openai_batch.files import paths
from openai_batch.jobs.reuse import find_reusable
from openai_batch.jobs.store.records import JobRecord
from openai_batch.requests.fingerprints import KEY_BYTES
from openai_batch.testing import Failure, fake_provider

if TYPE_CHECKING:
    from support.workbench import Workbench

__all__ = ["workbench"]

MANY = 120


def earlier_jobs(workbench: Workbench, keys: list[bytes]) -> list[int]:
    """Store a job for each of these keys of requests, and return the job numbers."""
    workflow, spec = workbench.workflow(), workbench.spec("m")
    numbers = []
    for number, each in enumerate(keys):
        job = JobRecord(
            id=0,
            identity=f"earlier {number}",
            uid=f"{number:032x}",
            provider="faulty",
            base_url=str(spec.provider.base_url),
            account=workflow.account(spec.provider),
            endpoint=str(spec.batch_file.report.endpoint),
            window="24h",
            created_at=time.time(),
            requests=len(each) // KEY_BYTES,
        )
        numbers.append(workflow.registry.add(job, [])[0].id)
        folder = paths.private_dir(paths.job_dir(job.uid))
        (folder / "keys").write_bytes(each)
        (folder / "ids").touch()
    return numbers


def test_the_oldest_of_many_jobs_is_compared(workbench: Workbench) -> None:
    """A row of the first of many jobs is found."""
    spec = workbench.spec("m")
    own = spec.batch_file.keys.read_bytes()
    others = [os.urandom(KEY_BYTES * 20) for _ in range(MANY)]
    numbers = earlier_jobs(workbench, [os.urandom(KEY_BYTES * 19) + own[:KEY_BYTES], *others])
    folder = Path(workbench.folder) / "work"
    folder.mkdir()
    plan = find_reusable(workbench.workflow(), spec, folder, dedup=True)
    assert [job.id for job, _ in plan.shared] == [numbers[0]]
    assert (plan.common, plan.earlier.newest) == (1, numbers[-1])


def test_an_answer_behind_a_failure_is_found(tmp_path: Path) -> None:
    """If rows failed when they were sent with `again`, their answers of the job before are used."""
    answers: list[Any] = ["first", "first", Failure(), Failure()]
    state = tmp_path / "state"
    with fake_provider(lambda _: answers.pop(0)) as fake:
        openai_batch.map(["a", "b"], model="m", state=state)
        failed = openai_batch.map(["a", "b"], model="m", state=state, again=True)
        assert [result.outcome for result in failed] == ["error", "error"]
        found = openai_batch.map(["b", "a"], model="m", state=state)
        assert [result.text for result in found] == ["first", "first"]
        assert len(fake.requests) == 4
