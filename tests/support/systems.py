"""Run Python programs as if on another system, as far as that can be simulated."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.command import PATIENCE, environment

_SUPPORT = Path(__file__).parent
_PACKAGE = _SUPPORT.parents[1]


def on_windows(program: str, *words: str, **env: str) -> str:
    """Run a program on Windows or simulated Windows (`windows/sitecustomize.py`), with a console of few characters.

    Return what it printed. It can import the package and `support`.
    """
    changes = {"OBATCH_TEST_WINDOWS": "1", "PYTHONIOENCODING": "cp1252", **env}
    simulation = [] if sys.platform == "win32" else [_SUPPORT / "windows"]
    return _python(program, words, simulation, changes)


def on_macos(program: str, *words: str, **env: str) -> str:
    """Run a program with F_FULLFSYNC as on macOS (`macos/sitecustomize.py`). Return its output."""
    return _python(program, words, [_SUPPORT / "macos"], env)


def _python(program: str, words: tuple[str, ...], first: list[Path], env: dict[str, str]) -> str:
    path = os.pathsep.join(map(str, [*first, _PACKAGE, _SUPPORT.parent]))
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        env=environment({"PYTHONPATH": path, **env}),
        timeout=PATIENCE,
        check=False,
    )
    out, err = (text.decode("cp1252") for text in (done.stdout, done.stderr))
    assert done.returncode == 0, f"{out}\n{err}"
    return out
