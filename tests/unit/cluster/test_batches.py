"""Inputs are cut into shards, and journals are read back, whatever they look like."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_batch.cluster.batches import add_input, get_input, get_plan, window_seconds
from openai_batch.cluster.journal import Journal, journal_lines
from openai_batch.cluster.store import FolderStore
from openai_batch.cluster.worker import shards_of
from openai_batch.errors import NotFoundError, UnreachableError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """Make a store in a folder."""
    made = FolderStore(tmp_path / "store")
    made.prepare()
    return made


@given(
    lines=st.lists(st.binary(min_size=1, max_size=30).map(lambda line: line.replace(b"\n", b"x")), max_size=40),
    rows=st.integers(1, 12),
    newline=st.booleans(),
)
def test_shards_cover_an_input(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], rows: int, *,
                               newline: bool) -> None:  # fmt: skip
    """Each line is in one shard, in order, whether or not the last one has a newline."""
    store = FolderStore(tmp_path_factory.mktemp("store"))
    store.prepare()
    content = b"\n".join(lines) + (b"\n" if newline and lines else b"")
    record = add_input(store, io.BytesIO(content), "input.jsonl", rows)
    assert get_input(store, record.id) == record
    assert b"".join(content[shard.start : shard.end] for shard in record.shards) == content
    assert [shard.rows for shard in record.shards] == [
        len(lines[start : start + rows]) for start in range(0, len(lines), rows)
    ]
    assert record.size == len(content)


def test_the_last_result_counts_unless_it_is_an_error(store: FolderStore) -> None:
    """An answer replaces an error, and an error never replaces an answer."""

    def line(custom_id: str, status: int, mark: str) -> bytes:
        return json.dumps({"custom_id": custom_id, "response": {"status_code": status, "body": mark}}).encode() + b"\n"

    first, second = Journal(store, "batch_1", 0, "a"), Journal(store, "batch_1", 0, "b")
    first.add(line("one", 500, "first") + line("two", 200, "first") + b'{"custom_id":"three","response":null}\n')
    second.add(line("one", 200, "second") + line("two", 500, "second") + line("four", 200, "second")[:-9])
    found = journal_lines(store, "batch_1", 0)
    assert {name: (json.loads(known.line)["response"] or {}).get("body") for name, known in found.items()} == {
        "one": "second",
        "two": "first",
        "three": None,
    }
    assert [known.succeeded for known in found.values()] == [True, True, False]


def test_an_object_is_created_once(store: FolderStore) -> None:
    """The second one is refused, and the first stays."""
    assert store.create("a/b", b"1")
    assert not store.create("a/b", b"2")
    assert store.read("a/b") == b"1"
    assert [found.key for found in store.list("a")] == ["a/b"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "batch_1/../x", "batch_" + "g" * 32, ""])
def test_ids_are_no_paths(store: FolderStore, name: str) -> None:
    """What is no id of ours is not looked for."""
    with pytest.raises(NotFoundError):
        get_plan(store, name)


def test_a_store_that_is_gone(tmp_path: Path) -> None:
    """Nothing is read as empty, and nothing is written in its place."""
    store = FolderStore(tmp_path / "store")
    for act in (
        lambda: store.find("a"),
        lambda: list(store.list("a")),
        lambda: store.read("a"),
        lambda: store.create("a", b""),
        lambda: store.replace("a", b""),
    ):
        with pytest.raises(UnreachableError, match="is not there"):
            act()
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("window", "seconds"), [("24h", 86400.0), ("14d", 14 * 86400.0), ("90s", 90.0)])
def test_windows(window: str, seconds: float) -> None:
    """A window is a number and a unit."""
    assert window_seconds(window) == seconds


@pytest.mark.parametrize("window", ["", "0h", "1w", "h", "-1h", "1.5h"])
def test_bad_windows(window: str) -> None:
    """Anything else is refused before a batch is created."""
    with pytest.raises(UsageError):
        window_seconds(window)


def test_workers_share_the_shards() -> None:
    """Each shard belongs to one worker."""
    shares = [list(shards_of(worker, 3, 10)) for worker in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(10))
