"""Shell completion: job numbers, names and ids for a prefix.

Starts fast, since it runs at each TAB: it imports little, reads only, and prints nothing if anything fails.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys

from openai_batch.errors import ConfigError
from openai_batch.escapes import escape_newlines
from openai_batch.files import paths
from openai_batch.providers.builtin_names import BUILT_IN_NAMES
from openai_batch.providers.config_file import read_config

from .rows import read_jobs

NEWEST = 50  # how many jobs are offered at most


def complete(words: list[str]) -> int:
    """Print the candidates of a kind (`jobs` or `providers`) for a prefix: a word, a tab and a description a line."""
    kind, prefix = (*words, "", "")[:2]
    lines = [f"{word}\t{escape_newlines(description)}\n" for word, description in candidates(kind, prefix)]
    with contextlib.suppress(BrokenPipeError):  # the shell needs no more
        sys.stdout.write("".join(lines))
        sys.stdout.flush()
    return 0


def candidates(kind: str, prefix: str) -> list[tuple[str, str]]:
    """Return (word, description) pairs; an empty list if anything fails."""
    try:
        pairs = _jobs(prefix) if kind == "jobs" else _provider_names() if kind == "providers" else []
    except (OSError, sqlite3.Error, ValueError, TypeError, LookupError, RecursionError, AttributeError):
        return []
    return [(word, text) for word, text in pairs if word.startswith(prefix) and _can_be_typed(word)]


def _can_be_typed(word: str) -> bool:
    """Return whether a word is one line of visible characters, and is not taken for an option."""
    return word.isprintable() and not word.startswith("-")


def _jobs(prefix: str) -> list[tuple[str, str]]:
    db = sqlite3.connect(f"{paths.registry_file().absolute().as_uri()}?mode=ro", uri=True, timeout=0.2)
    db.row_factory = sqlite3.Row
    try:
        rows = db.execute("SELECT * FROM jobs ORDER BY id DESC LIMIT ?", (NEWEST,)).fetchall()
        if prefix and not prefix.isdigit():
            rows += db.execute(
                "SELECT DISTINCT jobs.* FROM jobs JOIN parts ON parts.job = jobs.id"
                " WHERE batch_id >= ? AND batch_id < ? LIMIT ?",
                (prefix, prefix + "\U0010ffff", NEWEST),
            ).fetchall()
        jobs = read_jobs(db, rows)
    finally:
        db.close()
    described: dict[str, str] = {}
    for job in jobs:
        description = f"{job.provider} {job.status}"
        if not prefix or prefix.isdigit():
            described.setdefault(str(job.id), description)
        for word in (job.name, *job.batch_ids):
            if word and prefix:
                described.setdefault(word, description)
    return list(described.items())


def _provider_names() -> list[tuple[str, str]]:
    names = dict.fromkeys(BUILT_IN_NAMES, "built in")
    try:
        tables = read_config().get("providers", {})
    except ConfigError:
        tables = {}
    return list((names | {name: str(table.get("base_url", "")) for name, table in tables.items()}).items())
