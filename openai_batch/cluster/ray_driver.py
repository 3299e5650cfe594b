"""The driver of a Ray job: it runs on the cluster, and starts each worker as a Ray task.

    python -m openai_batch.cluster.ray_driver STORE BATCH --workers N WORKER_OPTIONS

Ray places the tasks, and starts one again if its process or its machine ends. A worker that ends with an error of its
own, such as a missing key, is not started again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib import import_module
from typing import Any

from openai_batch.cluster.end_with_parent import end_with_parent


class WorkerKilled(Exception):  # noqa: N818 - Ray starts its task again
    """A worker was ended by a signal."""


def run_worker(words: list[str]) -> int:
    """Run one worker, and return its exit code; it ends with this process. Raises WorkerKilled."""
    code = subprocess.run(words, check=False, preexec_fn=end_with_parent).returncode  # noqa: S603 - see there
    if code < 0:
        raise WorkerKilled(f"a worker was ended by signal {-code}")
    return code


def main() -> int:
    """Start all workers, wait for them, and return 0 if each ended well."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("batch")
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--task-options", type=json.loads, default={})
    given, worker_options = parser.parse_known_args()
    ray: Any = import_module("ray")
    ray.init()
    options = {"max_retries": -1, "retry_exceptions": [WorkerKilled]} | given.task_options
    task = ray.remote(run_worker).options(**options)
    base = [sys.executable, "-m", "openai_batch", "worker", given.store, given.batch, "--of", str(given.workers)]
    workers = [task.remote([*base, "--index", str(index), *worker_options]) for index in range(given.workers)]
    return int(max(ray.get(workers)))


if __name__ == "__main__":
    sys.exit(main())
