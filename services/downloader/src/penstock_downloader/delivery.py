"""The delivery of finished files, in batches over many of them, in a thread of its own.

For a batch: the digest is checked; a place is chosen; attributes are set; all is made durable, by one call;
the delivered log says so, durably; the files get their names; the names are made durable. Only then the poll
thread hears of it, gives the receipts and commits. Each step is done for all files of a batch before the next
one begins, and all are such that a crash between any two of them is mended at the next assignment.

While the destination takes nothing (full, read-only, broken) the step is tried again and again: nothing is
refused for that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from blake3 import blake3

from chunkproto import Description, Reason, SkipReason, UploadId
from penstock_downloader.deliveredlog import DeliveredLog, Entry, Kind
from penstock_downloader.exceptions import (
    Obstacle,
    PartialLost,
    Refused,
    SinkUnavailable,
    Skipped,
    is_unavailable,
)
from penstock_downloader.partials import Partial, Partials, catch_up
from penstock_downloader.quarantine import HEAD_BYTES
from penstock_downloader.sink import FileSystemSink, Place
from servicekit.faults import crash_point, declare, fail_point
from servicekit.filesystem import O_BINARY, O_CLOEXEC, O_NOFOLLOW

log = logging.getLogger(__name__)

declare("delivery.before-whole-write", "delivery.after-whole-write", "delivery.after-sync")
declare("delivery.whole-write")

MAX_BATCH_FILES: Final = 256
MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
"""Of whole files' values. What is in partials is on disk, and counts nothing."""


class Tenure:
    """One assignment of one partition to this process. It ends once; nothing is delivered for it then."""

    __slots__ = ("delivered_log", "is_over", "log_start", "number")

    def __init__(self, number: int, delivered_log: DeliveredLog, log_start: int) -> None:
        self.number = number
        self.delivered_log = delivered_log
        self.log_start = log_start
        self.is_over = False


@dataclass(slots=True, eq=False)
class Delivery:
    """A file all of whose bytes have come: in `value` if they came in one record, else in `partial`."""

    tenure: Tenure
    upload_id: UploadId
    offset: int
    description: Description
    digest: bytes
    closed_ns: int
    value: bytes | None = None
    partial: Partial | None = None
    size: int = 0
    """Bytes of memory that it holds."""

    # While it is under way:
    path: str = ""
    fd: int = -1
    place: Place | None = None

    @property
    def source(self) -> str:
        """The id of its source."""
        return self.description.source


@dataclass(frozen=True, slots=True)
class Delivered:
    """It is visible, durably, as `name`."""

    delivery: Delivery
    name: str
    visible_at: float


