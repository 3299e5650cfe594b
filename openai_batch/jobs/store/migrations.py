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
            account TEXT NOT NULL,
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
            created_at REAL NOT NULL,
            used_at REAL NOT NULL DEFAULT 0
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
            late_since REAL,
            audits INTEGER NOT NULL DEFAULT 0,
            refusals INTEGER NOT NULL DEFAULT 0,
            queued INTEGER NOT NULL DEFAULT 0,
            last_error TEXT,
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
            account TEXT NOT NULL,
            model TEXT NOT NULL,
            named INTEGER NOT NULL,
            tokens INTEGER NOT NULL,
            learned_at REAL NOT NULL,
            PRIMARY KEY (account, model, named)
        ) WITHOUT ROWID""",
        """CREATE TABLE accounts (
            source TEXT PRIMARY KEY,
            account TEXT NOT NULL,
            looked_through INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID""",
        """CREATE TABLE elsewhere (
            account TEXT NOT NULL,
            identity TEXT NOT NULL,
            batch_id TEXT NOT NULL,
            PRIMARY KEY (account, identity, batch_id)
        ) WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN output_form TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE jobs ADD COLUMN unanswered INTEGER",
        "ALTER TABLE jobs ADD COLUMN left_out INTEGER",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN max_cost TEXT",
        "ALTER TABLE parts ADD COLUMN costs TEXT",
    ),
    ("ALTER TABLE jobs ADD COLUMN deadline REAL",),
    (
        "ALTER TABLE parts ADD COLUMN phases TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE parts ADD COLUMN files_expire_at REAL",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN output_seconds INTEGER",
        "ALTER TABLE parts ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0",
    ),
)
