"""Change the configuration file: one value, or a provider. Everything else in it stays as it is, comments too."""

from __future__ import annotations

import contextlib
import re
import tomllib
from typing import TYPE_CHECKING, Any

from openai_batch.errors import BatchError, ConfigError, UsageError, did_you_mean
from openai_batch.files import paths
from openai_batch.files.locks import locked_folder
from openai_batch.files.private import make_private

from .config import settings_of
from .config_file import checked, parse, read_text, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
    from pathlib import Path

    from tomlkit import TOMLDocument

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_TOP = ("provider", "notify", "providers")  # what a setting begins with

_LISTS = frozenset({"notify", "models", "endpoints", "api_key_command", "engine", "command"})
"""The settings that are lists of texts: one word is a list of one."""


def check(path: Path, text: str) -> None:
    """Raise ConfigError unless `text` can be the content of the configuration file."""
    settings_of(path, checked(path, parse(path, text)))


def set_value(key: str, words: Sequence[str]) -> Path:
    """Set one value, such as `provider` or `providers.acme.max_requests`, and return the file's path.

        set_value("providers.acme.models", ["acme/*", "other/*"])

    A word is read as TOML if that fits, else as a text; several words are a list. Raises ConfigError if the file would
    then be invalid; it is not changed in that case.
    """
    names = _names(key)
    fault: ConfigError | None = None
    for value in _readings(names, words):
        try:
            return _edit(lambda document, value=value: _put(document, names, value))  # type: ignore[misc]
        except ConfigError as exc:
            fault = fault or exc
    raise fault or UsageError(f"{key}: no value was given")


def unset_value(key: str) -> Path:
    """Remove one value or a whole table, and return the file's path. Raises ConfigError if it is not in the file."""
    return _edit(lambda document: _remove(document, _names(key)))


def add_profile(name: str, table: Mapping[str, Any]) -> Path:
    """Append a new `[providers.NAME]` to the configuration file, and return the file's path.

    `table` has the keys of the file, such as `base_url`. The rest of the file stays as it is, comments too. Raises
    ConfigError if the file has that name already, or if the name or the table is invalid.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is not a valid provider name", hint="use letters, digits, -, _ and .")

    def add(path: Path, text: str) -> str:
        if name in parse(path, text).get("providers", {}):
            raise ConfigError(f"{path}: there is already a [providers.{name}]", hint=f"edit {path}")
        block = profile_text(name, table)
        return f"{text.rstrip()}\n\n{block}" if text.strip() else block

    return _rewrite(add)


def remove_profile(name: str) -> Path:
    """Remove `[providers.NAME]` from the configuration file, and return the file's path. Raises ConfigError."""
    return _edit(lambda document: _remove(document, ["providers", name]))


def profile_text(name: str, table: Mapping[str, Any]) -> str:
    """Return the lines of the configuration file that describe a provider."""
    import tomlkit

    return tomlkit.dumps({"providers": {name: dict(table)}})


def replace_text(old: str, new: str) -> Path:
    """Replace the whole file by a text that a user has edited, and return its path.

    Raises ConfigError if the text is wrong, or if the file is not `old` any more.
    """

    def replaced(path: Path, text: str) -> str:
        if text != old:
            raise ConfigError(f"{path} was changed in the meantime", hint="edit it again")
        return new

    return _rewrite(replaced)


def _names(key: str) -> list[str]:
    """Return the parts of a dotted key. Raises UsageError."""
    try:
        table: Any = tomllib.loads(f"{key} = 0") if "\n" not in key else {}
    except (ValueError, RecursionError):
        table = {}
    names = []
    while isinstance(table, dict) and len(table) == 1:
        ((name, table),) = table.items()
        names.append(name)
    if table != 0 or names[0] not in _TOP:
        near = did_you_mean(key.partition(".")[0], _TOP)
        raise UsageError(
            f"{key!r} is not a setting", hint=near or "for example provider, or providers.acme.max_requests"
        )
    return names


def _readings(names: Sequence[str], words: Sequence[str]) -> list[Any]:
    """Return the possible meanings of a value, the most likely first."""
    if len(words) != 1:
        return [list(words)]
    (word,) = words
    try:
        read = tomllib.loads(f"value = {word}")
    except (ValueError, RecursionError):
        read = {}
    as_toml = [read["value"]] if list(read) == ["value"] else []
    return [*as_toml, [word] if names[-1] in _LISTS else word]


def _put(document: TOMLDocument, names: Sequence[str], value: Any) -> None:
    table: Any = document
    for name in names[:-1]:
        if name not in table:
            table[name] = {}
        table = table[name]
        if not hasattr(table, "items"):
            raise ConfigError(f"{name} is a value, not a table", hint="obatch config show")
    _insert(table, names[-1], value)


def _remove(document: TOMLDocument, names: Sequence[str]) -> None:
    """Remove a key; the comments at the end of a table stay, since they belong to what follows."""
    import tomlkit

    table: Any = document
    for name in names[:-1]:
        table = table.get(name) if hasattr(table, "get") else None
    if not hasattr(table, "get") or names[-1] not in table:
        raise ConfigError(f"{paths.config_file()}: {'.'.join(names)} is not set", hint="obatch config show")
    around = _body(table)
    place = next((at for at, (key, _) in enumerate(around) if key is not None and key.key == names[-1]), None)
    last = _body(table[names[-1]])
    left = "".join(item.as_string() for _, item in last[_end(last) :])
    del table[names[-1]]
    if place is not None and "#" in left:
        around[place] = (None, tomlkit.ws(left))


def _insert(table: MutableMapping[str, Any], key: str, value: Any) -> None:
    """Set a key; a new one comes before the comments at the end, which belong to what follows."""
    body = _body(table)
    if key in table:
        table[key] = value
        return
    keep = _end(body)
    tail = body[keep:]
    del body[keep:]
    table[key] = value
    body.extend(tail)


def _body(table: Any) -> list[Any]:
    """Return the keys and items of a table as tomlkit has them, with comments and spaces; an empty list of others."""
    found = getattr(table, "body", None) or getattr(getattr(table, "value", None), "body", None)
    return found if isinstance(found, list) else []


def _end(body: list[Any]) -> int:
    """Return where the comments and spaces at the end begin, which belong to what follows."""
    return next((end for end in range(len(body), 0, -1) if body[end - 1][0] is not None), 0)


def _edit(change: Callable[[TOMLDocument], None]) -> Path:
    """Change the file's document, and write it if it is still valid."""

    def edited(path: Path, text: str) -> str:
        import tomlkit
        from tomlkit.exceptions import TOMLKitError

        parse(path, text)  # it names the line of an error, and refuses files that take long to parse
        document = tomlkit.parse(text)
        try:
            change(document)
        except (TOMLKitError, TypeError) as exc:
            raise ConfigError(f"{path}: cannot be changed: {exc}", hint="obatch config edit") from exc
        return tomlkit.dumps(document)

    return _rewrite(edited)


def _rewrite(change: Callable[[Path, str], str]) -> Path:
    """Replace the file's text by the result of `change`, if that is valid. Returns the file's path."""
    path = paths.config_file()
    with _alone(path):
        text = change(path, read_text(path))
        check(path, text)
        write_text(path, text)
    return path


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let no other process change the file within the block. Raises ConfigError if its folder cannot be made."""
    try:
        folder = make_private(path.resolve().parent)
    except BatchError as exc:
        raise ConfigError(str(exc), hint="OBATCH_CONFIG can name another file") from exc
    with locked_folder(folder):  # not a file of the state folder: another process may have another one
        yield
