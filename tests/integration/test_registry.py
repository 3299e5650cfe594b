"""The registry keeps what is written, only its owner can read it, and damage is an error."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from openai_batch.errors import BatchError, NotFoundError, RegistryError
from openai_batch.files import paths
from openai_batch.jobs.recover import add_if_ours
from openai_batch.jobs.store.database import APPLICATION_ID, VERSION, Database
from openai_batch.jobs.store.records import DIRECT, IMPORTED, RETRY, JobRecord, ListedJob, PartRecord, PartState
from openai_batch.jobs.store.registry import Registry
from openai_batch.jobs.submit import start
from openai_batch.providers.batch_info import BatchFault, Counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.workbench import Workbench


@pytest.fixture
def registry() -> Iterator[Registry]:
    """Open the registry of the test."""
    registry = Registry()
    yield registry
    registry.close()


def job(identity: str = "i", name: str | None = None, **values: object) -> JobRecord:
    """Return a job to add."""
    given: dict[str, object] = {
        "uid": identity + str(name),
        "provider": "p",
        "base_url": "http://x/v1",
        "account": "",
        **values,
    }
    return JobRecord(id=0, identity=identity, name=name, endpoint="/v1/e", window="24h", created_at=5.0, **given)  # type: ignore[arg-type]


def test_a_slow_answer_does_not_undo_the_end_of_a_batch(workbench: Workbench) -> None:
    """An older answer that is stored later does not change an ended batch."""
    flow = workbench.workflow()
    asked, _ = start(flow, workbench.spec("fault:steps=in_progress"))
    (before,) = asked.parts
    slow = flow.api(asked).get(str(before.batch_id))
    (ended,) = flow.wait(asked).parts
    assert not slow.finished
    assert ended.output_file_id is not None
    assert flow.store_status(before, slow) == ended
    flow.store_batch(flow.registry.job(asked.id), slow)  # from a list of batches that is older than the end
    assert flow.store_status(ended, slow) == ended
    flow.adopt_batch(replace(before, state=PartState.CREATING), slow)
    assert flow.registry.job(asked.id).parts == (ended,)


def test_a_batch_that_was_listed_before_it_was_stored_is_added_once(workbench: Workbench) -> None:
    """A listed batch that its own process has stored meanwhile is not added again."""
    flow, spec = workbench.workflow(), workbench.spec("fault:steps=in_progress")
    job, _ = start(flow, spec)
    listed = flow.api(job).get(str(job.parts[0].batch_id))
    job = flow.wait(job)
    assert add_if_ours(flow, spec.provider, listed, None) == job.id
    assert flow.registry.job(job.id).parts == job.parts


def test_stored_jobs_are_read_back_unchanged(registry: Registry) -> None:
    """Every field of a job and a part is read back unchanged, by another object too."""
    made, new = registry.add(
        job(name="n", metadata={"a": "é"}, model="m", input_path="/in"), [PartRecord(0, 1, length=9)]
    )
    faults = (BatchFault("c", "m", 3, "p"), BatchFault(None, "x"))
    part = registry.set_part(
        made.parts[0],
        expect=PartState.PLANNED,
        state=PartState.RUNNING,
        batch_id="b1",
        counts=Counts(3, 2, 1),
        faults=faults,
        usage={"t": 1},
    )
    registry.set_job(made.id, answered=2)
    assert new
    for other in (registry, Registry()):
        read = other.job(made.id)
        assert (read.metadata, read.model, read.input_path, read.answered) == ({"a": "é"}, "m", "/in", 2)
        assert read.parts == (part,)
        assert (part.counts, part.faults, part.usage, part.length) == (Counts(3, 2, 1), faults, {"t": 1}, 9)
        other.close()


def test_the_same_identity_is_the_same_job(registry: Registry) -> None:
    """A job with the same identity is not added again, unless `again` is given; then the newest is used."""
    first, _ = registry.add(job(), [PartRecord(0, 1)])
    assert registry.add(job(), [PartRecord(0, 1)]) == (first, False)
    second, new = registry.add(job(uid="other"), [PartRecord(0, 1)], again=True)
    assert new
    assert registry.by_identity("i", "") == second
    registry.add(job("other", "taken"), [PartRecord(0, 1)])
    with pytest.raises(RegistryError, match="named"):
        registry.add(job("another", "taken"), [PartRecord(0, 1)])


def test_jobs_are_found_by_number_name_and_batch(registry: Registry) -> None:
    """A reference is a number, a name or a batch id, in this order; None means the latest job."""
    one, _ = registry.add(job("a", "first"), [PartRecord(0, 1, PartState.RUNNING, batch_id="batch_x")])
    two, _ = registry.add(job("b", "batch-ish"), [PartRecord(0, 1)])
    assert [registry.find(word).id for word in (str(one.id), "first", "batch_x", "batch-ish", None)] == [
        *(one.id, one.id, one.id, two.id, two.id)
    ]
    for word in ("none", "99", "9" * 40, "\u0663", "-1", "", "\udcff"):
        with pytest.raises(NotFoundError):
            registry.find(word)
    assert [found.id for found in registry.jobs()] == [two.id, one.id]
    assert [found.id for found in registry.jobs(limit=1)] == [two.id]
    assert registry.jobs(provider="none") == []


def test_only_one_process_changes_the_state_of_a_part(registry: Registry) -> None:
    """A part whose state another process has changed cannot be changed from the old state."""
    made, _ = registry.add(job(), [PartRecord(0, 1, PartState.UPLOADED, file_id="f")])
    part = registry.set_part(made.parts[0], expect=PartState.UPLOADED, state=PartState.CREATING, token="mine")
    other = Registry()
    with pytest.raises(RegistryError, match="another process"):
        other.set_part(made.parts[0], expect=PartState.UPLOADED, state=PartState.CREATING, token="theirs")
    assert other.job(made.id).parts == (part,)
    other.close()


def test_reading_creates_nothing(home: Path, registry: Registry) -> None:
    """Reading without a registry creates no file."""
    assert registry.jobs() == []
    assert registry.by_batch("b") == []
    for reference in (None, "1", "x"):
        with pytest.raises(NotFoundError):
            registry.find(reference)
    assert [path.name for path in home.iterdir()] == ["config.toml"]


def test_only_the_owner_can_read_it(home: Path, registry: Registry) -> None:
    """Folders have mode 0700 and files 0600, whatever the umask is."""
    mask = os.umask(0)
    try:
        registry.add(job(), [PartRecord(0, 1)])
    finally:
        os.umask(mask)
    for path in (home / "state").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((home / "state").stat().st_mode) == 0o700


def test_a_commit_is_durable(registry: Registry) -> None:
    """The registry uses a rollback journal and `synchronous=EXTRA`, and has its application id."""
    registry.add(job(), [PartRecord(0, 1)])
    db = registry._connection
    assert db is not None
    asked = {
        name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "user_version")
    }
    assert asked == {"journal_mode": "delete", "synchronous": 3, "user_version": VERSION}
    assert db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    assert {path.name for path in registry.path.parent.iterdir()} == {"registry.db"}


def test_another_thread_does_not_release_the_lock_of_a_write(registry: Registry) -> None:
    """A thread that opens the registry does not release the lock of a write in another thread."""
    registry.add(job(), [])
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    words = [sys.executable, "-c", program, str(paths.registry_file())]
    second = Registry()
    with ThreadPoolExecutor(1) as pool, Database().writing():
        adding = pool.submit(second.add, job("j"), [])
        with pytest.raises(TimeoutError):
            adding.result(timeout=1)  # the thread has opened the file, and waits
        other = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "database is locked" in other.stderr
    assert adding.result()[1]
    assert registry.count() == 2
    second.close()


def test_a_newer_schema_is_refused_and_left_alone(registry: Registry) -> None:
    """A registry with a newer schema is an error, and is not changed."""
    registry.add(job(), [PartRecord(0, 1)])
    registry.close()
    with sqlite3.connect(registry.path) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    before = registry.path.read_bytes()
    for act in (registry.jobs, lambda: registry.add(job("b"), [PartRecord(0, 1)])):
        with pytest.raises(RegistryError, match="newer") as told:
            act()
        assert "upgrade" in told.value.hint
    assert registry.path.read_bytes() == before
    assert len(list(registry.path.parent.iterdir())) == 1


def test_an_older_schema_is_read_as_it_is(registry: Registry) -> None:
    """A registry with an older schema can be read; the first write upgrades it, after making a copy."""
    made, _ = registry.add(job(metadata={"a": "b"}), [PartRecord(0, 1)])
    registry.close()
    with closing(sqlite3.connect(registry.path)) as db:
        for table, column in (
            ("jobs", "output_form"),
            ("jobs", "unanswered"),
            ("jobs", "left_out"),
            ("jobs", "max_cost"),
            ("parts", "costs"),
            ("jobs", "deadline"),
            ("parts", "phases"),
            ("parts", "files_expire_at"),
            ("jobs", "output_seconds"),
            ("parts", "deleted"),
        ):
            db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 1")
    read = registry.job(made.id)
    assert (read.metadata, read.output_form, read.left_out) == ({"a": "b"}, {}, None)
    assert [(each.status, each.left_out) for each in registry.listed()] == [(read.status, None)]
    registry.set_job(made.id, output_form={"fields": True})
    assert registry.job(made.id).output_form == {"fields": True}
    assert registry.path.with_name("registry.db.schema-1").exists()


def test_a_list_reads_the_same_as_a_whole_job(registry: Registry) -> None:
    """`listed` returns the same values as `jobs`."""
    batches = [  # each job has up to two of these
        PartRecord(0, 1, PartState.COLLECTED, requests=5, batch_id="b1", status="completed", counts=Counts(5, 3, 2)),
        PartRecord(0, 2, PartState.ENDED, requests=4, batch_id="b2", status="failed", output_file_id="f"),
        PartRecord(0, 3, PartState.ENDED, requests=2, source=f"{RETRY}1", batch_id="b3", status="completed"),
        PartRecord(0, 4, PartState.RUNNING, requests=2, batch_id="b4", status="in_progress", counts=Counts(2, 1, 0)),
        PartRecord(0, 5, PartState.CREATING, requests=1),
        PartRecord(0, 6, requests=1, queued=True),
        PartRecord(0, 7, PartState.ENDED, requests=3),
        PartRecord(0, 8, PartState.ENDED, requests=3, output_file_id=f"{IMPORTED}x"),
        PartRecord(0, 9, PartState.ENDED, requests=3, source=f"{DIRECT}1"),
    ]
    given = {"model": "m\udcff", "requests": 30, "answered": 9, "skipped": 2, "unanswered": 4, "left_out": 1}
    shapes = [parts for count in range(3) for parts in combinations(batches, count)]
    for n, parts in enumerate(shapes):
        registry.add(job(f"i{n}", f"name {n}", **(given if n % 2 else {})), list(parts))
    names = [name for name in ListedJob.__dataclass_fields__ if name != "parts"]
    names += ["status", "ended", "counts", "batch_ids", "collected", "waiting"]
    for provider, limit in ((None, None), ("p", 3), ("other", None)):
        read = [[getattr(each, name) for name in names] for each in registry.listed(limit, provider)]
        assert read == [[getattr(each, name) for name in names] for each in registry.jobs(limit, provider)]


@pytest.mark.parametrize(
    "content", [b"this is no database, though long enough " * 40, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_a_damaged_file_is_reported_and_kept(registry: Registry, content: bytes) -> None:
    """A damaged registry is an error, and its bytes are kept."""
    paths.private_dir(registry.path.parent)
    registry.path.write_bytes(content)
    with pytest.raises(RegistryError, match="damaged") as told:
        registry.jobs()
    assert told.value.code == 1
    assert told.value.hint
    assert content in [path.read_bytes() for path in registry.path.parent.iterdir()]


@pytest.mark.slow
def test_random_damage_never_ends_in_a_traceback(registry: Registry, tmp_path: Path) -> None:
    """Random damage gives jobs or a BatchError, but no other exception."""
    for n in range(30):
        made, _ = registry.add(job(f"i{n}", metadata={"k": "v" * 50}), [PartRecord(0, 1)])
        registry.set_part(
            made.parts[0], faults=(BatchFault("c", "m"),), usage={"total_tokens": n}, state=PartState.ENDED
        )
    registry.close()
    whole = registry.path.read_bytes()
    rng = random.Random(7)
    for trial in range(150):
        data = bytearray(whole)
        place = rng.randrange(len(data) - 16)
        data[place : place + 16] = rng.randbytes(16)
        folder = tmp_path / f"trial{trial}"
        folder.mkdir()
        (folder / "registry.db").write_bytes(data)
        hit = Registry(folder / "registry.db")
        try:
            hit.jobs()
            hit.find("3")
            hit.set_part(made.parts[0], checked_at=1.0)
        except BatchError:
            pass
        finally:
            hit.close()


def test_an_invalid_utf8_file_name_is_not_damage(workbench: Workbench) -> None:
    """A file name that is not UTF-8 can be stored and read back."""
    spec = workbench.spec("fault:end=completed", name=os.fsdecode(b"caf\xe9.jsonl"))
    made = start(workbench.workflow(), spec)[0]
    again = workbench.workflow().registry.job(made.id)
    assert again.input_path == str(spec.batch_file.origin)
    assert Path(str(again.input_path)).exists()
    assert [path.name for path in paths.state_dir().iterdir() if "damaged" in path.name] == []


def test_a_value_that_cannot_be_stored_is_not_damage(registry: Registry) -> None:
    """A value of an unsupported type raises an error, and the registry is not treated as damaged."""
    made, _ = registry.add(job(), [PartRecord(0, 1)])
    for value in (object(), 2**70):
        with pytest.raises(Exception):  # noqa: B017, PT011 - any but the move
            registry.set_part(made.parts[0], requests=value)
    assert registry.path.exists()
    assert registry.job(made.id) == made


KILLED = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE jobs SET metadata = '{\\"lost\\": \\"' || hex(zeroblob(3000)) || '\\"}'")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_write_that_was_killed_is_rolled_back_even_by_reading(registry: Registry) -> None:
    """The half-finished write of a killed process is rolled back by the next read."""
    for n in range(40):
        registry.add(job(f"i{n}", metadata={"kept": "yes"}), [PartRecord(0, 1)])
    registry.close()
    subprocess.run([sys.executable, "-c", KILLED, str(registry.path)], check=False)
    journal = registry.path.with_name("registry.db-journal")
    assert journal.exists()
    assert journal.stat().st_size > 0
    assert {tuple(found.metadata) for found in registry.jobs()} == {("kept",)}


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """A registry path below a file is a BatchError."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(BatchError, match="file"):
        Registry(tmp_path / "file" / "registry.db").add(job(), [PartRecord(0, 1)])


STRANGER = """
import os, sys
from pathlib import Path
from openai_batch.jobs.store.database import APPLICATION_ID, VERSION
from openai_batch.jobs.store.registry import Registry
from openai_batch.errors import BatchError
os.setuid(65534)
try:
    print(Registry(Path(sys.argv[1])).jobs())
except BatchError as exc:
    print("error:", exc)
"""


@pytest.mark.skipif(getattr(os, "geteuid", lambda: None)() != 0, reason="only root can become somebody else")
def test_a_registry_of_another_user_is_reported() -> None:
    """A registry that the user may not read is a BatchError, and is not moved."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        registry = Registry(Path(folder, "registry.db"))
        registry.add(job(), [PartRecord(0, 1)])
        registry.close()
        command = [sys.executable, "-c", STRANGER, str(registry.path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.stdout.startswith("error:"), done
        assert registry.path.exists()
