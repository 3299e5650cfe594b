"""A real Ray on this machine, with two workers, one of which is killed.

It needs 700 MB of packages, so it runs only with OBATCH_TEST_RAY=1: the packages are installed into an environment of
its own. OBATCH_TEST_RAY can name the Python of an environment that has them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Cluster

GIVEN = os.environ.get("OBATCH_TEST_RAY", "")
ROWS = 60
PORT = 8466

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not GIVEN, reason="OBATCH_TEST_RAY is not set")]


@pytest.fixture(scope="session")
def ray_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with Ray and this package."""
    if GIVEN != "1":
        return Path(GIVEN)
    folder = tmp_path_factory.mktemp("ray") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    project = Path(__file__).parents[3]
    wanted = ["ray[default]>=2.50", f"{project}[serve]"]
    subprocess.run([folder / "bin" / "pip", "install", "-q", *wanted], check=True)
    return folder / "bin" / "python"


@pytest.fixture
def ray(cluster: Cluster, ray_python: Path) -> Iterator[str]:
    """Start a Ray cluster on this machine, and return the address of its dashboard."""
    program = ray_python.with_name("ray")
    env = {**os.environ, **{name: value or "" for name, value in cluster.env.items()}}
    env |= {"RAY_AUTH_MODE": "disabled", "PATH": f"{ray_python.parent}:{env['PATH']}"}
    env |= {"RAY_TMPDIR": str(cluster.folder / "ray"), "RAY_USAGE_STATS_ENABLED": "0"}
    words = ["start", "--head", "--num-cpus=2", "--dashboard-port", str(PORT), "--dashboard-host=127.0.0.1"]
    words += [
        "--port=0",
        f"--temp-dir=/tmp/ray-of-{os.getpid()}",
        "--disable-usage-stats",
    ]  # sockets need short paths
    subprocess.run([program, *words], env=env, check=True)
    try:
        yield f"http://127.0.0.1:{PORT}"
    finally:
        subprocess.run([program, "stop", "--force"], env=env, check=True)


def test_one_of_two_workers_is_killed(cluster: Cluster, ray: str) -> None:
    """Ray restarts the task, the results are complete, and at most the requests in flight are repeated."""
    cluster.configure(launcher="ray", address=ray, task_options={"num_cpus": 1})
    requests, output = cluster.folder / "requests.jsonl", cluster.folder / "answers.jsonl"
    prompts = cluster.prompts(ROWS, "!sleep=1")
    cluster.run("prepare", str(prompts), "-m", "echo-1", "-o", str(requests)).succeeded()
    cluster.run("submit", str(requests), "-p", "cluster").succeeded()
    wait_until(lambda: len(cluster.workers()) == 2, "the workers", 180)
    wait_until(lambda: sum(cluster.asked().values()) >= 12, "the first requests")
    os.kill(cluster.workers()[0], signal.SIGKILL)
    cluster.run("wait").succeeded()
    cluster.run("download", "-o", str(output)).succeeded()
    ids = [json.loads(line)["custom_id"] for line in output.read_text().splitlines()]
    assert len(ids) == len(set(ids)) == ROWS
    assert sum(cluster.asked().values()) - ROWS <= 4
    assert cluster.starts() == 1  # Ray restarted the worker, not obatch
