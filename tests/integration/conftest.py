"""Fixtures for the integration tests: a provider that fails as planned, and a home with a profile for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.faults import fault_server
from support.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def workbench(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    """Run a fault server, with a profile for it in the configuration and its key in the environment."""
    monkeypatch.setenv("FAULTY_KEY", "sk-canary-0123456789abcdef")
    with fault_server() as server:
        workbench = Workbench(server, tmp_path, home)
        workbench.configure()
        yield workbench
        workbench.close()
