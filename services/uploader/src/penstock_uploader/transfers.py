"""The uploads that are on their way: read, produced, acknowledged, remembered.

What the plan says is to be sent goes through these states::

    open -> begin (ledger) -> chunks produced -> all acknowledged -> ending (ledger) -> end produced
         -> acknowledged (ledger)

A file of one chunk is one record, and skips the middle. Ledger writes are done for many files together; the
one that gives a record its upload id always comes before the record.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from blake3 import blake3

from chunkproto import UploadId
from penstock_uploader.answerbook import EVERYONE, Resend
from penstock_uploader.ledger import Ledger
from penstock_uploader.planning import Planner, Rest, Unsendable
from penstock_uploader.producing import produce_abort, produce_chunk, produce_end, produce_whole
from penstock_uploader.reading import open_beneath, seconds_until_tick_over
from penstock_uploader.schedule import Schedule, Step
from penstock_uploader.sending import Kind, ProducerLost, Report, Sending
from penstock_uploader.transfer import Changed, GivenUp, TooSlow, Transfer
from servicekit.filesystem import will_read_once

log = logging.getLogger(__name__)

_FLUSH_SECONDS: Final = 0.25
_FLUSH_BYTES: Final = 16 * 1024 * 1024
_MAX_VERIFICATIONS: Final = 3
_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EINVAL)


class Listener(Protocol):
    """Who is told how transfers end."""

    def began(self, transfer: Transfer) -> None:
        """Take note: an upload has begun."""

    def progressed(self, transfer: Transfer) -> None:
        """Take note: more of it is acknowledged."""

    def acknowledged(self, transfer: Transfer) -> None:
        """Take note: all of it is acknowledged, and the ledger says so."""

    def aborted(self, transfer: Transfer, reason: GivenUp) -> None:
        """Take note: an upload of several records is given up."""

    def unchanged(self, path: str) -> None:
        """Take note: there was nothing to send."""

    def retry(self, path: str, seconds: float) -> None:
        """Look at the path again after this time."""

    def gone(self, path: str, resend: Resend | None) -> None:
        """Take note: there is no file at the path any more."""

    def trouble(self, path: str, reason: str, message: str, *, permanent: bool, wanted: bool) -> None:
        """Take note: the file cannot be sent, for now or for good; `wanted`: it certainly had to be."""


class Transfers:
    """All uploads on their way. For the service's thread alone."""

    def __init__(
        self,
        root: str,
        *,
        planner: Planner,
        ledger: Ledger,
        schedule: Schedule,
        active: dict[str, Transfer],
        listener: Listener,
        connect: Callable[[], Sending],
    ) -> None:
        self._root = root
        self.planner = planner
        self._ledger = ledger
        self._schedule = schedule
        self._listener = listener
        self._connect = connect
        self.sending = connect()
        self.active = active
        """By path: one path has one upload on its way."""
        self.resends: dict[str, Resend] = {}
        """Versions that are to be sent again, by path, not yet begun."""
        self.holds_ends = False
        """While the topic is of no use, no file may become whole on it."""
        self._acknowledged: list[Transfer] = []
        self._ending: list[Transfer] = []
        self._dropped: list[Transfer] = []
        self._progressed: dict[Transfer, None] = {}
        self._progressed_bytes = 0
        self._flushed = time.monotonic()

    # What there is to send

    def take(self, steps: Iterable[Step], rest: Callable[[str], Rest]) -> None:
        """Carry out steps of the schedule; raises ProducerLost. Files it had no step for are looked at again.

        `rest` says since when a file rests; asked once, before it is opened.
        """
        fresh: list[tuple[Transfer, bytes]] = []
        left = iter(steps)
        try:
            for step in left:
                transfer = self.active.get(step.path)
                if transfer is not None:
                    if not transfer.begun:
                        begun, fresh = fresh, []
                        self._begin(begun)
                    if transfer.fd is not None:
                        self._read_next(transfer)
                elif step.first:
                    self._open(step, rest(step.path), fresh)
        except ProducerLost:
            # The schedule has let go of files of one chunk with their steps.
            for step in left:
                if step.first:
                    self._schedule.done(step.path)
                    self._listener.retry(step.path, 0.0)
            raise
        finally:
            if fresh:
                self._begin(fresh)

    def _open(self, step: Step, rest: Rest, fresh: list[tuple[Transfer, bytes]]) -> None:
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
            transfer = self.planner.plan(path, opened, rest, resend)
            if transfer is None:
                self._schedule.done(path)
                self._listener.unchanged(path)
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
        except Unsendable as problem:
            self._schedule.done(path)
            self._listener.trouble(
                path, "unsendable", str(problem), permanent=True, wanted=resend is not None
            )
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
                self._listener.trouble(
                    path,
                    "unreadable",
                    error.strerror or str(error),
                    permanent=False,
                    wanted=resend is not None,
                )
        finally:
            if fd is not None:
                os.close(fd)

    def _put_back(self, path: str, resend: Resend | None) -> None:
        if resend is not None:
            self.resends[path] = resend

    # Reading

    def _read_single(self, transfer: Transfer, fresh: list[tuple[Transfer, bytes]]) -> None:
        data = transfer.read(transfer.plan.size, 0)
        digest = blake3(data).digest()
        for _ in range(_MAX_VERIFICATIONS):
            if transfer.is_untouched():
                break
            # Something but the content changed, or so it says: make sure.
            if blake3(transfer.read(transfer.plan.size, 0)).digest() != digest:
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

    def _read_first(self, transfer: Transfer, fresh: list[tuple[Transfer, bytes]]) -> None:
        if transfer.checking:
            transfer.begun = True
            self._read_next(transfer)
            return
        data = transfer.read(transfer.plan.length(0), 0)
        transfer.hasher.update(data)
        transfer.next_index = 1
        fresh.append((transfer, data))

    def _read_next(self, transfer: Transfer) -> None:
        """Read the next chunk of a file that is open, and produce it unless only its digest is wanted."""
        index = transfer.next_index
        plan = transfer.plan
        try:
            self._check_age(transfer)
            data = transfer.read(plan.length(index), plan.offset(index))
            transfer.hasher.update(data)
            transfer.next_index = index + 1
            if index >= transfer.produce_from:
                produce_chunk(self.sending, transfer, index, data)
            if transfer.next_index == plan.count:
                self._read_to_end(transfer)
        except Changed as changed:
            self._give_up(transfer, str(changed), changed.reason)
        except OSError as error:
            why = error.strerror or str(error)
            self._listener.trouble(
                transfer.path, "unreadable", why, permanent=False, wanted=not transfer.checking
            )
            self._give_up(transfer, f"it could not be read: {why}", GivenUp.UNREADABLE)

    def _check_age(self, transfer: Transfer) -> None:
        """Raise TooSlow if retention may soon eat the upload's first records: it must begin again."""
        problem = None if transfer.checking else self.planner.age_problem(transfer.began_ms)
        if problem is not None:
            self._listener.trouble(transfer.path, "too-slow", problem, permanent=False, wanted=True)
            raise TooSlow("it took too long")

    def _read_to_end(self, transfer: Transfer) -> None:
        digest = transfer.hasher.digest()
        untouched = transfer.is_untouched()
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
        if self.planner.checked(transfer):
            self._listener.unchanged(transfer.path)
        else:
            self._listener.retry(transfer.path, 0.0)

    # Producing

    def _begin(self, fresh: list[tuple[Transfer, bytes]]) -> None:
        """Note new uploads in the ledger, all at once, and produce the first record of each."""
        topic_id = self.planner.limits.topic_id
        self._ledger.begin([transfer.beginning(topic_id) for transfer, _ in fresh])
        for transfer, data in fresh:
            transfer.begun = True
            self._listener.began(transfer)
            if transfer.plan.is_single:
                produce_whole(self.sending, transfer, data)
            else:
                produce_chunk(self.sending, transfer, 0, data)

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
            self._ledger.acknowledged([transfer.ended(now_ms) for transfer in done])
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
        if self._ending and not self.holds_ends:
            ending, self._ending = self._ending, []
            self._ledger.ending([transfer.ending() for transfer in ending])
            for transfer in ending:
                self._progressed.pop(transfer, None)
                produce_end(self.sending, transfer)
        now = time.monotonic()
        if self._progressed and (
            all_of_it or self._progressed_bytes >= _FLUSH_BYTES or now - self._flushed >= _FLUSH_SECONDS
        ):
            progressed = [t for t in self._progressed if not t.aborting]
            self._progressed.clear()
            self._progressed_bytes = 0
            self._flushed = now
            if progressed:
                self._ledger.progress([transfer.progress() for transfer in progressed])
            for transfer in progressed:
                self._listener.progressed(transfer)

    def _finish(self, transfer: Transfer) -> None:
        transfer.close()
        if self.active.get(transfer.path) is transfer:
            del self.active[transfer.path]

    # When it goes wrong

    def _give_up(self, transfer: Transfer, why: str, reason: GivenUp) -> None:
        """Drop an upload of which some may be on the topic, and say so there; the file is looked at again."""
        self._schedule.done(transfer.path)
        transfer.close()
        if transfer.upload_id is None:
            self.active.pop(transfer.path, None)
            self._listener.retry(transfer.path, 1.0)
            return
        log.info("%s is given up (%s) and sent again once it rests", transfer.path, why)
        self._abort(transfer, why, reason)

    def _abort(self, transfer: Transfer, why: str, reason: GivenUp) -> None:
        """Say on the wire that an upload of several records is given up."""
        if not transfer.aborting:
            transfer.aborting = True
            self._ledger.aborting(transfer.sent[0], why)
            self._listener.aborted(transfer, reason)
        produce_abort(self.sending, transfer, why)

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
            self._abort(transfer, "the producer was replaced", GivenUp.SUPERSEDED)
        if dropped:
            self._ledger.drop(dropped)

    def begin_again(self, transfer: Transfer, why: str, reason: GivenUp) -> None:
        """Give up what an earlier run had begun; its file is looked at again."""
        transfer.close()
        self._ask_again(transfer)
        if transfer.plan.is_single:
            self._ledger.drop([transfer.sent[0]])
            self._listener.retry(transfer.path, 0.0)
        else:
            self.active[transfer.path] = transfer
            self._abort(transfer, why, reason)

    def _ask_again(self, transfer: Transfer) -> None:
        """Keep in mind that destinations had asked for this upload: it must still be made."""
        if transfer.version is not None and transfer.version != transfer.upload_id:
            self._ledger.answers.ask_again_for(transfer.version, transfer.to or (EVERYONE,))

    def forget_all(self) -> None:
        """Drop all uploads on their way: the topic that they went to is no more."""
        self._forget_reports()
        self.sending.discard()
        self.sending = self._connect()
        self.resends.clear()
        for transfer in list(self.active.values()):
            self._schedule.done(transfer.path)
            transfer.close()
            if not (transfer.checking or transfer.plan.is_single or transfer.aborting):
                self._listener.aborted(transfer, GivenUp.SUPERSEDED)
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
