"""What was sent, and what became of it.

Remembered are files (by path: their partition is pinned), the uploads of the version of each that stands,
what destinations answered to that version (`answerbook.py`), and how far the answers were read.

A *version* is what a file held at one time. It is named by the id of its first upload; later uploads of it
are those that destinations asked for. Once a newer version is acknowledged, the older one is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from chunkproto import UploadId
from chunkproto.paths import decode_path, encode_path
from penstock_uploader.answerbook import EVERYONE, AnswerBook
from penstock_uploader.database import Database
from penstock_uploader.settle import MEMORY_SECONDS, backoff_seconds
from servicekit.filesystem import Fingerprint


class State(StrEnum):
    """What an upload has come to."""

    SENDING = "sending"
    ENDING = "ending"
    """All chunks are acknowledged; its end, with this digest, may be on its way."""
    ABORTING = "aborting"
    ACKNOWLEDGED = "acknowledged"


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


_MEMORY_MS: Final = int(MEMORY_SECONDS * 1000)


class Ledger:
    """The ledger in the file `path`; made if it is not there. For one thread.

    Raises StateError when another uploader has it, or when it is no ledger of ours.
    """

    def __init__(self, path: str, *, durable: bool = False, now_ms: int = 0, read_only: bool = False) -> None:
        """Open it; `durable`: for a power cut too; `now_ms`: its birth, if it is made.

        `read_only` is for looking while no uploader runs: nothing is made, locked or changed.
        """
        self.database = Database(path, durable=durable, now_ms=now_ms, read_only=read_only)
        self.answers = AnswerBook(self.database)
        self.is_new = self.database.is_new
        self.born_ms: int = self.database.meta("born_ms", now_ms)
        self._highest: bytes | None = self.database.meta("highest", None)

    def close(self) -> None:
        """Write back the journal and let go of the file."""
        self.database.close()

    # Files

    @property
    def highest(self) -> UploadId | None:
        """The highest upload id that was ever given or heard of."""
        return None if self._highest is None else UploadId(self._highest)

    def heard_of(self, upload: UploadId) -> None:
        """Never give an id below this one; within a transaction."""
        if self._highest is None or bytes(upload) > self._highest:
            self._highest = bytes(upload)
            self.database.set_meta("highest", self._highest)

    @property
    def topic_id(self) -> str | None:
        """The topic that the uploads went to."""
        value: str | None = self.database.meta("topic_id", None)
        return value

    def file(self, path: str) -> KnownFile | None:
        """Give what is known of a path."""
        rows = self.database.all(f"SELECT {_FILE_COLUMNS} FROM files WHERE path = ?", (encode_path(path),))  # noqa: S608
        return _known_file(rows[0]) if rows else None

    def remember_existing(self, found: Iterable[tuple[str, Fingerprint]]) -> None:
        """Note files that were there before us, and are sent only once they change."""
        with self.database.write("begin") as db:
            db.executemany(
                "INSERT OR IGNORE INTO files (path, size, mtime_ns, ctime_ns, inode) VALUES (?, ?, ?, ?, ?)",
                [(encode_path(path), *numbers(fingerprint)) for path, fingerprint in found],
            )

    def same_content(self, path: str, fingerprint: Fingerprint) -> None:
        """Note that the version that stands now looks like this (its times were changed, not its bytes)."""
        with self.database.write("progress") as db:
            db.execute(
                "UPDATE files SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ? WHERE path = ?",
                (*numbers(fingerprint), encode_path(path)),
            )

    def forget_fingerprint(self, path: str) -> None:
        """Let the file be taken for changed the next time it is seen."""
        with self.database.write("progress") as db:
            db.execute("UPDATE files SET ctime_ns = 0, mtime_ns = 0 WHERE path = ?", (encode_path(path),))

    # Uploads

    def begin(self, uploads: Sequence[Beginning]) -> None:
        """Note uploads before their first record is produced."""
        with self.database.write("begin") as db:
            db.executemany(
                "INSERT INTO files (path, partition, recent, last_ms) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (path) DO UPDATE SET partition = excluded.partition, "
                "recent = CASE WHEN excluded.recent = 0 THEN recent "
                "WHEN excluded.last_ms - last_ms < ? THEN recent + 1 ELSE 1 END, "
                "last_ms = max(excluded.last_ms, last_ms * (excluded.recent = 0))",
                [
                    (
                        encode_path(u.path),
                        u.partition,
                        *((1, u.began_ms) if u.version == u.id else (0, 0)),
                        _MEMORY_MS,
                    )
                    for u in uploads
                ],
            )
            db.executemany(
                "INSERT INTO uploads (id, file, version, state, size, mtime_ns, ctime_ns, inode, mode, "
                "chunk_size, digest, destinations, topic_id, partition, closed_ns, began_ms) "
                "SELECT ?, id, ?, 'sending', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM files WHERE path = ?",
                [
                    (
                        bytes(u.id),
                        bytes(u.version),
                        *numbers(u.fingerprint),
                        u.mode,
                        u.chunk_size,
                        u.digest,
                        "\n".join(u.to),
                        u.topic_id,
                        u.partition,
                        u.closed_ns,
                        u.began_ms,
                        encode_path(u.path),
                    )
                    for u in uploads
                ],
            )
            db.executemany(
                "UPDATE answers SET outcome = 'resent', upload = ? "
                "WHERE version = ? AND destination = ? AND outcome = 'again'",
                [
                    (bytes(u.id), bytes(u.version), name)
                    for u in uploads
                    if u.version != u.id
                    for name in u.to or (EVERYONE,)
                ],
            )
            highest = max(bytes(upload.id) for upload in uploads)
            self.database.set_meta("highest", highest)
        self._highest = highest

    def progress(self, uploads: Iterable[tuple[UploadId, int, int, int]]) -> None:
        """Note acknowledged chunks: (upload, chunks without a gap, first offset, last offset)."""
        with self.database.write("progress") as db:
            db.executemany(
                "UPDATE uploads SET chunks = ?, first_offset = ?, last_offset = ? WHERE id = ?",
                [(chunks, first, last, bytes(upload)) for upload, chunks, first, last in uploads],
            )

    def ending(self, uploads: Iterable[tuple[UploadId, int, bytes, int, int]]) -> None:
        """Note, before ends are produced, that all chunks are there: (upload, chunks, digest, offsets)."""
        with self.database.write("ending") as db:
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
        with self.database.write("acknowledged") as db:
            db.executemany(
                "UPDATE uploads SET state = 'acknowledged', chunks = ?, first_offset = ?, last_offset = ?, "
                "digest = ?, acknowledged_ms = ? WHERE id = ?",
                [(u.chunks, u.first_offset, u.last_offset, u.digest, u.at_ms, bytes(u.id)) for u in uploads],
            )
            first = [u for u in uploads if u.version == u.id]
            db.executemany(
                "UPDATE files SET version = ?, size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?, digest = ?, "
                "gone_ms = NULL WHERE path = ?",
                [(bytes(u.version), *numbers(u.fingerprint), u.digest, encode_path(u.path)) for u in first],
            )
            older = [(encode_path(u.path), bytes(u.version)) for u in first]
            of_file = "file = (SELECT id FROM files WHERE path = ?) AND version != ?"
            db.executemany(
                f"DELETE FROM answers WHERE version IN (SELECT version FROM uploads WHERE {of_file})",  # noqa: S608
                older,
            )
            db.executemany(f"DELETE FROM uploads WHERE {of_file}", older)  # noqa: S608

    def aborting(self, upload: UploadId, reason: str) -> None:
        """Note that the upload is given up; the wire still has to hear of it."""
        with self.database.write("aborting") as db:
            db.execute(
                "UPDATE uploads SET state = 'aborting', reason = ? WHERE id = ?", (reason, bytes(upload))
            )

    def drop(self, uploads: Iterable[UploadId]) -> None:
        """Forget uploads that came to nothing."""
        with self.database.write("dropped") as db:
            db.executemany("DELETE FROM uploads WHERE id = ?", [(bytes(upload),) for upload in uploads])

    def unfinished(self) -> list[Upload]:
        """Give the uploads that an earlier run did not bring to an end, oldest first."""
        rows = self.database.all(
            f"SELECT {_UPLOAD_COLUMNS} FROM uploads u JOIN files f ON f.id = u.file "  # noqa: S608
            "WHERE u.state IN ('sending', 'ending', 'aborting') ORDER BY u.id"
        )
        return [_upload(row) for row in rows]

    def upload(self, upload_id: UploadId) -> Upload | None:
        """Give one upload."""
        rows = self.database.all(
            f"SELECT {_UPLOAD_COLUMNS} FROM uploads u JOIN files f ON f.id = u.file WHERE u.id = ?",  # noqa: S608
            (bytes(upload_id),),
        )
        return _upload(rows[0]) if rows else None

    def lost_uploads(self, topic_id: str, partition: int, start: int, end: int) -> list[Upload]:
        """Give the acknowledged uploads with a record at an offset of [start, end), or that may have one."""
        rows = self.database.all(
            f"SELECT {_UPLOAD_COLUMNS} FROM uploads u JOIN files f ON f.id = u.file "  # noqa: S608
            "WHERE u.state = 'acknowledged' AND f.version = u.version AND (u.topic_id = ? AND "
            "u.partition = ? "
            "AND u.last_offset >= ? AND u.first_offset < ? "
            "OR u.topic_id = ? AND u.partition = ? AND u.last_offset IS NULL)",
            (topic_id, partition, start, end, topic_id, partition),
        )
        return [_upload(row) for row in rows]

    def adopt_topic(self, topic_id: str, required: Sequence[str], at_ms: int) -> int:
        """Note which topic uploads go to from now on; what went to another and lacks a receipt goes again.

        Gives how many versions that are. Uploads that were not finished are forgotten.
        """
        if self.topic_id == topic_id:
            return 0
        with self.database.write("answers") as db:
            again = 0
            if self.topic_id is not None:
                again = self.answers.ask_again_unreceipted(required, at_ms, "topic-replaced")
                db.execute("DELETE FROM uploads WHERE state IN ('sending', 'ending', 'aborting')")
                db.execute("UPDATE files SET partition = NULL")
            self.database.set_meta("topic_id", topic_id)
        return again

    # For people

    def page(self, after: int, limit: int) -> list[tuple[KnownFile, Upload | None]]:
        """Give files by id, after a given one, each with its newest upload."""
        rows = self.database.all(
            f"SELECT {_FILE_COLUMNS} FROM files WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608
            (after, limit),
        )
        files = [_known_file(row) for row in rows]
        return [(file, self._newest_upload(file.id)) for file in files]

    def _newest_upload(self, file: int) -> Upload | None:
        rows = self.database.all(
            f"SELECT {_UPLOAD_COLUMNS} FROM uploads u JOIN files f ON f.id = u.file "  # noqa: S608
            "WHERE u.file = ? ORDER BY u.id DESC LIMIT 1",
            (file,),
        )
        return _upload(rows[0]) if rows else None


def stored(fingerprint: Fingerprint) -> Fingerprint:
    """Give the fingerprint as the ledger can hold it: SQLite's integers have a sign, inodes have none."""
    inode = fingerprint.inode & 0x7FFF_FFFF_FFFF_FFFF
    if inode == fingerprint.inode:
        return fingerprint
    return Fingerprint(fingerprint.size, fingerprint.mtime_ns, fingerprint.ctime_ns, inode)


def numbers(fingerprint: Fingerprint) -> tuple[int, int, int, int]:
    """Give a fingerprint's columns: size, mtime_ns, ctime_ns, inode."""
    kept = stored(fingerprint)
    return kept.size, kept.mtime_ns, kept.ctime_ns, kept.inode


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
