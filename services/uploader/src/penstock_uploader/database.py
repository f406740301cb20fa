"""The ledger's file: SQLite, opened by the running uploader alone.

The journal is a write-ahead log. `synchronous=NORMAL` means that a power cut may take back the last few
transactions, never tear one (SQLite, "PRAGMA synchronous"): then files are sent again, or answers read
again, and both are harmless. A crash of the process alone takes nothing back. Where source files are
removed, it is FULL: what is removed must be remembered.

`locking_mode=EXCLUSIVE` keeps others out, and needs no shared memory: it works on network mounts.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

from servicekit.exceptions import StateError
from servicekit.faults import crash_point, declare

SCHEMA_VERSION: Final = 3

_WRITES: Final = (
    "begin",
    "progress",
    "ending",
    "acknowledged",
    "aborting",
    "dropped",
    "answers",
    "disposing",
    "disposed",
    "forgotten",
)
declare(*(f"uploader.ledger.{name}.{when}" for name in _WRITES for when in ("before", "after")))

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,          -- relative to the watched directory
    partition INTEGER,
    version BLOB,                       -- the version that stands: acknowledged
    size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER, digest BLOB,  -- of that version
    recent INTEGER NOT NULL DEFAULT 0,  -- versions begun lately, see settle.py
    last_ms INTEGER NOT NULL DEFAULT 0, -- when the last one was begun
    gone_ms INTEGER                     -- since when there is no file at the path, as far as was looked
);

CREATE TABLE uploads (
    id BLOB PRIMARY KEY,
    file INTEGER NOT NULL,
    version BLOB NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    mode INTEGER,
    chunk_size INTEGER NOT NULL,
    chunks INTEGER NOT NULL DEFAULT 0,  -- acknowledged, from the first on without a gap
    digest BLOB,
    destinations TEXT NOT NULL,         -- names, one a line; none: all
    topic_id TEXT NOT NULL, partition INTEGER NOT NULL,
    first_offset INTEGER, last_offset INTEGER,
    closed_ns INTEGER NOT NULL,
    began_ms INTEGER NOT NULL,
    acknowledged_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX files_by_version ON files (version);
CREATE INDEX uploads_of_file ON uploads (file);
CREATE INDEX uploads_unfinished ON uploads (state) WHERE state IN ('sending', 'ending', 'aborting');
CREATE INDEX uploads_by_offset ON uploads (topic_id, partition, last_offset);

CREATE TABLE answers (
    version BLOB NOT NULL,
    destination TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    upload BLOB,                        -- the last upload that was answered, or sent because of the answer
    resends INTEGER NOT NULL DEFAULT 0,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (version, destination)
) WITHOUT ROWID;
CREATE INDEX answers_asking ON answers (version) WHERE outcome = 'again';

CREATE TABLE destinations (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE positions (topic_id TEXT, partition INTEGER, next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic_id, partition)) WITHOUT ROWID;
CREATE TABLE recalled (path BLOB, destination TEXT, upload BLOB NOT NULL, digest BLOB NOT NULL,
    PRIMARY KEY (path, destination)) WITHOUT ROWID;
CREATE TABLE recalled_asking (path BLOB, destination TEXT, upload BLOB NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (path, destination)) WITHOUT ROWID;
CREATE TABLE disposals (version BLOB PRIMARY KEY, path BLOB NOT NULL, action TEXT NOT NULL, target BLOB,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    digest BLOB NOT NULL) WITHOUT ROWID;
"""

_MIGRATIONS: Final[dict[int, str]] = {
    1: "ALTER TABLE files ADD COLUMN gone_ms INTEGER",
    2: "CREATE TABLE IF NOT EXISTS recalled_asking (path BLOB, destination TEXT, upload BLOB NOT NULL, "
    "reason TEXT NOT NULL, PRIMARY KEY (path, destination)) WITHOUT ROWID",
}
"""Schema version -> the statement that leads from it to the next one. Only forward: an older build refuses
a newer ledger."""


class Database:
    """The database at `path`; made if it is not there. For one thread.

    Raises StateError when another uploader has it, or when it is no ledger of ours.
    """

    def __init__(self, path: str, *, durable: bool = False, now_ms: int = 0, read_only: bool = False) -> None:
        """Open it; `durable`: for a power cut too; `now_ms`: its birth, if it is made.

        `read_only` is for looking while no uploader runs: nothing is made, locked or changed.
        """
        self.path = path
        try:
            if read_only:
                self.connection = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro", uri=True)
                self.is_new = False
                return
            self.connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            self.connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            self.connection.execute("PRAGMA journal_mode=WAL")
            self.connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self.connection.execute("PRAGMA cache_size=-8192")
            self.connection.execute("PRAGMA temp_store=MEMORY")
            self.connection.execute("PRAGMA journal_size_limit=16777216")
            self.is_new = self._prepare(now_ms)
        except sqlite3.Error as error:
            raise StateError(_explain(error, path)) from None

    def _prepare(self, now_ms: int) -> bool:
        self.connection.execute("BEGIN EXCLUSIVE")
        try:
            version = self.connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise StateError(
                    f"ledger {self.path!r} was written by a newer Penstock (schema {version}; this one knows "
                    f"{SCHEMA_VERSION}): use that, or move the ledger away and let all be looked at anew"
                )
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    if statement.strip():
                        self.connection.execute(statement)
                self.set_meta("born_ms", now_ms)
            else:
                for step in range(version, SCHEMA_VERSION):
                    self.connection.execute(_MIGRATIONS[step])
            self.connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            self.connection.execute("COMMIT")
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        return bool(version == 0 or self.meta("recalled", 0) == 0)

    def close(self) -> None:
        """Write back the journal and let go of the file."""
        self.connection.close()

    @contextmanager
    def write(self, name: str) -> Iterator[sqlite3.Connection]:
        """One transaction, by the name of its crash points; raises StateError."""
        crash_point(f"uploader.ledger.{name}.before")
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise StateError(_explain(error, self.path)) from None
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        crash_point(f"uploader.ledger.{name}.after")

    def all(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Give all rows of a question; raises StateError."""
        try:
            return self.connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StateError(_explain(error, self.path)) from None

    def meta(self, key: str, default: Any) -> Any:  # noqa: ANN401 - SQLite's values have no one type
        """Give a single value that is kept by name."""
        rows = self.all("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else default

    def set_meta(self, key: str, value: object) -> None:
        """Keep a value by name; within `write`."""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _explain(error: sqlite3.Error, path: str) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return f"ledger {path!r} is in use by another uploader: only one may watch a directory"
    if "not a database" in text or "malformed" in text:
        return (
            f"ledger {path!r} is damaged ({text}): move it away; what receipts prove to be delivered "
            f"will not be "
            "sent again"
        )
    if "readonly" in text or "unable to open" in text or "read-only" in text:
        return (
            f"ledger {path!r} cannot be written ({text}): make {os.path.dirname(path)!r} writable, "
            f"or name another --state-dir"
        )
    if "full" in text:
        return (
            f"ledger {path!r}: no space left: free some; nothing is lost, and sending goes on at "
            f"the next start"
        )
    return f"ledger {path!r}: {text}"
