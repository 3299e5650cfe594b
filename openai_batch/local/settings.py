"""The settings of the local server."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr, replace

from openai_batch.errors import AuthError, ConfigError
from openai_batch.files.lines import MAX_LINE_BYTES
from openai_batch.files.typed_table import Concurrency, Count, Idle, Patience, Seconds, Size, Text, Variable, read_table
from openai_batch.net.hosts import is_http_url
from openai_batch.requests.limits import MAX_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

UPSTREAM_CONCURRENCY = 64  # requests in flight to one upstream URL if the settings give no number

_RUNNING_ONLY = frozenset({"idle_seconds"})
"""Settings that do not change the answers; a server that differs only in these is used as it is."""


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One upstream: a `[[providers.local.upstream]]`. Raises ConfigError for a URL that cannot be used."""

    url: Text
    """Its OpenAI-compatible base URL."""

    key_env: Variable | None = None
    """Name of the environment variable with its key, which is sent to this URL only; None for no key."""

    concurrency: Concurrency | None = None
    """Requests in flight there at a time; None means the `concurrency` of all."""

    requests_per_minute: Count | None = None
    """Most requests that are sent there in a minute; None for no limit."""

    def __post_init__(self) -> None:
        """Check the URL."""
        _check_url(self.url)

    def key(self, env: Mapping[str, str]) -> str | None:
        """Return its key from `env`, None if it needs none. Raises AuthError if the variable is not set."""
        if self.key_env is None:
            return None
        key = env.get(self.key_env, "").strip()
        if not key:
            raise AuthError(
                f"the key of the upstream is missing: {self.key_env} is not set", hint=f"export {self.key_env}=..."
            )
        return key


