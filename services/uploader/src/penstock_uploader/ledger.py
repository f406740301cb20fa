"""What was sent, and what became of it: SQLite, opened by the running uploader alone.

Four things are remembered: files (by path, for ever: their partition is pinned), the uploads of the version
of each that stands, what destinations answered to that version, and how far the answers were read.

A *version* is what a file held at one time. It is named by the id of its first upload; later uploads of it
are those that destinations asked for. Once a newer version is acknowledged, the older one is forgotten.

The journal is a write-ahead log. `synchronous=NORMAL` means that a power cut may take back the last few
transactions, never tear one (SQLite, "PRAGMA synchronous"): then files are sent again, or answers read
again, and both are harmless. A crash of the process alone takes nothing back. Where source files are
removed, it is FULL: what is removed must be remembered.

`locking_mode=EXCLUSIVE` keeps others out, and needs no shared memory: it works on network mounts.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

from chunkproto import UploadId
from chunkproto.paths import decode_path, encode_path
from penstock_uploader.settle import MEMORY_SECONDS, backoff_seconds
from servicekit.exceptions import StateError
from servicekit.faults import crash_point, declare
from servicekit.filesystem import Fingerprint

SCHEMA_VERSION: Final = 1

EVERYONE: Final = ""
"""Stands for all destinations where one is named."""

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
    last_ms INTEGER NOT NULL DEFAULT 0  -- when the last one was begun
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
CREATE TABLE disposals (version BLOB PRIMARY KEY, path BLOB NOT NULL, action TEXT NOT NULL, target BLOB,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    digest BLOB NOT NULL) WITHOUT ROWID;
"""

_MIGRATIONS: Final[dict[int, str]] = {}
"""Schema version -> SQL that leads from it to the next one. Only forward: an older build refuses a newer
ledger."""


class State(StrEnum):
    """What an upload has come to."""

    SENDING = "sending"
    ENDING = "ending"
    """All chunks are acknowledged; its end, with this digest, may be on its way."""
    ABORTING = "aborting"
    ACKNOWLEDGED = "acknowledged"


class Outcome(StrEnum):
    """What a destination said of a version."""

    DELIVERED = "delivered"
    SKIPPED = "skipped"
    AGAIN = "again"
    """It asked for the file again; that has not begun yet."""
    RESENT = "resent"
    """It was sent again, and no answer has come to that."""
    FAILED = "failed"
    """It refused for good, or the file cannot be sent again."""


