"""What a shell asks at TAB: ids and names for a prefix. Standard library only, read-only, silent on any failure."""

from __future__ import annotations

import sqlite3
import sys

from openai_batch.errors import ConfigError
from openai_batch.files import paths
from openai_batch.providers.builtin_names import BUILT_IN_NAMES
from openai_batch.providers.config_file import read_config

NEWEST = 50
"""Jobs that are offered at most."""


def complete(words: list[str]) -> int:
    """Print the candidates of a kind (`jobs` or `providers`) for a prefix, each with a tab and what it is."""
    kind, prefix = (*words, "", "")[:2]
    for word, what in candidates(kind, prefix):
        sys.stdout.write(f"{word}\t{what}\n")
    return 0


def candidates(kind: str, prefix: str) -> list[tuple[str, str]]:
    """Return (word, description) pairs; none where anything is wrong."""
    try:
        found = _jobs(prefix) if kind == "jobs" else _provider_names() if kind == "providers" else []
    except (OSError, sqlite3.Error, ValueError, RecursionError, AttributeError):
        return []
    return [(word, what) for word, what in found if word.startswith(prefix)]


def _jobs(prefix: str) -> list[tuple[str, str]]:
    db = sqlite3.connect(f"{paths.registry_file().absolute().as_uri()}?mode=ro", uri=True, timeout=0.2)
    try:
        rows = db.execute(
            "SELECT jobs.id, name, batch_id, coalesce(status, state), provider FROM jobs"
            " LEFT JOIN parts ON parts.job = jobs.id AND parts.number = 1 ORDER BY jobs.id DESC LIMIT ?",
            (NEWEST,),
        ).fetchall()
        if prefix and not prefix.isdigit():
            rows += db.execute(
                "SELECT job, NULL, batch_id, status, '' FROM parts WHERE batch_id >= ? AND batch_id < ? LIMIT ?",
                (prefix, prefix + "\U0010ffff", NEWEST),
            ).fetchall()
    finally:
        db.close()
    found: dict[str, str] = {}
    for number, name, batch_id, status, provider in rows:
        what = " ".join(str(word) for word in (provider, status) if word)
        if not prefix or prefix.isdigit():
            found.setdefault(str(number), what)
        for word in (name, batch_id):
            if word and prefix:
                found.setdefault(str(word), what)
    return list(found.items())


def _provider_names() -> list[tuple[str, str]]:
    names = dict.fromkeys(BUILT_IN_NAMES, "built in")
    try:
        tables = read_config().get("providers", {})
    except ConfigError:
        tables = {}
    return list((names | {name: str(table.get("base_url", "")) for name, table in tables.items()}).items())
