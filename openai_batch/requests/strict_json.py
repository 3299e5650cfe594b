"""Find JSON that other parsers may refuse or read differently, and say what is wrong with JSON.

Other parsers refuse JSON that is nested too deeply, and differ if a key occurs twice.
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DEPTH = 200  # the most levels of nesting; many JSON parsers accept no more, or only a few more


_NOT_FINITE = re.compile(r"\b(?:NaN|Infinity)\b")
_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF = re.compile(f"{_HIGH}(?!{_LOW})|(?<!{_HIGH}){_LOW}")


def json_fault(raw: str | bytes, exc: Exception, remedy: str) -> tuple[str, str]:
    """Return what is wrong with the text `raw`, for which msgspec raised `exc`, and what to do: else `remedy`."""
    reason = str(exc).removeprefix("JSON is malformed: ")
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    try:
        json.loads(text, parse_int=str, parse_float=str)  # accepts these two faults, but no others
    except (ValueError, RecursionError):
        return f"not valid JSON: {reason}", remedy
    if (half := _HALF.search(text)) is not None:
        return (
            f"not valid JSON: {half.group()} is half of a surrogate pair",
            "a text was cut within a character: fix it",
        )
    if (found := _NOT_FINITE.search(text)) is not None:
        return f"not valid JSON: it contains {found.group()}", "write null, or leave it out"
    return f"not valid JSON: {reason}", remedy


def may_be_too_deep(raw: bytes) -> bool:
    """Return whether JSON has so many brackets that it may be nested too deeply; nearly no line has."""
    if len(raw) <= 2 * MAX_DEPTH:
        return False
    without = raw.replace(b"[", b"").replace(b"{", b"")  # several times as fast as bytes.count
    return len(raw) - len(without) > MAX_DEPTH


def is_too_deep(raw: bytes, value: Any) -> bool:
    """Return whether `value`, parsed from `raw`, is nested more than MAX_DEPTH levels deep."""
    if not may_be_too_deep(raw):
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def repeated_key(raw: bytes, keys: Iterable[str]) -> str | None:
    """Return a key that occurs twice in the request or twice in its body, else None.

    `keys` are the keys of both, once each. Parsers differ in which of the two values they use, so it is unclear what
    was sent.
    """
    for key in keys:
        if raw.count(_quoted(key)) > 1:
            break
    else:
        return None  # nearly every line ends here
    pairs = json.loads(raw, object_pairs_hook=tuple, parse_int=str, parse_float=str)
    body = next((value for key, value in pairs if key == "body"), ())
    for level in (pairs, body):
        if not isinstance(level, tuple):
            continue  # the body is a list or a plain value
        seen: set[str] = set()
        for key, _ in level:
            if key in seen:
                return str(key)
            seen.add(key)
    return None


@functools.lru_cache(maxsize=1000)
def _quoted(key: str) -> bytes:
    return msgspec.json.encode(key)
