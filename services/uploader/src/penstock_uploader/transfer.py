"""A file on its way: what is known of it, reading it, and what the ledger gets to know of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from blake3 import blake3

from chunkproto import ChunkPlan, Description, UploadId
from penstock_uploader.ledger import Acknowledged, Beginning, KnownFile
from penstock_uploader.reading import read_exactly
from penstock_uploader.recall import Recalled
from servicekit.filesystem import Fingerprint


class GivenUp(StrEnum):
    """Why an upload was given up, in one word. The values are in events: never renamed."""

    CHANGED = "changed"
    VANISHED = "vanished"
    UNREADABLE = "unreadable"
    TOO_SLOW = "too-slow"
    """The topic's retention may soon eat its first records."""
    SUPERSEDED = "superseded"
    """Nothing is wrong with the file: another upload begins in its place."""


class Changed(Exception):
    """The file is not what it was when it was opened."""

    reason: ClassVar[GivenUp] = GivenUp.CHANGED


class TooSlow(Changed):
    """It took so long to send the file that it has to begin again."""

    reason = GivenUp.TOO_SLOW


@dataclass(slots=True, eq=False)
class Transfer:
    """A file that is being sent, or only hashed to see whether it has to be."""

    path: str
    key: bytes
    fingerprint: Fingerprint
    plan: ChunkPlan
    known: KnownFile | None
    began: float
    upload_id: UploadId | None = None
    version: UploadId | None = None
    description: Description | None = None
    partition: int = 0
    closed_ns: int = 0
    began_ms: int = 0
    to: tuple[str, ...] = ()
    again: bool = False
    fd: int | None = None
    hasher: blake3 = field(default_factory=blake3)
    next_index: int = 0
    produce_from: int = 0
    """Chunks before this one are read for the digest alone."""
    unreported: int = 0
    """Bytes produced since the last record that a report was asked for."""
    report_asked: float = 0.0
    """When that was (monotonic)."""
    acked: int = 0
    first_offset: int = -1
    last_offset: int = -1
    digest: bytes | None = None
    """Known once all is read."""
    first_pass: bytes | None = None
    """What reading gave before the file's change time moved; it is being read once more."""
    verifications: int = 0
    expected: bytes | None = None
    """For a file that is only hashed: what makes sending it needless."""
    recalled: Recalled | None = None
    begun: bool = False
    """Whether the ledger knows of it and its first record was produced, or nothing of it will be."""
    aborting: bool = False

    @property
    def checking(self) -> bool:
        """Whether nothing of it is sent."""
        return self.upload_id is None

    @property
    def sent(self) -> tuple[UploadId, Description]:
        """What only a file that is sent has: its upload's id, and its description."""
        if self.upload_id is None or self.description is None:
            raise AssertionError("only what has an upload id is sent")
        return self.upload_id, self.description

    @property
    def whole_digest(self) -> bytes:
        """The digest, once all is read."""
        if self.digest is None:
            raise AssertionError("a file is hashed before its end is sent")
        return self.digest

    # Reading

    def read(self, length: int, offset: int) -> bytes:
        """Read exactly this; raises Changed if there is less."""
        if self.fd is None:
            raise Changed("closed")
        data = read_exactly(self.fd, length, offset)
        if len(data) != length:
            raise Changed("it was truncated")
        return data

    def is_untouched(self) -> bool:
        """Whether the fingerprint is as before; else take it over. Raises Changed if size or mtime differ."""
        if self.fd is None:
            raise Changed("closed")
        now = Fingerprint.of(os.fstat(self.fd))
        if now == self.fingerprint:
            return True
        if not now.same_content(self.fingerprint):
            raise Changed("its size or modification time")
        self.fingerprint = now
        return False

    def close(self) -> None:
        """Let go of the file."""
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)

    # What the ledger gets to know

    def beginning(self, topic_id: str) -> Beginning:
        """Describe it before its first record is produced."""
        upload_id, description = self.sent
        return Beginning(
            id=upload_id,
            path=self.path,
            version=self.version or upload_id,
            fingerprint=self.fingerprint,
            mode=description.mode,
            chunk_size=self.plan.chunk_size,
            digest=self.digest,
            to=self.to,
            topic_id=topic_id,
            partition=self.partition,
            closed_ns=self.closed_ns,
            began_ms=self.began_ms,
        )

    def progress(self) -> tuple[UploadId, int, int, int]:
        """Say how far it is: upload, chunks, first and last offset."""
        return self.sent[0], self.acked, self.first_offset, self.last_offset

    def ending(self) -> tuple[UploadId, int, bytes, int, int]:
        """Say that all chunks are there: upload, chunks, digest, first and last offset."""
        return self.sent[0], self.acked, self.whole_digest, self.first_offset, self.last_offset

    def ended(self, now_ms: int) -> Acknowledged:
        """Say that all records are there."""
        upload_id, _ = self.sent
        return Acknowledged(
            upload_id,
            self.path,
            self.version or upload_id,
            self.plan.count,
            self.first_offset,
            self.last_offset,
            self.fingerprint,
            self.whole_digest,
            now_ms,
        )
