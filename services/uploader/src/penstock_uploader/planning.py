"""What of a file there is to send: decided by its fingerprint, its digest, the ledger and the receipts."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from chunkproto import ChunkPlan, Description, UploadId, next_upload_id, partition_for
from chunkproto.native import encode_key
from chunkproto.paths import path_problem
from chunkproto.plan import MAX_FILE_SIZE
from penstock_uploader.answerbook import EVERYONE, Resend
from penstock_uploader.ledger import Beginning, KnownFile, Ledger, Upload, stored
from penstock_uploader.naming import wire_path
from penstock_uploader.reading import Opened
from penstock_uploader.recall import Recall, Recalled
from penstock_uploader.settings import UploaderSettings
from penstock_uploader.transfer import Transfer
from servicekit.filesystem import Fingerprint
from servicekit.topics import TopicInfo

log = logging.getLogger(__name__)


class Unsendable(Exception):
    """The file cannot be sent as long as it, and the topic, are like this."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Since when a file rests, in nanoseconds since 1970, and whether its bytes are doubted.

    A store to a page of a shared mapping that is dirty already moves no time of the file. So one that was
    closed by a writer may hold something else than it did, though it looks the same.
    """

    since_ns: int
    doubted: bool


@dataclass(slots=True)
class TopicLimits:
    """What of the topic bounds what can be sent."""

    topic_id: str
    partitions: int
    retention_seconds: float | None
    retention_bytes: int | None

    @classmethod
    def of(cls, topic: TopicInfo) -> TopicLimits:
        """Take them from what the topic is like."""
        return cls(topic.topic_id, topic.partitions, topic.retention_seconds, topic.retention_bytes)


class Planner:
    """Turns files that are open, and uploads of an earlier run, into transfers."""

    def __init__(
        self,
        settings: UploaderSettings,
        *,
        prefix: str,
        source_id: str,
        ledger: Ledger,
        recall: Recall,
        limits: TopicLimits,
        asked_again: Callable[[], None],
    ) -> None:
        """Begin; `asked_again` is told when a version that receipts prove is to be sent again."""
        self._settings = settings
        self._prefix = prefix
        self._source_id = source_id
        self._ledger = ledger
        self._recall = recall
        self._last_id = ledger.highest
        self.limits = limits
        self._asked_again = asked_again

    def plan(self, path: str, opened: Opened, rest: Rest, resend: Resend | None) -> Transfer | None:
        """Decide what to do with an open file: nothing (None), send it, or hash it and see.

        Raises Unsendable.
        """
        fingerprint = opened.fingerprint
        known = self._ledger.file(path)
        wire = wire_path(self._prefix, path)
        size = fingerprint.size
        if problem := path_problem(wire) or _size_problem(size) or self._retention_problem(size):
            raise Unsendable(problem)
        transfer = Transfer(
            path=path,
            key=encode_key(wire),
            fingerprint=fingerprint,
            plan=ChunkPlan(fingerprint.size, int(self._settings.chunk_size)),
            known=known,
            began=time.monotonic(),
        )
        if known is not None and known.fingerprint is not None:
            same = known.fingerprint.same_content(fingerprint)
            if resend is not None and same and known.version == resend.version:
                to = () if EVERYONE in resend.to else resend.to
                return self._to_send(transfer, opened.mode, rest.since_ns, resend.version, to)
            if resend is not None:
                self._supersede(path, resend)
            if same:
                looks_the_same = stored(fingerprint) == known.fingerprint and not rest.doubted
                if known.digest is None or looks_the_same:
                    return None
                return _to_check(transfer, known.digest)
        elif (recalled := self._recall.of(wire)) is not None:
            transfer.recalled = recalled
            return _to_check(transfer, recalled.digest)
        return self._to_send(transfer, opened.mode, rest.since_ns, None, ())

    def may_be_known(self, path: str, fingerprint: Fingerprint) -> bool:
        """Whether a file that looks like this may well be the one that was sent, or need not be."""
        known = self._ledger.file(path)
        if known is not None and known.fingerprint is not None:
            return known.fingerprint.same_content(fingerprint)
        return self._recall.of(wire_path(self._prefix, path)) is not None

    def _to_send(
        self,
        transfer: Transfer,
        mode: int | None,
        closed_ns: int,
        version: UploadId | None,
        to: tuple[str, ...],
    ) -> Transfer:
        now_ns = time.time_ns()
        self._last_id = next_upload_id(now_ns // 1_000_000, random.getrandbits(74), self._last_id)
        transfer.upload_id = self._last_id
        transfer.version = version or transfer.upload_id
        transfer.to = to
        transfer.description = self._describe(transfer, mode)
        transfer.closed_ns = closed_ns
        transfer.began_ms = now_ns // 1_000_000
        transfer.partition = self._partition(transfer.key, transfer.known)
        return transfer

    def _partition(self, key: bytes, known: KnownFile | None) -> int:
        if known is not None and known.partition is not None:
            return known.partition
        return partition_for(key, self.limits.partitions)

    def _describe(self, transfer: Transfer, mode: int | None) -> Description:
        return Description(
            path=wire_path(self._prefix, transfer.path),
            size=transfer.fingerprint.size,
            chunk_size=transfer.plan.chunk_size,
            mtime_ns=transfer.fingerprint.mtime_ns,
            mode=mode,
            source=self._source_id,
            to=transfer.to,
        )

    def _supersede(self, path: str, resend: Resend) -> None:
        """Let a newer version go where an older one was asked for."""
        log.debug("%s was changed: the new version is sent instead of version %s", path, resend.version)
        with self._ledger.answers.applying():
            for name in resend.to:
                self._ledger.answers.drop(resend.version, name)

    def _retention_problem(self, size: int) -> str | None:
        limits = self.limits
        if limits.retention_bytes is not None and size > limits.retention_bytes:
            return (
                f"its {size} bytes are more than topic {self._settings.topic!r} keeps of a partition "
                f"(retention.bytes={limits.retention_bytes}): raise that, or use another topic"
            )
        rate = self._settings.rate_limit
        if limits.retention_seconds is not None and rate and size / rate > limits.retention_seconds / 2:
            return (
                f"sending it at {int(rate)} bytes a second takes longer than half of what topic "
                f"{self._settings.topic!r} keeps records for ({limits.retention_seconds:g} s): raise "
                "retention.ms, or the rate limit"
            )
        return None

    def age_problem(self, began_ms: int) -> str | None:
        """Say that retention may soon eat the first records of an upload that began then; else None."""
        retention = self.limits.retention_seconds
        if retention is None or time.time() - began_ms / 1000 <= retention / 2:
            return None
        return (
            f"sending it has taken longer than half of what topic {self._settings.topic!r} keeps records for "
            f"({retention:g} s): raise retention.ms"
        )

    def checked(self, transfer: Transfer) -> bool:
        """Note what the digest of a file that was only hashed means; False: it must be planned anew."""
        path = transfer.path
        if transfer.digest != transfer.expected:
            if transfer.recalled is not None:
                self._recall.forget(wire_path(self._prefix, path))
            else:
                self._ledger.forget_fingerprint(path)
            return False
        if transfer.recalled is not None:
            self._adopt(transfer, transfer.recalled)
        else:
            self._ledger.same_content(path, transfer.fingerprint)
        return True

    def _adopt(self, transfer: Transfer, recalled: Recalled) -> None:
        now_ns = time.time_ns()
        beginning = Beginning(
            id=recalled.upload,
            path=transfer.path,
            version=recalled.upload,
            fingerprint=transfer.fingerprint,
            mode=None,
            chunk_size=transfer.plan.chunk_size,
            digest=recalled.digest,
            to=(),
            topic_id=self.limits.topic_id,
            partition=self._partition(transfer.key, None),
            closed_ns=now_ns,
            began_ms=now_ns // 1_000_000,
        )
        self._recall.adopt(transfer.path, wire_path(self._prefix, transfer.path), recalled, beginning)
        if recalled.asking:
            self._asked_again()

    def resumed(self, upload: Upload) -> Transfer:
        """Make a transfer of an upload that an earlier run did not bring to an end."""
        transfer = Transfer(
            path=upload.path,
            key=encode_key(wire_path(self._prefix, upload.path)),
            fingerprint=upload.fingerprint,
            plan=ChunkPlan(upload.fingerprint.size, upload.chunk_size),
            known=None,
            began=time.monotonic(),
            upload_id=upload.id,
            version=upload.version,
            partition=upload.partition,
            closed_ns=upload.closed_ns,
            began_ms=upload.began_ms,
            to=upload.to,
            begun=True,
            again=True,
            digest=upload.digest,
            first_offset=-1 if upload.first_offset is None else upload.first_offset,
            last_offset=-1 if upload.last_offset is None else upload.last_offset,
        )
        transfer.description = self._describe(transfer, upload.mode)
        return transfer


def _size_problem(size: int) -> str | None:
    if size <= MAX_FILE_SIZE:
        return None
    return f"its {size} bytes are more than any file has that is sent (2^53 - 1)"


def _to_check(transfer: Transfer, expected: bytes) -> Transfer:
    transfer.expected = expected
    transfer.produce_from = transfer.plan.count
    return transfer
