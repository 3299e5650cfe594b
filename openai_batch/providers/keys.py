"""Find the value of an API key: given by the program, in an environment variable, or printed by a command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from openai_batch.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMAND_TIMEOUT = 60.0
"""Seconds that a key command may take; it may ask its user for a password."""


def key_from_environment(variable: str | None) -> str | None:
    """Return what the environment variable holds, or None if it is not set, empty or not named."""
    return (os.environ.get(variable or "") or "").strip() or None


def find_key(name: str, *, given: str | None, variable: str | None, command: Sequence[str]) -> str | None:
    """Return the key of the provider called `name`: `given`, else from `variable`, else what `command` prints.

    Returns None if all three are empty: the provider needs no key. Raises AuthError if there should be a key and
    it is missing, or holds characters that no key has; the message never shows the key.
    """
    key = (given or "").strip() or key_from_environment(variable)
    if not key and command:
        key = _key_from_command(name, command)
    if not key and variable:
        raise AuthError(f"no key for {name}: {variable} is not set", hint=f"export {variable}=…")
    if not key and command:
        raise AuthError(
            f"no key for {name}: its api_key_command {command[0]!r} printed nothing",
            hint="run the command by hand and see what it says",
        )
    if key and (not (key.isascii() and key.isprintable()) or " " in key):
        raise AuthError(
            f"the key for {name} holds spaces or characters that no key has",
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
        raise AuthError(
            f"no key for {name}: its api_key_command {command[0]!r} failed ({reason})",
            hint="run the command by hand and see what it says",
        ) from None
    return done.stdout.strip()
