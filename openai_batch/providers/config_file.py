"""Read and write the configuration file as TOML. `config` makes profiles of it.

Shell completion reads the file too, so this module imports only what loads fast.
"""

from __future__ import annotations

import codecs
import os
import re
import shlex
import tomllib
from typing import TYPE_CHECKING, Any

from openai_batch.errors import BatchError, ConfigError
from openai_batch.files import paths
from openai_batch.files.private import OTHERS_WRITE, check_own, make_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from openai_batch.local.settings import LocalSettings

MAX_BYTES = 64 * 1024  # size of the largest file that is read, in bytes: a hostile file can take seconds to parse
MAX_DOTS = 1000  # most dots in one line of the file

_FIX = "fix the file; `obatch config edit` opens it"

_TOP_KEYS = ("provider", "notify", "providers")

_TARGET = re.compile(r"bell|none|env:[A-Za-z_]\w*|cmd:.*\S.*", re.ASCII | re.DOTALL)
"""What an entry of `notify` looks like."""

_CLIENT_KEYS = frozenset({"chat_model", "embedding_model", "prices", "batch_discount"})
"""Keys of `[providers.local]` that are not settings of its server."""


def read_config() -> dict[str, Any]:
    """Return the parts of the configuration file: `provider` (a string), `notify` (strings) and `providers` (dicts).

    Returns an empty dict if there is no file. Raises ConfigError if the file cannot be read or contains anything else,
    or if OBATCH_CONFIG names a file that does not exist.
    """
    path = paths.config_file()
    if paths.config_is_chosen() and not path.exists():
        raise ConfigError(f"OBATCH_CONFIG names {path}, and there is no such file", hint="correct it, or unset it")
    return checked(path, parse(path, read_text(path)))


def checked(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the file at `path` if it has only known keys. Raises ConfigError."""
    for key in data:
        if key not in _TOP_KEYS:
            from openai_batch.files.typed_table import suggest

            raise ConfigError(f"{path}: unknown key {key!r}", hint=suggest(key, _TOP_KEYS))
    if not isinstance(data.get("provider", ""), str):
        raise ConfigError(f"{path}: provider must be a string")
    _check_notify(path, data.get("notify", []))
    tables = data.get("providers", {})
    if not isinstance(tables, dict):
        raise ConfigError(f"{path}: providers must be tables", hint="write [providers.NAME]")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: [providers.{name}] must be a table")
    return data


def _check_notify(path: Path, notify: Any) -> None:
    """Raise ConfigError unless `notify` is a list of targets without a URL."""
    if not isinstance(notify, list) or not all(isinstance(target, str) for target in notify):
        raise ConfigError(f"{path}: notify must be a list of strings", hint='for example notify = ["bell"]')
    if any("://" in target and not target.startswith("cmd:") for target in notify):
        hint = 'name the environment variable that holds it: notify = ["env:VARIABLE"]'
        raise ConfigError(f"{path}: notify contains a URL, and its keys do not belong in this file", hint=hint)
    for number, target in enumerate(notify, 1):
        try:
            shlex.split(target, posix=os.name != "nt")
        except ValueError:
            hint = "close it, or put a backslash before it"
            raise ConfigError(f"{path}: entry {number} of notify: a quote has no end", hint=hint) from None
        if not _TARGET.fullmatch(target):
            hint = "each is bell, cmd:COMMAND, env:VARIABLE or none; `obatch help notify` explains them"
            raise ConfigError(f"{path}: entry {number} of notify is not known", hint=hint)


def local_table(config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings of the local provider's server. `config` is what `read_config` returned; None reads the file.

    Raises ConfigError as `read_config` does.
    """
    table = (read_config() if config is None else config).get("providers", {}).get("local", {})
    return {key: value for key, value in table.items() if key not in _CLIENT_KEYS}


def local_settings(config: Mapping[str, Any] | None = None, path: Path | None = None) -> LocalSettings:
    """Return the settings of the local provider's server. `config` is the content of the file at `path`.

    Without them, the file is read. Raises ConfigError, which names the file and the key.
    """
    from openai_batch.local.settings import LocalSettings

    return LocalSettings.from_mapping(local_table(config), f"{path or paths.config_file()}: [providers.local]")


def read_text(path: Path) -> str:
    """Return the file's text, empty if there is no file. Raises ConfigError if it is too large or not UTF-8."""
    # The file names commands that are run, and addresses that get keys.
    check_own(path, OTHERS_WRITE, "make a copy of your own, and name it in OBATCH_CONFIG", root_too=True)
    if path.is_fifo():
        raise ConfigError(f"{path}: a pipe, which can be read only once", hint="name a regular file")
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: over {MAX_BYTES:,} bytes, which is not a configuration file")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 (byte {exc.start + 1})") from exc


def parse(path: Path, text: str) -> dict[str, Any]:
    """Parse `text`, the TOML of the file at `path`. Raises ConfigError, which names the line, if it is not valid."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MAX_DOTS:  # the time for a key grows with the square of its parts
            raise ConfigError(f"{path}: line {number} has more than {MAX_DOTS:,} dots", hint=_FIX)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        windows_path = re.search(r'"[A-Za-z]:\\', text)
        hint = r"write paths in single quotes: 'C:\data'" if windows_path else _FIX
        raise ConfigError(f"{path}: not valid TOML: {exc}", hint=hint) from exc


def write_text(path: Path, text: str) -> None:
    """Replace the file in one step, with mode 0600. Raises ConfigError if it cannot be written."""
    from openai_batch.files.atomic import part_file, publish

    path = path.resolve()  # a link is kept, and its file is replaced
    try:
        make_private(path.parent)
        with part_file(path) as (handle, part):
            handle.write(text.encode())
            publish(handle, part, path, replace=True, private=True)
    except (BatchError, OSError) as exc:
        raise ConfigError(str(exc), hint="OBATCH_CONFIG can name another file") from exc
