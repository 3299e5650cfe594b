"""Provider profiles and settings from the configuration file, in TOML. It says where a key is; it contains no key.

provider = "acme"                      # used if -p is not given
notify = ["bell"]                      # used if --notify is not given

[providers.acme]
base_url = "https://api.acme.example/v1"
api_key_env = "ACME_API_KEY"           # or api_key_command = ["pass", "show", "acme"], or api_key_keyring = "acme"
models = ["acme/*"]

[providers.azure-eu]
like = "azure"                         # the built-in profile that gives what is not said here
base_url = "https://eu.openai.azure.com/openai/v1"

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
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from openai_batch.errors import ConfigError, UsageError, did_you_mean
from openai_batch.files import paths
from openai_batch.files.typed_table import (
    Count,
    Dollars,
    Flag,
    Parallel,
    Patience,
    Seconds,
    Share,
    Span,
    Tables,
    Text,
    Texts,
    TextTable,
    UrlPath,
    UrlPaths,
    Variable,
    read_table,
    suggest,
)
from openai_batch.hidden_keys import hide_key
from openai_batch.net.hosts import is_http_url

from .batch_info import STATUSES
from .builtin import BUILT_IN
from .builtin_names import BUILT_IN_NAMES, KEY_VARIABLES
from .config_file import local_settings, local_table, read_config
from .keys import check_command, check_headers, check_key_host, is_secret, key_from_environment
from .provider import LOCAL_URL, Prices, Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

PROVIDER_VARIABLE = "OBATCH_PROVIDER"  # the environment variable that names the default provider
SHARDS = "shards:"  # what the base URL of a store with workers begins with; the store follows
_SHARDS_WINDOW = "30d"  # the completion window of a store with workers, unless the file has another
_SECRET_KEYS = ("api_key", "key", "token")  # keys of a table that would contain the API key itself; they are errors


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

    like: Text | None = None
    """The built-in provider whose profile gives what the table does not say; by default the one of the same name"""
    base_url: Text | None = None
    display_name: Text | None = None
    api_key_env_var: Variable | None = msgspec.field(default=None, name="api_key_env")
    api_key_command: Texts | None = None
    api_key_keyring: Text | None = None
    models: Texts | None = None
    endpoints: UrlPaths | None = None
    requires_consistency: Flag | None = msgspec.field(default=None, name="one_model")
    enqueued_tokens: Count | None = None
    completion_window: Text | None = None
    file_purpose: Text | None = None
    upload_path: UrlPath | None = None
    upload_fields: TextTable | None = None
    sends_metadata: Flag | None = msgspec.field(default=None, name="metadata")
    status_map: TextTable | None = None
    headers: TextTable | None = None
    allow_plain_http: Flag | None = None
    create_timeout: Patience | None = None
    create_grace: Seconds | None = None
    idempotent_create: Flag | None = None
    parallel: Parallel | None = None
    output_expires_after: Span | None = None


class _ShardsTable(_LocalTable, kw_only=True):
    """The keys of `[providers.NAME]` with `kind = "shards"`. The others are those of ShardSettings."""

    kind: Text | None = None
    display_name: Text | None = None
    api_key_env_var: Variable | None = msgspec.field(default=None, name="api_key_env")
    models: Texts | None = None
    endpoints: UrlPaths | None = None
    completion_window: Text | None = None
    parallel: Parallel | None = None


class PricesTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[providers.NAME.prices."MODEL"]`; the fields are those of `Prices`."""

    input: Dollars
    output: Dollars
    cached_input: Dollars | None = None


class Profiles(Mapping[str, Provider]):
    """Providers by name: those given, and the built-in ones, whose files are read only when they are used."""

    def __init__(self, given: Mapping[str, Provider]) -> None:
        self.given = frozenset(given)
        self._known: dict[str, Provider | None] = {**dict.fromkeys(BUILT_IN_NAMES), **given}

    def __getitem__(self, name: str) -> Provider:
        """Return the profile of that name."""
        profile = self._known[name]
        if profile is None:
            profile = self._known[name] = built_in(name)
        return profile

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


@dataclass(frozen=True)
class Settings:
    """The configuration: the built-in profiles, and what the configuration file adds and changes."""

    path: Path
    """The configuration file, which need not exist."""

    profiles: Profiles
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

    def in_use(self) -> list[str]:
        """Return the names of the providers that matter here; the others are built in, and have no key.

        No file of those others is read.
        """
        unused = KEY_VARIABLES.keys() - BUILT_IN.keys() - self.profiles.given
        return [n for n in self.profiles if n not in unused or key_from_environment(KEY_VARIABLES[n])]


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
    given = {name: _copy(profile) for name, profile in own_list.items()}
    for name, table in config.get("providers", {}).items():
        make = _shards if "kind" in table and name != "local" else _profile
        given[name] = make(f"{path}: [providers.{name}]", name, table)
    profiles = Profiles(given)
    if "local" in config.get("providers", {}):
        local_settings(config, path)  # it names what is wrong
    default, origin = config.get("provider"), str(path)
    if default is not None and default not in profiles:
        raise ConfigError(f"{path}: provider = {default!r} is not known", hint=suggest(default, profiles))
    if os.environ.get(PROVIDER_VARIABLE):
        default, origin = os.environ[PROVIDER_VARIABLE], PROVIDER_VARIABLE
    tables = dict(config.get("providers", {}))
    notify = tuple(config.get("notify", ()))
    return Settings(path, profiles, frozenset(tables), default, origin, notify, tables, local_table(config))


