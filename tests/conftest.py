"""Fixtures and options of all tests: each has an empty home, and no key, proxy or setting of the machine."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from support.command import STOPS

if TYPE_CHECKING:
    from collections.abc import Iterator
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

# A slow machine is not a failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that runs all tests."""
    parser.addoption("--all", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the slow tests without `--all`."""
    if config.getoption("--all"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]


def pytest_configure() -> None:
    """Make sure that processes of a test do not inherit ignored signals, as behind `&` or under nohup."""
    for number in STOPS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # still ignored here, but not inherited


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt here, even if it was ignored at the start, as behind `&`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test its own home, state, cache and configuration; return the home."""
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
