"""The order of writes on disk, as seen in the system calls of a real process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from openai_batch.errors import AuthError, OutputExistsError
from openai_batch.files import locks, paths
from openai_batch.jobs.collect import collect
from openai_batch.jobs.reporter import Reporter

if TYPE_CHECKING:
    from pathlib import Path

    from support.workbench import Workbench

pytestmark = pytest.mark.slow


CALLS = "openat,open,write,pwrite64,writev,sendto,sendmsg,fsync,fdatasync,link,linkat,rename,renameat,renameat2,unlink"


def traced(folder: Path, *words: str) -> list[str]:
    """Run the command under strace and return its calls, with the path of each descriptor."""
    if shutil.which("strace") is None or subprocess.run(["strace", "-o", os.devnull, "true"], check=False).returncode:
        if os.environ.get("CI") == "true":
            pytest.fail("strace is not installed, or may not trace here")
        pytest.skip("needs strace")
    log = folder / "calls.log"
    tracer = ["strace", "-f", "-y", "-s", "60", "-o", str(log), "-e", f"trace={CALLS}"]
    done = subprocess.run(
        [*tracer, sys.executable, "-m", "openai_batch", *words],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return log.read_text(errors="replace").splitlines()


def place(calls: list[str], pattern: str, after: int = 0) -> int:
    """Return the index of the first matching call from `after` on; fail if there is none."""
    for number in range(after, len(calls)):
        if re.search(pattern, calls[number]):
            return number
    pytest.fail(f"no call matches {pattern}")


def test_an_attempt_is_synced_before_its_request_is_sent(workbench: Workbench) -> None:
    """The registry is synced before the create request is sent."""
    workbench.write("fault:end=completed")
    calls = traced(workbench.folder, "submit", "in.jsonl", "-p", "faulty", "-q")
    dirty: set[str] = set()
    commits = []
    sent = place(calls, r'send(to|msg)\(.*"POST /v1/batches ')
    for number, call in enumerate(calls[:sent]):
        found = re.search(r"(pwrite64|write|fdatasync|fsync)\(\d+<([^>]*/registry\.db[^>]*)>", call)
        if found and "sync" in found[1]:
            dirty.discard(found[2])
        elif found:
            dirty.add(found[2])
        elif re.search(r'unlink\("[^"]*registry\.db-journal"', call):
            dirty.discard(f"{paths.registry_file()}-journal")
            commits.append(number)
    assert dirty == set()
    # The last commit is that of the attempt: it is between the upload and the create.
    assert commits[-1] > place(calls, r'send(to|msg)\(.*"POST /v1/files ')
    assert place(calls, rf"f(data)?sync\(\d+<{re.escape(str(paths.state_dir()))}>", commits[-1]) < sent


def test_results_are_synced_before_they_have_their_name(workbench: Workbench) -> None:
    """Results are synced before they get their name, and the name before the registry records them."""
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit("fault:end=completed"), timeout=30)
    calls = traced(workbench.folder, "download", str(job.id), "-o", "out.jsonl", "-q")
    named = place(calls, r'link(at)?\(.*\.part".*out\.jsonl"')
    (part,) = re.findall(r'"([^"]*\.part)"', calls[named])
    written = [n for n, call in enumerate(calls[:named]) if re.search(rf"write\(\d+<[^>]*{re.escape(part)}>", call)]
    synced = place(calls, rf"fsync\(\d+<[^>]*{re.escape(part)}>")
    assert written[-1] < synced < named
    folder_synced = place(calls, rf"fsync\(\d+<{re.escape(str(workbench.folder))}>", named)
    assert folder_synced < place(calls, r"write64\(\d+<[^>]*/registry\.db-journal>", named)


class Intruder(Reporter):
    """Another process, which writes a file while the results are downloaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Write the file."""
        assert (what, done, total) != ("", 0, 0)
        self._path.write_text("precious", encoding="utf-8")


def test_a_file_that_appears_during_the_write_is_not_replaced(workbench: Workbench) -> None:
    """A file that is created during the download is not replaced, and another name can be used."""
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit("fault:content=slow"), timeout=30)
    workflow.reporter = Intruder(workbench.out)
    with pytest.raises(OutputExistsError):
        collect(workflow, job, workbench.out)
    assert workbench.out.read_text() == "precious"
    collect(workbench.workflow(), job, workbench.folder / "other.jsonl")
    assert (workbench.folder / "other.jsonl").exists()


def test_a_job_that_another_process_sends_is_waited_for(workbench: Workbench) -> None:
    """While another process holds the lock of a job nothing is sent; then the job continues."""
    with pytest.raises(AuthError):
        workbench.submit("fault:upload=401")
    (job,) = workbench.workflow().registry.jobs()
    holder = os.open(paths.job_dir(job.uid) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    assert locks._lock(holder)
    process = workbench.command("submit", "in.jsonl", "-p", "faulty")
    watchdog = threading.Timer(60, process.kill)
    watchdog.daemon = True
    watchdog.start()
    assert process.stderr is not None
    said = [process.stderr.readline()]
    while said[-1] and f"another obatch is sending job {job.id}" not in said[-1]:
        said.append(process.stderr.readline())
    assert f"another obatch is sending job {job.id}" in said[-1], said
    assert len(workbench.server.uploads) == 1
    os.close(holder)
    process.communicate()
    watchdog.cancel()
    assert process.returncode == 0
    assert (len(workbench.server.uploads), len(workbench.server.creates)) == (2, 1)
