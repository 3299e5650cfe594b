"""The settings of the local server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openai_batch.errors import AuthError, ConfigError
from openai_batch.local import LocalSettings


def test_round_trip() -> None:
    """Settings can be converted to a mapping and back, and one URL is the same as a list of one."""
    settings = LocalSettings.from_mapping({"upstream": "http://h:1/v1", "concurrency": 3, "idle_seconds": 1.5})
    assert settings.upstream == ("http://h:1/v1",)
    assert LocalSettings.from_mapping(settings.as_mapping()) == settings
    assert LocalSettings.from_mapping({"upstream": ""}) == LocalSettings() == LocalSettings.from_mapping({})


TWO = {
    "upstream": [
        "http://a/v1",
        {"url": "http://b/v1", "key_env": "KEY_B", "concurrency": 2, "requests_per_minute": 60},
    ],
    "upstream_key_env": "KEY_A",
    "concurrency": 9,
}


def _upstreams(settings: LocalSettings) -> list[tuple[str, str | None, int | None, int | None]]:
    return [(each.url, each.key_env, each.concurrency, each.requests_per_minute) for each in settings.upstreams]


def test_each_upstream_has_its_own() -> None:
    """A table has its own key and limits, a plain URL has the common ones, and a single table needs no list."""
    settings = LocalSettings.from_mapping(TWO)
    assert LocalSettings.from_mapping(settings.as_mapping()) == settings
    assert _upstreams(settings) == [("http://a/v1", "KEY_A", 9, None), ("http://b/v1", "KEY_B", 2, 60)]
    assert [each.key({"KEY_A": " a ", "KEY_B": "b"}) for each in settings.upstreams] == ["a", "b"]
    with pytest.raises(AuthError, match="KEY_B is not set") as off:
        settings.upstreams[1].key({"KEY_A": "a"})
    assert off.value.hint == "export KEY_B=..."
    assert LocalSettings.from_mapping({"upstream": {"url": "http://a/v1"}}).upstreams[0].key({}) is None


def test_other_upstreams_get_no_key() -> None:
    """Upstreams given for one run get the key that the settings have for their URL, or no key."""
    settings = LocalSettings.from_mapping(TWO)
    chosen = settings.replaced({"upstream": ["http://b/v1", "http://c/v1", "http://a/v1"]})
    assert [row[:3] for row in _upstreams(chosen)] == [
        ("http://b/v1", "KEY_B", 2),
        ("http://c/v1", None, 9),
        ("http://a/v1", "KEY_A", 9),
    ]
    given = settings.replaced({"upstream": ["http://b/v1"], "upstream_key_env": "OTHER", "concurrency": 5})
    assert _upstreams(given) == [("http://b/v1", "OTHER", 5, None)]
    assert [row[2] for row in _upstreams(settings.replaced({"concurrency": 5}))] == [5, 5]
    assert settings.replaced({"upstream": ["http://a/v1", "http://b/v1"]}).fingerprint() == settings.fingerprint()
    with pytest.raises(ConfigError, match="concurrency must be a whole number from 1 to 10,000"):
        settings.replaced({"concurrency": 0})


@pytest.mark.parametrize(
    ("mapping", "message", "hint"),
    [
        ({"concurency": 3}, "unknown key 'concurency'", "did you mean concurrency?"),
        ({"zzz": 3}, "unknown key 'zzz'", "known: concurrency, context"),
        ({"concurrency": "3"}, "concurrency must be a whole number from 1 to 10,000", ""),
        ({"concurrency": True}, "concurrency must be a whole number from 1 to 10,000", ""),
        ({"concurrency": 0}, "concurrency must be a whole number from 1 to 10,000", ""),
        ({"context": None}, "context must be a whole number from 1", ""),
        ({"idle_seconds": "x"}, "idle_seconds must be a number of seconds", ""),
        ({"model_path": 3}, "model_path must be a string", ""),
        ({"upstream": [1]}, "upstream must be a URL or a list of URLs", ""),
        ({"upstream": [{"key_env": "A"}]}, "upstream 1: url is missing", ""),
        ({"upstream": ["http://h", {"url": "http://h", "key": "secret"}]}, "upstream 2: unknown key 'key'", "key_env"),
        ({"upstream": {"url": "http://h", "key_env": "secret-1"}}, "key_env must be the name of an environment", ""),
        (
            {"upstream": {"url": "http://h", "concurrency": 0}},
            "concurrency must be a whole number from 1 to 10,000",
            "",
        ),
        ({"upstream": {"url": "http://me:secret@h/v1"}}, "user or a password", "key_env"),
        ({"upstream": {"url": "http://h"}, "upstream_key_env": "A"}, "are plain URLs", "its own key_env"),
        ({"upstream": "localhost:8000"}, "not a base URL", "http://"),
        ({"upstream": "http://h/v1?key=secret"}, "a query in its URL", "upstream_key_env"),
        ({"upstream": "http://me:secret@h/v1"}, "user or a password", "upstream_key_env"),
    ],
)
def test_invalid_settings(mapping: dict[str, Any], message: str, hint: str) -> None:
    """An unknown or invalid setting is an error that names it and shows no password."""
    with pytest.raises(ConfigError) as off:
        LocalSettings.from_mapping(mapping)
    assert message in str(off.value)
    assert hint in off.value.hint
    assert "secret" not in str(off.value) + off.value.hint


def test_fingerprint() -> None:
    """Servers have different fingerprints only if they treat requests differently."""
    base = LocalSettings()
    assert base.fingerprint() == LocalSettings(idle_seconds=5).fingerprint()
    assert base.fingerprint() == LocalSettings(timeout_seconds=600).fingerprint()
    assert base.fingerprint() == LocalSettings.from_mapping({"timeout_seconds": 600}).fingerprint()
    assert base.fingerprint() != LocalSettings(context=4096).fingerprint()
    assert base.fingerprint() != LocalSettings(upstream=("http://h/v1",)).fingerprint()


def test_paths_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A model's path is made absolute, because the server runs in another folder."""
    monkeypatch.chdir(tmp_path)
    assert LocalSettings(model_path="m.gguf").model_path == str(tmp_path / "m.gguf")
    assert LocalSettings(model_path="~/m.gguf").model_path == str(Path.home() / "m.gguf")
