"""The Ray driver: a worker ends when the Ray process that started it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from support.servers import wait_until

from openai_batch.cluster.ray_driver import WorkerKilled, run_worker

PARENT = "from openai_batch.cluster.ray_driver import run_worker; run_worker(['sh', '-c', 'echo $$; exec sleep 600'])"


def test_the_exit_code_of_a_worker() -> None:
    """The exit code of a worker is returned, and a signal is raised as an exception, so that Ray retries."""
    assert run_worker([sys.executable, "-c", "raise SystemExit(4)"]) == 4
    with pytest.raises(WorkerKilled, match="signal 9"):
        run_worker([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of the end of its parent")
def test_a_worker_ends_with_its_parent() -> None:
    """A worker ends when its parent is killed, so that two workers never run the same shards."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()

    def gone() -> bool:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(gone, "the end of the worker")
