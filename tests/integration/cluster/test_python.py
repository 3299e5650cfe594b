"""Python programs that use a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.command import environment

if TYPE_CHECKING:
    from .conftest import Cluster

PROGRAM = """
import json, openai_batch
answers = openai_batch.map(["one", "two"], "say {{ prompt }}", model="echo-1", provider="cluster")
with openai_batch.Jobs() as jobs:
    requests = [{"model": "echo-1", "messages": [{"role": "user", "content": word}]} for word in ("three", "four")]
    job = jobs.submit(requests, provider="cluster")
    job.wait()
    print(json.dumps([len(list(answers)), len(list(job.results())), job.counts.completed]))
"""


@pytest.mark.slow
def test_map_and_jobs(cluster: Cluster) -> None:
    """`map` and `Jobs` run their requests on the workers."""
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(words, env=environment(cluster.env), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [2, 2, 2]
    assert set(cluster.asked().values()) == {1}
