"""Provider profiles and settings from the configuration file, in TOML. It says where a key is; it contains no key.

provider = "acme"                      # used if -p is not given
notify = ["bell"]                      # used if --notify is not given

[providers.acme]
base_url = "https://api.acme.example/v1"
api_key_env = "ACME_API_KEY"           # or api_key_command = ["pass", "show", "acme"], or api_key_keyring = "acme"
models = ["acme/*"]

[providers.acme.prices."acme/large"]   # in a batch, in US dollars per million tokens
input = 0.25
output = 1.0

[providers.local]
upstream = "http://127.0.0.1:8000/v1"  # what runs the requests, instead of the embedded engine
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

from openai_batch.errors import ConfigError, UsageError
from openai_batch.files import paths
from openai_batch.files.typed_table import (
    Count,
    Dollars,
    Flag,
    Parallel,
    Seconds,
    Share,
    Tables,
    Text,
    Texts,
    TextTable,
    Variable,
    read_table,
    suggest,
)
from openai_batch.net.hosts import is_http_url

from .builtin import BUILT_IN
from .config_file import local_table, read_config
from .keys import check_command, check_headers, check_key_host, references
from .provider import LOCAL_URL, Prices, Provider

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

PROVIDER_VARIABLE = "OBATCH_PROVIDER"
"""The environment variable that names the default provider."""

_SECRET_KEYS = ("api_key", "key", "token")
"""Keys of a table that would contain the API key itself; they are errors."""


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
    prices: Tables | None = None
    batch_discount: Share | None = None


class ProfileTable(_LocalTable, kw_only=True, forbid_unknown_fields=True):
    """The keys of any other `[providers.NAME]`; the fields are as in `_LocalTable`."""

    base_url: Text | None = None
    display_name: Text | None = None
    api_key_env_var: Variable | None = msgspec.field(default=None, name="api_key_env")
    api_key_command: Texts | None = None
    api_key_keyring: Text | None = None
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
    parallel: Parallel | None = None
    output_expires_after: Text | None = None


class _PricesTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[providers.NAME.prices."MODEL"]`; the fields are those of `Prices`."""

    input: Dollars
    output: Dollars
    cached_input: Dollars | None = None


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

    notify: tuple[str, ...] = ()
    """The notifications when a job ends (`jobs/notify`)."""

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The tables of the providers, as they are in the file."""

    local: dict[str, Any] = field(default_factory=dict)
    """Settings of the local provider's server, as they are in the file."""


def load() -> Settings:
    """Read the configuration file. If there is none, return only the built-in profiles, and those of `all_providers`.

    Raises ConfigError, which names the file, the line or key, and the remedy.
    """
    return settings_of(paths.config_file(), read_config())


def settings_of(path: Path, config: Mapping[str, Any]) -> Settings:
    """Return the settings that `config`, the content of the file at `path`, describes. Raises ConfigError."""
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
    tables = dict(config.get("providers", {}))
    notify = tuple(config.get("notify", ()))
    return Settings(path, profiles, frozenset(tables), default, origin, notify, tables, local_table(config))


def profile_at(base_url: str, variable: str | None) -> Provider:
    """Return the profile of a base URL that has none in the file; `variable` holds its key. Raises ConfigError."""
    profile = _profile(base_url, base_url, {"base_url": base_url} | ({"api_key_env": variable} if variable else {}))
    return dataclasses.replace(profile, name=None)


def values_of(settings: Settings, name: str) -> dict[str, tuple[Any, str]]:
    """Return the settings of a provider under their names in the file, each with where it is from.

    That is the path of the file, or `built in`. Settings without a value are left out.
    """
    table, profile = settings.tables.get(name, {}), settings.profiles[name]
    values: dict[str, Any] = {} if profile.is_local else {"base_url": profile.base_url}
    kind = _LocalTable if profile.is_local else ProfileTable
    values |= {each.encode_name: getattr(profile, each.name) for each in msgspec.structs.fields(kind)}
    values |= settings.local if profile.is_local else {}
    origin = {key: str(settings.path) if key in table else "built in" for key in values}
    if values.get("prices"):
        prices = {model: dataclasses.asdict(price).items() for model, price in profile.prices.items()}
        values["prices"] = {model: {key: usd for key, usd in of if usd is not None} for model, of in prices.items()}
    return {key: (value, origin[key]) for key, value in values.items() if value not in (None, "", (), {})}


