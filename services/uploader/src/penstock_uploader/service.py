"""The uploader: one thread that does everything but wait, and a few that only wait.

The service's thread takes what the others have found (watch, answers, topic, disposals, questions from the
control port), decides, reads files, produces, and writes the ledger. Nothing else touches these.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import queue
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, TypeVar

from chunkproto.native import RECORD_OVERHEAD_BYTES
from penstock_uploader import metrics
from penstock_uploader.answers import Answers, AnswersReader, apply_answers, upload_id_of
from penstock_uploader.control import Control, describe_file
from penstock_uploader.discovery import Discovery
from penstock_uploader.disposal import DisposalThread, Disposed, Disposer, Fate
from penstock_uploader.ledger import Answer, Disposal, Ledger, Outcome, Resend
from penstock_uploader.naming import derived_source_id, prefix_values, render_prefix
from penstock_uploader.observer import Observer
from penstock_uploader.schedule import RateLimit, Schedule
from penstock_uploader.sending import ProducerLost, Sending
from penstock_uploader.settings import UploaderSettings
from penstock_uploader.settle import Settle
from penstock_uploader.topicwatch import TopicWatch, refuse_circle, say_topic
from penstock_uploader.transfers import TopicLimits, Transfer, Transfers, stored
from penstock_uploader.watch import ScanDone, Unreadable, Watch, walk
from servicekit.events import (
    FileDelivered,
    FileDiscovered,
    FileRejected,
    FileSkipped,
    FileUploaded,
    FileUploading,
    ServiceHeartbeat,
    Telemetry,
    receipts_topic,
)
from servicekit.exceptions import (
    ConfigurationError,
    KafkaUnavailable,
    NotAuthorized,
    PenstockError,
    StateError,
    UnknownTopic,
)
from servicekit.filesystem import FileLock, Fingerprint
from servicekit.globs import PathFilter
from servicekit.http import Health, HttpServer, health_routes
from servicekit.kafka import ClientHealth, wait_for_broker
from servicekit.lifecycle import Deadline, StopSignal
from servicekit.logs import Limiter, fields
from servicekit.metrics import set_build_info
from servicekit.topics import TopicInfo, Topics, check_topic_can_carry, require_topic_can_carry

log = logging.getLogger(__name__)

T = TypeVar("T")

_RESENDS_AT_ONCE: Final = 256
_HEARTBEAT_SECONDS: Final = 10.0
_LISTED: Final = 100
"""Of what is missing or failed, at most this many are named."""
_RECEIPTS_RETENTION_MS: Final = 30 * 24 * 3600 * 1000
_MAX_PRODUCER_BACKOFF: Final = 60.0
_SERVICE: Final = "uploader"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a file cannot be sent. `permanent`: as long as the file looks like this."""

    reason: str
    message: str
    permanent: bool
    fingerprint: Fingerprint | None
    tries: int