@dataclass(frozen=True, slots=True)
class NotDelivered:
    """It is not wanted or cannot be had here, for ever; `head` are its first bytes."""

    delivery: Delivery
    reason: Reason | SkipReason
    detail: str
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Lost:
    """Its bytes are not there, or not for certain: the partition has to be read again from its checkpoint."""

    delivery: Delivery
    detail: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The partition was taken away first, or the thread ended; whoever has it next delivers it."""

    delivery: Delivery


Outcome = Delivered | NotDelivered | Lost | Abandoned

T = TypeVar("T")


class Conditions(Protocol):
    """What the delivery thread must know of its surroundings."""

    def sink_unavailable(self, problem: SinkUnavailable | None) -> None:
        """Take note of why nothing can be delivered; None: it can."""

    def confirm(self, tenure: Tenure) -> bool:
        """Whether the partition is still ours for certain; may wait until that is known."""


class DeliveryThread:
    """Takes deliveries with `submit`, and tells with `outcomes` what has become of them."""

    def __init__(
        self,
        sink: FileSystemSink,
        partials: Partials,
        conditions: Conditions,
        *,
        retry_seconds: float = 1.0,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._sink = sink
        self._partials = partials
        self._conditions = conditions
        self._retry_seconds = retry_seconds
        self._wake = wake
        self._queue: deque[Delivery] = deque()
        self._retired: list[Tenure] = []
        self._outcomes: deque[Outcome] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self.failure: BaseException | None = None
        """What ended the thread, if anything but `close` did."""
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="digest")
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def submit(self, delivery: Delivery) -> None:
        """Take a file over, its partial included.

        One that an earlier process began is read first, beside the others. Where files cannot say which
        version they are, it is not: then it is their order that lets the last version win.
        """
        begun = delivery.partial
        if begun is not None and begun.hashed < delivery.description.size and self._sink.has_attributes:
            self._hashing.submit(self._hash_first, delivery)
        else:
            self._enqueue(delivery)

    def _hash_first(self, delivery: Delivery) -> None:
        with contextlib.suppress(Obstacle):  # told again, and dealt with, by the thread that delivers
            self._hash(delivery)
        self._enqueue(delivery)

    def _enqueue(self, delivery: Delivery) -> None:
        with self._changed:
            self._queue.append(delivery)
            self._changed.notify()

    def retire(self, tenure: Tenure) -> None:
        """Close the delivered log of an assignment that is over, once nobody writes to it any more."""
        with self._changed:
            self._retired.append(tenure)
            self._changed.notify()

    def outcomes(self) -> list[Outcome]:
        """Give what has become of deliveries since the last call."""
        found: list[Outcome] = []
        with contextlib.suppress(IndexError):
            while True:
                found.append(self._outcomes.popleft())
        return found

    def close(self, timeout: float | None) -> bool:
        """End the thread after the step that it is in; whether it ended in time."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
        self._hashing.shutdown(wait=False, cancel_futures=True)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                with self._changed:
                    while not (self._queue or self._retired or self._closing.is_set()):
                        self._changed.wait()
                    batch = self._next_batch()
                    retired, self._retired = self._retired, []
                for tenure in retired:
                    tenure.delivered_log.close()
                if batch:
                    self._deliver(batch)
                    self._wake()
        except BaseException as error:
            self.failure = error
            self._wake()
            raise

    def _next_batch(self) -> list[Delivery]:
        batch: list[Delivery] = []
        size = 0
        while self._queue and len(batch) < MAX_BATCH_FILES and size < MAX_BATCH_BYTES:
            delivery = self._queue.popleft()
            size += delivery.size
            batch.append(delivery)
        return batch

    def _deliver(self, batch: list[Delivery]) -> None:
        try:
            batch = self._each(self._verify, batch)
            batch = self._each(self._accept, batch)
            batch = self._each(self._stage, batch)
            if batch:
                batch = self._sync(batch)
            self._write_log(batch)
            batch = self._each(self._place, batch)
            if batch:
                self._retry(self._sink.settle)
            now = time.time()
            for delivery in batch:
                assert delivery.place is not None
                self._outcomes.append(Delivered(delivery, delivery.place.path, now))
            self._seal_logs(batch)
        finally:
            self._sink.release()

    def _each(self, step: Callable[[Delivery], bool], batch: Iterable[Delivery]) -> list[Delivery]:
        """Take each file through a step; give those that go on."""
        going_on = []
        for delivery in batch:
            try:
                if not delivery.tenure.is_over and self._retry(partial(step, delivery)):
                    going_on.append(delivery)
                    continue
                self._abandon(delivery)
            except (Refused, Skipped) as obstacle:
                self._turn_down(delivery, obstacle)
            except PartialLost as lost:
                self._lose(delivery, str(lost))
            except _Closing:
                self._abandon(delivery)
        return going_on

    def _retry(self, step: Callable[[], T]) -> T:
        """Do a step, again and again while the destination takes nothing."""
        troubled = False
        while True:
            try:
                result = step()
            except SinkUnavailable as error:
                troubled = True
                self._conditions.sink_unavailable(error)
                if self._closing.wait(self._retry_seconds):
                    raise _Closing from None
                continue
            if troubled:
                self._conditions.sink_unavailable(None)
            return result

    def _verify(self, delivery: Delivery) -> bool:
        if delivery.value is not None:
            digest = blake3(delivery.value).digest()
        elif not self._hash(delivery):
            return False
        else:
            assert delivery.partial is not None
            digest = delivery.partial.hasher.digest()
        if digest != delivery.digest:
            raise Refused(Reason.DIGEST, f"its BLAKE3 is {digest.hex()}, not {delivery.digest.hex()}")
        return True

    def _hash(self, delivery: Delivery) -> bool:
        """Hash what has not been yet of a partial; False when that is of no interest any more."""
        begun, size = delivery.partial, delivery.description.size
        assert begun is not None
        try:
            if delivery.fd < 0:
                delivery.path = begun.path
                delivery.fd = begun.take_fd()
                if os.fstat(delivery.fd).st_size != size:
                    raise PartialLost(f"the partial of {delivery.upload_id} is not of {size} bytes")
            while not catch_up(begun, delivery.fd, size):
                if delivery.tenure.is_over or self._closing.is_set():
                    return False
        except OSError as error:
            raise PartialLost(f"the partial of {delivery.upload_id}: {error.strerror}") from error
        return True

    def _accept(self, delivery: Delivery) -> bool:
        delivery.place = self._sink.accept(delivery.upload_id, delivery.description, delivery.digest)
        return True

    def _stage(self, delivery: Delivery) -> bool:
        """Bring the file to where it can be renamed from, with its attributes."""
        assert delivery.place is not None
        if not self._conditions.confirm(delivery.tenure):
            return False  # its next owner may have logged it: a partial that comes then would be renamed
        if delivery.place.is_there:
            return True
        if delivery.value is not None:
            crash_point("delivery.before-whole-write")
            delivery.path = self._partials.path(delivery.upload_id)
            try:
                fail_point("delivery.whole-write")
                if delivery.fd < 0:
                    delivery.fd = _create(delivery.path)
                _write_at_start(delivery.fd, delivery.value)
            except OSError as error:
                raise SinkUnavailable(error) from error
            crash_point("delivery.after-whole-write")
        self._sink.dress(
            delivery.fd, delivery.path, delivery.upload_id, delivery.description, delivery.digest
        )
        return True

    def _sync(self, batch: list[Delivery]) -> list[Delivery]:
        fds = [delivery.fd for delivery in batch if delivery.fd >= 0]
        try:
            self._sink.sync(fds)
        except OSError as error:
            # A second fsync would say that all is well, and prove nothing.
            log.warning("the destination could not make %d files durable: %s", len(fds), error.strerror)
            self._conditions.sink_unavailable(SinkUnavailable(error))
            for delivery in batch:
                self._lose(delivery, f"not durable: {error.strerror}")
            self._closing.wait(self._retry_seconds)
            self._conditions.sink_unavailable(None)
            return []
        crash_point("delivery.after-sync")
        for delivery in batch:
            if delivery.fd >= 0:
                os.close(delivery.fd)
                delivery.fd = -1
            delivery.value = None
        return batch

    def _write_log(self, batch: list[Delivery]) -> None:
        by_tenure: dict[Tenure, list[Delivery]] = {}
        for delivery in batch:
            by_tenure.setdefault(delivery.tenure, []).append(delivery)
        for tenure, deliveries in by_tenure.items():
            entries = [
                Entry(one.upload_id, one.offset, one.digest, one.place.path if one.place else "")
                for one in deliveries
            ]
            with contextlib.suppress(_Closing):
                self._retry(partial(self._log, tenure, entries))
                continue
            tenure.is_over = True

    def _log(self, tenure: Tenure, entries: list[Entry]) -> None:
        """Append entries if the partition is ours at this very moment: a full disk may have kept us long."""
        if self._conditions.confirm(tenure):
            _append(tenure, entries)

    def _place(self, delivery: Delivery) -> bool:
        assert delivery.place is not None
        if not self._conditions.confirm(delivery.tenure):
            return False
        if delivery.place.is_there:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._partials.path(delivery.upload_id))
            return True
        delivery.place = finish(
            self._sink, delivery.tenure, delivery, self._partials.path(delivery.upload_id)
        )
        return True

    def _seal_logs(self, batch: list[Delivery]) -> None:
        for tenure in {delivery.tenure for delivery in batch}:
            if tenure.delivered_log.is_due and not tenure.is_over:
                try:
                    tenure.delivered_log.seal(tenure.log_start, time.time())
                except OSError as error:
                    log.warning("the delivered log cannot be sorted now: %s", error.strerror)

    def _abandon(self, delivery: Delivery) -> None:
        self._let_go(delivery)
        self._outcomes.append(Abandoned(delivery))

    def _turn_down(self, delivery: Delivery, obstacle: Refused | Skipped) -> None:
        head = b""
        if isinstance(obstacle, Refused):
            head = _head(delivery)
        self._let_go(delivery, remove=True)
        self._outcomes.append(NotDelivered(delivery, obstacle.reason, obstacle.detail, head))

    def _lose(self, delivery: Delivery, detail: str) -> None:
        self._let_go(delivery, remove=True)
        self._outcomes.append(Lost(delivery, detail))

    def _let_go(self, delivery: Delivery, *, remove: bool = False) -> None:
        if delivery.fd >= 0:
            os.close(delivery.fd)
            delivery.fd = -1
        elif delivery.partial is not None and delivery.partial.fd is not None:
            os.close(delivery.partial.take_fd())
        delivery.value = None
        if remove and not delivery.tenure.is_over:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._partials.path(delivery.upload_id))


