"""A million prompts in twenty parts, through the local provider's protocol, with one command.

All processes are real: an upstream that answers at once, `obatch serve` in front of it, and `obatch run`. Without
OBATCH_TEST_FULL there are only a few thousand prompts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from openai import OpenAI
from support.full import FULL, keep_figures
from support.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


PART = 50_000 if FULL else 150
"""The largest number of requests in a batch."""

PARTS = 20
KEY = "a-token-for-this-test-alone"
MORE_MEMORY = 6
"""How many MB more the client may need for many requests than for few."""


_UPSTREAM = Path(__file__).parents[1] / "support" / "instant.py"
_OBATCH = (sys.executable, "-m", "openai_batch")
_PROFILE = """
[providers.here]
base_url = "{url}"
api_key_env = "HERE_KEY"
max_requests = {part}
"""

# A small process between this one and the client: the peak of a child includes the memory of its parent.
_METER = """
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass
class Used:
    """What a run used: CPU seconds of the client, peak memory in MB, and the number of batches."""

    client_seconds: float
    client_peak: float
    server_peak: float
    batches: int


def prompt(number: int) -> str:
    """Return a prompt that is different for each number."""
    return f"prompt {number} of a long list"


@contextmanager
def upstream() -> Iterator[str]:
    """Run the upstream, and yield its base URL."""
    with subprocess.Popen(
        [sys.executable, str(_UPSTREAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, int]]:
    """Run `obatch serve` with its state in `folder`, and yield its base URL and its process."""
    env = {**os.environ, "OBATCH_STATE_DIR": str(folder), "HERE_KEY": KEY}
    address = folder / "local" / "server.json"
    with upstream() as url, (folder / "log").open("wb") as log:
        words = [*_OBATCH, "serve", "--upstream", url, "--token-env", "HERE_KEY"]
        with subprocess.Popen(words, env=env, stdout=log, stderr=log) as process:
            try:
                wait_until(lambda: address.exists() or process.poll() is not None, "the start of the server")
                assert process.poll() is None, (folder / "log").read_text()
                yield json.loads(address.read_text())["base_url"], process.pid
            finally:
                process.terminate()


def run_prompts(folder: Path, rows: int) -> Used:
    """Run this many prompts, check the answers, and return what was used."""
    (folder / "server").mkdir(parents=True)
    with (folder / "prompts.txt").open("w", encoding="utf-8") as out:
        out.writelines(f"{prompt(number)}\n" for number in range(rows))
    with served(folder / "server") as (url, pid):
        (folder / "config.toml").write_text(_PROFILE.format(url=url, part=PART))
        env = {
            **os.environ,
            "HERE_KEY": KEY,
            "OBATCH_CONFIG": str(folder / "config.toml"),
            "OBATCH_STATE_DIR": str(folder / "state"),
        }
        words = [*_OBATCH, "run", "prompts.txt", "-o", "out.jsonl", "-p", "here", "-m", "any", "-q"]
        done = subprocess.run(
            [sys.executable, "-c", _METER, *words], env=env, cwd=folder, capture_output=True, text=True, check=True
        )
        code, seconds, peak = json.loads(done.stdout.splitlines()[-1])
        assert code == 0, done.stderr
        with OpenAI(base_url=url, api_key=KEY) as client:
            batches = [batch.request_counts for batch in client.batches.list(limit=100)]
        assert {counts.completed for counts in batches if counts is not None} == {PART}
        server_peak = _peak_of(pid)
    assert_in_order(folder / "out.jsonl", rows)
    return Used(seconds, peak * _PEAK_UNIT / 1e6, server_peak, len(batches))


def _peak_of(pid: int) -> float:
    """Return the peak memory of a process in MB, or 0 if the system does not report it."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def assert_in_order(path: Path, rows: int) -> None:
    """Assert that the file has exactly the answers of all rows, in order."""
    count = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            result = json.loads(line)
            answer = result["response"]["body"]["choices"][0]["message"]["content"]
            assert (result["custom_id"], answer) == (f"line-{number + 1}", f"<{prompt(number)}>")
            count += 1
    assert count == rows


def test_many_prompts_in_many_parts(tmp_path: Path) -> None:
    """Twenty parts make twenty batches, and need hardly more memory than one part."""
    few, many = (measured(tmp_path / str(parts), parts * PART) for parts in (1, PARTS))
    assert (few.batches, many.batches) == (1, PARTS)
    assert many.client_peak < few.client_peak + MORE_MEMORY


def measured(folder: Path, rows: int) -> Used:
    """Run this many prompts, record the figures, and delete the files: at full size these are gigabytes."""
    used = run_prompts(folder, rows)
    keep_figures(f"a run of {rows} prompts", **vars(used))
    shutil.rmtree(folder)
    return used
