"""Provider profiles and settings from the configuration file, in TOML. It says where a key is, and never holds a key.

provider = "acme"                      # used where -p is not given

[providers.acme]
base_url = "https://api.acme.example/v1"
api_key_env = "ACME_API_KEY"           # or api_key_command = ["pass", "show", "acme"]
models = ["acme/*"]

[providers.local]
upstream = "http://127.0.0.1:8000/v1"  # what runs the requests, instead of the built-in engine
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from openai_batch.errors import ConfigError
from openai_batch.files import paths
from openai_batch.files.typed_table import Count, Flag, Seconds, Text, Texts, TextTable, read_table, suggest
from openai_batch.net.hosts import is_http_url

from .builtin import BUILT_IN
from .config_file import local_table, parse, read_config, read_text, write_text
from .keys import check_headers, check_key_host, references
from .provider import LOCAL_URL, Provider

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

PROVIDER_VARIABLE = "OBATCH_PROVIDER"
"""The environment variable that names the default provider."""

_SECRET_KEYS = ("api_key", "key", "token")
"""Keys of a table that would hold the API key itself; they are errors."""


class _LocalTable(msgspec.Struct, kw_only=True):
    """The keys of `[providers.local]` that are part of its profile. The others are settings of its server.

    Each field has the name and the meaning of the same field of Provider; `name` is its name in the file. None means
    that the file does not have it.
    """

    default_chat_model: Text | None = msgspec.field(default=None, name="chat_model")
    default_embedding_model: Text | None = msgspec.field(default=None, name="embedding_model")
    batch_input_max_requests: Count | None = msgspec.field(default=None, name="max_requests")
    batch_input_max_bytes: Count | None = msgspec.field(default=None, name="max_bytes")
    batch_input_max_line_bytes: Count | None = msgspec.field(default=None, name="max_line_bytes")


class ProfileTable(_LocalTable, kw_only=True, forbid_unknown_fields=True):
    """The keys of any other `[providers.NAME]`; the fields are as in `_LocalTable`."""

    base_url: Text | None = None
    display_name: Text | None = None
    api_key_env_var: Text | None = msgspec.field(default=None, name="api_key_env")
    api_key_command: Texts | None = None
    models: Texts | None = None
    endpoints: Texts | None = None
    requires_consistency: Flag | None = msgspec.field(default=None, name="one_model")
    enqueued_tokens: Count | None = None
    completion_window: Text | None = None
    file_purpose: Text | None = None
    status_map: TextTable | None = None
    headers: TextTable | None = None
    allow_plain_http: Flag | None = None
    create_timeout: Seconds | None = None
    create_grace: Seconds | None = None
    idempotent_create: Flag | None = None


@dataclass(frozen=True)
class Settings:
    """The configuration: the built-in profiles, and what the configuration file adds and changes."""

    path: Path
    """The configuration file, which need not exist."""

    profiles: dict[str, Provider]
    """Every provider by name, built in or from the file."""

    own: frozenset[str] = frozenset()
    """Names of the providers that have a table in the file."""

    default_provider: str | None = None
    """Name of the provider to use if none is given."""

    default_origin: str = ""
    """Where that name is from: the variable OBATCH_PROVIDER, or the path of the configuration file."""

    local: dict[str, Any] = field(default_factory=dict)
    """Settings of the local provider's server, as they are in the file."""


def load() -> Settings:
    """Read the configuration file. If there is none, return only the built-in profiles, and those of `all_providers`.

    Raises ConfigError, which names the file, the line or key, and the remedy.
    """
    path, config = paths.config_file(), read_config()
    # The package's attribute: programs for 0.3.4 put another list there.
    listed: list[Provider] = sys.modules[__package__].all_providers
    own_list = {str(profile.name): profile for profile in listed if profile.name}
    profiles = {name: _copy(profile) for name, profile in (BUILT_IN | own_list).items()}
    for name, table in config.get("providers", {}).items():
        profiles[name] = _profile(f"{path}: [providers.{name}]", name, table)
    default, origin = config.get("provider"), str(path)
    if default is not None and default not in profiles:
        raise ConfigError(f"{path}: provider = {default!r} is not known", hint=suggest(default, profiles))
    if os.environ.get(PROVIDER_VARIABLE):
        default, origin = os.environ[PROVIDER_VARIABLE], PROVIDER_VARIABLE
    own = frozenset(config.get("providers", {}))
    return Settings(path, profiles, own, default, origin, local_table(config))


