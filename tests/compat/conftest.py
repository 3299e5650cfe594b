"""Fixtures of the tests of the interface of 0.3.4: an empty working folder, and a provider with planned answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from compat.stub import Stub, running

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = ("OPENAI_API_KEY", "PARASAIL_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_BASE_URL")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without keys and with an empty configuration file."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OBATCH_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("OBATCH_STATE_DIR", str(tmp_path / "state"))
    return place


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """Run a provider, and configure both providers of 0.3.4 to use it."""
    with running() as server:
        point_at(server.base_url)
        monkeypatch.setenv("TEST_KEY", "test-key-1")
        yield server


def point_at(base_url: str) -> None:
    """Write a configuration in which OpenAI and Parasail have this `base_url`."""
    tables = (f'[providers.{name}]\nbase_url = "{base_url}"\napi_key_env = "TEST_KEY"\n' for name in NAMES)
    Path(os.environ["OBATCH_CONFIG"]).write_text("\n".join(tables), encoding="utf-8")


NAMES = ("openai", "parasail")


def python(*words: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python with the arguments `words` in the current folder and environment."""
    options = {"timeout": 60, "capture_output": True, "text": True} | options
    done: subprocess.CompletedProcess[str] = subprocess.run([sys.executable, *words], check=False, **options)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done
