"""The registry's schema: the SQL statements that each version added. A released step never changes."""

from __future__ import annotations

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            identity TEXT NOT NULL,
            uid TEXT NOT NULL UNIQUE,
            name TEXT UNIQUE,
            provider TEXT NOT NULL,
            base_url TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            window TEXT NOT NULL,
            model TEXT,
            metadata TEXT NOT NULL DEFAULT '{}',
            input_path TEXT,
            input_sha256 TEXT,
            input_bytes INTEGER NOT NULL DEFAULT 0,
            requests INTEGER NOT NULL DEFAULT 0,
            output_path TEXT,
            answered INTEGER,
            input_name TEXT,
            skipped INTEGER NOT NULL DEFAULT 0,
            created_at REAL NOT NULL
        )""",
        "CREATE INDEX jobs_identity ON jobs (identity)",
        """CREATE TABLE parts (
            job INTEGER NOT NULL REFERENCES jobs (id),
            number INTEGER NOT NULL,
            state TEXT NOT NULL,
            offset INTEGER NOT NULL DEFAULT 0,
            length INTEGER NOT NULL DEFAULT 0,
            requests INTEGER NOT NULL DEFAULT 0,
            source TEXT,
            first_row INTEGER NOT NULL DEFAULT 0,
            ids_offset INTEGER NOT NULL DEFAULT 0,
            sha256 TEXT,
            token TEXT,
            file_id TEXT,
            attempted_at REAL,
            batch_id TEXT,
            status TEXT,
            total INTEGER NOT NULL DEFAULT 0,
            completed INTEGER NOT NULL DEFAULT 0,
            failed INTEGER NOT NULL DEFAULT 0,
            output_file_id TEXT,
            error_file_id TEXT,
            created_at REAL,
            expires_at REAL,
            ended_at REAL,
            checked_at REAL,
            faults TEXT NOT NULL DEFAULT '[]',
            usage TEXT NOT NULL DEFAULT '{}',
            audits INTEGER NOT NULL DEFAULT 0,
            refusals INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (job, number)
        ) WITHOUT ROWID""",
        "CREATE INDEX parts_batch ON parts (batch_id)",
        """CREATE TABLE outputs (
            path TEXT NOT NULL,
            job INTEGER NOT NULL REFERENCES jobs (id),
            stamp TEXT,
            PRIMARY KEY (path, job)
        ) WITHOUT ROWID""",
        """CREATE TABLE limits (
            base_url TEXT NOT NULL,
            model TEXT NOT NULL,
            named INTEGER NOT NULL,
            tokens INTEGER NOT NULL,
            learned_at REAL NOT NULL,
            PRIMARY KEY (base_url, model, named)
        ) WITHOUT ROWID""",
        "CREATE TABLE recovered (base_url TEXT PRIMARY KEY) WITHOUT ROWID",
    ),
)