FINAL: Final = frozenset({Outcome.DELIVERED, Outcome.SKIPPED})


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A path that was met before. `fingerprint` and `digest` are of the version that stands."""

    id: int
    path: str
    partition: int | None
    version: UploadId | None
    fingerprint: Fingerprint | None
    digest: bytes | None
    recent: int
    last_ms: int

    def not_before_ms(self) -> int:
        """When the next version may be sent, at the earliest; milliseconds since 1970."""
        return self.last_ms + int(backoff_seconds(self.recent) * 1000)


@dataclass(frozen=True, slots=True)
class Upload:
    """One sending of one version of a file."""

    id: UploadId
    file: int
    path: str
    version: UploadId
    state: State
    fingerprint: Fingerprint
    mode: int | None
    chunk_size: int
    chunks: int
    digest: bytes | None
    to: tuple[str, ...]
    topic_id: str
    partition: int
    first_offset: int | None
    last_offset: int | None
    closed_ns: int
    began_ms: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """An upload that is about to be sent."""

    id: UploadId
    path: str
    version: UploadId
    fingerprint: Fingerprint
    mode: int | None
    chunk_size: int
    digest: bytes | None
    to: tuple[str, ...]
    topic_id: str
    partition: int
    closed_ns: int
    began_ms: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An upload all of whose records Kafka has."""

    id: UploadId
    path: str
    version: UploadId
    chunks: int
    first_offset: int
    last_offset: int
    fingerprint: Fingerprint
    digest: bytes
    at_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a destination has said of a version."""

    destination: str
    outcome: Outcome
    reason: str | None
    upload: UploadId | None
    resends: int


@dataclass(frozen=True, slots=True)
class Resend:
    """A version that is to be sent again. `to` may be EVERYONE alone."""

    version: UploadId
    path: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recalled:
    """What receipts say of a path that this ledger does not know."""

    upload: UploadId
    digest: bytes
    destinations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disposal:
    """A source file that is being removed or moved away."""

    version: UploadId
    path: str
    action: str
    target: str | None
    fingerprint: Fingerprint
    digest: bytes


_FILE_COLUMNS: Final = (
    "id, path, partition, version, size, mtime_ns, ctime_ns, inode, digest, recent, last_ms"
)
_UPLOAD_COLUMNS: Final = (
    "u.id, u.file, f.path, u.version, u.state, u.size, u.mtime_ns, u.ctime_ns, u.inode, u.mode, "
    "u.chunk_size, "
    "u.chunks, u.digest, u.destinations, u.topic_id, u.partition, u.first_offset, u.last_offset, "
    "u.closed_ns, "
    "u.began_ms"
)


class Ledger:
    """The ledger at `path`; made if it is not there. For one thread.

    Raises StateError when another uploader has it, or when it is no ledger of ours.
    """

    def __init__(self, path: str, *, durable: bool = False, now_ms: int = 0, read_only: bool = False) -> None:
        """Open it; `durable`: for a power cut too; `now_ms`: its birth, if it is made.

        `read_only` is for looking while no uploader runs: nothing is made, locked or changed.
        """
        self.path = path
        try:
            if read_only:
                self._db = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro", uri=True)
                self.is_new = False
                return
            self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._db.execute("PRAGMA cache_size=-8192")
            self._db.execute("PRAGMA temp_store=MEMORY")
            self._db.execute("PRAGMA journal_size_limit=16777216")
            self.is_new = self._prepare(now_ms)
        except sqlite3.Error as error:
            raise StateError(_explain(error, path)) from None
        self.born_ms: int = self._meta("born_ms", now_ms)
        self._highest: bytes | None = self._meta("highest", None)

    def _prepare(self, now_ms: int) -> bool:
        self._db.execute("BEGIN EXCLUSIVE")
        try:
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise StateError(
                    f"ledger {self.path!r} was written by a newer Penstock (schema {version}; this one knows "
                    f"{SCHEMA_VERSION}): use that, or move the ledger away and let all be looked at anew"
                )
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    if statement.strip():
                        self._db.execute(statement)
                self._set_meta("born_ms", now_ms)
            else:
                for step in range(version, SCHEMA_VERSION):
                    self._db.executescript(_MIGRATIONS[step])
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return bool(version == 0 or self._meta("recalled", 0) == 0)

    def close(self) -> None:
        """Write back the journal and let go of the file."""
        self._db.close()

    @contextmanager
    def _write(self, name: str) -> Iterator[sqlite3.Connection]:
        crash_point(f"uploader.ledger.{name}.before")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise StateError(_explain(error, self.path)) from None
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        crash_point(f"uploader.ledger.{name}.after")

    def _all(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StateError(_explain(error, self.path)) from None

    def _meta(self, key: str, default: Any) -> Any:  # noqa: ANN401 - SQLite's values have no one type
        rows = self._all("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else default

    def _set_meta(self, key: str, value: object) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # Files

    @property
    def highest(self) -> UploadId | None:
        """The highest upload id that was ever given or heard of."""
        return None if self._highest is None else UploadId(self._highest)

    @property
    def topic_id(self) -> str | None:
        """The topic that the uploads went to."""
        value: str | None = self._meta("topic_id", None)
        return value

    def file(self, path: str) -> KnownFile | None:
        """Give what is known of a path."""
        rows = self._all(f"SELECT {_FILE_COLUMNS} FROM files WHERE path = ?", (encode_path(path),))  # noqa: S608
        return _known_file(rows[0]) if rows else None

    def remember_existing(self, found: Iterable[tuple[str, Fingerprint]]) -> None:
        """Note files that were there before us, and are sent only once they change."""
        with self._write("begin") as db:
            db.executemany(
                "INSERT OR IGNORE INTO files (path, size, mtime_ns, ctime_ns, inode) VALUES (?, ?, ?, ?, ?)",
                [(encode_path(path), *_numbers(fingerprint)) for path, fingerprint in found],
            )

    def same_content(self, path: str, fingerprint: Fingerprint) -> None:
        """Note that the version that stands now looks like this (its times were changed, not its bytes)."""
        with self._write("progress") as db:
            db.execute(
                "UPDATE files SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ? WHERE path = ?",
                (*_numbers(fingerprint), encode_path(path)),
            )

    def forget_fingerprint(self, path: str) -> None:
        """Let the file be taken for changed the next time it is seen."""
        with self._write("progress") as db:
            db.execute("UPDATE files SET ctime_ns = 0, mtime_ns = 0 WHERE path = ?", (encode_path(path),))

    # Uploads

    def begin(self, uploads: Sequence[Beginning]) -> None:
        """Note uploads before their first record is produced."""
        with self._write("begin") as db:
            for upload in uploads:
                path = encode_path(upload.path)
                db.execute(
                    "INSERT INTO files (path, partition) VALUES (?, ?) "
                    "ON CONFLICT (path) DO UPDATE SET partition = excluded.partition",
                    (path, upload.partition),
                )
                if upload.version == upload.id:
                    db.execute(
                        "UPDATE files SET recent = CASE WHEN ? - last_ms < ? THEN recent + 1 ELSE 1 END, "
                        "last_ms = ? WHERE path = ?",
                        (upload.began_ms, int(MEMORY_SECONDS * 1000), upload.began_ms, path),
                    )
                db.execute(
                    "INSERT INTO uploads (id, file, version, state, size, mtime_ns, ctime_ns, inode, mode, "
                    "chunk_size, digest, destinations, topic_id, partition, closed_ns, began_ms) "
                    "SELECT ?, id, ?, 'sending', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM files WHERE "
                    "path = ?",
                    (
                        bytes(upload.id),
                        bytes(upload.version),
                        *_numbers(upload.fingerprint),
                        upload.mode,
                        upload.chunk_size,
                        upload.digest,
                        "\n".join(upload.to),
                        upload.topic_id,
                        upload.partition,
                        upload.closed_ns,
                        upload.began_ms,
                        path,
                    ),
                )
                if upload.version != upload.id:
                    names = upload.to or (EVERYONE,)
                    db.executemany(
                        "UPDATE answers SET outcome = 'resent', upload = ? "
                        "WHERE version = ? AND destination = ? AND outcome = 'again'",
                        [(bytes(upload.id), bytes(upload.version), name) for name in names],
                    )
            highest = max(bytes(upload.id) for upload in uploads)
            self._set_meta("highest", highest)
        self._highest = highest

    def progress(self, uploads: Iterable[tuple[UploadId, int, int, int]]) -> None:
        """Note acknowledged chunks: (upload, chunks without a gap, first offset, last offset)."""
        with self._write("progress") as db:
            db.executemany(
                "UPDATE uploads SET chunks = ?, first_offset = ?, last_offset = ? WHERE id = ?",
                [(chunks, first, last, bytes(upload)) for upload, chunks, first, last in uploads],
            )

    def ending(self, uploads: Iterable[tuple[UploadId, int, bytes, int, int]]) -> None:
        """Note, before ends are produced, that all chunks are there: (upload, chunks, digest, offsets)."""
        with self._write("ending") as db:
            db.executemany(
                "UPDATE uploads SET state = 'ending', chunks = ?, digest = ?, first_offset = ?, "
                "last_offset = ? "
                "WHERE id = ?",
                [
                    (chunks, digest, first, last, bytes(upload))
                    for upload, chunks, digest, first, last in uploads
                ],
            )

    def acknowledged(self, uploads: Sequence[Acknowledged]) -> None:
        """Note that Kafka has all of these uploads; what they replace is forgotten."""
        with self._write("acknowledged") as db:
            db.executemany(
                "UPDATE uploads SET state = 'acknowledged', chunks = ?, first_offset = ?, last_offset = ?, "
                "digest = ?, acknowledged_ms = ? WHERE id = ?",
                [(u.chunks, u.first_offset, u.last_offset, u.digest, u.at_ms, bytes(u.id)) for u in uploads],
            )
            first = [u for u in uploads if u.version == u.id]
            db.executemany(
                "UPDATE files SET version = ?, size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?, digest = ? "
                "WHERE path = ?",
                [(bytes(u.version), *_numbers(u.fingerprint), u.digest, encode_path(u.path)) for u in first],
            )
            for upload in first:
                self._forget_older(db, encode_path(upload.path), bytes(upload.version))

    def _forget_older(self, db: sqlite3.Connection, path: bytes, version: bytes) -> None:
        older = db.execute(
            "SELECT DISTINCT u.version FROM uploads u JOIN files f ON f.id = u.file "
            "WHERE f.path = ? AND u.version != ?",
            (path, version),
        ).fetchall()
        for (old,) in older:
            db.execute("DELETE FROM answers WHERE version = ?", (old,))
            db.execute(
                "DELETE FROM uploads WHERE file = (SELECT id FROM files WHERE path = ?) AND version = ?",
                (path, old),
            )

    def aborting(self, upload: UploadId, reason: str) -> None:
        """Note that the upload is given up; the wire still has to hear of it."""
        with self._write("aborting") as db:
            db.execute(
                "UPDATE uploads SET state = 'aborting', reason = ? WHERE id = ?", (reason, bytes(upload))
            )

    def drop(self, uploads: Iterable[UploadId]) -> None:
        """Forget uploads that came to nothing."""
        with self._write("dropped") as db:
            db.executemany("DELETE FROM uploads WHERE id = ?", [(bytes(upload),) for upload in uploads])

    def unfinished(self) -> list[Upload]:
        """Give the uploads that an earlier run did not bring to an end, oldest first."""
        rows = self._all(
            f"SELECT {_UPLOAD_COLUMNS} FROM uploads u JOIN files f ON f.id = u.file "  # noqa: S608
            "WHERE u.state IN ('sending', 'ending', 'aborting') ORDER BY u.id"
        )
        return [_upload(row) for row in rows]

    def upload(self, upload_id: UploadId) -> Upload | None:
        """Give one upload."""
        rows = self._all(
            f"SELECT {_UPLOAD_COLUMNS} FROM uploads u JOIN files f ON f.id = u.file WHERE u.id = ?",  # noqa: S608
            (bytes(upload_id),),
        )
        return _upload(rows[0]) if rows else None

    def lost_uploads(self, topic_id: str, partition: int, start: int, end: int) -> list[Upload]:
        """Give the acknowledged uploads with a record at an offset of [start, end), or that may have one."""
        rows = self._all(
            f"SELECT {_UPLOAD_COLUMNS} FROM uploads u JOIN files f ON f.id = u.file "  # noqa: S608
            "WHERE u.state = 'acknowledged' AND f.version = u.version AND (u.topic_id = ? AND "
            "u.partition = ? "
            "AND u.last_offset >= ? AND u.first_offset < ? "
            "OR u.topic_id = ? AND u.partition = ? AND u.last_offset IS NULL)",
            (topic_id, partition, start, end, topic_id, partition),
        )
        return [_upload(row) for row in rows]

    # Answers

    def answers(self, version: UploadId) -> dict[str, Answer]:
        """Give what destinations said of a version, by destination."""
        rows = self._all(
            "SELECT destination, outcome, reason, upload, resends FROM answers WHERE version = ?",
            (bytes(version),),
        )
        return {
            name: Answer(name, Outcome(outcome), reason, UploadId(upload) if upload else None, resends)
            for name, outcome, reason, upload, resends in rows
        }

    @contextmanager
    def applying_answers(self) -> Iterator[None]:
        """One transaction around what a batch of answers changes, its position included."""
        with self._write("answers"):
            yield

    def put_answer(self, version: UploadId, answer: Answer, at_ms: int) -> None:
        """Note what a destination said; within `applying_answers`."""
        self._db.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                bytes(version),
                answer.destination,
                answer.outcome.value,
                answer.reason,
                bytes(answer.upload) if answer.upload else None,
                answer.resends,
                at_ms,
            ),
        )
        if answer.destination != EVERYONE:
            self._db.execute("INSERT OR IGNORE INTO destinations VALUES (?)", (answer.destination,))

    def drop_answer(self, version: UploadId, destination: str) -> None:
        """Forget what a destination asked for: something newer goes to it. Within `applying_answers`."""
        self._db.execute(
            "DELETE FROM answers WHERE version = ? AND destination = ?", (bytes(version), destination)
        )

    def put_position(self, topic_id: str, partition: int, next_offset: int) -> None:
        """Note how far answers were read; within `applying_answers`."""
        self._db.execute(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", (topic_id, partition, next_offset)
        )

    def positions(self, topic_id: str) -> dict[int, int]:
        """Give the next offset of answers to read, by partition."""
        return dict(self._all("SELECT partition, next_offset FROM positions WHERE topic_id = ?", (topic_id,)))

    def resends(self, limit: int, after: bytes = b"") -> list[Resend]:
        """Give versions that are to be sent again, in the order of their ids, after a given one."""
        rows = self._all(
            "SELECT a.version, f.path, group_concat(a.destination, char(10)) FROM answers a "
            "JOIN files f ON f.version = a.version WHERE a.outcome = 'again' AND a.version > ? "
            "GROUP BY a.version ORDER BY a.version LIMIT ?",
            (after, limit),
        )
        return [
            Resend(UploadId(version), decode_path(path), tuple(sorted(names.split("\n"))))
            for version, path, names in rows
        ]

    def file_of_version(self, version: UploadId) -> KnownFile | None:
        """Give the file whose standing version this is."""
        rows = self._all(
            f"SELECT {_FILE_COLUMNS} FROM files WHERE id = (SELECT file FROM uploads WHERE id = ?) "  # noqa: S608
            "AND version = ?",
            (bytes(version), bytes(version)),
        )
        return _known_file(rows[0]) if rows else None

    def ask_again(self, path: str, at_ms: int) -> bool:
        """Let the version that stands be sent to everyone again; False if there is none."""
        with self._write("answers") as db:
            return (
                db.execute(
                    "INSERT OR REPLACE INTO answers (version, destination, outcome, reason, at_ms) "
                    "SELECT version, '', 'again', 'asked', ? FROM files WHERE path = ? AND version "
                    "IS NOT NULL",
                    (at_ms, encode_path(path)),
                ).rowcount
                > 0
            )

    def ask_again_for(self, version: UploadId, names: Iterable[str]) -> None:
        """Let a version go again to destinations that it was on its way to."""
        with self._write("answers") as db:
            db.executemany(
                "UPDATE answers SET outcome = 'again' WHERE version = ? AND destination = ? "
                "AND outcome = 'resent'",
                [(bytes(version), name) for name in names],
            )

    def ask_again_unreceipted(self, required: Sequence[str], at_ms: int, reason: str) -> int:
        """Let every version that lacks a receipt be sent again, to those that lack it. Gives how many.

        A receipt lacks from each of `required`; if none are named, from each destination that ever answered,
        and from everyone if none ever did.
        """
        with self._write("answers") as db:
            return self._ask_unreceipted(db, required, at_ms, reason)

    def _ask_unreceipted(
        self, db: sqlite3.Connection, required: Sequence[str], at_ms: int, reason: str
    ) -> int:
        names = list(required) or [name for (name,) in db.execute("SELECT name FROM destinations")]
        if not names:
            return db.execute(
                "INSERT OR REPLACE INTO answers (version, destination, outcome, reason, at_ms) "
                "SELECT version, '', 'again', ?, ? FROM files WHERE version IS NOT NULL",
                (reason, at_ms),
            ).rowcount
        asked: set[bytes] = set()
        for name in names:
            rows = db.execute(
                "INSERT INTO answers (version, destination, outcome, reason, upload, resends, at_ms) "
                "SELECT version, ?, 'again', ?, NULL, 0, ? FROM files WHERE version IS NOT NULL "
                "ON CONFLICT (version, destination) DO UPDATE SET outcome = 'again', reason = "
                "excluded.reason "
                "WHERE outcome NOT IN ('delivered', 'skipped') RETURNING version",
                (name, reason, at_ms),
            )
            asked.update(version for (version,) in rows)
        return len(asked)

    def adopt_topic(self, topic_id: str, required: Sequence[str], at_ms: int) -> int:
        """Note which topic uploads go to from now on; what went to another and lacks a receipt goes again.

        Gives how many versions that are. Uploads that were not finished are forgotten.
        """
        if self.topic_id == topic_id:
            return 0
        with self._write("answers") as db:
            again = 0
            if self.topic_id is not None:
                again = self._ask_unreceipted(db, required, at_ms, "topic-replaced")
                db.execute("DELETE FROM uploads WHERE state IN ('sending', 'ending', 'aborting')")
                db.execute("UPDATE files SET partition = NULL")
            self._set_meta("topic_id", topic_id)
        return again

    # What receipts tell a new ledger

    def recall(self, receipts: Iterable[tuple[str, str, UploadId, bytes]], highest: UploadId | None) -> None:
        """Note receipts (path, destination, upload, digest), and the highest id that they name."""
        with self._write("answers") as db:
            db.executemany(
                "INSERT INTO recalled VALUES (?, ?, ?, ?) ON CONFLICT (path, destination) DO UPDATE SET "
                "upload = excluded.upload, digest = excluded.digest WHERE excluded.upload > upload",
                [(encode_path(path), name, bytes(upload), digest) for path, name, upload, digest in receipts],
            )
            if highest is not None and (self._highest is None or bytes(highest) > self._highest):
                self._highest = bytes(highest)
                self._set_meta("highest", self._highest)

    def recall_done(self) -> None:
        """Note that the receipts were read to their end."""
        with self._write("answers"):
            self._set_meta("recalled", 1)

    def recalled(self, path: str) -> Recalled | None:
        """Give the latest version of a path that is delivered by what receipts say."""
        rows = self._all(
            "SELECT destination, upload, digest FROM recalled WHERE path = ?", (encode_path(path),)
        )
        if not rows:
            return None
        latest = max(row[1] for row in rows)
        digest = next(row[2] for row in rows if row[1] == latest)
        return Recalled(UploadId(latest), digest, tuple(row[0] for row in rows if row[2] == digest))

    def forget_recalled(self, wire: str) -> None:
        """Forget what receipts say of a path on the wire: the file holds something else now."""
        with self._write("answers") as db:
            db.execute("DELETE FROM recalled WHERE path = ?", (encode_path(wire),))

    def adopt(self, path: str, wire: str, recalled: Recalled, beginning: Beginning) -> None:
        """Note a version as acknowledged, and delivered where receipts say so, without sending it."""
        with self._write("acknowledged") as db:
            encoded = encode_path(path)
            fingerprint = _numbers(beginning.fingerprint)
            db.execute(
                "INSERT OR REPLACE INTO files (path, partition, version, size, mtime_ns, ctime_ns, "
                "inode, digest) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (encoded, beginning.partition, bytes(beginning.version), *fingerprint, recalled.digest),
            )
            db.execute(
                "INSERT OR REPLACE INTO uploads (id, file, version, state, size, mtime_ns, ctime_ns, "
                "inode, mode, "
                "chunk_size, digest, destinations, topic_id, partition, closed_ns, began_ms, "
                "acknowledged_ms) "
                "SELECT ?, id, ?, 'acknowledged', ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, ? FROM files "
                "WHERE path = ?",
                (
                    bytes(beginning.id),
                    bytes(beginning.version),
                    *fingerprint,
                    beginning.mode,
                    beginning.chunk_size,
                    recalled.digest,
                    beginning.topic_id,
                    beginning.partition,
                    beginning.closed_ns,
                    beginning.began_ms,
                    beginning.began_ms,
                    encoded,
                ),
            )
            for name in recalled.destinations:
                self.put_answer(
                    beginning.version,
                    Answer(name, Outcome.DELIVERED, None, recalled.upload, 0),
                    beginning.began_ms,
                )
            db.execute("DELETE FROM recalled WHERE path = ?", (encode_path(wire),))

    # Disposals

    def dispose(self, disposals: Sequence[Disposal]) -> None:
        """Note what is about to be removed or moved away."""
        with self._write("disposing") as db:
            db.executemany(
                "INSERT OR REPLACE INTO disposals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        bytes(d.version),
                        encode_path(d.path),
                        d.action,
                        None if d.target is None else encode_path(d.target),
                        *_numbers(d.fingerprint),
                        d.digest,
                    )
                    for d in disposals
                ],
            )

    def disposed(self, versions: Iterable[UploadId]) -> None:
        """Note that these are done with, whichever way it went."""
        with self._write("disposed") as db:
            db.executemany("DELETE FROM disposals WHERE version = ?", [(bytes(v),) for v in versions])

    def disposals(self) -> list[Disposal]:
        """Give what an earlier run was about to remove or move away."""
        return [
            Disposal(
                UploadId(version),
                decode_path(path),
                action,
                None if target is None else decode_path(target),
                Fingerprint(*numbers),
                digest,
            )
            for version, path, action, target, *numbers, digest in self._all("SELECT * FROM disposals")
        ]

    def disposable(
        self, required: Sequence[str], limit: int, after: bytes, version: bytes | None = None
    ) -> list[Disposal]:
        """Give standing versions, after a given one, to which all of `required` have given receipts."""
        which = "f.version > ?" if version is None else "f.version = ?"
        marks = ", ".join("?" for _ in required)
        rows = self._all(
            "SELECT f.version, f.path, f.size, f.mtime_ns, f.ctime_ns, f.inode, f.digest FROM files f "  # noqa: S608
            f"JOIN uploads u ON u.id = f.version WHERE u.state = 'acknowledged' AND {which} AND "
            "(SELECT count(*) FROM answers a WHERE a.version = f.version AND a.outcome = 'delivered' "
            f"AND a.destination IN ({marks})) = ? ORDER BY f.version LIMIT ?",
            (after if version is None else version, *required, len(required), limit),
        )
        return [
            Disposal(UploadId(row[0]), decode_path(row[1]), "", None, Fingerprint(*row[2:6]), row[6])
            for row in rows
        ]

    def disposable_version(self, version: bytes, required: Sequence[str]) -> Disposal | None:
        """Give this version if it stands, is acknowledged, and all of `required` have given receipts."""
        found = self.disposable(required, 1, b"", version)
        return found[0] if found else None

    # For people

    def page(self, after: int, limit: int) -> list[tuple[KnownFile, Upload | None]]:
        """Give files by id, after a given one, each with its newest upload."""
        rows = self._all(
            f"SELECT {_FILE_COLUMNS} FROM files WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608
            (after, limit),
        )
        files = [_known_file(row) for row in rows]
        return [(file, self._newest_upload(file.id)) for file in files]

    def _newest_upload(self, file: int) -> Upload | None:
        rows = self._all(
            f"SELECT {_UPLOAD_COLUMNS} FROM uploads u JOIN files f ON f.id = u.file "  # noqa: S608
            "WHERE u.file = ? ORDER BY u.id DESC LIMIT 1",
            (file,),
        )
        return _upload(rows[0]) if rows else None

    def undelivered(self, required: Sequence[str], limit: int) -> list[tuple[str, str, bool]]:
        """Give standing versions without a receipt of `required`: path, what stands instead, if for good."""
        found: list[tuple[str, str, bool]] = []
        for name in required:
            rows = self._all(
                "SELECT f.path, a.outcome, a.reason FROM files f LEFT JOIN answers a "
                "ON a.version = f.version AND a.destination = ? WHERE f.version IS NOT NULL "
                "AND (a.outcome IS NULL OR a.outcome NOT IN ('delivered', 'skipped')) LIMIT ?",
                (name, limit),
            )
            for path, outcome, reason in rows:
                why = f"{name}: {outcome or 'no answer yet'}{f' ({reason})' if reason else ''}"
                found.append((decode_path(path), why, outcome == Outcome.FAILED))
        return found[:limit]


def _numbers(fingerprint: Fingerprint) -> tuple[int, int, int, int]:
    # An inode may need 64 bits without a sign; SQLite has 63.
    inode = fingerprint.inode & 0x7FFF_FFFF_FFFF_FFFF
    return fingerprint.size, fingerprint.mtime_ns, fingerprint.ctime_ns, inode


def _known_file(row: tuple[Any, ...]) -> KnownFile:
    number, path, partition, version, size, mtime_ns, ctime_ns, inode, digest, recent, last_ms = row
    return KnownFile(
        number,
        decode_path(path),
        partition,
        UploadId(version) if version else None,
        None if size is None else Fingerprint(size, mtime_ns, ctime_ns, inode),
        digest,
        recent,
        last_ms,
    )


def _upload(row: tuple[Any, ...]) -> Upload:
    return Upload(
        id=UploadId(row[0]),
        file=row[1],
        path=decode_path(row[2]),
        version=UploadId(row[3]),
        state=State(row[4]),
        fingerprint=Fingerprint(*row[5:9]),
        mode=row[9],
        chunk_size=row[10],
        chunks=row[11],
        digest=row[12],
        to=tuple(row[13].split("\n")) if row[13] else (),
        topic_id=row[14],
        partition=row[15],
        first_offset=row[16],
        last_offset=row[17],
        closed_ns=row[18],
        began_ms=row[19],
    )


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