_Tokens = Annotated[int, Meta(ge=-1, le=1_000_000, description="a whole number up to 1,000,000, or -1")]


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the local server runs requests; every field has a default that works.

    Raises ConfigError for an upstream that is not an http(s) URL, or contains a password. Other values are checked by
    `from_mapping`.
    """

    upstream: Annotated[tuple[str | UpstreamSettings, ...], Meta(description="a URL or a list of URLs or tables")] = ()
    """OpenAI-compatible base URLs that run the requests; empty means the embedded engine."""

    upstream_key_env: Variable | None = None
    """Name of the environment variable with the key of upstreams that are plain URLs; never the key itself."""

    model_path: Text | None = None
    """A GGUF file for the embedded engine; None means the small model that is downloaded once."""

    concurrency: Concurrency | None = None
    """Requests in flight to each upstream, or engine processes; None means 64, or one for each usable core."""

    context: Size = 2048
    """Context of the embedded engine, in tokens."""

    slots: Concurrency = 8
    """Requests at the same time in each engine process; each needs memory for its own context."""

    max_output_tokens: _Tokens = 512
    """Tokens of an answer of the embedded engine, if the request sets no limit; -1 means as many as fit its context."""

    idle_seconds: Idle = 600.0
    """Seconds without a request after which a server that was started on demand ends."""

    max_requests: Count = 50_000
    """Most requests in one batch file."""

    max_bytes: Count = MAX_FILE_BYTES
    """Largest batch file, in bytes."""

    max_line_bytes: Count = MAX_LINE_BYTES
    """Longest line of a batch file, in bytes."""

    timeout_seconds: Patience = 600.0
    """Seconds that one call of the upstream or engine may take."""

    max_tries: Count = 5
    """Calls for one request, the first one included; an upstream that cannot be reached is not called."""

    min_window_seconds: Seconds = 3600.0
    """Shortest completion window, in seconds."""

    def __post_init__(self) -> None:
        """Check the URLs, of which one may be a plain string, and make the model's path absolute.

        Seconds become floats, so that 600 and 600.0 have the same fingerprint.
        """
        given = (self.upstream,) if isinstance(self.upstream, str) else self.upstream
        for upstream in given:
            if isinstance(upstream, str):
                _check_url(upstream)
        if self.upstream_key_env is not None and given and not any(isinstance(upstream, str) for upstream in given):
            raise ConfigError(
                "upstream_key_env is for upstreams that are plain URLs",
                hint="give each [[providers.local.upstream]] that needs a key its own key_env",
            )
        if self.max_output_tokens == 0:
            raise ConfigError("max_output_tokens = 0 leaves no room for an answer", hint="-1 means no limit")
        force_setattr(self, "upstream", tuple(given))
        if self.model_path is not None:
            force_setattr(self, "model_path", str(Path(self.model_path).expanduser().absolute()))
        for name in ("idle_seconds", "timeout_seconds", "min_window_seconds"):
            force_setattr(self, name, float(getattr(self, name)))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], where: str = "the local provider:") -> LocalSettings:
        """Return the settings of a table of a configuration file; `upstream` may be one URL or table, or a list.

        Raises ConfigError, which begins with `where`, for an unknown key (the hint is the nearest known one) and for a
        wrong value.
        """
        table = dict(mapping)
        upstream = table.get("upstream")
        if isinstance(upstream, str | dict):
            upstream = [upstream] if upstream else []
        if isinstance(upstream, list):
            table["upstream"] = [
                read_table(f"{where} upstream {number}:", each, UpstreamSettings) if isinstance(each, dict) else each
                for number, each in enumerate(upstream, 1)
            ]
        return read_table(where, table, cls)

    def replaced(self, options: Mapping[str, Any]) -> LocalSettings:
        """Return these settings with other values. An upstream given by its URL keeps the key and limits it has here.

        Raises ConfigError as `from_mapping` does.
        """
        values = self.as_mapping()
        if "upstream" in options:
            key = options.get("upstream_key_env")
            here = {each.url: msgspec.to_builtins(each) for each in self.upstreams if key is None}
            values |= {"upstream": [here.get(url, url) for url in options["upstream"]], "upstream_key_env": None}
        if "concurrency" in options:
            for each in values["upstream"]:
                if isinstance(each, dict):
                    each.pop("concurrency", None)
        values |= {key: value for key, value in options.items() if key != "upstream"}
        return self.from_mapping({key: value for key, value in values.items() if value is not None})

    def as_mapping(self) -> dict[str, Any]:
        """Return the settings as plain JSON values, which `from_mapping` takes back."""
        return msgspec.structs.asdict(self) | {"upstream": [msgspec.to_builtins(each) for each in self.upstream]}

    @property
    def upstreams(self) -> tuple[UpstreamSettings, ...]:
        """The upstreams with the key and the concurrency of each, as far as they are given."""
        return tuple(
            UpstreamSettings(url=each, key_env=self.upstream_key_env, concurrency=self.concurrency)
            if isinstance(each, str)
            else replace(each, concurrency=each.concurrency or self.concurrency)
            for each in self.upstream
        )

    @property
    def is_default(self) -> bool:
        """Whether every setting that can change an answer has its default."""
        return self.fingerprint() == LocalSettings().fingerprint()

    def fingerprint(self) -> str:
        """Return a hash of every setting that can change an answer."""
        values = {key: value for key, value in self.as_mapping().items() if key not in _RUNNING_ONLY}
        values |= {"upstream": msgspec.to_builtins(self.upstreams), "upstream_key_env": None}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _check_url(url: str) -> None:
    if not is_http_url(url):
        raise ConfigError(f"the upstream {url!r} is not a base URL", hint="give one like http://127.0.0.1:8000/v1")
    parts = urlsplit(url)
    # The server's command line, which every user of the machine can see, has the URL.
    hidden = {"a user or a password": parts.username or parts.password, "a query": parts.query or parts.fragment}
    for what, there in hidden.items():
        if there:
            raise ConfigError(
                f"the upstream at {parts.hostname} has {what} in its URL",
                hint="put the key into an environment variable, and its name into upstream_key_env",
            )
