"""What destinations said of the versions that stand, and how far their answers were read: in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chunkproto import UploadId
from chunkproto.paths import decode_path, encode_path
from penstock_uploader.database import Database

EVERYONE: Final = ""
"""Stands for all destinations where one is named."""


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


SOURCE_GONE: Final = "source-gone"
"""The reason of FAILED that is the source's own: what is to be sent again is there no more."""
FINAL: Final = frozenset({Outcome.DELIVERED, Outcome.SKIPPED})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a destination has said of a version."""

    destination: str
    outcome: Outcome
    reason: str | None
    upload: UploadId | None
    resends: int

    @property
    def word(self) -> str:
        """Its outcome for people."""
        return word_of(self.outcome, self.reason)


def word_of(outcome: str, reason: str | None) -> str:
    """Return an outcome for people: a destination has rejected a file, its source has failed to send it."""
    return "rejected" if outcome == Outcome.FAILED and reason != SOURCE_GONE else str(outcome)


@dataclass(frozen=True, slots=True)
class Resend:
    """A version that is to be sent again. `to` may be EVERYONE alone."""

    version: UploadId
    path: str
    to: tuple[str, ...]


class AnswerBook:
    """The answers in the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, version: UploadId) -> dict[str, Answer]:
        """Give what destinations said of a version, by destination."""
        rows = self._database.all(
            "SELECT destination, outcome, reason, upload, resends FROM answers WHERE version = ?",
            (bytes(version),),
        )
        return {
            name: Answer(name, Outcome(outcome), reason, UploadId(upload) if upload else None, resends)
            for name, outcome, reason, upload, resends in rows
        }

    @contextmanager
    def applying(self) -> Iterator[None]:
        """One transaction around what a batch of answers changes, its position included."""
        with self._database.write("answers"):
            yield

    def put(self, version: UploadId, answer: Answer, at_ms: int) -> None:
        """Note what a destination said; within `applying`."""
        self._database.connection.execute(
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
            self._database.connection.execute(
                "INSERT OR IGNORE INTO destinations VALUES (?)", (answer.destination,)
            )

    def drop(self, version: UploadId, destination: str) -> None:
        """Forget what a destination asked for: something newer goes to it. Within `applying`."""
        self._database.connection.execute(
            "DELETE FROM answers WHERE version = ? AND destination = ?", (bytes(version), destination)
        )

    def put_position(self, topic_id: str, partition: int, next_offset: int) -> None:
        """Note how far answers were read; within `applying`."""
        self._database.connection.execute(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", (topic_id, partition, next_offset)
        )

    def positions(self, topic_id: str) -> dict[int, int]:
        """Give the next offset of answers to read, by partition."""
        return dict(
            self._database.all("SELECT partition, next_offset FROM positions WHERE topic_id = ?", (topic_id,))
        )

    def resends(self, limit: int, after: bytes = b"") -> list[Resend]:
        """Give versions that are to be sent again, in the order of their ids, after a given one."""
        rows = self._database.all(
            "SELECT a.version, f.path, group_concat(a.destination, char(10)) FROM answers a "
            "JOIN files f ON f.version = a.version WHERE a.outcome = 'again' AND a.version > ? "
            "GROUP BY a.version ORDER BY a.version LIMIT ?",
            (after, limit),
        )
        return [
            Resend(UploadId(version), decode_path(path), tuple(sorted(names.split("\n"))))
            for version, path, names in rows
        ]

    def ask_again(self, path: str, at_ms: int) -> bool:
        """Let the version that stands be sent to everyone again; False if there is none."""
        with self._database.write("answers") as db:
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
        with self._database.write("answers") as db:
            db.executemany(
                "UPDATE answers SET outcome = 'again' WHERE version = ? AND destination = ? "
                "AND outcome = 'resent'",
                [(bytes(version), name) for name in names],
            )

    def ask_again_unreceipted(self, required: Sequence[str], at_ms: int, reason: str) -> int:
        """Let every version that lacks a receipt be sent again, to those that lack it. Gives how many.

        A receipt lacks from each of `required`; if none are named, from each destination that ever answered,
        and from everyone if none ever did. Within `applying`.
        """
        db = self._database.connection
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

    def undelivered(self, required: Sequence[str], limit: int) -> list[tuple[str, str, bool]]:
        """Give standing versions without a receipt of `required`: path, what stands instead, if for good."""
        found: list[tuple[str, str, bool]] = []
        for name in required:
            rows = self._database.all(
                "SELECT f.path, a.outcome, a.reason FROM files f LEFT JOIN answers a "
                "ON a.version = f.version AND a.destination = ? WHERE f.version IS NOT NULL "
                "AND (a.outcome IS NULL OR a.outcome NOT IN ('delivered', 'skipped')) LIMIT ?",
                (name, limit),
            )
            for path, outcome, reason in rows:
                word = word_of(outcome, reason) if outcome else "no answer yet"
                why = f"{name}: {word}{f' ({reason})' if reason else ''}"
                found.append((decode_path(path), why, outcome == Outcome.FAILED))
        return found[:limit]