@dataclass(slots=True)
class Once:
    """What became of the files that were to be sent once."""

    acknowledged: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Reason by path."""

    @property
    def complete(self) -> bool:
        """Whether everything was acknowledged."""
        return not self.failed


class Uploader:
    """Streams the files of one directory to one topic.

    `observer` is told of each file. With `only` (paths relative to the directory) it sends these once and
    `run` returns when all are acknowledged; its ledger is then a temporary one, unless a state directory was
    named: so an upload that is interrupted begins again the next time.
    """

    def __init__(
        self,
        settings: UploaderSettings,
        *,
        observer: Observer | None = None,
        only: list[str] | None = None,
    ) -> None:
        self._settings = settings
        self._observer = observer
        self._only = only
        self._root = settings.root
        self.once = Once()
        self.health = Health("start")
        self._wakeup = threading.Event()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._troubles: dict[str, Trouble] = {}
        self._limiter = Limiter(every_seconds=60)
        self._scan_done = 0
        self._receipts_required = tuple(settings.after_receipt_from)
        self._resends_wanted = True
        self._resends_looked = 0.0
        self._producer_failures = 0
        self._replace_producer_at: float | None = None
        self._heartbeat = _Heartbeat()
        self._busy: dict[bytes, Disposal] = {}
        self._swept = False
        self.control_port: int | None = None
        """Where questions are answered, on the loopback interface; None while it does not run."""

    # Running

    def run(self, stop: StopSignal) -> int:
        """Run until `stop`, or until all of `only` is done; gives the exit code.

        Raises PenstockErrors for what makes starting impossible.
        """
        with ExitStack() as stack:
            if not self._start(stack, stop):
                return 0
            self.health.ok("start")
            try:
                self._loop(stop)
                self._drain()
            finally:
                self._fail_questions()
        if self._only is not None and not self.once.complete:
            return 1
        return 0

    def _start(self, stack: ExitStack, stop: StopSignal) -> bool:
        """Set everything up; False if `stop` came first."""
        settings = self._settings
        set_build_info(_SERVICE, version("penstock-uploader"))
        prefix = render_prefix(settings.prefix, prefix_values())
        paths = PathFilter(settings.include, settings.exclude)
        state_dir = self._open_state_dir(stack)
        self._source_id = self._persistent_source_id(state_dir)
        self._prefix = prefix
        self._ledger = Ledger(
            os.path.join(state_dir, "ledger.db"),
            durable=settings.after != "keep",
            now_ms=time.time_ns() // 1_000_000,
        )
        stack.callback(self._ledger.close)
        if settings.metrics_port is not None:
            server = HttpServer(
                settings.metrics_host, settings.metrics_port, health_routes(self.health), name="metrics"
            )
            stack.callback(server.close)
        if not wait_for_broker(settings, stop):
            return False
        self._topics = Topics(settings)
        topic = self._topics.describe(settings.topic)
        for warning in require_topic_can_carry(
            topic, int(settings.chunk_size), overhead=RECORD_OVERHEAD_BYTES
        ):
            log.warning("%s", warning)
        refuse_circle(self._root, topic)
        if self._only is None:
            say_topic(self._root, topic, None)
        self._limits = _limits(topic)
        self._adopt_topic(topic)
        self._telemetry = Telemetry(settings, topic=settings.events_topic or None)
        stack.callback(self._telemetry.close)
        self._reader = self._open_answers(stack, stop)
        self._producer_health = ClientHealth("producer", settings.bootstrap_servers)
        self._schedule = Schedule(int(settings.chunk_size))
        self._transfers = Transfers(
            settings,
            prefix=prefix,
            source_id=self._source_id,
            ledger=self._ledger,
            schedule=self._schedule,
            listener=self,
            connect=self._connect,
        )
        self._transfers.limits = self._limits
        stack.callback(self._transfers.close)
        self._rate = RateLimit(
            None if settings.rate_limit is None else int(settings.rate_limit),
            int(settings.chunk_size),
            time.monotonic(),
        )
        self._watch = Watch(
            self._root,
            paths,
            polling=settings.polling,
            scan_interval=settings.scan_interval_seconds,
            polling_interval=settings.polling_interval_seconds,
            wake=self._wakeup.set,
        )
        self._discovery = Discovery(
            self._root,
            settle=Settle(settings.settle_seconds),
            schedule=self._schedule,
            ledger=self._ledger,
            transfers=self._transfers,
            existing=settings.existing,
            trust_times=not self._watch.polling,
            is_hopeless=self._is_hopeless,
            ready=self._is_ready,
            gone=lambda path: self.gone(path, self._transfers.resends.pop(path, None)),
        )
        self._start_disposals(stack)
        if stop.is_set():
            return False
        self._resume()
        watch = TopicWatch(
            self._topics,
            settings.topic,
            settings.topic_check_seconds,
            lambda found: self._tell(functools.partial(self._topic_described, found)),
        )
        self._topic_watch = watch
        watch.start()
        stack.callback(watch.stop)
        if self._only is None:
            control = Control(self, state_dir, settings.control_port)
            stack.callback(control.close)
            self.control_port = control.port
            self._watch.start()
            stack.callback(self._watch.stop)
            log.info(
                "watching %s for topic %s",
                self._root,
                settings.topic,
                extra=fields(source=self._source_id, control=control.port),
            )
        else:
            now = time.monotonic()
            for path in self._only:
                self._discovery.settle.closed(path, now)
        return True

    def _open_state_dir(self, stack: ExitStack) -> str:
        """Make and lock the state directory; raises ConfigurationError, StateError."""
        settings = self._settings
        if not os.path.isdir(self._root):
            raise ConfigurationError(f"{settings.directory!r} is not a directory")
        if not os.access(self._root, os.R_OK | os.X_OK):
            raise ConfigurationError(f"directory {settings.directory!r} may not be read by us")
        if self._only is not None and settings.state_dir is None:
            return stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-upload-"))
        writable = os.access(self._root, os.W_OK)
        if settings.after != "keep" and not writable:
            raise ConfigurationError(
                f"directory {settings.directory!r} is read-only: --after {settings.after} is not "
                f"possible there, "
                "only --after keep"
            )
        state_dir = settings.state_directory
        try:
            os.makedirs(state_dir, exist_ok=True)
        except OSError as error:
            hint = (
                "name a directory that can be written with --state-dir (and keep --after keep)"
                if settings.state_dir is None
                else "name another --state-dir"
            )
            raise ConfigurationError(
                f"state cannot be kept in {state_dir!r} ({error.strerror}): {hint}"
            ) from None
        owner = f"penstock-uploader, pid {os.getpid()} on {socket.gethostname()}, watching {self._root}"
        try:
            stack.enter_context(FileLock(os.path.join(state_dir, "lock"), owner=owner))
        except StateError as error:
            raise StateError(
                f"{self._root!r} is watched by another uploader already: {error}"
                if "locked" in str(error)
                else f"{error}; a read-only directory needs --state-dir and --after keep"
            ) from None
        return state_dir

    def _persistent_source_id(self, state_dir: str) -> str:
        """Read the id of this source from its file, or make it and keep it there."""
        path = os.path.join(state_dir, "source_id")
        try:
            with open(path, encoding="utf-8") as stream:
                known = stream.read().strip()
        except OSError:
            known = ""
        given = self._settings.source_id
        if known and given and known != given:
            raise ConfigurationError(
                f"{self._root!r} was sent as source {known!r} until now, and cannot become {given!r}: "
                f"destinations "
                f"would take them for two sources of the same paths. Leave out --source-id, or remove "
                f"{path!r}"
            )
        if known:
            return known
        source_id = given or _known_source_id(self._root) or derived_source_id(self._root)
        try:
            with open(path + ".new", "w", encoding="utf-8") as stream:
                stream.write(source_id + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(path + ".new", path)
        except OSError as error:
            raise ConfigurationError(
                f"state cannot be kept in {state_dir!r} ({error.strerror}): name another --state-dir"
            ) from None
        return source_id

    def _connect(self) -> Sending:
        self._producer_health = ClientHealth("producer", self._settings.bootstrap_servers)
        return Sending(self._settings, self._producer_health)

    def _open_answers(self, stack: ExitStack, stop: StopSignal) -> AnswersReader | None:
        """Begin to read receipts; a new ledger first reads all there are."""
        settings = self._settings
        if self._only is not None and not self._receipts_required:
            return None
        name = receipts_topic(settings.topic)
        try:
            topic = self._topics.ensure_topic(name, config={"retention.ms": str(_RECEIPTS_RETENTION_MS)})
        except (NotAuthorized, UnknownTopic) as error:
            if settings.after_when == "delivered" and settings.after != "keep":
                raise
            log.warning("no receipts: %s", error)
            return None
        reader = AnswersReader(
            settings, topic, self._source_id, self._ledger.positions(topic.topic_id), self._wakeup.set
        )
        stack.callback(reader.stop)
        if self._ledger.is_new:
            self._recall(reader, topic, stop)
        reader.start()
        return reader

    def _recall(self, reader: AnswersReader, topic: TopicInfo, stop: StopSignal) -> None:
        """Let receipts tell what is delivered already, because the ledger does not know."""
        ranges = self._topics.watermarks(topic.name, topic.partitions)
        starts = {number: found.start for number, found in ranges.items()}
        ends = {number: found.end for number, found in ranges.items()}
        count = 0
        for answers in reader.read_to(ends, starts, stop):
            receipts = []
            highest = None
            for event in answers.events:
                upload = upload_id_of(event, self._source_id)
                if upload is None:
                    continue
                highest = max(upload, highest or upload)
                if isinstance(event, FileDelivered):
                    receipts.append((event.path, event.destination, upload, bytes.fromhex(event.digest)))
            self._ledger.recall(receipts, highest)
            with self._ledger.applying_answers():
                for partition, position in answers.positions.items():
                    self._ledger.put_position(topic.topic_id, partition, position)
            count += len(receipts)
        if not stop.is_set():
            self._ledger.recall_done()
        if count:
            log.info("the ledger is new, but %d receipts say what is delivered already", count)

    def _start_disposals(self, stack: ExitStack) -> None:
        disposer = Disposer(self._root)
        self._disposals = DisposalThread(disposer, self._wakeup.set)
        stack.callback(self._disposals.stop)
        if self._only is not None:
            return
        unfinished = self._ledger.disposals()
        for path in disposer.put_orphans_back({disposal.version for disposal in unfinished}):
            log.warning("%s lay aside since a crash, and is back at its place", path)
        for disposal in unfinished:
            self._disposals.put(disposal)

    def _loop(self, stop: StopSignal) -> None:
        while not stop.is_set():
            try:
                busy = self._turn()
            except ProducerLost as lost:
                self._producer_lost(lost)
                busy = False
            if self._only is not None and self._is_idle():
                return
            if not busy:
                self._wait(stop)

    def _turn(self) -> bool:
        """Do a little of everything; whether there may be more to do at once."""
        busy = self._answer_questions()
        busy |= self._look()
        busy |= self._take_answers()
        self._take_disposed()
        self._want_resends()
        self._publish()
        if self._replace_producer_at is not None:
            if time.monotonic() < self._replace_producer_at:
                return False
            self._replace_producer_at = None
            metrics.PRODUCERS_REPLACED.inc()
            self._transfers.replace_producer()
        busy |= self._discovery.take_due()
        busy |= self._send()
        busy |= self._transfers.poll(0.0)
        self._transfers.flush()
        return busy

    def _wait(self, stop: StopSignal) -> None:
        """Wait until there is something to do, or for half a second."""
        if self._transfers.sending.in_flight > 0 and self._replace_producer_at is None:
            try:
                self._transfers.poll(0.01)
            except ProducerLost as lost:
                self._producer_lost(lost)
            return
        timeout = 0.5
        due = self._discovery.settle.next_due()
        if due is not None:
            timeout = min(timeout, max(0.0, due - time.monotonic()))
        if len(self._schedule):
            timeout = min(timeout, max(0.001, self._rate.wait_seconds()))
        if stop.is_set():
            return
        self._wakeup.wait(timeout)
        self._wakeup.clear()

    def _drain(self) -> None:
        """Let what is on its way be acknowledged; files that are not read to their end go on next time."""
        deadline = Deadline(self._settings.drain_seconds)
        transfers = self._transfers
        try:
            settled = self._replace_producer_at is None
            # Twice: what is acknowledged first may allow the ends of files to be sent.
            for _ in range(2):
                settled = settled and transfers.settle(deadline.remaining)
                transfers.flush(all_of_it=True)
            if not settled:
                log.warning("not all was acknowledged in time; it is sent again at the next start")
        except ProducerLost as lost:
            log.warning("not all could be acknowledged: %s", lost.cause)
        left = sum(1 for transfer in transfers.active.values() if not transfer.checking)
        if left:
            log.info("%d files are unfinished and go on at the next start", left)

    def _is_idle(self) -> bool:
        return not (
            len(self._discovery.settle)
            or len(self._schedule)
            or self._transfers.active
            or self._disposals.pending
        )

    # Producer and topic

    def _resume(self) -> None:
        try:
            self._transfers.resume()
        except ProducerLost as lost:
            self._producer_lost(lost)

    def _producer_lost(self, lost: ProducerLost) -> None:
        """Have the producer replaced: soon, the first time, and less and less soon if that does not help."""
        if self._replace_producer_at is not None:
            return
        delay = min(_MAX_PRODUCER_BACKOFF, 0.1 * 2**self._producer_failures)
        self._producer_failures += 1
        metrics.ERRORS.labels("producer").inc()
        log.error("the producer failed and is replaced: %s", lost.cause)
        self.health.problem("producer", str(lost.cause))
        self._replace_producer_at = time.monotonic() + delay
        self._topic_watch.ask_now()

    def _topic_described(self, found: TopicInfo | PenstockError) -> None:
        """Take what the topic is like now."""
        if isinstance(found, PenstockError):
            if not isinstance(found, KafkaUnavailable):
                self.health.problem("topic", str(found))
                if self._limiter.first("topic"):
                    log.warning("%s", found)
            return
        refused = [
            problem.message
            for problem in check_topic_can_carry(
                found, int(self._settings.chunk_size), overhead=RECORD_OVERHEAD_BYTES
            )
            if problem.refused
        ]
        if refused:
            self.health.problem("topic", "; ".join(refused))
            if self._limiter.first(refused[0]):
                log.error("%s", "; ".join(refused))
        else:
            self.health.ok("topic")
        if found.topic_id != self._limits.topic_id:
            log.warning("topic %s was deleted and made again", found.name)
            self._transfers.forget_all()
            self._replace_producer_at = None
            self._limits = _limits(found)
            self._transfers.limits = self._limits
            self._adopt_topic(found)
            self._forgive()
            if self._only is None:
                say_topic(self._root, found, None)
            return
        limits = _limits(found)
        if limits.partitions > self._limits.partitions and not self._transfers.sending.knows_partitions(
            limits.partitions
        ):
            limits.partitions = self._limits.partitions  # next time
        if limits != self._limits:
            self._limits = limits
            self._transfers.limits = limits
            self._forgive()

    def _adopt_topic(self, topic: TopicInfo) -> None:
        now_ms = time.time_ns() // 1_000_000
        again = self._ledger.adopt_topic(topic.topic_id, self._receipts_required, now_ms)
        if again:
            log.warning("topic %s is a new one: %d files without receipt are sent again", topic.name, again)
        self._resends_wanted = True

    def _forgive(self) -> None:
        """Let files that were refused be looked at again: the reason may be gone."""
        for path in [path for path, trouble in self._troubles.items() if trouble.permanent]:
            del self._troubles[path]
            self._discovery.retry(path, 0.0)

    # Finding and sending

    def _look(self) -> bool:
        if self._only is not None:
            return False
        busy = False
        if events := self._watch.events(1024):
            self._discovery.saw_events(events)
            busy = True
        if self._discovery.has_room and (found := self._watch.found()) is not None:
            busy = True
            if isinstance(found, ScanDone):
                self._scan_done = found.ticket
                self.health.ok("directory")
                self._forget_old_troubles()
                self._sweep_disposals()
            elif isinstance(found, Unreadable):
                where = found.path or self._root
                metrics.ERRORS.labels("unreadable-directory").inc()
                if not found.path:
                    self.health.problem("directory", f"{where} cannot be read: {found.error.strerror}")
                if self._limiter.first(("directory", where)):
                    log.warning("directory %s cannot be read: %s", where, found.error.strerror)
            else:
                self._discovery.saw_files(found)
        return busy

    def _send(self) -> bool:
        """Read and produce as much as is allowed now; whether that was anything."""
        budget = self._transfers.sending.room
        if budget < int(self._settings.chunk_size) and self._transfers.sending.in_flight > 0:
            return False
        allowance = self._rate.allowance(time.monotonic())
        if allowance is not None:
            if allowance <= 0:
                return False
            budget = min(budget, allowance)
        steps = self._schedule.take(min(budget, 8 * 1024 * 1024))
        if not steps:
            return False
        self._rate.spend(sum(step.size for step in steps))
        self._transfers.take(steps, self._discovery.closed_ns)
        return True

    def _want_resends(self) -> None:
        """Let versions that destinations asked for have their turn, a few at a time."""
        now = time.monotonic()
        if not self._resends_wanted or self._transfers.resends or now - self._resends_looked < 0.1:
            return
        self._resends_looked = now
        wanted = self._ledger.resends(_RESENDS_AT_ONCE)
        self._resends_wanted = bool(wanted)
        for resend in wanted:
            if resend.path not in self._transfers.active:
                self._transfers.resends[resend.path] = resend
                self._discovery.settle.closed(resend.path, now)

    # Answers

    def _take_answers(self) -> bool:
        reader = self._reader
        answers = reader.take() if reader is not None else None
        if reader is None or answers is None:
            return False
        reader.health.saw_broker()
        self._apply(answers, reader.topic.topic_id)
        return True

    def _apply(self, answers: Answers, receipts_topic_id: str) -> None:
        for event in answers.events:
            if isinstance(event, FileDelivered | FileRejected | FileSkipped):
                metrics.RECEIPTS.labels(event.type.rpartition(".")[2]).inc()
        effects = apply_answers(
            self._ledger,
            answers,
            source_id=self._source_id,
            receipts_topic_id=receipts_topic_id,
            max_resends=self._settings.max_resends,
            now_ms=time.time_ns() // 1_000_000,
        )
        for effect in effects:
            outcome, destination = effect.answer.outcome, effect.answer.destination
            if outcome is Outcome.AGAIN:
                self._resends_wanted = True
                log.warning("%s asks for %s again: %s", destination, effect.path, effect.answer.reason)
            elif outcome is Outcome.FAILED:
                metrics.ERRORS.labels(effect.answer.reason or "rejected").inc()
                log.error("%s refuses %s: %s", destination, effect.path, effect.answer.reason)
                if self._observer is not None:
                    self._observer.failed(effect.path, f"{destination}: {effect.answer.reason}")
            elif outcome is Outcome.DELIVERED:
                if self._observer is not None:
                    self._observer.delivered(effect.path, destination)
                if self._settings.after != "keep" and self._settings.after_when == "delivered":
                    self._dispose_if_delivered(effect.version)

    # Listener: how transfers go

    def began(self, transfer: Transfer) -> None:
        """Note that an upload has begun."""
        if transfer.version != transfer.upload_id:
            metrics.FILES_RESENT.inc()
        if self._observer is not None:
            self._observer.started(transfer.path, transfer.plan.size)

    def progressed(self, transfer: Transfer) -> None:
        """Note that more of an upload is acknowledged."""
        done = min(transfer.plan.size, transfer.acked * transfer.plan.chunk_size)
        if self._observer is not None:
            self._observer.progress(transfer.path, done, transfer.plan.size)
        if self._settings.events_topic and self._heartbeat.may_tell_of(transfer.path):
            self._telemetry.publish(
                FileUploading(
                    time=time.time(),
                    upload_id=str(transfer.upload_id),
                    source_id=self._source_id,
                    path=self._wire(transfer),
                    size=transfer.plan.size,
                    topic=self._settings.topic,
                    bytes_done=done,
                )
            )

    def acknowledged(self, transfer: Transfer) -> None:
        """Note that all of an upload is acknowledged."""
        now = time.time()
        seconds = max(0.0, now - transfer.closed_ns / 1e9)
        path, size = transfer.path, transfer.plan.size
        records = transfer.plan.count + (0 if transfer.plan.is_single else 1)
        self._producer_failures = 0
        self.health.ok("producer")
        self._troubles.pop(path, None)
        self._heartbeat.count(records, size)
        metrics.FILES_ACKNOWLEDGED.inc()
        metrics.BYTES_READ.inc(size)
        metrics.BYTES_PRODUCED.inc(size)
        metrics.MESSAGES_PRODUCED.inc(records)
        metrics.SECONDS_TO_ACKNOWLEDGED.observe(seconds)
        if self._only is not None:
            self.once.acknowledged += 1
        if log.isEnabledFor(logging.INFO):
            log.info("sent %s", path, extra=fields(size=size, chunks=transfer.plan.count, seconds=seconds))
        if self._observer is not None:
            self._observer.acknowledged(path, size, seconds)
        if self._settings.events_topic:
            self._telemetry.publish(
                FileUploaded(
                    time=now,
                    upload_id=str(transfer.upload_id),
                    source_id=self._source_id,
                    path=self._wire(transfer),
                    size=size,
                    topic=self._settings.topic,
                    digest=(transfer.digest or b"").hex(),
                    partition=transfer.partition,
                    first_offset=transfer.first_offset,
                    last_offset=transfer.last_offset,
                    seconds=time.monotonic() - transfer.began,
                )
            )
        if self._settings.after != "keep" and transfer.version is not None and transfer.digest is not None:
            if self._settings.after_when == "acknowledged":
                self._dispose(
                    [
                        Disposal(
                            transfer.version,
                            path,
                            "",
                            None,
                            stored(transfer.fingerprint),
                            transfer.digest,
                        )
                    ]
                )
            else:
                self._dispose_if_delivered(transfer.version)
        self._discovery.finished(path)

    def unchanged(self, path: str) -> None:
        """Note that there was nothing to send."""
        metrics.FILES_UNCHANGED.inc()
        self._troubles.pop(path, None)
        self._discovery.finished(path)

    def retry(self, path: str, seconds: float) -> None:
        """Look at a path again later."""
        self._discovery.retry(path, seconds)

    def gone(self, path: str, resend: Resend | None) -> None:
        """Note that there is no file at a path any more."""
        self._troubles.pop(path, None)
        self._discovery.finished(path)
        if self._only is not None:
            self._failed(path, "there is no such file")
        if resend is None:
            return
        log.error("%s should be sent again, but is gone", path)
        metrics.ERRORS.labels("source-gone").inc()
        answers = self._ledger.answers(resend.version)
        with self._ledger.applying_answers():
            for name in resend.to:
                known = answers.get(name)
                resends = known.resends if known else 0
                answer = Answer(name, Outcome.FAILED, "source-gone", known.upload if known else None, resends)
                self._ledger.put_answer(resend.version, answer, time.time_ns() // 1_000_000)
        if self._observer is not None:
            self._observer.failed(path, "it should be sent again, but is gone")

    def superseded(self, path: str, resend: Resend) -> None:
        """Note that a newer version goes where an older one was asked for."""
        log.debug("%s was changed: the new version is sent instead of version %s", path, resend.version)
        with self._ledger.applying_answers():
            for name in resend.to:
                self._ledger.drop_answer(resend.version, name)

    def trouble(self, path: str, reason: str, message: str, *, permanent: bool) -> None:
        """Note that a file cannot be sent, and try again later unless that is hopeless."""
        known = self._troubles.get(path)
        tries = known.tries + 1 if known else 1
        fingerprint = None
        with contextlib.suppress(OSError):
            fingerprint = Fingerprint.of(os.lstat(os.path.join(self._root, path)))
        if known is None or known.message != message:
            metrics.ERRORS.labels(reason).inc()
            log.error("%s cannot be sent: %s", path, message)
            if self._observer is not None:
                self._observer.failed(path, message)
        self._troubles[path] = Trouble(reason, message, permanent, fingerprint, tries)
        if self._only is not None:
            self._failed(path, message)
        elif not permanent:
            self._discovery.retry(path, min(300.0, 2.0**tries))

    def _failed(self, path: str, message: str) -> None:
        self.once.failed[path] = message

    def _is_hopeless(self, path: str, fingerprint: Fingerprint) -> bool:
        trouble = self._troubles.get(path)
        if trouble is None:
            return False
        return not trouble.permanent or trouble.fingerprint == fingerprint

    def _is_ready(self, path: str, size: int) -> None:
        metrics.FILES_DISCOVERED.inc()
        if self._observer is not None:
            self._observer.discovered(path, size)
        if self._settings.events_topic:
            self._telemetry.publish(
                FileDiscovered(
                    time=time.time(),
                    source_id=self._source_id,
                    path=f"{self._prefix}/{path}" if self._prefix else path,
                    size=size,
                    topic=self._settings.topic,
                )
            )

    def _wire(self, transfer: Transfer) -> str:
        return transfer.description.path if transfer.description is not None else transfer.path

    def _forget_old_troubles(self) -> None:
        """Drop troubles with files that are gone."""
        for path in [p for p in self._troubles if not os.path.lexists(os.path.join(self._root, p))]:
            del self._troubles[path]

    # Removing sources

    def _dispose_if_delivered(self, version: bytes) -> None:
        found = self._ledger.disposable_version(version, self._receipts_required)
        if found is not None:
            self._dispose([found])

    def _dispose(self, found: list[Disposal]) -> None:
        settings = self._settings
        disposals = [
            Disposal(
                disposal.version,
                disposal.path,
                settings.after,
                os.path.join(settings.move_target, *disposal.path.split("/"))
                if settings.after == "move"
                else None,
                disposal.fingerprint,
                disposal.digest,
            )
            for disposal in found
        ]
        self._ledger.dispose(disposals)
        for disposal in disposals:
            self._disposals.put(disposal)

    def _sweep_disposals(self) -> None:
        """After a scan: files that could be removed and are still there."""
        if self._settings.after == "keep":
            return
        busy, self._busy = self._busy, {}
        if busy:
            self._dispose(list(busy.values()))
        if self._swept:
            return
        self._swept = True
        required = self._receipts_required if self._settings.after_when == "delivered" else ()
        after = b""
        while page := self._ledger.disposable(required, 500, after):
            after = bytes(page[-1].version)
            present = [d for d in page if os.path.lexists(os.path.join(self._root, d.path))]
            if present:
                self._dispose(present)

    def _take_disposed(self) -> None:
        done = self._disposals.take()
        if not done:
            return
        self._ledger.disposed([item.disposal.version for item in done])
        for item in done:
            self._disposed(item)

    def _disposed(self, item: Disposed) -> None:
        path = item.disposal.path
        if item.fate is Fate.DONE:
            log.info("%s %s", "deleted" if item.disposal.action == "delete" else "moved", path)
        elif item.fate is Fate.BUSY:
            self._busy[bytes(item.disposal.version)] = item.disposal
        elif item.fate is Fate.CHANGED:
            log.info("%s was changed after it was sent, and stays", path)
            self._discovery.retry(path, 0.0)
        elif item.fate is Fate.DISPLACED:
            log.warning("%s was changed after it was sent, and another took its place: %s", path, item.detail)
            metrics.ERRORS.labels("displaced").inc()
        elif item.fate is Fate.REFUSED:
            metrics.ERRORS.labels("disposal").inc()
            self._busy[bytes(item.disposal.version)] = item.disposal
            if self._limiter.first(("disposal", item.detail)):
                log.error("%s cannot be removed: %s", path, item.detail)

    # Questions

    def ask(self, question: Callable[[], T]) -> T:
        """Have `question` answered in the service's thread. From any other thread."""
        future: Future[T] = Future()

        def answer() -> None:
            try:
                future.set_result(question())
            except BaseException as error:  # noqa: BLE001 - it is raised where the question was asked
                future.set_exception(error)

        self._tell(answer)
        try:
            return future.result(60)
        except TimeoutError:
            raise StateError("the uploader is too busy to answer, or has stopped") from None

    def _tell(self, what: Callable[[], None]) -> None:
        self._inbox.put(what)
        self._wakeup.set()

    def _answer_questions(self) -> bool:
        answered = False
        while not self._inbox.empty():
            self._inbox.get()()
            answered = True
        return answered

    def _fail_questions(self) -> None:
        while not self._inbox.empty():
            self._inbox.get()()

    def ledger_page(self, after: int, limit: int) -> dict[str, Any]:
        """Give files of the ledger by id."""
        page = self._ledger.page(after, limit)
        return {
            "source_id": self._source_id,
            "topic": self._settings.topic,
            "files": [
                describe_file(file, upload, self._ledger.answers(upload.version) if upload else {})
                for file, upload in page
            ],
            "next": page[-1][0].id if len(page) == limit else None,
            "problems": [
                {"path": path, "reason": trouble.reason, "message": trouble.message}
                for path, trouble in list(self._troubles.items())[:_LISTED]
            ],
        }

    def resend(self, path: str) -> bool:
        """Have the version of a file that stands sent again, to all."""
        self._resends_wanted = True
        return self._ledger.ask_again(path, time.time_ns() // 1_000_000)

    def resend_unreceipted(self) -> int:
        """Have all that lacks a receipt sent again."""
        self._resends_wanted = True
        return self._ledger.ask_again_unreceipted(
            self._receipts_required, time.time_ns() // 1_000_000, "asked"
        )

    def begin_drain(self) -> int:
        """Have everything looked at once more, without waiting for writers that are done; gives a ticket."""
        self._discovery.settle.hurry(time.monotonic())
        return self._watch.request_scan()

    def not_drained(self, ticket: int, receipts_from: list[str]) -> dict[str, Any]:
        """Give what is missing, by what it waits for; empty if nothing is."""
        if self._scan_done < ticket:
            return {"waiting": {"scan": []}}
        waiting: dict[str, list[str]] = {}
        settling = self._discovery.settle.paths()
        if settling:
            if not self._troubles:  # what is in trouble has a backoff of another kind
                self._discovery.settle.hurry(time.monotonic())
            waiting["settling"] = settling[:_LISTED]
        if len(self._schedule):
            waiting["queued"] = list(self._schedule)[:_LISTED]
        if self._transfers.active:
            waiting["sending"] = list(self._transfers.active)[:_LISTED]
        if self._watch.has_news or self._transfers.resends:
            waiting["discovering"] = list(self._transfers.resends)[:_LISTED]
        failed = {path: trouble.message for path, trouble in list(self._troubles.items())[:_LISTED]}
        undelivered: dict[str, str] = {}
        hopeless = {path for path in self._troubles if self._troubles[path].permanent}
        final = True
        for path, why, is_final in self._ledger.undelivered(receipts_from, _LISTED):
            undelivered[path] = why
            final = final and is_final
        missing: dict[str, Any] = {}
        if waiting:
            missing["waiting"] = waiting
        if failed:
            missing["failed"] = failed
        if undelivered:
            missing["undelivered"] = undelivered
        if missing and not waiting and final and len(hopeless) == len(self._troubles):
            missing["hopeless"] = True
        return missing

    def drain_receipts_from(self) -> list[str]:
        """Give the destinations that the settings name."""
        return list(self._receipts_required)

    def unfinished(self) -> list[str]:
        """Give the paths that were not brought to an end."""
        return [*self._discovery.settle.paths(), *self._schedule, *self._transfers.active]

    # Being seen

    def _publish(self) -> None:
        """Renew metrics and readiness, and send a heartbeat when it is time."""
        now = time.monotonic()
        if now - self._heartbeat.looked < 0.5:
            return
        self._heartbeat.looked = now
        metrics.IN_FLIGHT_BYTES.set(self._transfers.sending.in_flight)
        metrics.IN_FLIGHT_FILES.set(len(self._transfers.active))
        metrics.SETTLING_FILES.set(len(self._discovery.settle))
        metrics.QUEUED_FILES.set(len(self._schedule))
        metrics.FAILED_FILES.set(len(self._troubles))
        problem = self._producer_health.problem
        if problem is not None and self._producer_health.last_error is not None:
            self.health.problem("kafka", problem)
        else:
            self.health.ok("kafka")
        if self._settings.events_topic and now - self._heartbeat.sent >= _HEARTBEAT_SECONDS:
            self._telemetry.publish(
                self._heartbeat.event(self._source_id, {"problems": self.health.problems})
            )

    def __str__(self) -> str:
        return f"uploader of {self._root} to {self._settings.topic}"


class _Heartbeat:
    """What was done since the last heartbeat."""

    def __init__(self) -> None:
        self.sent = time.monotonic()
        self.looked = 0.0
        self._messages = 0
        self._bytes = 0
        self._told: dict[str, float] = {}

    def count(self, messages: int, size: int) -> None:
        self._messages += messages
        self._bytes += size

    def may_tell_of(self, path: str) -> bool:
        """Whether progress of this file may be told again: once a second."""
        now = time.monotonic()
        if now - self._told.get(path, 0.0) < 1.0:
            return False
        if len(self._told) > 1000:
            self._told.clear()
        self._told[path] = now
        return True

    def event(self, source_id: str, status: dict[str, Any]) -> ServiceHeartbeat:
        messages, size = self._messages, self._bytes
        self._messages = self._bytes = 0
        self.sent = time.monotonic()
        return ServiceHeartbeat(
            time=time.time(),
            program_id=source_id,
            service=_SERVICE,
            host=socket.gethostname(),
            version=version("penstock-uploader"),
            n_bytes_read=size,
            n_messages_processed=messages,
            n_bytes_processed=size,
            n_messages_produced=messages,
            n_bytes_produced=size,
            status=status,
        )


def _limits(topic: TopicInfo) -> TopicLimits:
    return TopicLimits(topic.topic_id, topic.partitions, topic.retention_seconds, topic.retention_bytes)


def _known_source_id(root: str) -> str | None:
    """Give the id under which a watched directory is sent, for those who send from it without its ledger."""
    try:
        with open(os.path.join(root, ".penstock", "uploader", "source_id"), encoding="utf-8") as stream:
            return stream.read().strip() or None
    except OSError:
        return None


def upload_once(
    settings: UploaderSettings, only: list[str] | None, stop: StopSignal, observer: Observer | None = None
) -> Once:
    """Send files of the directory once and wait until Kafka has them; `only` (None: all): relative paths.

    Without a state directory in the settings a temporary ledger is used: an upload that is interrupted begins
    again the next time. Raises PenstockErrors for what makes starting impossible.
    """
    if only is None:
        paths = PathFilter(settings.include, settings.exclude)
        found = list(walk(settings.root, "", paths))
        only = [item.path for item in found if not isinstance(item, Unreadable)]
        unreadable = {
            item.path or settings.root: item.error for item in found if isinstance(item, Unreadable)
        }
    else:
        unreadable = {}
    uploader = Uploader(settings, observer=observer, only=only)
    uploader.once.failed.update({path: f"{error.strerror}" for path, error in unreadable.items()})
    uploader.run(stop)
    if stop.is_set():
        for path in uploader.unfinished():
            uploader.once.failed.setdefault(path, "interrupted")
    return uploader.once
