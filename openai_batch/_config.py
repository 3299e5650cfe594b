"""The configuration file: provider profiles and settings in TOML; keys are named there, never kept.

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
import difflib
import os
import re
import subprocess
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from . import _paths
from ._profile import BUILT_IN, LOCAL_URL, Provider
from .errors import AuthError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MAX_BYTES = 64 * 1024
"""A larger file is no configuration: TOML of hostile shape can take seconds to parse."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """What is configured: every profile by name, which of them the file speaks of, and the default provider.

    `local` is the table of the local provider's server as it stands in the file.
    """

    path: Path
    profiles: dict[str, Provider]
    own: frozenset[str] = frozenset()
    default_provider: str | None = None
    local: dict[str, Any] = field(default_factory=dict)


def load() -> Settings:
    """Read the configuration file; where there is none, the built-in profiles stand alone.

    Raises ConfigError, naming file, line or key, and the remedy.
    """
    path = _paths.config_file()
    data = _parse(path, _read(path))
    profiles = {
        name: dataclasses.replace(profile, headers=dict(profile.headers), status_map=dict(profile.status_map))
        for name, profile in BUILT_IN.items()
    }
    tables = data.pop("providers", {})
    default = data.pop("provider", None)
    for key in data:
        raise ConfigError(f"{path}: unknown key {key!r}", hint=_suggest(key, ("provider", "providers")))
    if not isinstance(tables, dict):
        raise ConfigError(f"{path}: providers must be tables", hint="write [providers.NAME]")
    local: dict[str, Any] = {}
    for name, table in tables.items():
        where = f"{path}: [providers.{name}]"
        if not isinstance(table, dict):
            raise ConfigError(f"{where} must be a table")
        if name == "local":
            local = dict(table)
            ours: dict[str, Any] = {
                _KEYS[key][0]: _KEYS[key][1](where, key, local[key])
                for key in (*_LOCAL_MODELS, *_LOCAL_LIMITS)
                if key in local
            }
            for key in _LOCAL_MODELS:
                local.pop(key, None)
            profiles[name] = dataclasses.replace(profiles[name], **ours)
        else:
            profiles[name] = _profile(where, name, table)
    if default is not None and default not in profiles:
        raise ConfigError(f"{path}: provider = {default!r} is not known", hint=_suggest(str(default), profiles))
    return Settings(path, profiles, frozenset(tables), default, local)


def key_from_environment(profile: Provider) -> str | None:
    """Return what the profile's environment variable holds, or None."""
    if not profile.api_key_env_var:
        return None
    return (os.environ.get(profile.api_key_env_var) or "").strip() or None


def resolve_key(profile: Provider) -> str | None:
    """Return the key for `profile`: given, from its environment variable, or printed by its command.

    None where the profile needs no key. Raises AuthError if there should be one and it is missing or cannot
    be a key; the message never holds the key.
    """
    key = profile.api_key or key_from_environment(profile)
    if not key and profile.api_key_command:
        key = _key_from_command(profile)
    if not key:
        if not profile.needs_key:
            return None
        variable = profile.api_key_env_var
        raise AuthError(
            f"no key for {profile}" + (f": {variable} is not set" if variable else ""),
            hint=f"export {variable}=…" if variable else f"see [providers.{profile.name}] in {_paths.config_file()}",
        )
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise AuthError(
            f"the key for {profile} holds spaces or characters that no key has",
            hint=f"set {profile.api_key_env_var} again" if profile.api_key_env_var else "",
        )
    return key


def add_profile(name: str, table: Mapping[str, Any]) -> Path:
    """Write a new `[providers.NAME]` behind what the configuration file holds, and return the file's path.

    The rest of the file, comments too, stays as it is. Raises ConfigError if the name is taken there or the
    table is off.
    """
    import tomli_w

    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name for a provider", hint="use letters, digits, -, _ and .")
    path = _paths.config_file()
    text = _read(path)
    if name in _parse(path, text).get("providers", {}):
        raise ConfigError(f"{path}: there is a [providers.{name}] already", hint=f"edit {path}")
    _profile(f"{path}: [providers.{name}]", name, dict(table))
    block = tomli_w.dumps({"providers": {name: dict(table)}})
    whole = f"{text.rstrip()}\n\n{block}" if text.strip() else block
    _parse(path, whole)
    _write(path, whole)
    return path


def _text(where: str, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where} {key} must be a string")
    return value


