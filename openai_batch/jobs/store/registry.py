"""The job registry: the one module of the client that knows SQL.

A SQLite file with the rollback journal and `synchronous=EXTRA`: many short processes share it, each change
is one `BEGIN IMMEDIATE` transaction, and no transaction is held over a network call. It holds ids, hashes,
counts, times and paths; no prompt, no answer, no key. Reading creates nothing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from openai_batch.errors import NotFoundError, RegistryError
from openai_batch.files import paths

from .migrations import MIGRATIONS
from .records import PLANNED, JobRecord, PartRecord
from .rows import JOB_FIELDS, flat, packed, read_job, read_part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .records import EarlierJobs

APPLICATION_ID = 0x0BA7C401
"""Marks the file as ours (SQLite's `application_id`)."""

VERSION = len(MIGRATIONS)
"""The schema that this program writes (SQLite's `user_version`)."""

_NEWEST = """SELECT max(id) FROM jobs WHERE identity = ? AND (
    NOT EXISTS (SELECT 1 FROM parts WHERE job = jobs.id) OR EXISTS (
        SELECT 1 FROM parts WHERE job = jobs.id AND (batch_id IS NOT NULL OR state NOT IN ('ended', 'collected'))))"""


class MovedOnError(RegistryError):
    """Another process has moved a part on meanwhile."""


class OvertakenError(MovedOnError):
    """Another process has started a job of the same input since this one looked."""


class Registry:
    """Jobs and parts on disk. Use one object a process; it opens the file when first asked."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or paths.registry_file()
        self._connection: sqlite3.Connection | None = None
        self._writable = False

    def add(
        self, job: JobRecord, parts: list[PartRecord], *, again: bool = False, earlier: EarlierJobs | None = None
    ) -> tuple[JobRecord, bool]:
        """Write a new job with its parts and return it with True, or the newest job of that identity with False.

        One that was withdrawn before anything of it was sent does not count. `again` asks for a new job in any case.
        The id in `job` is ignored. `earlier` are the jobs that were looked at for it: a name of theirs becomes its
        own. Raises OvertakenError if there is a later one of the same input, RegistryError if the name is taken.
        """
        with self._writing() as db:
            found = db.execute(_NEWEST, (job.identity,)).fetchone()[0]
            if found is not None and not again:
                return self._job(db, found), False
            # What is new will be paid for: a damaged file must not hide that it is not new.
            _check_whole(db)
            if earlier is not None and earlier.newest is not None and not again:
                # None but those that `earlier` tells of: what looking again does not show would be met for ever.
                sql = "SELECT max(id) FROM jobs WHERE endpoint = ? AND input_name = ?"
                if (db.execute(sql, (job.endpoint, packed(job.input_name))).fetchone()[0] or 0) > earlier.newest:
                    raise OvertakenError("another process has started a job of the same input", hint="run it again")
            self._free_name(db, job.name, earlier)
            values = [packed(getattr(job, name)) for name in JOB_FIELDS]
            marks = ", ".join("?" * len(JOB_FIELDS))
            sql = f"INSERT INTO jobs ({', '.join(JOB_FIELDS)}) VALUES ({marks})"  # noqa: S608 - names of our own
            number = db.execute(sql, values).lastrowid
            for part in parts:
                self._insert_part(db, int(number or 0), part)
            return self._job(db, int(number or 0)), True

    def check_name(self, name: str | None, earlier: EarlierJobs) -> None:
        """Raise RegistryError if the name is taken by a job that is none of `earlier`."""
        with self._reading() as db:
            if db is not None:
                self._named(db, name, earlier)

    def job(self, number: int) -> JobRecord:
        """Return a job by its number, as it stands now. Raises NotFoundError."""
        with self._reading() as db:
            if db is None:
                raise NotFoundError(f"no job {number}", hint="`obatch ls` shows the jobs")
            return self._job(db, number)

    def find(self, reference: str | None) -> JobRecord:
        """Return the job that a user means: by number, name or batch id; the latest one for None.

        Raises NotFoundError.
        """
        with self._reading() as db:
            number = None if db is None else self._resolve(db, reference)
            if db is not None and number is not None:
                return self._job(db, number)
            _check_whole(db)
        if reference is None:
            raise NotFoundError("there are no jobs yet", hint="obatch submit FILE starts one")
        raise NotFoundError(f"no job {reference!r}", hint="`obatch ls` shows the jobs")

    def by_identity(self, identity: str) -> JobRecord | None:
        """Return the newest job of that identity that was not withdrawn whole, or None."""
        with self._reading() as db:
            if db is None:
                return None
            found = db.execute(_NEWEST, (identity,)).fetchone()[0]
            return None if found is None else self._job(db, found)

    def earlier(self, input_name: str | None, output_path: str | None, endpoint: str | None) -> list[int]:
        """Return the jobs for an endpoint made of what is named `input_name`, or with results at `output_path`.

        The newest comes first.
        """
        with self._reading() as db:
            if db is None:
                return []
            sql = (
                "SELECT id FROM jobs WHERE endpoint = ? AND"
                " (input_name = ? OR id IN (SELECT job FROM outputs WHERE path = ?)) ORDER BY id DESC"
            )
            return [row[0] for row in db.execute(sql, (endpoint, packed(input_name), packed(output_path)))]

    def at_output(self, path: str) -> dict[int, str | None]:
        """Return the jobs whose results lie at a path, or may, and the stamp of each as published (None: it is not)."""
        with self._reading() as db:
            if db is None:
                return {}
            return dict(db.execute("SELECT job, stamp FROM outputs WHERE path = ?", (packed(path),)).fetchall())

    def by_batch(self, batch_id: str) -> JobRecord | None:
        """Return the job that owns a batch, or None."""
        with self._reading() as db:
            if db is None:
                return None
            row = db.execute("SELECT job FROM parts WHERE batch_id = ?", (packed(batch_id),)).fetchone()
            return None if row is None else self._job(db, row[0])

    def by_uid(self, uid: str) -> JobRecord | None:
        """Return the job that bears this mark, or None."""
        with self._reading() as db:
            if db is None:
                return None
            row = db.execute("SELECT id FROM jobs WHERE uid = ?", (uid,)).fetchone()
            return None if row is None else self._job(db, row[0])

    def creating(self) -> list[PartRecord]:
        """Return the parts whose create was sent and never answered, as far as this registry knows."""
        with self._reading() as db:
            if db is None:
                return []
            return [read_part(row) for row in db.execute("SELECT * FROM parts WHERE state = 'creating'")]

    def running(self, base_url: str, model: str | None, now: float) -> list[PartRecord]:
        """Return the parts whose batches run for a model at a provider, as last seen.

        Those that have outlived their window by an hour (`now` in Unix seconds) do not: nobody has looked since.
        """
        with self._reading() as db:
            if db is None:
                return []
            sql = (
                "SELECT parts.* FROM parts JOIN jobs ON jobs.id = parts.job WHERE parts.state = 'running'"
                " AND jobs.base_url = ? AND jobs.model IS ? AND (parts.expires_at IS NULL OR parts.expires_at > ?)"
            )
            return [read_part(row) for row in db.execute(sql, (base_url, model, now - 3600))]

    def ran_since(self, base_url: str, model: str | None, since: float) -> bool:
        """Tell whether a batch of ours for a model ran at a provider at any time from `since` (Unix seconds) on."""
        with self._reading() as db:
            if db is None:
                return False
            sql = (
                "SELECT 1 FROM parts JOIN jobs ON jobs.id = parts.job WHERE jobs.base_url = ? AND jobs.model IS ?"
                " AND (parts.state = 'running' OR (parts.batch_id IS NOT NULL AND parts.checked_at >= ?))"
            )
            return db.execute(sql, (base_url, model, since)).fetchone() is not None

    def limit(self, base_url: str, model: str | None, since: float, *, named: bool) -> int | None:
        """Return the limit of enqueued tokens of a model that was learned after `since` (Unix seconds), or None.

        `named` asks for what the provider has said, else for what was guessed.
        """
        with self._reading() as db:
            if db is None:
                return None
            sql = "SELECT tokens FROM limits WHERE base_url = ? AND model = ? AND named = ? AND learned_at > ?"
            row = db.execute(sql, (base_url, model or "", named, since)).fetchone()
            return None if row is None else int(row[0])

    def set_limit(self, base_url: str, model: str | None, tokens: int, *, named: bool) -> None:
        """Write down the limit of enqueued tokens of a model at a provider, as it was said or guessed just now."""
        with self._writing() as db:
            sql = "INSERT OR REPLACE INTO limits (base_url, model, named, tokens, learned_at) VALUES (?, ?, ?, ?, ?)"
            db.execute(sql, (base_url, model or "", named, tokens, time.time()))

    def add_part(self, part: PartRecord) -> PartRecord:
        """Write one more part of a job."""
        with self._writing() as db:
            self._insert_part(db, part.job, part)
        return part

    def jobs(self, limit: int | None = None, provider: str | None = None) -> list[JobRecord]:
        """Return the newest jobs first, at most `limit` of them."""
        with self._reading() as db:
            if db is None:
                return []
            where, values = ("WHERE provider = ? ", [provider]) if provider else ("", [])
            sql = f"SELECT * FROM jobs {where}ORDER BY id DESC LIMIT ?"  # noqa: S608 - a constant
            rows = db.execute(sql, [*values, -1 if limit is None else limit]).fetchall()
            if not rows:
                return []
            parts: dict[int, list[PartRecord]] = {}
            for row in db.execute("SELECT * FROM parts WHERE job >= ? ORDER BY job, number", (rows[-1]["id"],)):
                parts.setdefault(row["job"], []).append(read_part(row))
            return [read_job(row, parts.get(row["id"], [])) for row in rows]

    def set_part(
        self, part: PartRecord, *, expect: str | None = None, same_batch: bool = False, **values: Any
    ) -> PartRecord:
        """Write fields of a part and return it as it then stands.

        With `expect` the change is made only if the part is in that state, with `same_batch` only if it has the
        batch that `part` has. Raises MovedOnError if another process has moved it on.
        """
        packed = flat(values)
        names = ", ".join(f"{name} = ?" for name in packed)
        sql = (
            f"UPDATE parts SET {names} WHERE job = ? AND number = ?"  # noqa: S608 - names of our own
            " AND (? IS NULL OR state = ?) AND (NOT ? OR batch_id IS ?)"
        )
        conditions = (part.job, part.number, expect, expect, same_batch, part.batch_id)
        with self._writing() as db:
            if not db.execute(sql, [*packed.values(), *conditions]).rowcount:
                raise _moved_on(part.job)
            row = db.execute("SELECT * FROM parts WHERE job = ? AND number = ?", (part.job, part.number)).fetchone()
            return read_part(row)

    def set_job(self, number: int, **values: Any) -> None:
        """Write fields of a job."""
        names = ", ".join(f"{name} = ?" for name in values)
        with self._writing() as db:
            sql = f"UPDATE jobs SET {names} WHERE id = ?"  # noqa: S608 - names of our own
            db.execute(sql, [*(packed(value) for value in values.values()), number])

    def set_output(self, number: int, path: str, stamp: str | None = None) -> None:
        """Write down where a job's results are about to lie; with `stamp`, that they do.

        What other jobs had there is theirs no longer then.
        """
        with self._writing() as db:
            if stamp is None:
                db.execute("UPDATE jobs SET output_path = ?, succeeded = NULL WHERE id = ?", (packed(path), number))
                db.execute("INSERT OR IGNORE INTO outputs (path, job) VALUES (?, ?)", (packed(path), number))
            else:
                db.execute("DELETE FROM outputs WHERE path = ? AND job != ?", (packed(path), number))
                db.execute("UPDATE outputs SET stamp = ? WHERE path = ? AND job = ?", (stamp, packed(path), number))

    def plan_anew(self, job: JobRecord, parts: list[PartRecord], skipped: int) -> JobRecord:
        """Give a job of which nothing was sent yet other parts. Raises MovedOnError if something was."""
        with self._writing() as db:
            if any(part.state != PLANNED for part in self._job(db, job.id).parts):
                raise _moved_on(job.id)
            db.execute("DELETE FROM parts WHERE job = ?", (job.id,))
            for part in parts:
                self._insert_part(db, job.id, part)
            db.execute("UPDATE jobs SET skipped = ? WHERE id = ?", (skipped, job.id))
            return self._job(db, job.id)

    def cut(self, part: PartRecord, pieces: list[PartRecord]) -> None:
        """Put several parts in the place of one of which no batch was made. Raises MovedOnError if one was."""
        with self._writing() as db:
            sql = "DELETE FROM parts WHERE job = ? AND number = ? AND state = ? AND batch_id IS NULL"
            if not db.execute(sql, (part.job, part.number, part.state)).rowcount:
                raise _moved_on(part.job)
            for piece in pieces:
                self._insert_part(db, part.job, piece)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """Open for reading; None where there is no registry yet."""
        if self._connection is None and not self.path.exists():
            yield None
            return
        with self._guarded():
            if self._connection is None:
                db = self._open()
                if self._check_version(db, migrate=False) == 0:  # another process is just making it
                    db.close()
                    yield None
                    return
                self._connection, self._writable = db, False
            yield self._connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One `BEGIN IMMEDIATE` transaction; committed at the end, rolled back on an error."""
        with self._guarded():
            if self._connection is None or not self._writable:
                self.close()
                self._connection = self._create()
                self._writable = True
            db = self._connection
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except BaseException:
                self._roll_back(db)
                raise

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, UnicodeEncodeError):
            raise  # a mistake of ours is no damage
        except sqlite3.OperationalError as exc:
            self.close()
            if str(exc).startswith(("no such ", "Could not decode ", "unsupported file format")):
                raise self._set_aside(exc) from exc  # a table or a column of ours is gone, or a text is no text
            raise RegistryError(
                f"{self.path}: {exc}", hint="make room, or set OBATCH_STATE_DIR to another folder"
            ) from exc
        except (sqlite3.DatabaseError, ValueError, TypeError, LookupError, AttributeError) as exc:
            self.close()
            raise self._set_aside(exc) from exc
        except OSError as exc:
            raise RegistryError(f"{self.path}: {exc.strerror}", hint="OBATCH_STATE_DIR can point elsewhere") from exc

    def _set_aside(self, cause: Exception) -> RegistryError:
        """Move a damaged file out of the way, never deleting it, and return the error that tells."""
        target = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        try:
            self.path.replace(target)
        except OSError as exc:
            return RegistryError(f"{self.path} is damaged ({cause}) and cannot be moved ({exc.strerror})")
        return RegistryError(
            f"the job registry was damaged ({cause}); it is now {target}",
            hint="obatch recover finds the batches again at their providers",
        )

    def lost_before(self) -> bool:
        """Tell whether batches may exist that this registry never knew: an earlier one was damaged, or deleted.

        A folder of a job that this one does not know is proof, since a job's row is written before its folder.
        """
        if any(self.path.parent.glob(f"{self.path.name}.damaged-*")):
            return True
        folders = {path.name for path in (self.path.parent / "jobs").glob("*")}
        if not folders:
            return False
        with self._reading() as db:
            return db is None or bool(folders - {row[0] for row in db.execute("SELECT uid FROM jobs")})

    def recovered(self, base_url: str) -> bool:
        """Tell whether the batches at `base_url` have been looked through since the registry began."""
        with self._reading() as db:
            return db is not None and bool(
                db.execute("SELECT 1 FROM recovered WHERE base_url = ?", (base_url,)).fetchone()
            )

    def set_recovered(self, base_url: str) -> None:
        """Note that the batches at `base_url` have been looked through."""
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO recovered (base_url) VALUES (?)", (base_url,))

    def _open(self) -> sqlite3.Connection:
        # Never created here, and for reading too not "ro": what a killed process left half written must be undone.
        db = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=rw", uri=True, timeout=30, isolation_level=None)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA foreign_keys = ON")
        return db

    def _create(self) -> sqlite3.Connection:
        paths.private_dir(self.path.parent)
        # Made by hand first, since SQLite would make it readable by everybody.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        db = self._open()
        db.execute("PRAGMA synchronous = EXTRA")
        self._check_version(db, migrate=True)
        return db

    def _check_version(self, db: sqlite3.Connection, *, migrate: bool) -> int:
        """Return the file's schema version, after bringing it up to date if `migrate`."""
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise RegistryError(
                f"{self.path} was written by a newer obatch (schema {version}, and this one knows {VERSION})",
                hint="upgrade openai-batch",
            )
        if version == VERSION or not migrate:
            return version
        if version:
            self._back_up(db, version)
        try:
            db.execute("BEGIN IMMEDIATE")
            # Asked again inside the lock: another process may have done it meanwhile.
            version = db.execute("PRAGMA user_version").fetchone()[0]
            for step in MIGRATIONS[version:]:
                for statement in step:
                    db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")
        except BaseException:
            self._roll_back(db)
            raise
        return VERSION

    def _roll_back(self, db: sqlite3.Connection) -> None:
        """Undo a transaction, if there is one: an interruption may come before its BEGIN or after its COMMIT."""
        with contextlib.suppress(sqlite3.Error):
            if db.in_transaction:
                db.execute("ROLLBACK")

    def _back_up(self, db: sqlite3.Connection, version: int) -> None:
        """Copy the file as it is before its schema changes; an older copy of the same version stands."""
        target = self.path.with_name(f"{self.path.name}.schema-{version}")
        try:
            os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return
        copy = sqlite3.connect(target)
        try:
            db.backup(copy)
        finally:
            copy.close()

    def _free_name(self, db: sqlite3.Connection, name: str | None, earlier: EarlierJobs | None) -> None:
        if self._named(db, name, earlier):
            db.execute("UPDATE jobs SET name = NULL WHERE name = ?", (packed(name),))

    def _named(self, db: sqlite3.Connection, name: str | None, earlier: EarlierJobs | None) -> bool:
        """Tell whether an earlier job has that name. Raises RegistryError if another one has it."""
        row = db.execute("SELECT id FROM jobs WHERE name = ?", (packed(name),)).fetchone()
        if row is not None and (earlier is None or row[0] not in earlier.used):
            raise RegistryError(f"there is a job named {name!r} already", hint="choose another --name")
        return row is not None

    def _insert_part(self, db: sqlite3.Connection, job: int, part: PartRecord) -> None:
        values = {"job": job, "number": part.number, "state": part.state} | flat(
            {
                name: getattr(part, name)
                for name in PartRecord.__dataclass_fields__
                if name not in ("job", "number", "state")
            }
        )
        marks = ", ".join("?" * len(values))
        db.execute(f"INSERT INTO parts ({', '.join(values)}) VALUES ({marks})", list(values.values()))  # noqa: S608

    def _resolve(self, db: sqlite3.Connection, reference: str | None) -> int | None:
        questions: list[tuple[str, tuple[Any, ...]]]
        if reference is None:
            questions = [("SELECT max(id) FROM jobs", ())]
        else:
            questions = [
                ("SELECT id FROM jobs WHERE name = ?", (packed(reference),)),
                ("SELECT job FROM parts WHERE batch_id = ?", (packed(reference),)),
            ]
            if reference.isascii() and reference.isdigit() and len(reference) < 18:  # noqa: PLR2004 - fits an integer
                questions.insert(0, ("SELECT id FROM jobs WHERE id = ?", (int(reference),)))
        for sql, values in questions:
            row = db.execute(sql, values).fetchone()
            if row is not None and row[0] is not None:
                return int(row[0])
        return None

    def _job(self, db: sqlite3.Connection, number: int) -> JobRecord:
        row = db.execute("SELECT * FROM jobs WHERE id = ?", (number,)).fetchone()
        if row is None:
            _check_whole(db)
            raise NotFoundError(f"no job {number}", hint="`obatch ls` shows the jobs")
        parts = db.execute("SELECT * FROM parts WHERE job = ? ORDER BY number", (number,)).fetchall()
        return read_job(row, [read_part(part) for part in parts])


def _check_whole(db: sqlite3.Connection | None) -> None:
    """Raise DatabaseError for a damaged file: what is not found in one may well be there."""
    checked = "ok" if db is None else db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if checked != "ok":
        raise sqlite3.DatabaseError(" ".join(checked.split()))


def _moved_on(job: int) -> MovedOnError:
    return MovedOnError(f"job {job} was changed by another process meanwhile", hint=f"see `obatch status {job}`")
