"""The registry's file: opening it, one transaction at a time, its schema, and what happens if it is damaged."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError, RegistryError
from openai_batch.files import paths

from .migrations import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATION_ID = 0x0BA7C401  # marks the file as ours (SQLite's `application_id`)
VERSION = len(MIGRATIONS)  # the schema that this program writes (SQLite's `user_version`)

_CREATION = threading.Lock()


class Database:
    """A SQLite file that many short processes share. It is opened at its first use; reading does not create it."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or paths.registry_file()
        self._connection: sqlite3.Connection | None = None
        self._writable = False
        self._process = os.getpid()
        self._inherited: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file."""
        self._leave_inherited()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _leave_inherited(self) -> None:
        """In a process that was forked, leave the connection of the other one: SQLite forbids to use or close it."""
        if self._process != os.getpid():
            self._process, self._inherited, self._connection = os.getpid(), self._connection, None

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """Open the file for reading; None if there is no registry yet. Raises UsageError if others could change it."""
        self._leave_inherited()
        if self._connection is None:
            paths.check_folder(self.path.parent)
            if not self.path.exists():
                yield None
                return
        with self._guarded():
            if self._connection is None:
                db = self._open()
                if self._check_version(db, migrate=False) == 0:  # another process is creating it
                    db.close()
                    yield None
                    return
                self._connection, self._writable = db, False
            yield self._connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run one `BEGIN IMMEDIATE` transaction. It is committed at the end, or rolled back on an error."""
        self._leave_inherited()
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
        """Turn errors of SQLite and of the disk into RegistryError. A damaged file is moved away first."""
        try:
            yield
        except BatchError:
            raise  # it says what is wrong, and the file is not damaged
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, UnicodeEncodeError):
            raise  # a bug of ours; the file is not damaged
        except sqlite3.OperationalError as exc:
            self.close()
            if str(exc).startswith(("no such ", "Could not decode ", "unsupported file format")):
                raise self._move_damaged(exc) from exc  # a table or a column is gone, or a text is not valid
            raise RegistryError(
                f"{self.path}: {exc}", hint="free some space, or set OBATCH_STATE_DIR to another folder"
            ) from exc
        except (sqlite3.DatabaseError, ValueError, TypeError, LookupError, AttributeError) as exc:
            self.close()
            raise self._move_damaged(exc) from exc
        except OSError as exc:
            raise RegistryError(
                f"{self.path}: {exc.strerror}", hint="OBATCH_STATE_DIR can name another folder"
            ) from exc

    def _move_damaged(self, cause: Exception) -> RegistryError:
        """Give a damaged file another name, without deleting it, and return the error to raise."""
        target = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        try:
            self.path.replace(target)
        except OSError as exc:
            return RegistryError(f"{self.path} is damaged ({cause}) and cannot be moved ({exc.strerror})")
        return RegistryError(
            f"the job registry was damaged ({cause}); it was moved to {target}",
            hint="`obatch recover` finds the batches again at their providers",
        )

    def _open(self) -> sqlite3.Connection:
        # "rw" does not create the file. It is not "ro" even for reading: SQLite must be able to roll back the
        # transaction of a killed process.
        # The garbage collector may close it in another thread; only one thread uses it.
        db = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=30,
            isolation_level=None,
            check_same_thread=False,
        )
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA foreign_keys = ON")
        return db

    def _create(self) -> sqlite3.Connection:
        paths.private_dir(self.path.parent)
        # Created here, since SQLite would create it readable for every user. An existing file is not opened: closing it
        # would release the locks that SQLite holds on it for other threads of this process.
        with _CREATION, contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        db = self._open()
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute("PRAGMA fullfsync = ON")  # for macOS, see `files.atomic.sync`
        self._check_version(db, migrate=True)
        return db

    def _check_version(self, db: sqlite3.Connection, *, migrate: bool) -> int:
        """Return the file's schema version; with `migrate`, after the missing steps. Raises RegistryError."""
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise RegistryError(
                f"{self.path} was written by a newer obatch (schema {version}, and this one supports {VERSION})",
                hint="upgrade openai-batch",
            )
        if version == VERSION or not migrate:
            return version
        if version:
            self._back_up(db, version)
        try:
            db.execute("BEGIN IMMEDIATE")
            # Read again inside the lock: another process may have migrated the file since.
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
        """Undo the transaction if one is open: an interruption may come before its BEGIN or after its COMMIT."""
        with contextlib.suppress(sqlite3.Error):
            if db.in_transaction:
                db.execute("ROLLBACK")

    def _back_up(self, db: sqlite3.Connection, version: int) -> None:
        """Copy the file before its schema changes. A copy of the same version that exists already is kept."""
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


def check_whole(db: sqlite3.Connection | None) -> None:
    """Raise DatabaseError if the file is damaged: then a row that is not found may exist anyway."""
    answer = "ok" if db is None else db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if answer != "ok":
        raise sqlite3.DatabaseError(" ".join(answer.split()))
