"""The job registry: a SQLite file with one row for each job and one for each part.

It uses the rollback journal and `synchronous=EXTRA`. Many short processes share it. Each change is one
`BEGIN IMMEDIATE` transaction, and no transaction stays open during a network call. It stores ids, hashes, counts,
times and paths, but no prompt, no answer and no key. Reading never creates the file.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from openai_batch.errors import NotFoundError, RegistryError, did_you_mean

from .database import Database, check_whole
from .records import IMPORTED, IMPORTED_URL, ROWS, UNIDENTIFIED, JobRecord, PartRecord, PartState
from .rows import JOB_FIELDS, LISTED_FIELDS, flat, packed, read_jobs, read_listed, read_part

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from .records import EarlierJobs, ListedJob

_T = TypeVar("_T")

_NEWEST = """SELECT max(id) FROM jobs WHERE identity = ? AND account = ? AND (
    NOT EXISTS (SELECT 1 FROM parts WHERE job = jobs.id) OR EXISTS (
        SELECT 1 FROM parts WHERE job = jobs.id AND (batch_id IS NOT NULL OR state NOT IN ('ended', 'collected'))))"""


_first_value = itemgetter(0)


class MovedOnError(RegistryError):
    """Another process has changed a part since it was read."""


class OvertakenError(MovedOnError):
    """Another process has started a job of the same input since this one was planned."""


class Registry(Database):
    """Jobs and parts on disk. Use one object for each thread; the file is opened at the first use.

    Every method raises RegistryError if the file cannot be read or written, or is damaged.
    """

    def add(
        self, job: JobRecord, parts: list[PartRecord], *, again: bool = False, earlier: EarlierJobs | None = None
    ) -> tuple[JobRecord, bool]:
        """Store a new job with its parts and return it with True, or the account's newest job of that identity.

        A job that was withdrawn before any part was sent does not count. `again` makes a new job in any case. The
        `id` in `job` is ignored. `earlier` are the jobs that it was compared with: it takes over the name if one of
        them has it. Raises OvertakenError if there is a later job of the same input, and RegistryError if another job
        has the name.
        """
        with self.writing() as db:
            known = db.execute(_NEWEST, (job.identity, job.account)).fetchone()[0]
            if known is not None and not again:
                return self._job(db, known), False
            # A new job will be paid for. A damaged file might hide that the job exists already.
            check_whole(db)
            if earlier is not None and earlier.newest is not None and not again:
                # Only jobs that planning again would compare with: any other one would raise this error for ever.
                of_input = _of_input(db, job.account, job.endpoint, job.input_name)
                newest = max((row[0] for row in of_input), default=0)
                if newest > earlier.newest:
                    raise OvertakenError("another process has started a job from the same input", hint="run it again")
            self._free_name(db, job.name, job.input_name, earlier)
            values = [packed(getattr(replace(job, used_at=time.time()), name)) for name in JOB_FIELDS]
            marks = ", ".join("?" * len(JOB_FIELDS))
            sql = f"INSERT INTO jobs ({', '.join(JOB_FIELDS)}) VALUES ({marks})"  # noqa: S608 - names of our own
            number = db.execute(sql, values).lastrowid
            for part in parts:
                self._insert_part(db, int(number or 0), part)
            return self._job(db, int(number or 0)), True

    def check_name(self, name: str | None, input_name: str | None, earlier: EarlierJobs) -> None:
        """Raise RegistryError if a job has the name that is not in `earlier` and has another input."""
        with self.reading() as db:
            if db is not None:
                self._is_taken(db, name, input_name, earlier)

    def job(self, number: int) -> JobRecord:
        """Return a job by its number, as it is stored now. Raises NotFoundError."""
        with self.reading() as db:
            if db is None:
                raise NotFoundError(f"no job {number}", hint="`obatch ls` shows the jobs")
            return self._job(db, number)

    def find(self, reference: str | None) -> JobRecord:
        """Return the job that a user means by a number, a name or a batch id; the one used last for None.

        Raises NotFoundError.
        """
        with self.reading() as db:
            number = None if db is None else self._resolve(db, reference)
            if db is not None and number is not None:
                return self._job(db, number)
            check_whole(db)
            names = () if db is None else db.execute("SELECT name FROM jobs WHERE name IS NOT NULL").fetchall()
        if reference is None:
            raise NotFoundError("there are no jobs yet", hint="`obatch run FILE` starts one")
        near = did_you_mean(reference, [name for (name,) in names if isinstance(name, str)])
        raise NotFoundError(f"no job {reference!r}", hint=near or "`obatch ls` shows the jobs")

    def by_identity(self, identity: str, account: str) -> JobRecord | None:
        """Return an account's newest job of that identity, or None.

        One that was withdrawn before it was sent does not count.
        """
        return self._first(_NEWEST, identity, account)

    def earlier(
        self, account: str, input_name: str | None, endpoint: str | None, *, output: str | None, name: str | None
    ) -> list[tuple[int, str, bool]]:
        """Return an account's jobs of an endpoint with this input, or with results at `output`, the newest first.

        Each is (number, mark, whether its results are at `output` or its name is `name`). The rows that programs have
        given count as one input, with a name or without.
        """
        with self.reading() as db:
            return [] if db is None else _of_input(db, account, endpoint, input_name, output, name)

    def at_output(self, path: str) -> dict[int, str | None]:
        """Return the jobs whose results are, or may be, at a path, each with the stamp of the file that it published.

        The stamp is None for a job that has not finished publishing.
        """
        return dict(self._query(tuple, "SELECT job, stamp FROM outputs WHERE path = ?", packed(path)))

    def by_batch(self, batch_id: str) -> list[JobRecord]:
        """Return the jobs that have a batch of this id: two providers may give two batches the same one."""
        return self._all("SELECT job FROM parts WHERE batch_id = ?", packed(batch_id))

    def by_uid(self, uid: str) -> JobRecord | None:
        """Return the job with this mark, or None."""
        return self._first("SELECT id FROM jobs WHERE uid = ?", uid)

    def imported(self, identity: str) -> JobRecord | None:
        """Return the job with this identity whose results were imported; some may be sent to a provider by now."""
        sql = (
            "SELECT id FROM jobs WHERE identity = ? AND (account = ? OR EXISTS (SELECT 1 FROM parts WHERE job = jobs.id"
            " AND batch_id IS NULL AND output_file_id LIKE ?)) ORDER BY id DESC LIMIT 1"
        )
        return self._first(sql, identity, IMPORTED_URL, f"{IMPORTED}%")

    def creating(self) -> list[PartRecord]:
        """Return the parts whose create request was sent, and whose answer is not stored."""
        return self._query(read_part, "SELECT * FROM parts WHERE state = 'creating'")

    def running(self, account: str, model: str | None, now: float) -> list[PartRecord]:
        """Return the parts whose batches run for a model at an account, as last seen.

        A batch that should have expired over an hour before `now` (Unix seconds) does not count: it is not polled.
        """
        sql = (
            "SELECT parts.* FROM parts JOIN jobs ON jobs.id = parts.job WHERE parts.state = 'running'"
            " AND jobs.account = ? AND jobs.model IS ? AND (parts.expires_at IS NULL OR parts.expires_at > ?)"
        )
        return self._query(read_part, sql, account, model, now - 3600)

    def ran_since(self, account: str, model: str | None, since: float) -> bool:
        """Return whether a batch of ours for a model has run at an account at any time after `since` (Unix seconds)."""
        sql = (
            "SELECT 1 FROM parts JOIN jobs ON jobs.id = parts.job WHERE jobs.account = ? AND jobs.model IS ?"
            " AND (parts.state = 'running' OR (parts.batch_id IS NOT NULL AND parts.checked_at >= ?)) LIMIT 1"
        )
        return bool(self._query(_first_value, sql, account, model, since))

    def durations(self, job: JobRecord) -> list[float]:
        """Return the seconds that jobs with the same account and model took, from the shortest to the longest."""
        sql = (
            "SELECT MAX(parts.ended_at) - MIN(parts.created_at) AS seconds FROM parts"
            " JOIN jobs ON jobs.id = parts.job WHERE jobs.account = ? AND jobs.model = ? AND jobs.id != ?"
            " GROUP BY parts.job HAVING MIN(parts.status) = 'completed' AND MAX(parts.status) = 'completed'"
            " AND COUNT(*) = COUNT(parts.ended_at) AND seconds IS NOT NULL ORDER BY seconds"
        )
        return self._query(lambda row: max(0.0, row[0]), sql, job.account, job.model, job.id)

    def limit(self, account: str, model: str | None, since: float, *, named: bool) -> int | None:
        """Return a model's limit of enqueued tokens that was learned after `since` (Unix seconds), or None.

        One from the future was learned before the clock was set back, and does not count: it would stay too long. With
        `named` it is the limit that the provider named, else the one that we guessed.
        """
        sql = "SELECT tokens FROM limits WHERE account = ? AND model = ? AND named = ?"
        sql += " AND learned_at > ? AND learned_at < ?"
        found: list[int] = self._query(_first_value, sql, account, model or "", named, since, time.time() + 60)
        return found[0] if found else None

    def set_limit(self, account: str, model: str | None, tokens: int, *, named: bool) -> None:
        """Store a model's limit of enqueued tokens at an account, which was named or guessed just now."""
        with self.writing() as db:
            sql = "INSERT OR REPLACE INTO limits (account, model, named, tokens, learned_at) VALUES (?, ?, ?, ?, ?)"
            db.execute(sql, (account, model or "", named, tokens, time.time()))

    def jobs(self, limit: int | None = None, provider: str | None = None) -> list[JobRecord]:
        """Return the jobs, of one provider if it is given, the newest first, at most `limit` of them."""
        with self.reading() as db:
            return [] if db is None else read_jobs(db, _newest_rows(db, ("*",), limit, provider))

    def listed(self, limit: int | None = None, provider: str | None = None) -> list[ListedJob]:
        """Return the same jobs as `jobs` with what a list shows, in a third of the time."""
        with self.reading() as db:
            if db is None:
                return []
            stored = {row["name"] for row in db.execute("PRAGMA table_info(jobs)")}
            # A file of an earlier schema has fewer columns.
            columns = (name if name in stored else f"NULL AS {name}" for name in LISTED_FIELDS)
            return read_listed(db, _newest_rows(db, columns, limit, provider))

    def count(self, provider: str | None = None) -> int:
        """Return how many jobs there are, of one provider if it is given."""
        sql = "SELECT COUNT(*) FROM jobs WHERE ? IS NULL OR provider = ?"
        return sum(self._query(_first_value, sql, provider, provider))

    def add_parts(self, number: int, parts: Iterable[PartRecord], **values: Any) -> None:
        """Store more parts of a job, and fields of the job if there are any, in one transaction."""
        with self.writing() as db:
            if values:
                self._update_job(db, number, values)
            for part in parts:
                self._insert_part(db, number, part)

    def part(self, part: PartRecord) -> PartRecord:
        """Return a part as it is now. Raises MovedOnError if it was replaced."""
        sql = "SELECT * FROM parts WHERE job = ? AND number = ?"
        found = self._query(read_part, sql, part.job, part.number)
        if not found:
            raise _moved_on(part.job)
        return found[0]

    def set_part(
        self, part: PartRecord, *, expect: PartState | None = None, same_batch: bool = False, **values: Any
    ) -> PartRecord:
        """Store fields of a part and return the part as it is then.

        With `expect` the change is made only if the part is in that state, with `same_batch` only if it has the
        batch that `part` has. With both, a part that has the batch and another state is returned as it is: a later
        state was stored in the meantime. Else raises MovedOnError if another process has changed it.
        """
        columns = flat(values)
        names = ", ".join(f"{name} = ?" for name in columns)
        sql = (
            f"UPDATE parts SET {names} WHERE job = ? AND number = ?"  # noqa: S608 - names of our own
            " AND (? IS NULL OR state = ?) AND (NOT ? OR batch_id IS ?)"
        )
        conditions = (part.job, part.number, expect, expect, same_batch, part.batch_id)
        with self.writing() as db:
            changed = db.execute(sql, [*columns.values(), *conditions]).rowcount
            row = db.execute("SELECT * FROM parts WHERE job = ? AND number = ?", (part.job, part.number)).fetchone()
            if not changed and not (expect and same_batch and row is not None and row["batch_id"] == part.batch_id):
                raise _moved_on(part.job)
            return read_part(row)

    def set_job(self, number: int, **values: Any) -> None:
        """Store fields of a job."""
        with self.writing() as db:
            self._update_job(db, number, values)

    def name(self, number: int, name: str, input_name: str | None) -> None:
        """Give a job a name; an earlier job of the same input loses it. Raises RegistryError if another job has it."""
        with self.writing() as db:
            self._free_name(db, name, input_name, None)
            db.execute("UPDATE jobs SET name = ? WHERE id = ?", (packed(name), number))

    def touch(self, number: int) -> None:
        """Store that a job is the one used last; if the registry cannot be written, it is not."""
        with contextlib.suppress(RegistryError):
            self.set_job(number, used_at=time.time())

    def set_output(self, number: int, path: str, stamp: str | None = None) -> None:
        """Store where a job's results will be written; with `stamp`, that the file with this stamp is there now.

        With `stamp`, the file no longer counts as a result of other jobs.
        """
        with self.writing() as db:
            if stamp is None:
                db.execute("UPDATE jobs SET output_path = ?, answered = NULL WHERE id = ?", (packed(path), number))
                db.execute("INSERT OR IGNORE INTO outputs (path, job) VALUES (?, ?)", (packed(path), number))
            else:
                db.execute("DELETE FROM outputs WHERE path = ? AND job != ?", (packed(path), number))
                db.execute("UPDATE outputs SET stamp = ? WHERE path = ? AND job = ?", (stamp, packed(path), number))

    def plan_again(self, job: JobRecord, parts: list[PartRecord], skipped: int) -> JobRecord:
        """Replace the parts of a job if none was sent yet, and return the job. Raises MovedOnError if one was."""
        with self.writing() as db:
            if any(part.state != PartState.PLANNED for part in self._job(db, job.id).parts):
                raise _moved_on(job.id)
            db.execute("DELETE FROM parts WHERE job = ?", (job.id,))
            for part in parts:
                self._insert_part(db, job.id, part)
            db.execute("UPDATE jobs SET skipped = ? WHERE id = ?", (skipped, job.id))
            return self._job(db, job.id)

    def cut(self, part: PartRecord, smaller: list[PartRecord]) -> None:
        """Replace a part without a batch by smaller ones. Raises MovedOnError if it has a batch by now."""
        with self.writing() as db:
            sql = "DELETE FROM parts WHERE job = ? AND number = ? AND state = ? AND batch_id IS NULL"
            if not db.execute(sql, (part.job, part.number, part.state)).rowcount:
                raise _moved_on(part.job)
            for new in smaller:
                self._insert_part(db, part.job, new)

    def lost_before(self) -> bool:
        """Return whether batches of ours may exist that this registry does not know.

        That is so if an earlier registry was damaged or deleted. A folder of a job that is not in this registry proves
        that: a job's row is stored before its folder is made.
        """
        if any(self.path.parent.glob(f"{self.path.name}.damaged-*")):
            return True
        folders = {path.name for path in (self.path.parent / "jobs").glob("*")}
        if not folders:
            return False
        with self.reading() as db:
            return db is None or bool(folders - {row[0] for row in db.execute("SELECT uid FROM jobs")})

    def account(self, source: str) -> str:
        """Return the account that a `Provider.account` stands for: the one that it was merged into, or itself."""
        found = self._query(_first_value, "SELECT account FROM accounts WHERE source = ?", source)
        return str(found[0]) if found else source

    def merge_accounts(self, source: str, account: str) -> None:
        """Store that `source` is another way to reach `account`: a batch of that account was listed there."""
        with self.writing() as db:
            db.execute("INSERT OR IGNORE INTO accounts (source, account) VALUES (?, ?)", (source, account))
            db.execute("UPDATE accounts SET account = ? WHERE account = ? OR source = ?", (account, source, source))
            db.execute("UPDATE jobs SET account = ? WHERE account = ?", (account, source))
            db.execute("UPDATE OR IGNORE elsewhere SET account = ? WHERE account = ?", (account, source))

    def looked_through(self, source: str) -> bool:
        """Return whether the batches of an account have been searched since this registry was created."""
        sql = "SELECT 1 FROM accounts WHERE source = ? AND looked_through = 1"
        return bool(self._query(_first_value, sql, source))

    def set_looked_through(self, source: str, elsewhere: Iterable[tuple[str, str]] = ()) -> None:
        """Store that the batches of an account have been searched.

        `elsewhere` are (identity, batch id) of batches that another machine started, or this one before it lost its
        registry. They do not become jobs here until the same input is submitted.
        """
        account = self.account(source)
        with self.writing() as db:
            db.execute("INSERT OR IGNORE INTO accounts (source, account) VALUES (?, ?)", (source, account))
            db.execute("UPDATE accounts SET looked_through = 1 WHERE source = ?", (source,))
            rows = [(account, identity, batch_id) for identity, batch_id in elsewhere]
            db.executemany("INSERT OR IGNORE INTO elsewhere (account, identity, batch_id) VALUES (?, ?, ?)", rows)

    def note_without_list(self, source: str) -> bool:
        """Store that an account does not list its batches; return whether that was not known before."""
        account = self.account(source)
        with self.writing() as db:
            db.execute("INSERT OR IGNORE INTO accounts (source, account) VALUES (?, ?)", (source, account))
            sql = "UPDATE accounts SET looked_through = 2 WHERE source = ? AND looked_through = 0"
            return db.execute(sql, (source,)).rowcount > 0

    def elsewhere(self, account: str, identity: str) -> list[str]:
        """Return the batches of a job that were seen at an account and belong to no job here."""
        sql = (
            "SELECT batch_id FROM elsewhere WHERE account = ? AND identity = ?"
            " AND NOT EXISTS (SELECT 1 FROM parts JOIN jobs ON jobs.id = parts.job"
            " WHERE parts.batch_id = elsewhere.batch_id AND jobs.account = elsewhere.account)"
        )
        return self._query(_first_value, sql, account, identity)

    def remove(self, job: JobRecord) -> None:
        """Remove a job. Its batches stay stored (`elsewhere`), so that the same input finds them again."""
        with self.writing() as db:
            rows = [(job.account, job.identity, batch_id) for batch_id in job.batch_ids]
            db.executemany("INSERT OR IGNORE INTO elsewhere (account, identity, batch_id) VALUES (?, ?, ?)", rows)
            for table in ("outputs", "parts"):
                db.execute(f"DELETE FROM {table} WHERE job = ?", (job.id,))  # noqa: S608 - a constant
            db.execute("DELETE FROM jobs WHERE id = ?", (job.id,))

    def unidentified(self, account: str, endpoint: str) -> list[JobRecord]:
        """Return the jobs of batches of ours whose marks do not say what was asked for (`UNIDENTIFIED`)."""
        sql = "SELECT id FROM jobs WHERE account = ? AND endpoint IN (?, '') AND identity LIKE ?"
        return self._all(sql, account, endpoint, f"{UNIDENTIFIED}%")

    def _free_name(
        self, db: sqlite3.Connection, name: str | None, input_name: str | None, earlier: EarlierJobs | None
    ) -> None:
        """Take a name away from the earlier job that has it. Raises RegistryError if another job has it."""
        if self._is_taken(db, name, input_name, earlier):
            db.execute("UPDATE jobs SET name = NULL WHERE name = ?", (packed(name),))

    def _is_taken(
        self, db: sqlite3.Connection, name: str | None, input_name: str | None, earlier: EarlierJobs | None
    ) -> bool:
        """Return whether an earlier job, or one of the same input, has the name.

        Raises RegistryError if another job has it.
        """
        row = db.execute("SELECT id, input_name FROM jobs WHERE name = ?", (packed(name),)).fetchone()
        same_input = row is not None and row[1] is not None and row[1] == packed(input_name)
        if row is not None and not same_input and (earlier is None or row[0] not in earlier.used):
            raise RegistryError(f"there is already a job named {name!r}", hint="choose another --name")
        return row is not None

    def _update_job(self, db: sqlite3.Connection, number: int, values: dict[str, Any]) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        sql = f"UPDATE jobs SET {names} WHERE id = ?"  # noqa: S608 - names of our own
        db.execute(sql, [*(packed(value) for value in values.values()), number])

    def _insert_part(self, db: sqlite3.Connection, job: int, part: PartRecord) -> None:
        values = flat({name: getattr(part, name) for name in PartRecord.__dataclass_fields__} | {"job": job})
        marks = ", ".join("?" * len(values))
        db.execute(f"INSERT INTO parts ({', '.join(values)}) VALUES ({marks})", list(values.values()))  # noqa: S608

    def _resolve(self, db: sqlite3.Connection, reference: str | None) -> int | None:
        """Return the number of the job that a user means, or None."""
        queries: list[tuple[str, tuple[Any, ...]]]
        if reference is None:
            queries = [("SELECT id FROM jobs ORDER BY used_at DESC, id DESC LIMIT 1", ())]
        else:
            queries = [
                ("SELECT id FROM jobs WHERE name = ?", (packed(reference),)),
                ("SELECT job FROM parts WHERE batch_id = ?", (packed(reference),)),
            ]
            if reference.isascii() and reference.isdigit() and len(reference) < 18:  # noqa: PLR2004 - fits an integer
                queries.insert(0, ("SELECT id FROM jobs WHERE id = ?", (int(reference),)))
        for sql, values in queries:
            row = db.execute(sql, values).fetchone()
            if row is not None and row[0] is not None:
                return int(row[0])
        return None

    def _query(self, read: Callable[[Any], _T], sql: str, *values: Any) -> list[_T]:
        """Return what `read` makes of each row that a query finds; nothing if there is no registry yet."""
        with self.reading() as db:
            return [] if db is None else [read(row) for row in db.execute(sql, values)]

    def _first(self, sql: str, *values: str | bytes) -> JobRecord | None:
        """Return the job whose number a query with these values finds, or None."""
        return next(iter(self._all(sql, *values)), None)

    def _all(self, sql: str, *values: str | bytes) -> list[JobRecord]:
        """Return the jobs whose numbers a query with these values finds."""
        with self.reading() as db:
            rows = [] if db is None else db.execute(sql, values).fetchall()
            return [self._job(db, row[0]) for row in rows if db is not None and row[0] is not None]

    def _job(self, db: sqlite3.Connection, number: int) -> JobRecord:
        row = db.execute("SELECT * FROM jobs WHERE id = ?", (number,)).fetchone()
        if row is None:
            check_whole(db)
            raise NotFoundError(f"no job {number}", hint="`obatch ls` shows the jobs")
        return read_jobs(db, [row])[0]


