"""Remove keys from text: unchanged keys, and keys in base64 or with percent or JSON escapes."""

from __future__ import annotations

import base64
import functools
import re

SHORTEST = 16  # the shortest key that is removed from every text, in characters: a shorter one may be a common word

_LONGEST = 5_000
"""Characters of the longest form of a key that a text is searched for beyond the part of it that is shown."""

_used: dict[str, re.Pattern[str]] = {}  # the keys that this process has used


def hide_key(key: str) -> None:
    """Remove this key from everything that is shown from now on, unless it is shorter than SHORTEST."""
    if len(key) >= SHORTEST:
        _used[key] = _pattern(key)


def without_used_keys(text: str) -> str:
    """Return `text` without the keys that `hide_key` knows."""
    for pattern in _used.values():
        text = pattern.sub("(key)", text)
    return text


def beginning(text: str, length: int) -> str:
    """Return the first `length` characters of `text` without keys. No key is cut, which would leave its beginning."""
    return without_used_keys(text[: length + _LONGEST])[:length]


def without_key(key: str, text: str) -> str:
    """Return `text` without this key."""
    return _pattern(key).sub("(key)", text) if key else text


@functools.lru_cache(maxsize=16)
def _pattern(key: str) -> re.Pattern[str]:
    """Return a pattern for a key in any letter case, with any escapes, and in base64."""
    escaped = (f"(?:{re.escape(char)}|%{ord(char):02x}|\\\\u00{ord(char):02x})" for char in key)
    forms = [f"(?i:{''.join(escaped)})"]
    if len(key) >= SHORTEST:
        forms += map(_base64_form, (key.encode(),) * 3, range(3))
    return re.compile("|".join(forms))


def _base64_form(key: bytes, before: int) -> str:
    """Return a pattern for the characters that encode only `key`, with `before` bytes before it (modulo 3)."""
    encoded = base64.b64encode(bytes(before) + key).decode()
    own = encoded[-(-before * 8 // 6) : (before + len(key)) * 8 // 6]
    return re.escape(own).replace(r"\+", r"[+\-]").replace("/", "[/_]")
