"""The order of writes to the disk, from a log of the system calls of a whole job."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kill.sweep import World

pytestmark = pytest.mark.slow


Call = tuple[str, str, list[str]]
"""A call's name, the path of its descriptor ("" if there is none), and the texts in its arguments."""


def calls(log: Path, cwd: Path) -> Iterator[Call]:
    """Yield the successful calls."""
    for line in log.read_text().splitlines():
        found = re.match(r"(?:\d+ +)?(\w+)\((?:\d+<([^>]*)>)?(.*)\) += (-?\d+)", line)
        if found and not found[4].startswith("-"):
            texts = [os.path.join(cwd, text) for text in re.findall(r'"((?:[^"\\]|\\.)*)"', found[3])]  # noqa: PTH118
            yield found[1], found[2] or "", texts


def faults(log: Path, made: World) -> list[str]:
    """Return the names published before a sync, and the creates sent before their row was durable."""
    dirty: set[str] = set()
    unsynced: set[str] = set()
    wrong: list[str] = []
    published = creations = 0
    for name, path, texts in calls(log, made.work):
        if name in ("write", "pwrite64", "ftruncate"):
            dirty.add(path)
        elif name in ("fsync", "fdatasync"):
            dirty.discard(path)
            unsynced = {place for place in unsynced if os.path.dirname(place) != path}  # noqa: PTH120
        elif name.startswith(("link", "rename")):
            source, target = texts[-2:]
            published += 1
            wrong += [f"{target} was published before it was synced"] if source in dirty else []
            unsynced.add(target)
        elif name == "unlink" and texts[0].endswith("-journal"):
            dirty.discard(texts[0])  # the commit; the sync of its folder makes it durable
            unsynced.add(texts[0])
        elif name in ("sendto", "sendmsg") and "POST /v1/batches" in "".join(texts):
            creations += 1
            registry = str(made.state / "registry.db")
            late = [place for place in dirty | unsynced if place.startswith(registry)]
            wrong += [f"a batch was asked for before {place} was durable" for place in late]
    wrong += [f"the name {place} was never synced" for place in unsynced if not place.endswith("-journal")]
    assert creations == 1
    assert published >= 2, "neither the ids nor the results were published"
    return wrong


@pytest.mark.usefixtures("strace")
def test_order_of_writes(here: World) -> None:
    """No file is published before its bytes are durable, and no create is sent before its row is durable."""
    here.write()
    log = here.log / "trace"
    assert here.run("run", "in.jsonl", "-o", "out.jsonl", trace=log).code == 0
    assert faults(log, here) == []
