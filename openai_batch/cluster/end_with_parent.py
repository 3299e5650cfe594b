"""End a child process with its parent, also when that is killed."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""The number of that option in Linux."""


def end_with_parent() -> None:
    """Ask Linux to send SIGTERM to this new process when its parent ends. Other systems cannot do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
