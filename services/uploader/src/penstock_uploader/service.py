"""The uploader: one thread that does everything but wait, and a few that only wait.

The service's thread takes what the others have found (watch, answers, topic, disposals, questions from the
control port), decides, reads files, produces, and writes the ledger. Nothing else touches these.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from typing import Final

from penstock_uploader import metrics
from penstock_uploader.answerbook import Outcome
from penstock_uploader.answers import apply_answers
from penstock_uploader.control import Control
from penstock_uploader.inbox import Inbox
from penstock_uploader.observer import Observer
from penstock_uploader.outcomes import Once
from penstock_uploader.reporting import SERVICE
from penstock_uploader.sending import ProducerLost
from penstock_uploader.settings import UploaderSettings
from penstock_uploader.startup import Parts, set_up
from penstock_uploader.watch import ScanDone, Unreadable, walk
from servicekit.events import FileDelivered, FileRejected, FileSkipped
from servicekit.exceptions import PenstockError
from servicekit.globs import PathFilter
from servicekit.http import Health
from servicekit.lifecycle import Deadline, StopSignal
from servicekit.logs import Limiter, fields
from servicekit.metrics import set_build_info
from servicekit.topics import TopicInfo

log = logging.getLogger(__name__)

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
        self.once = Once()
        self.health = Health("start")
        self._wakeup = threading.Event()
        self._inbox = Inbox(self._wakeup.set)
        self._limiter = Limiter(every_seconds=60)
        self._seen = 0.0
        self._producer_failures = 0
        self._replace_producer_at: float | None = None
        self._parts: Parts
        self.control_port: int | None = None
        """Where questions are answered, on the loopback interface; None while it does not run."""

    # Running

    def run(self, stop: StopSignal) -> int:
        """Run until `stop`, or until all of `only` is done; gives the exit code.

        Raises PenstockErrors for what makes starting impossible.
        """
        set_build_info(SERVICE, version("penstock-uploader"))
        metrics.INFO.labels(self._settings.topic).set(1)
        with ExitStack() as stack:
            parts = set_up(
                self._settings,
                stack,
                stop,
                health=self.health,
                observer=self._observer,
                once=None if self._only is None else self.once,
                wake=self._wakeup.set,
                topic_described=lambda found: self._inbox.tell(partial(self._topic_described, found)),
            )
            if parts is None or stop.is_set():
                self._interrupted(self._only or ())
                return 0
            self._parts = parts
            self._start(stack)
            self.health.ok("start")
            try:
                self._loop(stop)
                deadline = Deadline(self._settings.drain_seconds)
                if self._settings.send_all_on_stop and self._only is None:
                    self._send_all(deadline)
                self._drain(deadline)
                parts.reporting.stopped()
                if self._only is not None:
                    self._interrupted(
                        (*parts.discovery.settle.paths(), *parts.schedule, *parts.transfers.active)
                    )
            finally:
                self._inbox.work()
        if self._only is not None and not self.once.complete:
            return 1
        return 0

    def _interrupted(self, paths: Iterable[str]) -> None:
        for path in paths:
            self.once.failed.setdefault(path, "interrupted")

    def _start(self, stack: ExitStack) -> None:
        """Take up what an earlier run has left, and begin to watch."""
        parts = self._parts
        try:
            parts.resuming.resume()
        except ProducerLost as lost:
            self._producer_lost(lost)
        parts.topic_watch.start()
        stack.callback(parts.topic_watch.stop)
        if self._only is not None:
            now = time.monotonic()
            for path in self._only:
                parts.discovery.settle.closed(path, now)
            return
        parts.removals.take_up()
        control = Control(parts.questions, self._inbox, parts.state_dir, self._settings.control_port)
        stack.callback(control.close)
        self.control_port = control.port
        parts.watch.start()
        stack.callback(parts.watch.stop)
        log.info(
            "watching %s for topic %s",
            self._root,
            self._settings.topic,
            extra=fields(source=parts.source_id, control=control.port),
        )

    def _loop(self, stop: StopSignal) -> None:
        while not stop.is_set():
            busy = self._turn_or_lose_producer()
            if self._only is not None and self._is_idle():
                return
            if not busy:
                self._wait(stop)

    def _send_all(self, deadline: Deadline) -> None:
        """Go on until all files that are there are acknowledged, or no time is left, or nothing can help."""
        log.info("sending all that is there")
        stop = StopSignal()  # the one that was given is set
        questions = self._parts.questions
        ticket = questions.begin_drain()
        while not deadline.passed:
            missing = questions.not_drained(ticket, [])
            if not missing or missing.get("hopeless"):
                return
            if not self._turn_or_lose_producer():
                self._wait(stop)

    def _turn_or_lose_producer(self) -> bool:
        try:
            return self._turn()
        except ProducerLost as lost:
            self._producer_lost(lost)
            return False

    def _turn(self) -> bool:
        """Do a little of everything; whether there may be more to do at once."""
        now = time.monotonic()
        busy = self._inbox.work()
        busy |= self._look()
        busy |= self._take_answers()
        self._parts.removals.step()
        self._parts.resends.step(now)
        self._be_seen(now)
        if self._only is None:
            self._parts.forgetting.step(now, time.time_ns() // 1_000_000)
        if self._replace_producer_at is not None:
            if now < self._replace_producer_at:
                return False
            if self._parts.topic.refused is not None:
                # That may be why it was lost; and giving uploads up would be sending, too.
                self._replace_producer_at = now + 1
                self._parts.topic_watch.ask_now()
                return False
            self._replace_producer_at = None
            metrics.PRODUCERS_REPLACED.inc()
            self._parts.transfers.replace_producer()
        busy |= self._parts.discovery.take_due()
        busy |= self._send()
        busy |= self._parts.transfers.poll(0.0)
        self._parts.transfers.flush()
        return busy

    def _wait(self, stop: StopSignal) -> None:
        """Wait until there is something to do, or for half a second."""
        if self._parts.transfers.sending.in_flight > 0 and self._replace_producer_at is None:
            try:
                self._parts.transfers.poll(0.01)
            except ProducerLost as lost:
                self._producer_lost(lost)
            return
        timeout = 0.5
        due = self._parts.discovery.settle.next_due()
        if due is not None:
            timeout = min(timeout, max(0.0, due - time.monotonic()))
        if len(self._parts.schedule) and self._parts.topic.refused is None:
            timeout = min(timeout, max(0.001, self._parts.rate.wait_seconds()))
        if stop.is_set():
            return
        self._wakeup.wait(timeout)
        self._wakeup.clear()

    def _drain(self, deadline: Deadline) -> None:
        """Let what is on its way be acknowledged; files that are not read to their end go on next time."""
        transfers = self._parts.transfers
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
        self._parts.removals.stop(deadline.remaining)
        left = sum(1 for transfer in transfers.active.values() if not transfer.checking)
        if left:
            log.info("%d files are unfinished and go on at the next start", left)

    def _is_idle(self) -> bool:
        return not (
            len(self._parts.discovery.settle)
            or len(self._parts.schedule)
            or self._parts.transfers.active
            or self._parts.removals.pending
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
        self._parts.topic_watch.ask_now()

    def _topic_described(self, found: TopicInfo | PenstockError) -> None:
        if self._parts.topic.described(found):
            self._replace_producer_at = None

    # Finding and sending

    def _look(self) -> bool:
        if self._only is not None:
            return False
        busy = False
        if events := self._parts.watch.events(1024):
            self._parts.discovery.saw_events(events)
            busy = True
        if not self._parts.discovery.has_room or (found := self._parts.watch.found()) is None:
            return busy
        if isinstance(found, ScanDone):
            self._parts.questions.scan_done = found.ticket
            self.health.ok("directory")
            self._parts.troubles.forget_gone()
            self._parts.removals.scanned()
        elif isinstance(found, Unreadable):
            where = found.path or self._root
            metrics.ERRORS.labels("unreadable-directory").inc()
            if not found.path:
                self.health.problem("directory", f"{where} cannot be read: {found.error.strerror}")
            if self._limiter.first(("directory", where)):
                log.warning("directory %s cannot be read: %s", where, found.error.strerror)
        else:
            self._parts.discovery.saw_files(found)
        return True

    def _send(self) -> bool:
        """Read and produce as much as is allowed now; whether that was anything."""
        if self._parts.topic.refused is not None:
            return False
        budget = self._parts.transfers.sending.room
        if budget < int(self._settings.chunk_size) and self._parts.transfers.sending.in_flight > 0:
            return False
        allowance = self._parts.rate.allowance(time.monotonic())
        if allowance is not None:
            if allowance <= 0:
                return False
            budget = min(budget, allowance)
        steps = self._parts.schedule.take(min(budget, _TURN_BYTES))
        if not steps:
            return False
        self._parts.rate.spend(sum(step.size for step in steps))
        self._parts.transfers.take(steps, self._parts.discovery.rest)
        return True

    def _take_answers(self) -> bool:
        reader = self._parts.reader
        answers = reader.take() if reader is not None else None
        if reader is None or answers is None:
            return False
        reader.health.saw_broker()
        for event in answers.events:
            if isinstance(event, FileDelivered | FileRejected | FileSkipped):
                metrics.RECEIPTS.labels(event.type.rpartition(".")[2]).inc()
        effects = apply_answers(
            self._parts.ledger,
            answers,
            source_id=self._parts.source_id,
            receipts_topic_id=reader.topic.topic_id,
            max_resends=self._settings.max_resends,
            now_ms=time.time_ns() // 1_000_000,
        )
        for effect in effects:
            if effect.answer.outcome is Outcome.AGAIN:
                self._parts.resends.want()
            self._parts.outcomes.answered(effect)
        return True

    def _be_seen(self, now: float) -> None:
        """Renew metrics and readiness, twice a second."""
        if now - self._seen < 0.5:
            return
        self._seen = now
        metrics.IN_FLIGHT_BYTES.set(self._parts.transfers.sending.in_flight)
        metrics.IN_FLIGHT_FILES.set(len(self._parts.transfers.active))
        metrics.SETTLING_FILES.set(len(self._parts.discovery.settle))
        metrics.QUEUED_FILES.set(len(self._parts.schedule))
        metrics.FAILED_FILES.set(len(self._parts.troubles))
        problem = self._parts.transfers.sending.health.problem
        if problem is not None and self._parts.transfers.sending.health.last_error is not None:
            self.health.problem("kafka", problem)
        else:
            self.health.ok("kafka")
        problems = self.health.problems
        if self._parts.reporting.beat_is_due(problems):
            self._parts.reporting.beat(
                {
                    "problems": problems,
                    "files_in_flight": len(self._parts.transfers.active),
                    "files_waiting": len(self._parts.discovery.settle) + len(self._parts.schedule),
                    "files_failed": len(self._parts.troubles),
                }
            )

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
    return uploader.once
