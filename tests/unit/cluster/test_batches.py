"""Batches in a store: inputs are split into shards, journals are read back, and errors of the store are handled."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.servers import echo_upstream

from openai_batch.cluster import keep_running, patience, worker
from openai_batch.cluster.batches import (
    InputRecord,
    Plan,
    UnreadableError,
    add_input,
    check_kept,
    create_batch,
    delete_results,
    folder,
    get_input,
    get_plan,
    part_key,
    plans,
    window_seconds,
)
from openai_batch.cluster.journal import ShardJournal, journal_lines
from openai_batch.cluster.launchers.command import CommandLauncher
from openai_batch.cluster.progress import progress
from openai_batch.cluster.settings import ShardSettings
from openai_batch.cluster.store import FolderStore
from openai_batch.cluster.worker import shards_of
from openai_batch.errors import BatchError, InputError, NotFoundError, UnreachableError, UsageError
from openai_batch.files.locks import WINDOWS
from openai_batch.local.settings import LocalSettings
from openai_batch.providers import shards_api
from openai_batch.providers.attempt import Attempt, new_token
from openai_batch.providers.create_once import create
from openai_batch.providers.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openai_batch.files.object_store import ObjectInfo


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

    first, second = ShardJournal(store, "batch_1", 0, "a"), ShardJournal(store, "batch_1", 0, "b")
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
    """A second `create` of the same object is refused, and the first content stays."""
    assert store.create("a/b", b"1")
    assert not store.create("a/b", b"2")
    assert store.read("a/b") == b"1"
    assert [found.key for found in store.list("a")] == ["a/b"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "batch_1/../x", "batch_" + "g" * 32, ""])
def test_ids_are_not_used_as_paths(store: FolderStore, name: str) -> None:
    """An id that is not valid is reported as not found, and is not used as a path."""
    with pytest.raises(NotFoundError):
        get_plan(store, name)


def test_a_missing_store(tmp_path: Path) -> None:
    """A missing store is an error, not an empty store, and it is not created."""
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
    """Any other window is refused before a batch is created."""
    with pytest.raises(UsageError):
        window_seconds(window)


def test_each_shard_belongs_to_one_worker() -> None:
    """Each shard belongs to one worker."""
    shares = [list(shards_of(worker, 3, 10)) for worker in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(10))


def test_the_failures_of_the_stored_part_are_counted(store: FolderStore) -> None:
    """Failures are counted for the stored part only; a count for a part of another size is ignored."""
    record = add_input(store, io.BytesIO(b"{}\n" * 20), "input.jsonl", 10)
    plan = create_batch(store, Plan(f"batch_{'0' * 32}", record.id, "/v1/chat/completions", "1h", time.time()))
    store.replace(f"{folder(plan.id, 'failed')}/00000000-300-4", b"")
    store.replace(f"{folder(plan.id, 'failed')}/00000000-200-3", b"")
    store.replace(f"{folder(plan.id, 'failed')}/00000001-200-9", b"")
    store.create(part_key(plan.id, 0), b"x" * 200)
    found = progress(store, plan.id)
    assert (found.total, found.succeeded, found.failed) == (20, 7, 3)
    store.create(part_key(plan.id, 1), b"x" * 100)
    found = progress(store, plan.id)
    assert (found.status, found.succeeded, found.failed) == ("completed", 17, 3)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit on files there")
def test_a_full_disk(store: FolderStore) -> None:
    """A full disk is a temporary error, and a line that was cut short in a journal does not damage the next one."""
    line = json.dumps({"custom_id": "one", "response": {"status_code": 200, "body": "x" * 500}}).encode() + b"\n"
    journal = ShardJournal(store, "batch_1", 0, "a")
    with file_limit(200):
        with pytest.raises(BatchError, match="the journal cannot be written: File too large"):
            journal.add(line)
        with pytest.raises(UnreachableError, match="the store cannot be written") as caught:
            store.create("a/b", line)
        assert caught.value.passes
        assert "disk" in caught.value.hint
    journal.add(line)
    assert list(journal_lines(store, "batch_1", 0)) == ["one"]
    assert store.find("a/b") is None


@contextlib.contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Limit the size of files to `size` bytes."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Bucket(FolderStore):
    """A store without appendable journal files, in which calls for keys that contain `fails` fail."""

    def __init__(self, root: Path, fails: str) -> None:
        super().__init__(root)
        self._files = FolderStore(root)
        self._fails = fails

    def path(self, key: str) -> Any:
        """Return None for the keys of journals, which are not files in a bucket."""
        return None if "/journal/" in key else super().path(key)

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """Yield the objects."""
        return self._files.list(folder)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object, and lose the answer."""
        self._files.create(key, data)
        if self._fails in key:
            raise UnreachableError("the answer is lost")
        return True

    def replace(self, key: str, data: bytes) -> None:
        """Write an object, or fail."""
        if self._fails in key:
            raise UnreachableError("the store does not answer")
        self._files.replace(key, data)


