"""The uploads that are on their way: read, produced, acknowledged, remembered.

Of each file, this module decides by its fingerprint, its digest and the ledger whether there is anything to
send, and carries what there is through these states::

    open -> begin (ledger) -> chunks produced -> all acknowledged -> ending (ledger) -> end produced
         -> acknowledged (ledger)

A file of one chunk is one record, and skips the middle. Ledger writes are done for many files together; the
one that gives a record its upload id always comes before the record.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from blake3 import blake3

from chunkproto import (
    Abort,
    Chunk,
    ChunkPlan,
    Description,
    End,
    UploadId,
    Whole,
    next_upload_id,
    partition_for,
)
from chunkproto.native import encode_key
from chunkproto.paths import path_problem
from penstock_uploader.ledger import (
    EVERYONE,
    Acknowledged,
    Beginning,
    KnownFile,
    Ledger,
    Recalled,
    Resend,
    State,
    Upload,
)
from penstock_uploader.naming import wire_path
from penstock_uploader.reading import open_beneath, read_exactly, seconds_until_tick_over
from penstock_uploader.schedule import Schedule, Step
from penstock_uploader.sending import RECORD_COST, STRIDE_BYTES, Kind, ProducerLost, Report, Sending
from penstock_uploader.settings import UploaderSettings
from servicekit.faults import crash_point, declare
from servicekit.filesystem import Fingerprint, will_read_once

log = logging.getLogger(__name__)

_POINTS: Final = ("first", "chunk", "whole", "end", "abort")
declare(*(f"uploader.produce.{name}.{when}" for name in _POINTS for when in ("before", "after")))

_FLUSH_SECONDS: Final = 0.25
_FLUSH_BYTES: Final = 16 * 1024 * 1024
_MAX_VERIFICATIONS: Final = 3
_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EINVAL)


class Changed(Exception):
    """The file is not what it was when it was opened."""


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

    def close(self) -> None:
        """Let go of the file."""
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)


class Listener(Protocol):
    """Who is told how transfers end."""

    def began(self, transfer: Transfer) -> None:
        """Take note: an upload has begun."""

    def progressed(self, transfer: Transfer) -> None:
        """Take note: more of it is acknowledged."""

    def acknowledged(self, transfer: Transfer) -> None:
        """Take note: all of it is acknowledged, and the ledger says so."""

    def unchanged(self, path: str) -> None:
        """Take note: there was nothing to send."""

    def retry(self, path: str, seconds: float) -> None:
        """Look at the path again after this time."""

    def gone(self, path: str, resend: Resend | None) -> None:
        """Take note: there is no file at the path any more."""

    def trouble(self, path: str, reason: str, message: str, *, permanent: bool) -> None:
        """Take note: the file cannot be sent, for now or for good."""

    def superseded(self, path: str, resend: Resend) -> None:
        """Take note: a version that was to be sent again stands no more."""


@dataclass(slots=True)
class TopicLimits:
    """What of the topic bounds what can be sent."""

    topic_id: str = ""
    partitions: int = 1
    retention_seconds: float | None = None
    retention_bytes: int | None = None


class Transfers:
    """All uploads on their way. For the service's thread alone."""

    def __init__(
        self,
        settings: UploaderSettings,
        *,
        prefix: str,
        source_id: str,
        ledger: Ledger,
        schedule: Schedule,
        listener: Listener,
        connect: Callable[[], Sending],
    ) -> None:
        self._settings = settings
        self._root = settings.root
        self._prefix = prefix
        self._source_id = source_id
        self._ledger = ledger
        self._schedule = schedule
        self._listener = listener
        self._connect = connect
        self._chunk_size = int(settings.chunk_size)
        self.limits = TopicLimits()
        self.sending = connect()
        self.active: dict[str, Transfer] = {}
        """By path: one path has one upload on its way."""
        self.resends: dict[str, Resend] = {}
        """Versions that are to be sent again, by path, not yet begun."""
        self._last_id = ledger.highest
        self._acknowledged: list[Transfer] = []
        self._ending: list[Transfer] = []
        self._dropped: list[Transfer] = []
        self._progressed: dict[Transfer, None] = {}
        self._progressed_bytes = 0
        self._flushed = time.monotonic()

    # What there is to send

    def take(self, steps: Iterable[Step], closed_ns: Callable[[str], int]) -> None:
        """Carry out steps of the schedule; raises ProducerLost.

        `closed_ns` says when a file was seen at rest.
        """
        fresh: list[tuple[Transfer, bytes | None]] = []
        try:
            for step in steps:
                transfer = self.active.get(step.path)
                if transfer is not None:
                    if not transfer.begun:
                        begun, fresh = fresh, []
                        self._begin(begun)
                    if transfer.fd is not None:
                        self._read_next(transfer)
                elif step.first:
                    self._open(step, closed_ns(step.path), fresh)
        finally:
            if fresh:
                self._begin(fresh)

    def _open(self, step: Step, closed_ns: int, fresh: list[tuple[Transfer, bytes | None]]) -> None:
        path = step.path
        resend = self.resends.pop(path, None)
        fd: int | None = None
        try:
            opened = open_beneath(self._root, path)
            fd = opened.fd
            if (wait := seconds_until_tick_over(opened.fingerprint)) > 0:
                self._put_back(path, resend)
                self._listener.retry(path, wait)
                self._schedule.done(path)
                return
            transfer = self._consider(path, opened.fingerprint, opened.mode, closed_ns, resend)
            if transfer is None:
                self._schedule.done(path)
                return
            transfer.fd, fd = fd, None
            try:
                if transfer.plan.is_single:
                    self._schedule.done(path)
                    self._read_single(transfer, fresh)
                elif path not in self._schedule:
                    # It was small when it was put there, and has grown.
                    transfer.close()
                    self._put_back(path, resend)
                    self._listener.retry(path, 0.0)
                else:
                    will_read_once(transfer.fd)
                    self.active[path] = transfer
                    self._read_first(transfer, fresh)
            except BaseException:
                transfer.close()
                self.active.pop(path, None)
                raise
        except Changed as changed:
            self._schedule.done(path)
            log.debug("%s changed while it was read (%s)", path, changed)
            self._put_back(path, resend)
            self._listener.retry(path, 1.0)
        except OSError as error:
            self._schedule.done(path)
            if error.errno in _GONE:
                self._listener.gone(path, resend)
            else:
                self._put_back(path, resend)
                self._listener.trouble(path, "unreadable", error.strerror or str(error), permanent=False)
        finally:
            if fd is not None:
                os.close(fd)

    def _put_back(self, path: str, resend: Resend | None) -> None:
        if resend is not None:
            self.resends[path] = resend

    def _consider(
        self, path: str, fingerprint: Fingerprint, mode: int | None, closed_ns: int, resend: Resend | None
    ) -> Transfer | None:
        """Decide what to do with an open file: nothing (None), send it, or hash it and see."""
        known = self._ledger.file(path)
        wire = wire_path(self._prefix, path)
        if (message := path_problem(wire)) or (message := self._retention_problem(fingerprint.size)):
            self._listener.trouble(path, "unsendable", message, permanent=True)
            return None
        transfer = Transfer(
            path=path,
            key=encode_key(wire),
            fingerprint=fingerprint,
            plan=ChunkPlan(fingerprint.size, self._chunk_size),
            known=known,
            began=time.monotonic(),
        )
        to: tuple[str, ...] = ()
        version: UploadId | None = None
        stands = known is not None and known.fingerprint is not None
        if known is not None and known.fingerprint is not None:
            same = known.fingerprint.same_content(fingerprint)
            if resend is not None:
                if same and known.version == resend.version:
                    to = () if EVERYONE in resend.to else resend.to
                    version = resend.version
                else:
                    self._listener.superseded(path, resend)
            if version is None and same:
                if known.digest is None or stored(fingerprint) == known.fingerprint:
                    self._listener.unchanged(path)
                    return None
                transfer.expected = known.digest
                transfer.produce_from = transfer.plan.count
                return transfer
        if not stands and (recalled := self._ledger.recalled(wire)) is not None:
            transfer.recalled = recalled
            transfer.expected = recalled.digest
            transfer.produce_from = transfer.plan.count
            transfer.description = self._describe(transfer, mode, ())
            return transfer
        transfer.upload_id = self._next_id()
        transfer.version = version or transfer.upload_id
        transfer.to = to
        transfer.description = self._describe(transfer, mode, to)
        transfer.closed_ns = closed_ns
        transfer.began_ms = time.time_ns() // 1_000_000
        transfer.partition = (
            known.partition
            if known is not None and known.partition is not None
            else partition_for(transfer.key, self.limits.partitions)
        )
        return transfer

    def _describe(self, transfer: Transfer, mode: int | None, to: tuple[str, ...]) -> Description:
        return Description(
            path=wire_path(self._prefix, transfer.path),
            size=transfer.fingerprint.size,
            chunk_size=transfer.plan.chunk_size,
            mtime_ns=transfer.fingerprint.mtime_ns,
            mode=mode,
            source=self._source_id,
            to=to,
        )

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

    def _next_id(self) -> UploadId:
        self._last_id = next_upload_id(time.time_ns() // 1_000_000, random.getrandbits(74), self._last_id)
        return self._last_id

    # Reading

    def _read_single(self, transfer: Transfer, fresh: list[tuple[Transfer, bytes | None]]) -> None:
        data = self._read(transfer, transfer.plan.size, 0)
        digest = blake3(data).digest()
        for _ in range(_MAX_VERIFICATIONS):
            if self._is_untouched(transfer):
                break
            # Something but the content changed, or so it says: make sure.
            if blake3(self._read(transfer, transfer.plan.size, 0)).digest() != digest:
                raise Changed("its bytes")
        else:
            raise Changed("its times")
        transfer.close()
        transfer.digest = digest
        if transfer.expected is not None:
            self._checked(transfer)
            return
        self.active[transfer.path] = transfer
        fresh.append((transfer, data))

    def _read_first(self, transfer: Transfer, fresh: list[tuple[Transfer, bytes | None]]) -> None:
        if transfer.checking:
            transfer.begun = True
            self._read_next(transfer)
            return
        data = self._read(transfer, transfer.plan.length(0), 0)
        transfer.hasher.update(data)
        transfer.next_index = 1
        fresh.append((transfer, data))

    def _read_next(self, transfer: Transfer) -> None:
        """Read the next chunk of a file that is open, and produce it unless only its digest is wanted."""
        index = transfer.next_index
        plan = transfer.plan
        try:
            self._check_age(transfer)
            data = self._read(transfer, plan.length(index), plan.offset(index))
            transfer.hasher.update(data)
            transfer.next_index = index + 1
            if index >= transfer.produce_from:
                self._produce_chunk(transfer, index, data)
            if transfer.next_index == plan.count:
                self._read_to_end(transfer)
        except Changed as changed:
            self._give_up(transfer, str(changed))
        except OSError as error:
            self._listener.trouble(transfer.path, "unreadable", error.strerror or str(error), permanent=False)
            self._give_up(transfer, f"it could not be read: {error.strerror or error}")

    def _check_age(self, transfer: Transfer) -> None:
        """Raise Changed if retention may soon eat the upload's first records: it must begin again."""
        retention = self.limits.retention_seconds
        if retention is None or transfer.checking or time.time() - transfer.began_ms / 1000 <= retention / 2:
            return
        message = (
            f"sending it has taken longer than half of what topic {self._settings.topic!r} keeps records for "
            f"({retention:g} s): raise retention.ms"
        )
        self._listener.trouble(transfer.path, "too-slow", message, permanent=False)
        raise Changed("it took too long")

    def _read(self, transfer: Transfer, length: int, offset: int) -> bytes:
        if transfer.fd is None:
            raise Changed("closed")
        data = read_exactly(transfer.fd, length, offset)
        if len(data) != length:
            raise Changed("it was truncated")
        return data

    def _is_untouched(self, transfer: Transfer) -> bool:
        """Whether the fingerprint is as before; else take it over. Raises Changed if size or mtime differ."""
        if transfer.fd is None:
            raise Changed("closed")
        now = Fingerprint.of(os.fstat(transfer.fd))
        if now == transfer.fingerprint:
            return True
        if not now.same_content(transfer.fingerprint):
            raise Changed("its size or modification time")
        transfer.fingerprint = now
        return False

    def _read_to_end(self, transfer: Transfer) -> None:
        digest = transfer.hasher.digest()
        untouched = self._is_untouched(transfer)
        if transfer.first_pass is not None and digest != transfer.first_pass:
            raise Changed("its bytes")
        if not untouched:
            # Renamed, unlinked, linked or chmod-ed meanwhile; or written to, with the times set back. Bytes
            # that were sent already may be of before and after: only reading all again can tell.
            transfer.verifications += 1
            if transfer.verifications > _MAX_VERIFICATIONS:
                raise Changed("its times, again and again")
            transfer.first_pass = digest
            transfer.hasher = blake3()
            transfer.next_index = 0
            transfer.produce_from = transfer.plan.count
            return
        self._schedule.done(transfer.path)
        transfer.close()
        transfer.digest = digest
        if transfer.checking:
            del self.active[transfer.path]
            self._checked(transfer)
        elif transfer.acked == transfer.plan.count:
            self._ending.append(transfer)

    def _checked(self, transfer: Transfer) -> None:
        """Act on the digest of a file that was only hashed."""
        path = transfer.path
        if transfer.digest != transfer.expected:
            if transfer.recalled is not None:
                self._ledger.forget_recalled(wire_path(self._prefix, path))
            else:
                self._ledger.forget_fingerprint(path)
            self._listener.retry(path, 0.0)
            return
        if transfer.recalled is not None:
            self._adopt(transfer, transfer.recalled)
        else:
            self._ledger.same_content(path, transfer.fingerprint)
        self._listener.unchanged(path)

    def _adopt(self, transfer: Transfer, recalled: Recalled) -> None:
        now_ns = time.time_ns()
        self._ledger.adopt(
            transfer.path,
            wire_path(self._prefix, transfer.path),
            recalled,
            Beginning(
                id=recalled.upload,
                path=transfer.path,
                version=recalled.upload,
                fingerprint=transfer.fingerprint,
                mode=None,
                chunk_size=transfer.plan.chunk_size,
                digest=recalled.digest,
                to=(),
                topic_id=self.limits.topic_id,
                partition=partition_for(transfer.key, self.limits.partitions),
                closed_ns=now_ns,
                began_ms=now_ns // 1_000_000,
            ),
        )

    # Producing

    def _begin(self, fresh: list[tuple[Transfer, bytes | None]]) -> None:
        """Note new uploads in the ledger, all at once, and produce the first record of each."""
        beginnings = []
        for transfer, _ in fresh:
            if transfer.upload_id is None or transfer.version is None or transfer.description is None:
                raise AssertionError("only what is sent begins")
            beginnings.append(
                Beginning(
                    transfer.upload_id,
                    transfer.path,
                    transfer.version,
                    transfer.fingerprint,
                    transfer.description.mode,
                    transfer.plan.chunk_size,
                    transfer.digest,
                    transfer.to,
                    self.limits.topic_id,
                    transfer.partition,
                    transfer.closed_ns,
                    transfer.began_ms,
                )
            )
        self._ledger.begin(beginnings)
        for transfer, data in fresh:
            transfer.begun = True
            self._listener.began(transfer)
            if transfer.plan.is_single:
                self._produce_whole(transfer, data or b"")
            else:
                self._produce_chunk(transfer, 0, data or b"")

    def _produce_whole(self, transfer: Transfer, data: bytes) -> None:
        upload_id, description, digest = _sent(transfer)
        if digest is None:
            raise AssertionError("a whole file is hashed before it is sent")
        record = Whole(upload_id, description, digest, transfer.closed_ns, transfer.again)
        self._produce("whole", transfer, record, data, Kind.WHOLE, 1)

    def _produce_chunk(self, transfer: Transfer, index: int, data: bytes) -> None:
        upload_id, description, _ = _sent(transfer)
        plan = transfer.plan
        record = Chunk(
            upload_id, index, plan.offset(index), description if index == 0 else None, transfer.again
        )
        transfer.unreported += len(data) + RECORD_COST
        reported = index == 0 or index == plan.count - 1 or transfer.unreported >= STRIDE_BYTES
        if index == 0:
            self._produce("first", transfer, record, data, Kind.CHUNK, 1)
        elif reported:
            self._produce("chunk", transfer, record, data, Kind.CHUNK, index + 1)
        else:
            self.sending.in_flight += len(data) + RECORD_COST
            self.sending.produce(record, transfer.key, data, transfer.partition, None)

    def _produce_end(self, transfer: Transfer) -> None:
        upload_id, description, digest = _sent(transfer)
        if digest is None:
            raise AssertionError("a file is hashed before its end is sent")
        record = End(upload_id, description, digest, transfer.plan.count, transfer.closed_ns, transfer.again)
        self._produce("end", transfer, record, None, Kind.END, transfer.plan.count)

    def _produce_abort(self, transfer: Transfer, why: str) -> None:
        upload_id, description, _ = _sent(transfer)
        record = Abort(upload_id, description.path, self._source_id, why, transfer.again)
        self._produce("abort", transfer, record, None, Kind.ABORT, 0)

    def _produce(
        self,
        name: str,
        transfer: Transfer,
        record: Chunk | Whole | End | Abort,
        data: bytes | None,
        kind: Kind,
        chunks: int,
    ) -> None:
        cost = (len(data) if data else 0) + RECORD_COST
        self.sending.in_flight += cost
        # What came before without a report is acknowledged with this one (a chunk has counted itself).
        cost = transfer.unreported if kind is Kind.CHUNK else cost + transfer.unreported
        transfer.unreported = 0
        crash_point(f"uploader.produce.{name}.before")
        report = Report(transfer, kind, chunks, cost, self.sending)
        self.sending.produce(record, transfer.key, data, transfer.partition, report)
        crash_point(f"uploader.produce.{name}.after")

    # What Kafka says

    def poll(self, timeout: float) -> bool:
        """Take in acknowledgements, waiting at most `timeout` seconds; whether there were any.

        Raises ProducerLost.
        """
        try:
            self.sending.poll(timeout)
        finally:
            reports = self.sending.take_reports()
            for report in reports:
                self._reported(report)
        return bool(reports)

    def _reported(self, report: Report) -> None:
        transfer = report.subject
        if not isinstance(transfer, Transfer):
            return
        if report.kind is Kind.ABORT:
            self._dropped.append(transfer)
            return
        if transfer.first_offset < 0:
            transfer.first_offset = report.offset
        transfer.last_offset = report.offset
        if report.kind is not Kind.CHUNK:
            transfer.acked = report.chunks
            self._acknowledged.append(transfer)
        elif not transfer.aborting:
            self._progressed_bytes += report.cost
            transfer.acked = report.chunks
            self._progressed[transfer] = None
            if transfer.acked == transfer.plan.count and transfer.digest is not None:
                self._ending.append(transfer)

    def settle(self, timeout: float) -> bool:
        """Wait until all that was produced is acknowledged, with or without a report; False if not in time.

        Raises ProducerLost.
        """
        if not self.sending.flush(timeout):
            self.poll(0.0)
            return False
        self.poll(0.0)
        for transfer in self.active.values():
            if not (transfer.aborting or transfer.checking or transfer.plan.is_single):
                # Without a gap: what was produced after the last report is there as well.
                sent = max(transfer.acked, transfer.next_index)
                if transfer.first_pass is None and sent > transfer.acked:
                    transfer.acked = sent
                    self._progressed[transfer] = None
            transfer.unreported = 0
        return True

    def flush(self, *, all_of_it: bool = False) -> None:
        """Write down what was acknowledged; produce the ends that this allows. Raises ProducerLost."""
        if self._acknowledged:
            done, self._acknowledged = self._acknowledged, []
            now_ms = time.time_ns() // 1_000_000
            self._ledger.acknowledged([_acknowledged(transfer, now_ms) for transfer in done])
            for transfer in done:
                self._progressed.pop(transfer, None)
                self._finish(transfer)
                self._listener.acknowledged(transfer)
        if self._dropped:
            dropped, self._dropped = self._dropped, []
            self._ledger.drop(transfer.upload_id for transfer in dropped if transfer.upload_id is not None)
            for transfer in dropped:
                self._finish(transfer)
                self._listener.retry(transfer.path, 0.0)
        if self._ending:
            ending, self._ending = self._ending, []
            self._ledger.ending([_ending(transfer) for transfer in ending])
            for transfer in ending:
                self._progressed.pop(transfer, None)
                self._produce_end(transfer)
        now = time.monotonic()
        if self._progressed and (
            all_of_it or self._progressed_bytes >= _FLUSH_BYTES or now - self._flushed >= _FLUSH_SECONDS
        ):
            progressed = [t for t in self._progressed if not t.aborting]
            self._progressed.clear()
            self._progressed_bytes = 0
            self._flushed = now
            if progressed:
                self._ledger.progress([_progress(transfer) for transfer in progressed])
            for transfer in progressed:
                self._listener.progressed(transfer)

    def _finish(self, transfer: Transfer) -> None:
        transfer.close()
        if self.active.get(transfer.path) is transfer:
            del self.active[transfer.path]

    # When it goes wrong

    def _give_up(self, transfer: Transfer, why: str) -> None:
        """Drop an upload of which some may be on the topic, and say so there; the file is looked at again."""
        self._schedule.done(transfer.path)
        transfer.close()
        if transfer.upload_id is None:
            self.active.pop(transfer.path, None)
            self._listener.retry(transfer.path, 1.0)
            return
        log.info("%s is given up (%s) and sent again once it rests", transfer.path, why)
        transfer.aborting = True
        self._ledger.aborting(transfer.upload_id, why)
        self._produce_abort(transfer, why)

    def replace_producer(self) -> None:
        """Go on with another producer: uploads that were on their way begin again under new ids."""
        self._forget_reports()
        self.sending.discard()
        self.sending = self._connect()
        dropped: list[UploadId] = []
        for transfer in list(self.active.values()):
            self._schedule.done(transfer.path)
            transfer.close()
            if transfer.upload_id is None or transfer.plan.is_single:
                if transfer.upload_id is not None:
                    dropped.append(transfer.upload_id)
                    self._ask_again(transfer)
                del self.active[transfer.path]
                self._listener.retry(transfer.path, 0.0)
                continue
            transfer.unreported = 0
            transfer.again = True
            if not transfer.aborting:
                self._ask_again(transfer)
                transfer.aborting = True
                self._ledger.aborting(transfer.upload_id, "the producer was replaced")
            self._produce_abort(transfer, "the producer was replaced")
        if dropped:
            self._ledger.drop(dropped)

    def _ask_again(self, transfer: Transfer) -> None:
        """Keep in mind that destinations had asked for this upload: it must still be made."""
        if transfer.version is not None and transfer.version != transfer.upload_id:
            self._ledger.ask_again_for(transfer.version, transfer.to or (EVERYONE,))

    def forget_all(self) -> None:
        """Drop all uploads on their way: the topic that they went to is no more."""
        self._forget_reports()
        self.sending.discard()
        self.sending = self._connect()
        self.resends.clear()
        for transfer in list(self.active.values()):
            self._schedule.done(transfer.path)
            transfer.close()
            self._listener.retry(transfer.path, 0.0)
        self.active.clear()

    def _forget_reports(self) -> None:
        self._acknowledged.clear()
        self._ending.clear()
        self._dropped.clear()
        self._progressed.clear()

    def close(self) -> None:
        """Let go of all files; what is unfinished goes on at the next start."""
        for transfer in self.active.values():
            transfer.close()
        self.sending.discard()

    # After a restart

    def resume(self) -> None:
        """Go on with what an earlier run did not bring to an end; raises ProducerLost."""
        for upload in self._ledger.unfinished():
            if upload.path in self.active:
                continue
            self._resume(upload)

    def _resume(self, upload: Upload) -> None:
        transfer = self._transfer_of(upload)
        if upload.state is State.ABORTING:
            self._abort_resumed(transfer, "given up before a restart")
            return
        if upload.state is State.ENDING:
            transfer.acked = transfer.plan.count
            self.active[upload.path] = transfer
            self._produce_end(transfer)
            return
        try:
            opened = open_beneath(self._root, upload.path)
        except OSError:
            self._abort_resumed(transfer, "its file is gone")
            return
        transfer.fd = opened.fd
        if stored(opened.fingerprint) != upload.fingerprint:
            self._abort_resumed(transfer, "its file was changed")
        elif transfer.plan.is_single:
            self._resume_single(transfer)
        elif self._is_too_old(upload) or transfer.plan.size <= self._chunk_size:
            self._abort_resumed(transfer, "it began too long ago")
        else:
            log.info("%s: going on at chunk %d of %d", upload.path, upload.chunks + 1, transfer.plan.count)
            transfer.fingerprint = opened.fingerprint
            transfer.produce_from = transfer.acked = upload.chunks
            self.active[upload.path] = transfer
            self._schedule.add(upload.path, transfer.plan.size)
            self._listener.began(transfer)

    def _resume_single(self, transfer: Transfer) -> None:
        try:
            data = self._read(transfer, transfer.plan.size, 0)
            untouched = self._is_untouched(transfer)
        except (OSError, Changed):
            untouched = False
        if not untouched or blake3(data).digest() != transfer.digest:
            self._abort_resumed(transfer, "its file was changed")
            return
        transfer.close()
        self.active[transfer.path] = transfer
        self._listener.began(transfer)
        self._produce_whole(transfer, data)

    def _is_too_old(self, upload: Upload) -> bool:
        retention = self.limits.retention_seconds
        return retention is not None and time.time() - upload.began_ms / 1000 > retention / 2

    def _abort_resumed(self, transfer: Transfer, why: str) -> None:
        transfer.close()
        self._ask_again(transfer)
        if transfer.upload_id is None:
            return
        if transfer.plan.is_single:
            self._ledger.drop([transfer.upload_id])
            self._listener.retry(transfer.path, 0.0)
            return
        transfer.aborting = True
        self.active[transfer.path] = transfer
        self._ledger.aborting(transfer.upload_id, why)
        self._produce_abort(transfer, why)

    def _transfer_of(self, upload: Upload) -> Transfer:
        wire = wire_path(self._prefix, upload.path)
        transfer = Transfer(
            path=upload.path,
            key=encode_key(wire),
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
        transfer.description = self._describe(transfer, upload.mode, upload.to)
        return transfer


def stored(fingerprint: Fingerprint) -> Fingerprint:
    """Give the fingerprint as the ledger can hold it: SQLite's integers have a sign."""
    inode = fingerprint.inode & 0x7FFF_FFFF_FFFF_FFFF
    if inode == fingerprint.inode:
        return fingerprint
    return Fingerprint(fingerprint.size, fingerprint.mtime_ns, fingerprint.ctime_ns, inode)


def _sent(transfer: Transfer) -> tuple[UploadId, Description, bytes | None]:
    if transfer.upload_id is None or transfer.description is None:
        raise AssertionError("only what has an upload id is sent")
    return transfer.upload_id, transfer.description, transfer.digest


def _acknowledged(transfer: Transfer, now_ms: int) -> Acknowledged:
    upload_id, _, digest = _sent(transfer)
    return Acknowledged(
        upload_id,
        transfer.path,
        transfer.version or upload_id,
        transfer.plan.count,
        transfer.first_offset,
        transfer.last_offset,
        transfer.fingerprint,
        digest or b"",
        now_ms,
    )


def _progress(transfer: Transfer) -> tuple[UploadId, int, int, int]:
    return _sent(transfer)[0], transfer.acked, transfer.first_offset, transfer.last_offset


def _ending(transfer: Transfer) -> tuple[UploadId, int, bytes, int, int]:
    upload_id, _, digest = _sent(transfer)
    return upload_id, transfer.acked, digest or b"", transfer.first_offset, transfer.last_offset


__all__ = ["Listener", "ProducerLost", "TopicLimits", "Transfer", "Transfers", "stored"]
