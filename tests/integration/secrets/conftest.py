"""Fixtures for the tests of secrets: a working folder, and a provider whose key is the canary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from integration.conftest import workbench
from support.canary import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from support.workbench import Workbench

__all__ = ["here", "workbench"]


@pytest.fixture
def here(workbench: Workbench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workbench:
    """Give the provider the canary as its key, and work in a folder of the test."""
    workbench.folder = tmp_path / "work"
    workbench.folder.mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("FAULTY_KEY", KEY)
    monkeypatch.chdir(workbench.folder)
    return workbench
