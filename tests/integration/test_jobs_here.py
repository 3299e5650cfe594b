"""Jobs with the local provider, and the example of the guide on jobs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.servers import echo_upstream

from openai_batch import Jobs
from openai_batch.local import launch

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "jobs.md"


@pytest.fixture(autouse=True)
def upstream() -> Iterator[None]:
    """Configure the local provider with an echo upstream, and stop its server afterwards."""
    with echo_upstream(models=False) as echo:
        Path(os.environ["OBATCH_CONFIG"]).write_text(
            f'provider = "local"\n[providers.local]\nupstream = "{echo.base_url}"\n', encoding="utf-8"
        )
        try:
            yield
        finally:
            launch.stop()


@pytest.mark.slow
def test_a_job_runs_locally() -> None:
    """The first submit starts the local server, which answers chat and embedding requests."""
    with Jobs() as jobs:
        texts = ("one", "two", "three")
        asked = ({"model": "any", "messages": [{"role": "user", "content": text}]} for text in texts)
        job = jobs.submit(asked, name="here").wait(timeout=60)
        assert (job.provider, job.status) == ("local", "completed")
        assert all(text in (result.text or "") for text, result in zip(texts, job.results(), strict=True))
        vectors = jobs.submit([{"model": "any", "input": "one"}]).wait(timeout=60)
        (result,) = vectors.results()
        assert result.ok
        assert result.body["data"][0]["embedding"]


@pytest.mark.slow
def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    """The program of the guide runs unchanged, and running it twice makes one job."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    told = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", found[1]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        told.append(done.stdout)
    assert told[0] == told[1]
    assert told[0].count("\n") >= 3
    with Jobs() as jobs:
        assert len(jobs.list()) == 1
