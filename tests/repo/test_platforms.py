"""All tests can be collected on every system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import environment

TESTS = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the simulation reads /proc")
def test_every_test_is_collected_on_windows() -> None:
    """No test module needs POSIX to be imported, in a simulation of Windows."""
    path = os.pathsep.join([str(TESTS / "support" / "windows"), str(TESTS.parent)])
    # A third-party library only knows the locks of POSIX and of real Windows.
    words = [
        "-W",
        "ignore:only soft file lock",
        "-q",
        "--collect-only",
        "-p",
        "no:xdist",
        "-o",
        "addopts=--import-mode=importlib",
        str(TESTS),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=TESTS.parent,
        env=environment({"PYTHONPATH": path, "OBATCH_TEST_WINDOWS": "1"}),
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