class _Closing(Exception):
    """The thread is asked to end."""


class Deliverable(Protocol):
    """What `finish` must know of a file."""

    @property
    def upload_id(self) -> UploadId:
        """Its upload."""

    @property
    def offset(self) -> int:
        """Of its last record."""

    @property
    def digest(self) -> bytes:
        """Its BLAKE3."""

    @property
    def source(self) -> str | None:
        """The id of its source, if that is known."""

    @property
    def place(self) -> Place | None:
        """Where the delivered log says it goes."""


def finish(sink: FileSystemSink, tenure: Tenure, delivery: Deliverable, path: str) -> Place:
    """Give a logged file its name, and return its place.

    When that cannot be, the log's entry is taken back, and Refused or Skipped raised; or PartialLost, when
    its partial is gone and it does not stand at its place either. Raises SinkUnavailable with nothing done.
    """
    place = delivery.place
    assert place is not None
    try:
        while True:
            if (standing := sink.is_superseded(delivery.upload_id, delivery.source, place)) is not None:
                raise Refused(Reason.STALE, f"the later upload {standing.upload_id} stands at {place.path!r}")
            try:
                sink.place(path, place)
            except FileNotFoundError:
                if os.path.lexists(path):  # its directory was removed under our hands
                    sink.reopen()
                    continue
                if sink.stands(delivery.upload_id, place):
                    return place
                _take_back(tenure, delivery, Kind.WITHDRAWN, "")
                raise PartialLost(f"the partial of {delivery.upload_id} was removed") from None
            except FileExistsError:
                place = sink.another(place)
                _append(tenure, [Entry(delivery.upload_id, delivery.offset, delivery.digest, place.path)])
                continue
            return place
    except (Refused, Skipped) as obstacle:
        _take_back(tenure, delivery, Kind.REFUSED, obstacle.reason)
        raise


def _take_back(tenure: Tenure, delivery: Deliverable, kind: Kind, why: str) -> None:
    _append(tenure, [Entry(delivery.upload_id, delivery.offset, delivery.digest, why, kind)])


def _append(tenure: Tenure, entries: list[Entry]) -> None:
    try:
        tenure.delivered_log.append(entries)
    except OSError as error:
        if is_unavailable(error):
            raise SinkUnavailable(error) from error
        raise


def _create(path: str) -> int:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | O_CLOEXEC | O_BINARY | O_NOFOLLOW, 0o600)


def _write_at_start(fd: int, data: bytes) -> None:
    if not data:
        return
    written = os.pwrite(fd, data, 0)
    while written < len(data):
        written += os.pwrite(fd, memoryview(data)[written:], written)


def _head(delivery: Delivery) -> bytes:
    if delivery.value is not None:
        return delivery.value[:HEAD_BYTES]
    if delivery.fd >= 0:
        with contextlib.suppress(OSError):
            return os.pread(delivery.fd, HEAD_BYTES, 0)
    return b""
