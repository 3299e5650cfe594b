"""What every test starts from: an empty home of its own, and no key, proxy or setting of the machine's."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from support.command import STOPS

if TYPE_CHECKING:
    from pathlib import Path

_FOREIGN = (
    "OPENAI_",
    "PARASAIL_",
    "OBATCH_",
    "XDG_",
    "NO_COLOR",
    "FORCE_COLOR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "HF_TOKEN",
    "HF_ENDPOINT",
)
_KEPT = ("OBATCH_TEST_",)

# A slow machine is no fault.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that runs everything."""
    parser.addoption("--all", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow tests out, unless everything is asked for."""
    if config.getoption("--all"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]


def pytest_configure() -> None:
    """Let no process that a test starts ignore signals because this one does, as behind `&` and under nohup."""
    for number in STOPS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # as deaf as before, and gone in what is started


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a home, a state, a cache and a configuration of its own; return the home."""
    for name in list(os.environ):
        if name.upper().startswith(_FOREIGN) and not name.startswith(_KEPT):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    monkeypatch.setenv("OBATCH_STATE_DIR", str(folder / "state"))
    monkeypatch.setenv("OBATCH_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("OBATCH_CONFIG", str(folder / "config.toml"))
    (folder / "config.toml").touch()
    monkeypatch.setenv("TERM", "xterm-256color")
    return folder