def _copy(profile: Provider) -> Provider:
    """Return a copy that shares no dict with `profile`."""
    return dataclasses.replace(profile, headers=dict(profile.headers), status_map=dict(profile.status_map))


def _profile(where: str, name: str, table: Mapping[str, Any]) -> Provider:
    """Return the profile that `table` describes. If a built-in one has that name, it gives the missing values."""
    if name == "local":
        return dataclasses.replace(_copy(BUILT_IN[name]), **_present(where, read_table(where, table, _LocalTable)))
    for key in _SECRET_KEYS:
        if key in table:
            raise ConfigError(
                f"{where} {key}: keys do not belong in this file",
                hint='name the variable that holds it: api_key_env = "…", or an api_key_command or api_key_keyring',
            )
    values = _present(where, read_table(where, table, ProfileTable))
    base = _copy(BUILT_IN.get(name) or Provider(name=name, default_chat_model="", default_embedding_model=""))
    if "base_url" in values:
        _check_url(where, values["base_url"])
        if base.base_url is not None and not _same_host(base.base_url, values["base_url"]):
            # The key of the built-in profile must not go to another host, which has prices of its own, too.
            base = dataclasses.replace(base, api_key_env_var=None, endpoints=(), batch_discount=None)
    elif base.base_url is None:
        raise ConfigError(f"{where} base_url is missing", hint='add base_url = "https://…/v1"')
    check_headers(where, values.get("headers", {}))
    check_command(where, values.get("api_key_command", ()))
    for header in values.get("headers", {}).items():
        if not all(text.isascii() and text.isprintable() for text in header):
            raise ConfigError(f"{where} headers: {header[0]!r} has characters that a header cannot have")
    profile = dataclasses.replace(base, **values)
    try:
        _ = profile.output_seconds
    except UsageError as exc:
        raise ConfigError(f"{where} output_expires_after: {exc.message}", hint=exc.hint) from None
    check_key_host(
        where,
        str(profile.base_url),
        variables=[*filter(None, [profile.api_key_env_var]), *references(profile.headers).values()],
        elsewhere=bool(profile.api_key_command or profile.api_key_keyring),
        plain_http=profile.allow_plain_http,
    )
    return profile


def _present(where: str, table: _LocalTable) -> dict[str, Any]:
    """Return the fields that the file has. Raises ConfigError, which begins with `where`, for invalid prices."""
    values = {name: value for name, value in msgspec.structs.asdict(table).items() if value is not None}
    if table.prices is not None:
        values["prices"] = {name: _prices(f"{where} prices.{name!r}", each) for name, each in table.prices.items()}
    return values


def _prices(where: str, table: Mapping[str, Any]) -> Prices:
    for key in ("input", "output"):
        if key not in table:
            raise ConfigError(f"{where}: {key} is missing", hint="name US dollars per million tokens; 0 if it is free")
    return Prices(**msgspec.structs.asdict(read_table(where, table, _PricesTable)))


def _check_url(where: str, url: str) -> None:
    if not is_http_url(url):
        raise ConfigError(
            f"{where} base_url {url!r} is not an http(s) URL", hint='for example "https://api.example.com/v1"'
        )
    parts = urlsplit(url)
    hidden = {"a user name or password": parts.username or parts.password, "a query": parts.query or parts.fragment}
    for what, there in hidden.items():
        if there:
            raise ConfigError(f"{where} base_url contains {what}", hint="name the key in api_key_env")


def _same_host(one: str, other: str) -> bool:
    return one != LOCAL_URL and urlsplit(one).hostname == urlsplit(other).hostname
