"""A signal interrupts a command at any point."""

from __future__ import annotations

import subprocess
import sys

import pytest

from openai_batch.files.locks import WINDOWS

PROGRAM = """
import os, signal, time
from openai_batch.cli.signals import Terminated, catch_signals, exit_code
class Removed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))
catch_signals()
try:
    removed = Removed()
    del removed
    time.sleep(30)
except Terminated as exc:
    print(exit_code(exc))
"""


@pytest.mark.skipif(WINDOWS, reason="no process can send this signal there")
def test_a_signal_while_an_object_is_removed() -> None:
    """A signal that arrives while `__del__` runs is raised right after it, and nothing is printed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "143\n", "")