def add_profile(name: str, table: Mapping[str, Any]) -> Path:
    """Append a new `[providers.NAME]` to the configuration file, and return the file's path.

    `table` has the keys of the file, such as `base_url`. The rest of the file stays as it is, comments too. Raises
    ConfigError if the file has that name already, or if the name or the table is invalid.
    """
    import tomli_w

    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is not a valid provider name", hint="use letters, digits, -, _ and .")
    path = paths.config_file()
    text = read_text(path)
    if name in parse(path, text).get("providers", {}):
        raise ConfigError(f"{path}: there is a [providers.{name}] already", hint=f"edit {path}")
    _profile(f"{path}: [providers.{name}]", name, table)
    block = tomli_w.dumps({"providers": {name: dict(table)}})
    whole = f"{text.rstrip()}\n\n{block}" if text.strip() else block
    parse(path, whole)
    write_text(path, whole)
    return path


def _copy(profile: Provider) -> Provider:
    """Return a copy that shares no dict with `profile`."""
    return dataclasses.replace(profile, headers=dict(profile.headers), status_map=dict(profile.status_map))


def _profile(where: str, name: str, table: Mapping[str, Any]) -> Provider:
    """Return the profile that `table` describes. If a built-in one has that name, it gives the missing values."""
    if name == "local":
        return dataclasses.replace(_copy(BUILT_IN[name]), **_present(read_table(where, table, _LocalTable)))
    for key in _SECRET_KEYS:
        if key in table:
            raise ConfigError(
                f"{where} {key}: keys do not belong in this file",
                hint='name the environment variable that holds it: api_key_env = "…", or an api_key_command',
            )
    values = _present(read_table(where, table, ProfileTable))
    base = _copy(BUILT_IN.get(name) or Provider(name=name, default_chat_model="", default_embedding_model=""))
    if "base_url" in values:
        _check_url(where, values["base_url"])
        if base.base_url is not None and not _same_host(base.base_url, values["base_url"]):
            # The key of the built-in profile must not go to another host.
            base = dataclasses.replace(base, api_key_env_var=None, endpoints=())
    elif base.base_url is None:
        raise ConfigError(f"{where} base_url is missing", hint='add base_url = "https://…/v1"')
    check_headers(where, values.get("headers", {}))
    for header in values.get("headers", {}).items():
        if not all(text.isascii() and text.isprintable() for text in header):
            raise ConfigError(f"{where} headers: {header[0]!r} has characters that no header has")
    profile = dataclasses.replace(base, **values)
    check_key_host(
        where,
        str(profile.base_url),
        variables=[*filter(None, [profile.api_key_env_var]), *references(profile.headers).values()],
        command=profile.api_key_command,
        plain_http=profile.allow_plain_http,
    )
    return profile


def _present(table: _LocalTable) -> dict[str, Any]:
    """Return the fields that the file has."""
    return {name: value for name, value in msgspec.structs.asdict(table).items() if value is not None}


def _check_url(where: str, url: str) -> None:
    if not is_http_url(url):
        raise ConfigError(
            f"{where} base_url {url!r} is not an http(s) URL", hint='for example "https://api.example.com/v1"'
        )
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ConfigError(f"{where} base_url holds a user name or password", hint="name the key in api_key_env")


def _same_host(one: str, other: str) -> bool:
    return one != LOCAL_URL and urlsplit(one).hostname == urlsplit(other).hostname
