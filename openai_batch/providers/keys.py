"""Which key goes to which host: a key goes only to the host of its own profile's base URL.

- `header_values` fills in the headers that contain a key; the configuration file names their variables.
- `find_key` reads only what that profile names: the key itself, an environment variable, a command, or an entry of the
  system keyring.
- `check_key_host` rejects a profile that would send OPENAI_API_KEY to another host than OpenAI's, or a key unencrypted
  to another machine. In `config`, a built-in profile that gets another host loses its variable; so does one with
  `--base-url` (`batch/provider_arguments`).
- `client` sends the key to the base URL only, and follows no redirect.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from openai_batch.errors import AuthError, ConfigError, MissingExtraError
from openai_batch.files.typed_table import VARIABLE
from openai_batch.hidden_keys import hide_key
from openai_batch.net.hosts import is_loopback, is_openai

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

REFERENCE = "env:"  # the prefix of a header's value that is the name of an environment variable

_SECRET_HEADER = re.compile(
    r"(proxy-)?authorization|(set-)?cookie2?|(.*[-_])?(api[-_]?key|subscription[-_]key|access[-_]key|key|token|secret|password)",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"\s*((bearer|basic|token)\s+\S|(sk|pk|rk|gsk|xai|hf|nvapi|psk|key)[-_][\w-]{16})", re.IGNORECASE
)

_HEADER_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_FRAMING = frozenset({"content-length", "content-type", "transfer-encoding"})
"""Headers that the HTTP library sets for each request."""

_SCHEME = re.compile(r"\s*(bearer|basic|token)\s+\S+\s*$", re.IGNORECASE)

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
"""The base URL of OpenAI, and the variable of its key."""

KEYRING = "obatch"  # the service under which keys are in the system keyring
_COMMAND_TIMEOUT = 60.0  # seconds that a key command may take. It may ask its user for a password.


def key_from_environment(variable: str | None) -> str | None:
    """Return the variable's value, or None if it is unset or empty, or if `variable` is None."""
    return (os.environ.get(variable or "") or "").strip() or None


def sdk_base_url() -> str:
    """Return the base URL that the SDK uses by itself: that of OPENAI_BASE_URL, else OpenAI's."""
    return os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL


def is_secret(header: str, value: str = "") -> bool:
    """Return whether a header contains a key, by its name, or by how its value begins."""
    return bool(_SECRET_HEADER.fullmatch(header) or _SECRET_VALUE.match(value))


def bare_key(value: str) -> str:
    """Return the key in a header's value: what follows a scheme such as `Bearer`."""
    return value.strip().rpartition(" ")[2] if _SCHEME.match(value) else value


