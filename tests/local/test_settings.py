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
    assert LocalSettings.from_mapping({"upstream": None}) == LocalSettings() == LocalSettings.from_mapping({})


@pytest.mark.parametrize(
    ("mapping", "message", "hint"),
    [
        ({"concurency": 3}, "no setting 'concurency'", "did you mean concurrency?"),
        ({"zzz": 3}, "no setting 'zzz'", "known are upstream"),
        ({"concurrency": "3"}, "concurrency of the local provider is '3'", "give a whole number"),
        ({"concurrency": True}, "is True", "give a whole number"),
        ({"concurrency": 0}, "concurrency is 0", "1 or more"),
        ({"context": None}, "is None", "give a whole number"),
        ({"idle_seconds": "x"}, "is 'x'", "give a number"),
        ({"model_path": 3}, "is 3", "give text"),
        ({"upstream": [1]}, "is [1]", "a URL or a list"),
        ({"upstream": "localhost:8000"}, "not a base URL", "http://"),
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
    assert base.fingerprint() != LocalSettings(context=4096).fingerprint()
    assert base.fingerprint() != LocalSettings(upstream=("http://h/v1",)).fingerprint()


def test_paths_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The server works in another folder, so a model's path is made absolute here."""
    monkeypatch.chdir(tmp_path)
    assert LocalSettings(model_path="m.gguf").model_path == str(tmp_path / "m.gguf")
    assert LocalSettings(model_path="~/m.gguf").model_path == str(Path.home() / "m.gguf")