def built_in(name: str) -> Provider:
    """Return a copy of the built-in profile of that name. Raises KeyError if there is none."""
    if name in BUILT_IN or name not in KEY_VARIABLES:
        return _copy(BUILT_IN[name])
    return _profile(f"the built-in profile {name}", name, tomllib.loads(built_in_text(name)), _blank(name))


def built_in_text(name: str) -> str:
    """Return the file of a built-in profile: the keys of `[providers.NAME]`, and comments."""
    from importlib.resources import files  # the package may be in an archive

    return files(__package__).joinpath("profiles", f"{name}.toml").read_text(encoding="utf-8")


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
    if profile.shards is not None:
        values, kind = {"kind": "shards"} | msgspec.structs.asdict(profile.shards), _ShardsTable
    values["like"] = table.get("like")
    values |= {
        f.encode_name: getattr(profile, f.name) for f in msgspec.structs.fields(kind) if hasattr(profile, f.name)
    }
    if profile.is_local:
        from openai_batch.local.settings import LocalSettings

        values |= LocalSettings.from_mapping(settings.local).as_mapping() | settings.local
    origin = {key: str(settings.path) if key in table else "built in" for key in values}
    if values.get("prices"):
        prices = {model: dataclasses.asdict(price).items() for model, price in profile.prices.items()}
        values["prices"] = {model: {key: usd for key, usd in of if usd is not None} for model, of in prices.items()}
    return {key: (value, origin[key]) for key, value in values.items() if value not in (None, "", (), [], {})}


def _copy(profile: Provider) -> Provider:
    """Return a copy that shares no dict with `profile`."""
    return dataclasses.replace(
        profile,
        headers=dict(profile.headers),
        status_map=dict(profile.status_map),
        upload_fields=dict(profile.upload_fields),
    )


def _profile(where: str, name: str, table: Mapping[str, Any], base: Provider | None = None) -> Provider:
    """Return the profile that `table` describes.

    Missing values are those of `base`: the built-in profile of that name, or the one that `like` names.
    """
    if name == "local":
        return dataclasses.replace(_local_base(table), **_present(where, read_table(where, table, _LocalTable)))
    _check_no_key(where, table)
    values = _present(where, read_table(where, table, ProfileTable))
    like = values.pop("like", None)
    base = base or _base(where, name, like)
    if "base_url" in values:
        _check_url(where, values["base_url"])
        if base.base_url is not None and not _same_host(base.base_url, values["base_url"]):
            # The key of the built-in profile must not go to another host, which has prices of its own, too.
            base = dataclasses.replace(base, api_key_env_var=None, headers={}, endpoints=(), batch_discount=None)
    elif base.base_url is None or base.is_template:
        raise ConfigError(f"{where} base_url is missing", hint=f'add base_url = "{base.example_url}"')
    check_headers(where, values.get("headers", {}))
    check_command(where, values.get("api_key_command", ()))
    _check_upload_fields(where, values.get("upload_fields", {}))
    values["status_map"] = base.status_map | _status_map(where, values.get("status_map", {}))
    values["upload_fields"] = base.upload_fields | values.get("upload_fields", {})
    values["headers"] = _headers(base.headers, values.get("headers", {}))
    profile = dataclasses.replace(base, **values)
    try:
        _ = profile.output_seconds
    except UsageError as exc:
        raise ConfigError(f"{where} output_expires_after: {exc.message}", hint=exc.hint) from None
    check_key_host(
        where,
        str(profile.base_url),
        variables=profile.key_variables,
        elsewhere=bool(profile.api_key_command or profile.api_key_keyring),
        plain_http=profile.allow_plain_http,
    )
    return profile


def _local_base(table: Mapping[str, Any]) -> Provider:
    """Return the profile of the local provider; the model of its engine is the one of `model_path`, if that is used."""
    base, path = _copy(BUILT_IN["local"]), table.get("model_path")
    if not isinstance(path, str) or table.get("upstream"):
        return base
    name = Path(path).stem  # the name that the server gives it
    models = (name, name.lower())
    return dataclasses.replace(base, default_chat_model=name, default_embedding_model=name, models=models)