def _count(where: str, key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{where} {key} must be a whole number above 0")
    return value


def _seconds(where: str, key: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"{where} {key} must be a number of seconds")
    return float(value)


def _flag(where: str, key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where} {key} must be true or false")
    return value


def _texts(where: str, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{where} {key} must be a list of strings")
    return tuple(value)


def _mapping(where: str, key: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ConfigError(f"{where} {key} must be a table of strings")
    return dict(value)


# A key of the file -> the field of Provider, and the function that reads its value.
_KEYS: dict[str, tuple[str, Callable[[str, str, Any], Any]]] = {
    "base_url": ("base_url", _text),
    "display_name": ("display_name", _text),
    "api_key_env": ("api_key_env_var", _text),
    "api_key_command": ("api_key_command", _texts),
    "models": ("models", _texts),
    "endpoints": ("endpoints", _texts),
    "chat_model": ("default_chat_model", _text),
    "embedding_model": ("default_embedding_model", _text),
    "one_model": ("requires_consistency", _flag),
    "max_requests": ("batch_input_max_requests", _count),
    "max_bytes": ("batch_input_max_bytes", _count),
    "max_line_bytes": ("batch_input_max_line_bytes", _count),
    "enqueued_tokens": ("enqueued_tokens", _count),
    "completion_window": ("completion_window", _text),
    "file_purpose": ("file_purpose", _text),
    "status_map": ("status_map", _mapping),
    "headers": ("headers", _mapping),
    "allow_plain_http": ("allow_plain_http", _flag),
    "create_timeout": ("create_timeout", _seconds),
    "create_grace": ("create_grace", _seconds),
    "idempotent_create": ("idempotent_create", _flag),
}


_LOCAL_MODELS = ("chat_model", "embedding_model")
"""The keys of `[providers.local]` that are the client's; the others are its server's."""

_LOCAL_LIMITS = ("max_requests", "max_bytes", "max_line_bytes")
"""Those that are both's: what the server refuses, the client cuts."""


def _profile(where: str, name: str, table: dict[str, Any]) -> Provider:
    """Build the profile that `table` describes, over the built-in one of that name."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in ("api_key", "key", "token"):
            raise ConfigError(
                f"{where} {key}: keys do not belong into this file",
                hint='name the environment variable that holds it: api_key_env = "…", or an api_key_command',
            )
        if key not in _KEYS:
            raise ConfigError(f"{where} unknown key {key!r}", hint=_suggest(key, _KEYS))
        attribute, read = _KEYS[key]
        values[attribute] = read(where, key, value)
    base = BUILT_IN.get(name)
    if "base_url" in values:
        _check_url(where, values["base_url"])
        if base is not None and not _same_host(str(base.base_url), values["base_url"]):
            # A key belongs to its host: a profile moved elsewhere does not take the old place's key along.
            base = dataclasses.replace(base, api_key_env_var=None, endpoints=())
    elif base is None:
        raise ConfigError(f"{where} base_url is missing", hint='add base_url = "https://…/v1"')
    profile = dataclasses.replace(base or Provider(name=name), **values)
    host = urlsplit(str(profile.base_url)).hostname or ""
    if profile.api_key_env_var == "OPENAI_API_KEY" and not (host == "openai.com" or host.endswith(".openai.com")):
        raise ConfigError(
            f"{where} OPENAI_API_KEY is OpenAI's key and does not go to {host}",
            hint="put this provider's key into a variable of its own and name that in api_key_env",
        )
    keyed = profile.api_key_env_var or profile.api_key_command
    if keyed and not profile.allow_plain_http and _is_plain(str(profile.base_url)):
        raise ConfigError(
            f"{where} {profile.base_url} would send the key unencrypted",
            hint="use https, or add allow_plain_http = true if you trust that network",
        )
    return profile


def _check_url(where: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{where} base_url {url!r} is no http(s) URL", hint='for example "https://api.example.com/v1"'
        )
    if parts.username or parts.password:
        raise ConfigError(f"{where} base_url holds a user name or password", hint="name the key in api_key_env")


def _same_host(one: str, other: str) -> bool:
    return one != LOCAL_URL and urlsplit(one).hostname == urlsplit(other).hostname


def _is_plain(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK


def _key_from_command(profile: Provider) -> str:
    words = list(profile.api_key_command)
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=60, text=True)  # noqa: S603 - the user's own
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as exc:
        reason = type(exc).__name__ if not isinstance(exc, OSError) else exc.strerror
        raise AuthError(
            f"no key for {profile}: its api_key_command {words[0]!r} failed ({reason})",
            hint="run the command by hand and see what it says",
        ) from None
    return done.stdout.strip()


def _read(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: over {MAX_BYTES:,} bytes, which is no configuration file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 (byte {exc.start + 1})") from exc


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}", hint=f"mend {path}") from exc


def _write(path: Path, text: str) -> None:
    import tempfile
    from pathlib import Path as FilePath

    try:
        _paths.private_dir(path.parent)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=".config.", delete=False
        ) as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        FilePath(handle.name).replace(path)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc


def _suggest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
