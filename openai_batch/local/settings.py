"""What a local server needs to know before it starts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai_batch._check import MAX_LINE_BYTES
from openai_batch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

UPSTREAM_CONCURRENCY = 64
"""Requests in flight to one upstream URL where the settings name no number."""

_RUNNING_ONLY = frozenset({"idle_seconds"})
"""Settings that change nothing about the answers, and so do not make a server another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How the local server runs requests; every field has a default that works.

    `upstream` is one OpenAI-compatible base URL or several; empty means the embedded engine.
    `upstream_key_env` is the name of the environment variable with the upstream's key, never the key.
    `model_path` is a GGUF file for the embedded engine; None means the small model that is fetched once.
    `concurrency` is the number of requests in flight to each upstream, or of engine processes;
    None means 64, or one engine for each usable core.
    `context` is the engine's context in tokens, `max_output_tokens` where its answers end when a
    request sets no limit. `idle_seconds` is how long a server that was started on demand stays when
    nothing happens. `max_requests`, `max_bytes` and `max_line_bytes` are limits on one batch file.
    `timeout_seconds` is the limit on one call, `max_tries` the number of calls for one request,
    `min_window_seconds` the shortest completion window.
    """

    upstream: tuple[str, ...] = ()
    upstream_key_env: str | None = None
    model_path: str | None = None
    concurrency: int | None = None
    context: int = 2048
    max_output_tokens: int = 512
    idle_seconds: float = 600
    max_requests: int = 50_000
    max_bytes: int = 200 * 1024 * 1024
    max_line_bytes: int = MAX_LINE_BYTES
    timeout_seconds: float = 600
    max_tries: int = 5
    min_window_seconds: float = 3600

    def __post_init__(self) -> None:
        """Accept one URL as a plain string, and refuse what cannot work."""
        urls = self.upstream or ()
        object.__setattr__(self, "upstream", (urls,) if isinstance(urls, str) else tuple(urls))
        for url in self.upstream:
            _check_url(url)
        if self.model_path is not None:
            object.__setattr__(self, "model_path", str(Path(self.model_path).expanduser().absolute()))
        for name in ("concurrency", "context", "max_requests", "max_bytes", "max_line_bytes", "max_tries"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}", hint="give a number of 1 or more")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> LocalSettings:
        """Build settings from a table of a configuration file.

        Raises ConfigError for an unknown key (with the nearest known one) and for a wrong type.
        """
        values = {}
        for key, value in mapping.items():
            if key not in _KINDS:
                near = get_close_matches(key, _KINDS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(_KINDS)}"
                raise ConfigError(f"the local provider has no setting {key!r}", hint=hint)
            values[key] = _typed(key, value)
        return cls(**values)

    def as_mapping(self) -> dict[str, Any]:
        """Return the settings as plain JSON values, which `from_mapping` takes back."""
        return {**asdict(self), "upstream": list(self.upstream)}

    @property
    def is_default(self) -> bool:
        """Whether nobody has set anything that matters for the answers."""
        return self.fingerprint() == LocalSettings().fingerprint()

    def fingerprint(self) -> str:
        """Return a digest that is equal for servers that would treat every request alike."""
        values = {key: value for key, value in self.as_mapping().items() if key not in _RUNNING_ONLY}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


_KINDS = {field.name: str(field.type) for field in fields(LocalSettings)}


def _typed(key: str, value: Any) -> Any:
    """Return `value` where it has the type of the setting `key`."""
    kind = _KINDS[key]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is None and ("None" in kind or key == "upstream"):
        return value
    if key == "upstream":
        values = [value] if isinstance(value, str) else value
        if isinstance(values, (list, tuple)) and all(isinstance(url, str) for url in values):
            return tuple(url for url in values if url)
        wanted = "a URL or a list of URLs"
    elif kind.startswith("str"):
        if isinstance(value, str):
            return value
        wanted = "text"
    elif kind.startswith("float"):
        if number:
            return value
        wanted = "a number"
    else:
        if number and isinstance(value, int):
            return value
        wanted = "a whole number"
    raise ConfigError(f"{key} of the local provider is {value!r}", hint=f"give {wanted}")


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"the upstream {url!r} is not a base URL", hint="give one like http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise ConfigError(
            f"the upstream at {parts.hostname} has a user or a password in its URL",
            hint="put the key into an environment variable, and its name into upstream_key_env",
        )