def _headers(known: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a built-in profile with those of the file, of which one with a key replaces all keys."""
    own, has_key = {name.lower() for name in given}, any(map(is_secret, given))
    kept = {name: value for name, value in known.items() if name.lower() not in own}
    return {name: value for name, value in kept.items() if not (has_key and is_secret(name))} | dict(given)


def _check_upload_fields(where: str, fields: Mapping[str, str]) -> None:
    """Raise ConfigError if an extra field of uploads has the name of another one."""
    for name, hint in (("purpose", 'set it with file_purpose = "…"'), ("file", "leave it out"), ("", "name the field")):
        if name in fields:
            raise ConfigError(f"{where} upload_fields: {name!r} is not the name of an extra field", hint=hint)


def _status_map(where: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the map with its words as they are compared. Raises ConfigError for a status that does not exist."""
    for word, status in given.items():
        if status not in STATUSES:
            hint = did_you_mean(status, STATUSES) or f"one of: {', '.join(STATUSES)}"
            raise ConfigError(f"{where} status_map: {word!r} cannot mean {status!r}", hint=hint)
    return {" ".join(word.lower().split()): status for word, status in given.items()}


def _check_no_key(where: str, table: Mapping[str, Any]) -> None:
    """Raise ConfigError if a table has the key itself."""
    for key in _SECRET_KEYS:
        if key in table:
            raise ConfigError(
                f"{where} {key}: keys do not belong in this file",
                hint='name the variable that holds it: api_key_env = "…", or an api_key_command or api_key_keyring',
            )


def _shards(where: str, name: str, table: Mapping[str, Any]) -> Provider:
    """Return the profile of a store with workers."""
    from openai_batch.cluster.batches import window_seconds
    from openai_batch.cluster.settings import ShardSettings

    _check_no_key(where, table)
    if table["kind"] != "shards":
        raise ConfigError(f"{where} kind must be 'shards'", hint="leave it out for a provider with a Batch API")
    own, others = ({field.encode_name for field in msgspec.structs.fields(e)} for e in (_ShardsTable, ShardSettings))
    if (unknown := next((key for key in table if key not in own | others), None)) is not None:
        raise ConfigError(f"{where} unknown key {unknown!r}", hint=suggest(unknown, own | others))
    values = _present(where, read_table(where, {k: v for k, v in table.items() if k in own}, _ShardsTable))
    del values["kind"]
    try:
        window_seconds(values.get("completion_window", _SHARDS_WINDOW))
    except UsageError as exc:
        raise ConfigError(f"{where} completion_window: {exc.message}", hint=exc.hint) from None
    settings = ShardSettings.from_table(where, {key: value for key, value in table.items() if key not in own})
    variables_of_ray = settings.runtime_env.get("env_vars")
    for value in variables_of_ray.values() if isinstance(variables_of_ray, dict) else ():
        hide_key(str(value))
    if settings.address is not None:
        _check_url(where, settings.address, "address")
        variables = [*filter(None, [values.get("api_key_env_var")])]
        check_key_host(where, settings.address, variables=variables, elsewhere=False, plain_http=True)
    profile = Provider(
        name=name,
        base_url=f"{SHARDS}{settings.store}",
        default_chat_model="",
        default_embedding_model="",
        batch_input_max_requests=100_000,  # the most in a part of a job
        batch_input_max_bytes=4 * 1024**3,
        requires_consistency=False,
        completion_window=_SHARDS_WINDOW,
        shards=settings,
    )
    return dataclasses.replace(profile, **values)


def _base(where: str, name: str, like: str | None) -> Provider:
    """Return the profile that gives the values which the file leaves out."""
    if like is None:
        return built_in(name) if name in KEY_VARIABLES else _blank(name)
    if like not in KEY_VARIABLES or like == "local":
        known = [name for name in BUILT_IN_NAMES if name != "local"]
        raise ConfigError(f"{where} like = {like!r} is not a built-in provider", hint=suggest(like, known))
    return dataclasses.replace(built_in(like), name=name, display_name=None)


def _blank(name: str) -> Provider:
    return Provider(name=name, default_chat_model="", default_embedding_model="")


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
    return Prices(**msgspec.structs.asdict(read_table(where, table, PricesTable)))


def _check_url(where: str, url: str, key: str = "base_url") -> None:
    if not is_http_url(url):
        raise ConfigError(
            f"{where} {key} {url!r} is not an http(s) URL", hint='for example "https://api.example.com/v1"'
        )
    parts = urlsplit(url)
    hidden = {"a user name or password": parts.username or parts.password, "a query": parts.query or parts.fragment}
    for what, there in hidden.items():
        if there:
            raise ConfigError(f"{where} {key} contains {what}", hint="name the key in api_key_env")


def _same_host(known: str, other: str) -> bool:
    """Return whether two base URLs have the same host; `{…}` in the known one stands for any text."""
    host = ".+".join(map(re.escape, re.split(r"\{.*?\}", urlsplit(known).hostname or "")))
    return known != LOCAL_URL and re.fullmatch(host, urlsplit(other).hostname or "") is not None
