"""Locks between processes, with the locks of this system and with simulated locks of Windows."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.systems import on_windows

from openai_batch.files.locks import hold

if TYPE_CHECKING:
    from pathlib import Path

LOCKS = """
import subprocess, sys, threading
from pathlib import Path
from openai_batch.files.locks import clear_away, hold, is_held, locked
from openai_batch.files.workspace import workspace

HOLDER = '''
import sys
from pathlib import Path
from openai_batch.files.locks import locked
from openai_batch.files.workspace import workspace
with locked(Path("lock")), workspace() as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
'''
assert not is_held(Path("lock"))
holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=-1, stdout=-1, text=True)
folder = Path(holder.stdout.readline().strip())
assert is_held(Path("lock")) and is_held(Path("lock"))
waited = []
timer = threading.Timer(0.5, holder.kill)
timer.start()
with workspace():
    assert (folder / "file").exists()  # that of a process that runs is left alone
with locked(Path("lock"), lambda: waited.append(holder.poll())):
    assert waited == [None] and holder.wait() < 0
    assert is_held(Path("lock"))
assert not is_held(Path("lock"))
timer.join()
with workspace() as own:
    assert not folder.exists() and own.exists()
assert not own.exists()
assert hold(Path("work-gone"), folder=True) is None  # another process has cleared it away: it is made anew
assert not Path("work-gone").exists()
kept = hold(Path("part"))
clear_away([Path("part")])
assert Path("part").exists()
import os
os.close(kept)
clear_away([Path("part"), Path("none")])
assert not Path("part").exists()
"""


def _here(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("run", [_here, on_windows])
def test_a_lock_ends_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: object) -> None:
    """A second process waits for a lock and reports it; a killed process releases it; unused folders are removed."""
    monkeypatch.chdir(tmp_path)
    if run is on_windows and not sys.platform.startswith("linux"):
        pytest.skip("the simulation reads /proc")
    assert callable(run)
    run(LOCKS)


def test_a_folder_that_was_removed_is_not_made_a_file(tmp_path: Path) -> None:
    """If another process removes a new folder before it is locked, no lock is returned and no file is created."""
    assert hold(tmp_path / "gone", folder=True) is None
    assert not (tmp_path / "gone").exists()
