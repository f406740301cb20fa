"""The uploader: one thread that does everything but wait, and a few that only wait.

The service's thread takes what the others have found (watch, answers, topic, disposals, questions from the
control port), decides, reads files, produces, and writes the ledger. Nothing else touches these.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from typing import Final

from chunkproto.native import RECORD_OVERHEAD_BYTES
from penstock_uploader import metrics
from penstock_uploader.answerbook import Outcome
from penstock_uploader.answers import AnswersReader, apply_answers
from penstock_uploader.control import Control
from penstock_uploader.discovery import Discovery
from penstock_uploader.forgetting import Forgetting
from penstock_uploader.inbox import Inbox
from penstock_uploader.ledger import Ledger
from penstock_uploader.naming import prefix_values, render_prefix
from penstock_uploader.observer import Observer
from penstock_uploader.outcomes import Once, Outcomes
from penstock_uploader.planning import Planner, TopicLimits
from penstock_uploader.questions import Questions
from penstock_uploader.recall import Recall
from penstock_uploader.removal import Removals
from penstock_uploader.reporting import SERVICE, Reporting
from penstock_uploader.schedule import RateLimit, Schedule
from penstock_uploader.sending import ProducerLost, Sending
from penstock_uploader.settings import UploaderSettings
from penstock_uploader.settle import Settle
from penstock_uploader.statedir import open_state_dir, persistent_source_id
from penstock_uploader.topicwatch import TopicWatch, refuse_circle, say_topic
from penstock_uploader.transfer import Transfer
from penstock_uploader.transfers import Transfers
from penstock_uploader.troubles import Troubles
from penstock_uploader.watch import ScanDone, Unreadable, Watch, walk
from servicekit.events import FileDelivered, FileRejected, FileSkipped, Telemetry, receipts_topic
from servicekit.exceptions import (
    ConfigurationError,
    KafkaUnavailable,
    NotAuthorized,
    PenstockError,
    UnknownTopic,
)
from servicekit.globs import PathFilter
from servicekit.http import Health, HttpServer, health_routes
from servicekit.kafka import ClientHealth, consumer_config, producer_config, wait_for_broker
from servicekit.lifecycle import Deadline, StopSignal
from servicekit.logs import Limiter, fields
from servicekit.metrics import set_build_info
from servicekit.topics import TopicInfo, Topics, check_topic_can_carry, require_topic_can_carry

log = logging.getLogger(__name__)

_RESENDS_AT_ONCE: Final = 256
_RECEIPTS_RETENTION_MS: Final = 30 * 24 * 3600 * 1000
_MAX_PRODUCER_BACKOFF: Final = 60.0
_TURN_BYTES: Final = 8 * 1024 * 1024


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
        self._receipts_required = tuple(settings.after_receipt_from)
        self.once = Once()
        self.health = Health("start")
        self._wakeup = threading.Event()
        self._inbox = Inbox(self._wakeup.set)
        self._troubles = Troubles(self._root)
        self._limiter = Limiter(every_seconds=60)
        self._resends_wanted = True
        self._resends_looked = 0.0
        self._seen = 0.0
        self._producer_failures = 0
        self._replace_producer_at: float | None = None
        self._refused: str | None = None
        """Why nothing is sent at the moment."""
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
                self._inbox.work()
        if self._only is not None and not self.once.complete:
            return 1
        return 0

    def _start(self, stack: ExitStack, stop: StopSignal) -> bool:
        """Set everything up; False if `stop` came first."""
        settings = self._settings
        set_build_info(SERVICE, version("penstock-uploader"))
        # What is wrong with the settings is said before anything is made.
        prefix = render_prefix(settings.prefix, prefix_values())
        paths = PathFilter(settings.include, settings.exclude)
        producer_config(settings)
        consumer_config(settings, "receipts", "classic")
        self._topics = Topics(settings)

        state_dir = open_state_dir(settings, stack, once=self._only is not None)
        source_id = persistent_source_id(settings, state_dir)
        self._ledger = ledger = Ledger(
            os.path.join(state_dir, "ledger.db"),
            durable=settings.after != "keep",
            now_ms=time.time_ns() // 1_000_000,
        )
        stack.callback(ledger.close)
        if settings.metrics_port is not None:
            server = HttpServer(
                settings.metrics_host, settings.metrics_port, health_routes(self.health), name="metrics"
            )
            stack.callback(server.close)
        if not wait_for_broker(settings, stop):
            return False
        topic = self._topics.describe(settings.topic)
        for warning in require_topic_can_carry(
            topic, int(settings.chunk_size), overhead=RECORD_OVERHEAD_BYTES
        ):
            log.warning("%s", warning)
        refuse_circle(self._root, topic)
        self._adopt_topic(topic)
        recall = Recall(ledger)
        self._source_id = source_id
        self._reader = self._open_answers(stack, stop, recall)
        telemetry = Telemetry(settings, topic=settings.events_topic or None)
        stack.callback(telemetry.close)
        self._connect_parts(stack, paths, prefix, recall, TopicLimits.of(topic), telemetry)
        if stop.is_set():
            return False
        self._topic_watch = TopicWatch(
            self._topics,
            settings.topic,
            settings.topic_check_seconds,
            lambda found: self._inbox.tell(partial(self._topic_described, found)),
        )
        try:
            self._transfers.resume()
        except ProducerLost as lost:
            self._producer_lost(lost)
        self._topic_watch.start()
        stack.callback(self._topic_watch.stop)
        if self._only is not None:
            now = time.monotonic()
            for path in self._only:
                self._discovery.settle.closed(path, now)
            return True
        self._removals.take_up()
        control = Control(self._questions, self._inbox, state_dir, settings.control_port)
        stack.callback(control.close)
        self.control_port = control.port
        self._watch.start()
        stack.callback(self._watch.stop)
        log.info(
            "watching %s for topic %s",
            self._root,
            settings.topic,
            extra=fields(source=source_id, control=control.port),
        )
        return True

    def _connect_parts(
        self,
        stack: ExitStack,
        paths: PathFilter,
        prefix: str,
        recall: Recall,
        limits: TopicLimits,
        telemetry: Telemetry,
    ) -> None:
        """Make the parts between the directory and the topic, and let them know each other."""
        settings, ledger, source_id = self._settings, self._ledger, self._source_id
        active: dict[str, Transfer] = {}
        self._reporting = Reporting(
            settings, source_id=source_id, prefix=prefix, observer=self._observer, telemetry=telemetry
        )
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
        self._schedule = Schedule(int(settings.chunk_size))
        self._discovery = Discovery(
            self._root,
            settle=Settle(settings.settle_seconds),
            schedule=self._schedule,
            ledger=ledger,
            active=active,
            existing=settings.existing,
            trust_times=not self._watch.polling,
            is_hopeless=self._troubles.keeps,
            ready=self._reporting.discovered,
            gone=lambda path: self._outcomes.gone(path, self._transfers.resends.pop(path, None)),
        )
        self._removals = Removals(
            settings,
            ledger.database,
            wake=self._wakeup.set,
            changed=lambda path: self._discovery.retry(path, 0.0),
        )
        stack.callback(self._removals.stop)
        self._outcomes = Outcomes(
            ledger=ledger,
            discovery=self._discovery,
            troubles=self._troubles,
            removals=self._removals,
            reporting=self._reporting,
            once=None if self._only is None else self.once,
        )
        self._planner = Planner(
            settings, prefix=prefix, source_id=source_id, ledger=ledger, recall=recall, limits=limits
        )
        self._transfers = Transfers(
            self._root,
            planner=self._planner,
            ledger=ledger,
            schedule=self._schedule,
            active=active,
            listener=self._outcomes,
            connect=self._connect,
        )
        stack.callback(self._transfers.close)
        self._forgetting = Forgetting(
            ledger.database, self._root, settings.remember_seconds, self._receipts_required
        )
        self._questions = Questions(
            settings,
            source_id=source_id,
            ledger=ledger,
            watch=self._watch,
            discovery=self._discovery,
            schedule=self._schedule,
            transfers=self._transfers,
            troubles=self._troubles,
            want_resends=self._want_resends,
        )

    def _connect(self) -> Sending:
        self._producer_health = ClientHealth("producer", self._settings.bootstrap_servers)
        return Sending(self._settings, self._producer_health)

    def _open_answers(self, stack: ExitStack, stop: StopSignal, recall: Recall) -> AnswersReader | None:
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
        positions = self._ledger.answers.positions(topic.topic_id)
        reader = AnswersReader(settings, topic, self._source_id, positions, self._wakeup.set)
        stack.callback(reader.stop)
        if self._ledger.is_new:
            recall.read(reader, self._topics, self._source_id, stop)
        reader.start()
        return reader

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
        now = time.monotonic()
        busy = self._inbox.work()
        busy |= self._look()
        busy |= self._take_answers()
        self._removals.step()
        self._queue_resends(now)
        self._be_seen(now)
        if self._only is None:
            self._forgetting.step(now, time.time_ns() // 1_000_000, self._planner.limits.retention_seconds)
        if self._replace_producer_at is not None:
            if now < self._replace_producer_at:
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
        if len(self._schedule) and self._refused is None:
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
            or self._removals.pending
        )

    # Producer and topic

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
        self._judge(found)
        limits, before = TopicLimits.of(found), self._planner.limits
        if limits.topic_id != before.topic_id:
            log.warning("topic %s was deleted and made again", found.name)
            self._transfers.forget_all()
            self._replace_producer_at = None
            self._adopt_topic(found)
        elif limits.partitions > before.partitions and not self._transfers.sending.knows_partitions(
            limits.partitions
        ):
            limits.partitions = before.partitions  # next time
        if limits != before:
            self._planner.limits = limits
            for path in self._troubles.forgive():
                self._discovery.retry(path, 0.0)

    def _judge(self, topic: TopicInfo) -> None:
        """Say what is wrong with the topic, if anything; send nothing as long as files would go round."""
        problems = [
            problem.message
            for problem in check_topic_can_carry(
                topic, int(self._settings.chunk_size), overhead=RECORD_OVERHEAD_BYTES
            )
            if problem.refused
        ]
        try:
            refuse_circle(self._root, topic)
            self._refused = None
        except ConfigurationError as circle:
            if self._only is not None:
                raise
            self._refused = str(circle)
            problems.append(f"nothing is sent: {circle}")
        if not problems:
            self.health.ok("topic")
            return
        self.health.problem("topic", "; ".join(problems))
        if self._limiter.first(problems[0]):
            log.error("%s", "; ".join(problems))

    def _adopt_topic(self, topic: TopicInfo) -> None:
        """Note which topic files go to: in the ledger, and for downloaders where state is kept."""
        now_ms = time.time_ns() // 1_000_000
        again = self._ledger.adopt_topic(topic.topic_id, self._receipts_required, now_ms)
        if again:
            log.warning("topic %s is a new one: %d files without receipt are sent again", topic.name, again)
        self._want_resends()
        if self._only is None and self._settings.state_dir is None:
            say_topic(self._root, topic, None)

    # Finding and sending

    def _look(self) -> bool:
        if self._only is not None:
            return False
        busy = False
        if events := self._watch.events(1024):
            self._discovery.saw_events(events)
            busy = True
        if not self._discovery.has_room or (found := self._watch.found()) is None:
            return busy
        if isinstance(found, ScanDone):
            self._questions.scan_done = found.ticket
            self.health.ok("directory")
            self._troubles.forget_gone()
            self._removals.scanned()
        elif isinstance(found, Unreadable):
            where = found.path or self._root
            metrics.ERRORS.labels("unreadable-directory").inc()
            if not found.path:
                self.health.problem("directory", f"{where} cannot be read: {found.error.strerror}")
            if self._limiter.first(("directory", where)):
                log.warning("directory %s cannot be read: %s", where, found.error.strerror)
        else:
            self._discovery.saw_files(found)
        return True

    def _send(self) -> bool:
        """Read and produce as much as is allowed now; whether that was anything."""
        if self._refused is not None:
            return False
        budget = self._transfers.sending.room
        if budget < int(self._settings.chunk_size) and self._transfers.sending.in_flight > 0:
            return False
        allowance = self._rate.allowance(time.monotonic())
        if allowance is not None:
            if allowance <= 0:
                return False
            budget = min(budget, allowance)
        steps = self._schedule.take(min(budget, _TURN_BYTES))
        if not steps:
            return False
        self._rate.spend(sum(step.size for step in steps))
        self._transfers.take(steps, self._discovery.closed_ns)
        return True

    def _want_resends(self) -> None:
        self._resends_wanted = True

    def _queue_resends(self, now: float) -> None:
        """Let versions that destinations asked for have their turn, a few at a time."""
        if not self._resends_wanted or self._transfers.resends or now - self._resends_looked < 0.1:
            return
        self._resends_looked = now
        wanted = self._ledger.answers.resends(_RESENDS_AT_ONCE)
        self._resends_wanted = bool(wanted)
        for resend in wanted:
            if resend.path not in self._transfers.active:
                self._transfers.resends[resend.path] = resend
                self._discovery.settle.closed(resend.path, now)

    def _take_answers(self) -> bool:
        reader = self._reader
        answers = reader.take() if reader is not None else None
        if reader is None or answers is None:
            return False
        reader.health.saw_broker()
        for event in answers.events:
            if isinstance(event, FileDelivered | FileRejected | FileSkipped):
                metrics.RECEIPTS.labels(event.type.rpartition(".")[2]).inc()
        effects = apply_answers(
            self._ledger,
            answers,
            source_id=self._source_id,
            receipts_topic_id=reader.topic.topic_id,
            max_resends=self._settings.max_resends,
            now_ms=time.time_ns() // 1_000_000,
        )
        for effect in effects:
            if effect.answer.outcome is Outcome.AGAIN:
                self._want_resends()
            self._outcomes.answered(effect)
        return True

    def unfinished(self) -> list[str]:
        """Give the paths that were not brought to an end."""
        return [*self._discovery.settle.paths(), *self._schedule, *self._transfers.active]

    def _be_seen(self, now: float) -> None:
        """Renew metrics and readiness, twice a second."""
        if now - self._seen < 0.5:
            return
        self._seen = now
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
        self._reporting.beat(self.health.problems)

    def __str__(self) -> str:
        return f"uploader of {self._root} to {self._settings.topic}"


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
