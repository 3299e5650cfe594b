"""The settings of the local server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openai_batch.errors import ConfigError
from openai_batch.local import LocalSettings


def test_round_trip() -> None:
    """Settings go through a mapping unchanged, and one URL is as good as a list of one."""
    settings = LocalSettings.from_mapping({"upstream": "http://h:1/v1", "concurrency": 3, "idle_seconds": 1.5})
    assert settings.upstream == ("http://h:1/v1",)
    assert LocalSettings.from_mapping(settings.as_mapping()) == settings
    assert LocalSettings.from_mapping({"upstream": ""}) == LocalSettings() == LocalSettings.from_mapping({})


@pytest.mark.parametrize(
    ("mapping", "message", "hint"),
    [
        ({"concurency": 3}, "unknown key 'concurency'", "did you mean concurrency?"),
        ({"zzz": 3}, "unknown key 'zzz'", "known: concurrency, context"),
        ({"concurrency": "3"}, "concurrency must be a whole number above 0", ""),
        ({"concurrency": True}, "concurrency must be a whole number above 0", ""),
        ({"concurrency": 0}, "concurrency must be a whole number above 0", ""),
        ({"context": None}, "context must be a whole number above 0", ""),
        ({"idle_seconds": "x"}, "idle_seconds must be a number of seconds", ""),
        ({"model_path": 3}, "model_path must be a string", ""),
        ({"upstream": [1]}, "upstream must be a URL or a list of URLs", ""),
        ({"upstream": "localhost:8000"}, "not a base URL", "http://"),
        ({"upstream": "http://h/v1?key=secret"}, "a query in its URL", "upstream_key_env"),
        ({"upstream": "http://me:secret@h/v1"}, "user or a password", "upstream_key_env"),
    ],
)
def test_faults(mapping: dict[str, Any], message: str, hint: str) -> None:
    """A setting that is unknown or off is named, with what to write instead, and no password is repeated."""
    with pytest.raises(ConfigError) as off:
        LocalSettings.from_mapping(mapping)
    assert message in str(off.value)
    assert hint in off.value.hint
    assert "secret" not in str(off.value) + off.value.hint


def test_fingerprint() -> None:
    """The fingerprint tells servers apart that treat requests differently, and no others."""
    base = LocalSettings()
    assert base.fingerprint() == LocalSettings(idle_seconds=5).fingerprint()
    assert base.fingerprint() == LocalSettings(timeout_seconds=600).fingerprint()
    assert base.fingerprint() == LocalSettings.from_mapping({"timeout_seconds": 600}).fingerprint()
    assert base.fingerprint() != LocalSettings(context=4096).fingerprint()
    assert base.fingerprint() != LocalSettings(upstream=("http://h/v1",)).fingerprint()


def test_paths_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The server works in another folder, so a model's path is made absolute here."""
    monkeypatch.chdir(tmp_path)
    assert LocalSettings(model_path="m.gguf").model_path == str(tmp_path / "m.gguf")
    assert LocalSettings(model_path="~/m.gguf").model_path == str(Path.home() / "m.gguf")