def test_a_worker_that_cannot_flush(store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that cannot write to the store ends after a time limit, and stops sending requests."""
    for name, value in {"_FLUSH": 0.05, "_MOST_WAITING": 5}.items():
        monkeypatch.setattr(worker, name, value)
    monkeypatch.setattr(patience, "_SECONDS", 0.2)
    body = {"model": "echo-1", "messages": [{"role": "user", "content": "hello"}]}
    lines = [json.dumps({"custom_id": str(number), "body": body}).encode() for number in range(200)]
    record = add_input(store, io.BytesIO(b"\n".join(lines)), "input.jsonl", 1000)
    plan = create_batch(store, Plan(f"batch_{'0' * 32}", record.id, "/v1/chat/completions", "1h", time.time()))
    with echo_upstream() as echo:
        settings = LocalSettings(upstream=(echo.base_url,), concurrency=4)
        made = worker.Worker(Bucket(tmp_path / "store", "/journal/"), plan, record, settings)
        with pytest.raises(UnreachableError, match="does not answer"):
            asyncio.run(asyncio.wait_for(made.run([0], {}), 20))
        assert len(echo.calls()) < 50
    assert not list(store.list(folder(plan.id, "workers")))


def test_counts_while_results_are_written(store: FolderStore, tmp_path: Path) -> None:
    """A shard whose results are complete but not stored yet still has its counts."""
    record, plan = a_batch(store, b'{"custom_id":"a","body":{"model":"echo-1","messages":[]}}\n')
    seen: list[int] = []

    class Slow(FolderStore):
        def create(self, key: str, data: bytes) -> bool:
            made._give_sign()
            seen.append(progress(store, plan.id).succeeded)
            return super().create(key, data)

    with echo_upstream() as echo:
        settings = LocalSettings(upstream=(echo.base_url,))
        made = worker.Worker(Slow(tmp_path / "store"), plan, record, settings)
        assert asyncio.run(asyncio.wait_for(made.run([0], {}), 20))
    assert seen == [1]


@pytest.mark.slow
def test_the_last_sign_of_life(store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign of life that is written while the worker ends is removed."""
    monkeypatch.setattr(worker, "SIGN_OF_LIFE", 0.05)
    messages = [{"role": "user", "content": "hello !sleep=0.5"}]
    record, plan = a_batch(store, json.dumps({"custom_id": "a", "body": {"messages": messages}}).encode())
    late: list[str] = []

    class Slow(FolderStore):
        def replace(self, key: str, data: bytes) -> None:
            if "/workers/" in key and (late or b"{}" not in data):
                late.append(key)
                time.sleep(1.5)
            super().replace(key, data)

    with echo_upstream() as echo:
        made = worker.Worker(Slow(tmp_path / "store"), plan, record, LocalSettings(upstream=(echo.base_url,)))
        assert asyncio.run(asyncio.wait_for(made.run([0], {}), 20))
    assert late
    assert not list(store.list(folder(plan.id, "workers")))


def a_batch(store: FolderStore, content: bytes, rows: int = 10) -> tuple[InputRecord, Plan]:
    """Create a batch with this input."""
    record = add_input(store, io.BytesIO(content), "input.jsonl", rows)
    plan = Plan(f"batch_{record.id[5:]}", record.id, "/v1/chat/completions", "1h", time.time())
    return record, create_batch(store, plan)


def test_workers_are_started_by_one_process(tmp_path: Path) -> None:
    """If two processes start the same workers at the same time, only one of them starts them."""
    together = threading.Barrier(2)

    class Late(FolderStore):
        def find(self, key: str) -> ObjectInfo | None:
            found = super().find(key)
            together.wait(10)
            return found

    store = Late(tmp_path / "store")
    store.prepare()
    starting: list[str] = []

    class Noting(CommandLauncher):
        def start(self, batch_id: str, number: int) -> None:
            starting.append(f"{batch_id} {number}")

    launcher = Noting(ShardSettings(store=str(tmp_path), upstream=("http://127.0.0.1:9/v1",)))
    with ThreadPoolExecutor(2) as threads:
        for _ in range(2):
            threads.submit(keep_running.start_workers, store, launcher, "batch_1", 1, 0)
    assert starting == ["batch_1 1"]


def test_batches_that_cannot_be_read(store: FolderStore) -> None:
    """Batches that cannot be read are skipped in the list, and each one is an error when it is read."""
    _, plan = a_batch(store, b"{}\n")
    strange = [b"hello", b"{}", msgspec.json.encode(plan), msgspec.json.encode(plan).replace(b'"1h"', b'"soon"')]
    for number, content in enumerate(strange):
        store.create(f"plans/batch_{number:032}.json", content)
        with pytest.raises(UnreadableError):
            get_plan(store, f"batch_{number:032}")
    assert [each.id for each in plans(store)] == [plan.id]


def test_a_deletion_that_was_interrupted(store: FolderStore) -> None:
    """An interrupted deletion continues the next time, and results that are half deleted cannot be downloaded."""
    _, plan = a_batch(store, b"{}\n{}\n", rows=1)
    for number in range(2):
        store.create(part_key(plan.id, number), b"{}\n")
    assert progress(store, plan.id).end is not None
    store.create(folder(plan.id, "deleted"), b"")
    store.delete(part_key(plan.id, 0))
    with pytest.raises(NotFoundError):
        check_kept(store, plan.id)
    delete_results(store, plan.id)
    assert not list(store.list(folder(plan.id, "parts")))
    with pytest.raises(NotFoundError, match="were deleted"):
        delete_results(store, plan.id)


def test_a_missing_input(store: FolderStore) -> None:
    """A worker whose input is missing or not valid ends with an error."""
    cases = {b"hello\n": "not a request", b'{"custom_id":"a"}\n': "not a request", b"": "is not in the store"}
    for content, message in cases.items():
        record = add_input(store, io.BytesIO(content or b"{}"), "input.jsonl", 10)
        batch = f"batch_{record.id[5:]}"
        plan = create_batch(store, Plan(batch, record.id, "/v1/chat/completions", "1h", time.time()))
        made = worker.Worker(store, plan, record, LocalSettings(upstream=("http://127.0.0.1:9/v1",), concurrency=4))
        if not content:
            store.delete(f"files/{record.id}/input")
        with pytest.raises((InputError, NotFoundError), match=message):
            asyncio.run(asyncio.wait_for(made.run([0], {}), 10))


def test_a_lost_answer_of_the_store(store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the answer to a create is lost, the batch that was written is found, and no second one is created."""
    monkeypatch.setattr(shards_api, "open_store", lambda _: Bucket(tmp_path / "store", "plans/"))
    settings = ShardSettings(store=str(tmp_path / "store"), upstream=("http://127.0.0.1:9/v1",))
    api = shards_api.ShardsApi(Provider(name="cluster", shards=settings))
    record = add_input(store, io.BytesIO(b"{}\n"), "input.jsonl", 10)
    attempt = Attempt(record.id, "/v1/chat/completions", "1h", new_token(), time.time())
    assert create(api, attempt).id == f"batch_{attempt.token}"
    assert len(list(store.list("plans"))) == 1


@pytest.mark.skipif(WINDOWS, reason="folders cannot be opened there")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_store_that_disappears_during_a_write(tmp_path: Path, moment: str) -> None:
    """If the store disappears during a write, nothing is written to the folder that takes its place."""
    place = tmp_path / "store"

    class Vanishing(FolderStore):
        def _make_folder(self, path: Path) -> None:
            if moment == "after":
                super()._make_folder(path)
            place.rename(tmp_path / "away")
            place.mkdir()
            if moment == "before":
                super()._make_folder(path)

    store = Vanishing(place)
    store.prepare()
    with pytest.raises(UnreachableError):
        store.replace("clock/now", b"1")
    assert not list(place.iterdir())
