"""What receipts tell a ledger that is new: what was delivered before, and need not be sent again."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from chunkproto import UploadId
from chunkproto.paths import encode_path
from penstock_uploader.answerbook import Answer, Outcome
from penstock_uploader.answers import AnswersReader, upload_id_of
from penstock_uploader.ledger import Beginning, Ledger, numbers
from servicekit.events import FileDelivered, FileRejected, FileSkipped
from servicekit.lifecycle import StopSignal
from servicekit.topics import Topics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What receipts say of a path that the ledger does not know."""

    upload: UploadId
    digest: bytes
    destinations: tuple[str, ...]
    asking: tuple[tuple[str, UploadId, str], ...] = ()
    """Who has asked for it again since: destination, upload that it rejected, reason."""


class Recall:
    """What receipts say, in the ledger, until the files themselves are looked at. Paths are on the wire."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._database = ledger.database
        # Asked for every file that is new: most ledgers have nothing to recall.
        self._is_empty = not self._database.all("SELECT 1 FROM recalled LIMIT 1")

    def read(self, reader: AnswersReader, topics: Topics, source_id: str, stop: StopSignal) -> None:
        """Read the receipts to their end, before the reader starts; the ledger then takes up from there."""
        topic = reader.topic
        ranges = topics.watermarks(topic.name, topic.partitions)
        starts = {number: found.start for number, found in ranges.items()}
        ends = {number: found.end for number, found in ranges.items()}
        count = 0
        for answers in reader.read_to(ends, starts, stop):
            uploads = [(event, upload_id_of(event, source_id)) for event in answers.events]
            receipts = [
                (event.path, event.destination, upload, bytes.fromhex(event.digest))
                for event, upload in uploads
                if upload is not None and isinstance(event, FileDelivered)
            ]
            self.note_asking(
                (event, upload)
                for event, upload in uploads
                if upload is not None and isinstance(event, FileDelivered | FileSkipped | FileRejected)
            )
            self.note(receipts, max((upload for _, upload in uploads if upload is not None), default=None))
            with self._ledger.answers.applying():
                for partition, position in answers.positions.items():
                    self._ledger.answers.put_position(topic.topic_id, partition, position)
            count += len(receipts)
        if not stop.is_set():
            self.done()
        if count:
            log.info("the ledger is new, but %d receipts say what is delivered already", count)

    def note(self, receipts: Iterable[tuple[str, str, UploadId, bytes]], highest: UploadId | None) -> None:
        """Note receipts (path, destination, upload, digest), and the highest id that they name."""
        self._is_empty = False
        with self._database.write("answers") as db:
            db.executemany(
                "INSERT INTO recalled VALUES (?, ?, ?, ?) ON CONFLICT (path, destination) DO UPDATE SET "
                "upload = excluded.upload, digest = excluded.digest WHERE excluded.upload > upload",
                [(encode_path(path), name, bytes(upload), digest) for path, name, upload, digest in receipts],
            )
            if highest is not None:
                self._ledger.heard_of(highest)

    def note_asking(
        self, answers: Iterable[tuple[FileDelivered | FileSkipped | FileRejected, UploadId]]
    ) -> None:
        """Note, in the order of the answers, who asks for a path again: the last word of each counts."""
        with self._database.write("answers") as db:
            for event, upload in answers:
                key = (encode_path(event.path), event.destination)
                if isinstance(event, FileRejected) and event.asks_again:
                    db.execute(
                        "INSERT OR REPLACE INTO recalled_asking VALUES (?, ?, ?, ?)",
                        (*key, bytes(upload), event.reason),
                    )
                else:
                    db.execute("DELETE FROM recalled_asking WHERE path = ? AND destination = ?", key)

    def done(self) -> None:
        """Note that the receipts were read to their end."""
        with self._database.write("answers"):
            self._database.set_meta("recalled", 1)

    def of(self, path: str) -> Recalled | None:
        """Give the latest version of a path that is delivered by what receipts say."""
        if self._is_empty:
            return None
        rows = self._database.all(
            "SELECT destination, upload, digest FROM recalled WHERE path = ?", (encode_path(path),)
        )
        if not rows:
            return None
        latest = max(row[1] for row in rows)
        digest = next(row[2] for row in rows if row[1] == latest)
        asking = self._database.all(
            "SELECT destination, upload, reason FROM recalled_asking WHERE path = ?", (encode_path(path),)
        )
        delivered = tuple(row[0] for row in rows if row[2] == digest)
        return Recalled(
            UploadId(latest),
            digest,
            delivered,
            tuple((n, UploadId(upload), reason) for n, upload, reason in asking if n not in delivered),
        )

    def forget(self, wire: str) -> None:
        """Forget what receipts say of a path on the wire: the file holds something else now."""
        with self._database.write("answers") as db:
            _forget(db, wire)

    def adopt(self, path: str, wire: str, recalled: Recalled, beginning: Beginning) -> None:
        """Note a version as acknowledged, and delivered where receipts say so, without sending it."""
        with self._database.write("acknowledged") as db:
            encoded = encode_path(path)
            fingerprint = numbers(beginning.fingerprint)
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
                self._ledger.answers.put(
                    beginning.version,
                    Answer(name, Outcome.DELIVERED, None, recalled.upload, 0),
                    beginning.began_ms,
                )
            for name, upload, reason in recalled.asking:
                self._ledger.answers.put(
                    beginning.version, Answer(name, Outcome.AGAIN, reason, upload, 1), beginning.began_ms
                )
            _forget(db, wire)


def _forget(db: sqlite3.Connection, wire: str) -> None:
    for table in ("recalled", "recalled_asking"):
        db.execute(f"DELETE FROM {table} WHERE path = ?", (encode_path(wire),))  # noqa: S608