def _newest_rows(
    db: sqlite3.Connection, columns: Iterable[str], limit: int | None, provider: str | None
) -> list[sqlite3.Row]:
    """Return columns of the newest jobs, of one provider if it is given."""
    sql = f"SELECT {', '.join(columns)} FROM jobs WHERE ? IS NULL OR provider = ? ORDER BY id DESC LIMIT ?"  # noqa: S608
    return db.execute(sql, (provider or None, provider, -1 if limit is None else limit)).fetchall()


def _of_input(
    db: sqlite3.Connection,
    account: str,
    endpoint: str | None,
    input_name: str | None,
    output: str | None = None,
    name: str | None = None,
) -> list[tuple[int, str, bool]]:
    """Return the jobs that have this input, or results at the path `output`, the newest first: see `Registry.earlier`.

    The rows that programs have given count as one input, with a name or without. A job of imported
    results counts for any account.
    """
    rows = input_name is None or input_name.startswith(ROWS)
    sql = (
        "SELECT id, uid, name = ? OR id IN (SELECT job FROM outputs WHERE path = ?) FROM jobs"
        " WHERE account IN (?, ?) AND endpoint = ? AND"
        " (input_name IS ? OR (? AND (input_name IS NULL OR input_name LIKE ?))"
        " OR id IN (SELECT job FROM outputs WHERE path = ?)) ORDER BY id DESC"
    )
    by_output = (packed(name), packed(output), account, IMPORTED_URL, endpoint)
    values = (*by_output, packed(input_name), rows, f"{ROWS}%", packed(output))
    return [(row[0], row[1], bool(row[2])) for row in db.execute(sql, values)]


def _moved_on(job: int) -> MovedOnError:
    return MovedOnError(f"another process has changed job {job} in the meantime", hint=f"see `obatch status {job}`")
