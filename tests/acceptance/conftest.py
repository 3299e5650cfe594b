"""Fixtures for the tests of the command: an empty working folder, a provider that fails as planned, and a real one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.faults import FaultServer, fault_server
from support.servers import LocalServer, echo_upstream, local_server

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-hidden-0123456789"


@pytest.fixture(autouse=True)
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    assert home.is_dir()
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def configure(name: str, base_url: str, **values: object) -> None:
    """Add a provider to the test's configuration, with its key in TEST_KEY and timeouts that suit a slow machine."""
    table = {"base_url": base_url, "api_key_env": "TEST_KEY", "create_timeout": 30, "create_grace": 30} | values
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    with Path(os.environ["OBATCH_CONFIG"]).open("a", encoding="utf-8") as handle:
        handle.write("\n".join([f"[providers.{name}]", *lines, "", ""]))


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """Run a provider called `faulty`, which fails as the model names say."""
    with fault_server() as server:
        configure("faulty", server.base_url)
        monkeypatch.setenv("TEST_KEY", KEY)
        yield server


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Run the local provider's server in front of an echo, once for all tests."""
    folder = tmp_path_factory.mktemp("server")
    with echo_upstream() as echo, local_server(folder, upstream=echo.base_url) as server:
        yield server


@pytest.fixture
def real(local: LocalServer, monkeypatch: pytest.MonkeyPatch) -> LocalServer:
    """Make the server known as the provider `real`."""
    configure("real", local.base_url)
    monkeypatch.setenv("TEST_KEY", local.token)
    return local