def header_values(name: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of the provider called `name`, with the values of the variables that they refer to.

    Raises AuthError if a variable is not set, or has characters that a header cannot have. Its value is not shown.
    """
    values = dict(headers)
    for header, variable in references(headers).items():
        values[header] = key_from_environment(variable) or ""
        if not values[header]:
            raise AuthError(
                f"no value for the header {header} of {name}: {variable} is not set", hint=f"export {variable}=…"
            )
        if not _fits_header(values[header]):
            raise AuthError(
                f"the value for the header {header} of {name} has characters that a header cannot have",
                hint=f"set {variable} again",
            )
    return values


def references(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that headers refer to, by header."""
    found = {name: value.removeprefix(REFERENCE) for name, value in headers.items() if value.startswith(REFERENCE)}
    return {name: variable.strip() for name, variable in found.items()}


def hide_keys(given: str | None, variable: str | None, headers: Mapping[str, str]) -> None:
    """Hide the keys of a profile in everything that is shown; one that a command prints is not known yet."""
    hide_key(given or key_from_environment(variable) or "")
    variables = references(headers)
    for header, value in headers.items():
        if header in variables:
            hide_key(bare_key(key_from_environment(variables[header]) or ""))
        elif is_secret(header, value):
            hide_key(bare_key(value))


def check_variable(where: str, name: str) -> None:
    """Raise ConfigError if `name` cannot be the name of an environment variable. It may be a key, and is not shown."""
    if not re.match(VARIABLE, name):
        raise ConfigError(
            f"{where} must name an environment variable, and not be a key",
            hint="export VARIABLE=…, and give the name of the variable",
        )


def check_command(where: str, words: Sequence[str]) -> None:
    """Raise ConfigError if the words cannot be run as the command that prints a key, or contain a key themselves."""
    if words and (not words[0] or any("\0" in word for word in words)):
        raise ConfigError(
            f"{where} api_key_command is not a command", hint='write its words, such as ["pass", "show", "acme"]'
        )
    if any(map(_SECRET_VALUE.match, words)):
        raise ConfigError(
            f"{where} api_key_command contains a key, and keys do not belong in this file",
            hint="name a command that prints it, or the environment variable that holds it in api_key_env",
        )


def check_headers(where: str, headers: Mapping[str, str]) -> None:
    """Raise ConfigError if a header of the configuration file contains a key itself, or cannot be sent."""
    for name, variable in references(headers).items():
        check_variable(f"{where} headers: {name}", variable)
    for name, value in headers.items():
        if not value.startswith(REFERENCE) and is_secret(name, value):
            raise ConfigError(
                f"{where} headers: {name} contains a key, and keys do not belong in this file",
                hint=f'name the environment variable that holds it: "{name}" = "{REFERENCE}VARIABLE"',
            )
        if not _HEADER_NAME.fullmatch(name) or not _fits_header(value):
            raise ConfigError(
                f"{where} headers: {name!r} has characters that a header cannot have",
                hint="use letters, digits and hyphens in the name, and printable ASCII in the value",
            )
        if name.lower() in _FRAMING:
            raise ConfigError(f"{where} headers: {name} is set for each request", hint="leave it out")


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


def key_source(given: str | None, variable: str | None, command: Sequence[str], entry: str | None = None) -> str:
    """Return where a key comes from, as a text: a variable, a command, a keyring entry, or a hash of a given key.

    A new key in the same variable still comes from the same source.
    """
    key = (given or "").strip()
    if key and key != key_from_environment(variable):
        return f"key:{short_hash(key)}"
    if variable:
        return f"${variable}"
    if command:
        return f"command:{shlex.join(command)}"
    return f"keyring:{entry}" if entry else "no-key"


def short_hash(text: str) -> str:
    """Return a hash that distinguishes texts and is too short to find the text."""
    return hashlib.sha256(f"obatch {text}".encode()).hexdigest()[:12]


def check_key_host(where: str, base_url: str, *, variables: Collection[str], elsewhere: bool, plain_http: bool) -> None:
    """Raise ConfigError if OPENAI_API_KEY would go to another host than OpenAI's, or a key would go unencrypted.

    `where` begins the message; `variables` are where the profile's keys come from; `elsewhere` says that a command or
    the keyring has one; `plain_http` allows a key to go unencrypted.
    """
    parts = urlsplit(base_url)
    if OPENAI_KEY in variables and not is_openai(base_url):
        raise ConfigError(
            f"{where} OPENAI_API_KEY is OpenAI's key and is not sent to {parts.hostname}",
            hint="put this provider's key into a variable of its own and name that in api_key_env",
        )
    if (variables or elsewhere) and not plain_http and parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigError(
            f"{where} {base_url} would send the key unencrypted",
            hint="use https, or add allow_plain_http = true if you trust that network",
        )


def find_key(
    name: str, *, given: str | None, variable: str | None, command: Sequence[str], entry: str | None = None
) -> str | None:
    """Return the key of the provider called `name`.

    That is `given`, else the value of `variable`, else what `command` prints, else what the system keyring has as
    `entry`. Returns None if all four are empty: then the provider needs no key. Raises AuthError if the key is missing,
    or has characters that no key has. The message never shows the key.
    """
    key = (given or "").strip() or key_from_environment(variable)
    if not key and command:
        key = _key_from_command(name, command)
    if not key and entry and not command:
        key = _key_from_keyring(name, entry)
    if not key and variable:
        raise AuthError(
            f"no key for {name}: {variable} is not set",
            hint=f"export {variable}=…, or set api_key_env, api_key_command or api_key_keyring in its profile"
            " (`obatch config path`)",
        )
    if not key and command:
        raise AuthError(
            f"no key for {name}: its api_key_command {command[0]!r} printed nothing",
            hint="run the command by hand and see what it says",
        )
    if key and (not (key.isascii() and key.isprintable()) or " " in key):
        raise AuthError(
            f"the key for {name} contains spaces or characters that a key cannot have",
            hint=f"set {variable} again" if variable else "",
        )
    return key


def _key_from_command(name: str, command: Sequence[str]) -> str:
    import subprocess

    try:
        done = subprocess.run(  # noqa: S603 - the user's own command
            list(command), stdout=subprocess.PIPE, check=True, timeout=_COMMAND_TIMEOUT, text=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as exc:
        reason = type(exc).__name__ if not isinstance(exc, OSError) else exc.strerror
    else:
        return done.stdout.strip()
    # Raised here, the error does not keep the other one, which may hold what the command has printed.
    raise AuthError(
        f"no key for {name}: its api_key_command {command[0]!r} failed ({reason})",
        hint="run the command by hand and see what it says",
    )


def _key_from_keyring(name: str, entry: str) -> str:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise MissingExtraError(
            f"the key for {name} is in the system keyring, which needs an extra",
            hint="pip install 'openai-batch[keyring]'",
        ) from None
    try:
        key = keyring.get_password(KEYRING, entry)
    except (KeyringError, OSError) as exc:
        raise AuthError(
            f"no key for {name}: the system keyring cannot be read ({type(exc).__name__})",
            hint="unlock it; `python -m keyring diagnose` shows which one is used",
        ) from None
    if not (key or "").strip():
        raise AuthError(
            f"no key for {name}: the system keyring has no entry {entry!r}",
            hint=f"python -m keyring set {KEYRING} {shlex.quote(entry)}",
        )
    return str(key).strip()


def certificate_files() -> tuple[str | None, ...]:
    """Return the file and the folder of certificates that the environment names."""
    return os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
