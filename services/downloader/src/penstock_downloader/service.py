"""The downloader: one consumer, polled by one thread that decides everything; others wait for the disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from penstock_downloader import metrics
from penstock_downloader.answers import Answers
from penstock_downloader.commits import Commits
from penstock_downloader.delivery import DeliveryThread, Tenure
from penstock_downloader.exceptions import SinkUnavailable
from penstock_downloader.holdings import Holdings
from penstock_downloader.identity import Destination, open_destination
from penstock_downloader.intake import Intake
from penstock_downloader.observer import Observer
from penstock_downloader.partials import Partials
from penstock_downloader.partition import Partition
from penstock_downloader.quarantine import Quarantine
from penstock_downloader.receipts import Receipts, ensure_receipts_topic
from penstock_downloader.recovery import remove_orphans
from penstock_downloader.replica import Replica
from penstock_downloader.settings import DownloaderSettings
from penstock_downloader.sink import FileSystemSink
from servicekit.circles import note_topic, refuse_circle
from servicekit.events import Heartbeats, Telemetry
from servicekit.exceptions import ClientLost, NotAuthorized, PenstockError, explain_kafka
from servicekit.filesystem import boottime
from servicekit.http import Health, HttpServer, health_routes
from servicekit.kafka import ClientHealth, consumer_config, session_seconds, wait_for_broker
from servicekit.lifecycle import Deadline, StopSignal
from servicekit.logs import Limiter, fields
from servicekit.metrics import set_build_info
from servicekit.topics import LogRange, TopicInfo, Topics
from servicekit.unreadable import UnreadableBatch, UnreadableBatches

log = logging.getLogger(__name__)

_BATCH_MESSAGES: Final = 256
_BATCH_BYTES: Final = 8 * 1024 * 1024
_HELD_BYTES: Final = 32 * 1024 * 1024
"""Whole files in memory that wait for delivery; above, nothing more is taken."""
_POLL_SECONDS: Final = 0.1
_PAUSE_AFTER_SECONDS: Final = 1.0
"""A pause throws away what was fetched ahead: for less than this it does not pay."""
_TRUSTED_SILENCE: Final = 2 / 3
"""Of a session: Kafka's advice is a heartbeat each third, so the last may be so much older than a poll."""
_ASK_AGAIN_SECONDS: Final = 0.2
_TICK_SECONDS: Final = 1.0
_TOPIC_CHECK_SECONDS: Final = 10.0
_ORPHANS_SECONDS: Final = 3600.0
_LOST_AT_ONCE_SECONDS: Final = 5.0
"""A client that is lost so soon is not unlucky: what it was told is wrong."""


class Downloader:
    """Delivers the files of one topic into one directory, from `run` to its end."""

    def __init__(
        self, settings: DownloaderSettings, *, observer: Observer | None = None, health: Health | None = None
    ) -> None:
        """Open the destination. Raises ConfigurationError when it cannot be one."""
        self._settings = settings
        self._observer = observer
        self.health = health or Health("kafka", "assignment")
        self.destination: Destination = open_destination(settings.directory, settings.group)

    def run(self, stop: StopSignal) -> None:
        """Deliver until told to stop, or (`until_idle`) until all is done. Raises PenstockError."""
        set_build_info("downloader", version("penstock-downloader"))
        settings = self._settings
        metrics.INFO.labels(settings.topic, self.destination.id).set(1)
        server = None
        if settings.metrics_port is not None:
            server = HttpServer(
                settings.metrics_host, settings.metrics_port, health_routes(self.health), name="metrics"
            )
            log.info("metrics at %s/metrics", server.url)
        try:
            while self._deliver(stop):
                pass
        finally:
            if server is not None:
                server.close()

    def _deliver(self, stop: StopSignal) -> bool:
        """Deliver with one set of Kafka clients, and say whether it takes another one to go on."""
        settings = self._settings
        if not wait_for_broker(settings, stop):
            return False
        begun = time.monotonic()
        topics = Topics(settings)
        stream = topics.describe(settings.topic)
        refuse_circle(self.destination.root, "downloader", stream)
        note_topic(self.destination.root, "downloader", stream)
        receipts_topic = ensure_receipts_topic(settings, topics, stream)
        running = _Running(settings, self.destination, topics, receipts_topic, self.health, self._observer)
        try:
            running.loop(stop)
        except ClientLost as lost:
            if time.monotonic() - begun < _LOST_AT_ONCE_SECONDS:
                raise  # another one would be lost, too
            log.warning("going on from the checkpoint with another client: %s", lost)
            self.health.problem("kafka", str(lost))
            return True
        finally:
            running.close()
        return False


class _Running:
    """A downloader while it runs. All but `sink_unavailable` and `confirm` belongs to the poll thread."""

    def __init__(
        self,
        settings: DownloaderSettings,
        destination: Destination,
        topics: Topics,
        receipts_topic: str,
        health: Health,
        observer: Observer | None,
    ) -> None:
        self._settings = settings
        self._destination = destination
        self._topics = topics
        self._topic = settings.topic
        self._health = health
        self._observer = observer
        self._inbox: deque[Message] = deque()
        self._message_bytes = 64 * 1024.0  # a running mean, to bound what one call takes
        self._wake = threading.Event()
        self._fresh = threading.Condition()
        self._last_poll = boottime()
        self._paused = False
        self._blocked_since: float | None = None
        self._retry_at = 0.0
        self._idle_since = time.monotonic()
        self._joined = False
        self._next_tick = 0.0
        self._next_topic_check = time.monotonic() + _TOPIC_CHECK_SECONDS
        self._next_orphans = time.monotonic() + 60.0
        self._stop: StopSignal | None = None
        self._ended_well = False
        self._limiter = Limiter(every_seconds=60)
        self._background = ThreadPoolExecutor(1, thread_name_prefix="background")
        self._topic_check: Future[TopicInfo] | None = None
        self._lagging: set[int] = set()

        def sink() -> FileSystemSink:
            return FileSystemSink(
                destination.root,
                on_conflict=settings.on_conflict,
                source_conflict=settings.source_conflict,
                portable_names=settings.requires_portable_names,
            )

        self._recovery_sink = sink()
        if not self._recovery_sink.has_attributes:
            log.warning(
                "%s has no extended attributes: whether a file there is newer, or of another source, "
                "is not checked",
                destination.root,
            )
        self._partials = Partials(destination.partials)
        self._delivery = DeliveryThread(sink(), self._partials, self, wake=self._wake.set)
        self._receipts = Receipts(settings, receipts_topic, health)
        self._answers = Answers(
            self._receipts,
            Quarantine(destination.quarantine, int(settings.quarantine_bytes)),
            destination=destination.id,
            topic=self._topic,
            observer=observer,
        )
        self._intake = Intake(
            settings, destination.id, self._partials, self._delivery, self._answers, observer
        )
        self._commits = Commits(settings, self._partials, self._intake)
        self._holdings = Holdings(
            destination,
            self._partials,
            self._recovery_sink,
            self._delivery,
            self._intake,
            self._answers,
            self._commits,
            self._wake,
        )
        self._client_health = ClientHealth("consumer", settings.bootstrap_servers)
        self._consumer = self._connect()
        self._unreadable = UnreadableBatches(settings, destination.id)
        self._telemetry = Telemetry(settings, topic=settings.events_topic or None)
        self._replica = Replica(destination.id)
        self._heartbeats = Heartbeats(
            self._telemetry,
            program_id=self._replica.program_id,
            service="downloader",
            version=version("penstock-downloader"),
            interval_seconds=settings.heartbeat_seconds,
            totals=metrics.totals,
            about={
                "topic": self._topic,
                "destination": destination.id,
                "directory": destination.root,
            },
        )

    def _connect(self) -> Consumer:
        config = consumer_config(
            self._settings, self._destination.id, self._settings.group_protocol, enable_partition_eof=True
        )
        self._session_seconds = session_seconds(self._settings, self._destination.id, config)
        config |= {
            "on_commit": self._commits.on_commit,
            "error_cb": self._client_health.on_error,
            "stats_cb": self._client_health.on_stats,
            "logger": logging.getLogger("librdkafka"),
        }
        try:
            return Consumer(config)
        except KafkaException as error:
            raise explain_kafka(error, bootstrap=self._settings.bootstrap_servers) from None

    # The loop

    def loop(self, stop: StopSignal) -> None:
        """Poll until told to stop, then finish what is under way."""
        self._stop = stop
        log.info(
            "delivering into %s",
            self._destination.root,
            extra=fields(topic=self._topic, destination=self._destination.id),
        )
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        while not stop.is_set():
            if self._client_health.fatal is not None:
                # What we held, the group has given to others long ago.
                raise self._client_health.fatal
            if not self._is_in_contact() and not self._regain_contact():
                stop.wait(_ASK_AGAIN_SECONDS)
                continue
            if self._is_blocked():
                self._wait_while_blocked()
            else:
                self._take_records()
            if not self._is_in_contact():
                continue
            self._turn(time.monotonic())
            if self._is_idle():
                log.info("nothing to do for %g s", self._settings.until_idle or 0)
                break
        self._drain()
        self._ended_well = True

    def _turn(self, now: float) -> None:
        """Do what is to be done beside taking records."""
        if self._holdings.take_outcomes():
            self._idle_since = now
        self._receipts.poll()
        if self._unreadable and not self._paused and not self._intake.is_stuck:
            for batch in self._unreadable.passed(self._consumer):
                self._step_over(batch)
        self._commits.turn(self._consumer, self._holdings, now)
        for partition in self._holdings.to_restart():
            self._restart(partition)
        if self._delivery.failure is not None:
            raise self._delivery.failure
        if now >= self._next_tick:
            self._next_tick = now + _TICK_SECONDS
            self._tick(now)

    def _take_records(self) -> None:
        if not self._inbox:
            self._fetch(_POLL_SECONDS if not len(self._receipts) and not self._intake.held_bytes else 0.01)
        now = time.monotonic()
        for _ in range(min(len(self._inbox), _BATCH_MESSAGES)):
            if not self._inbox or not self._is_in_contact():
                return
            message = self._inbox.popleft()
            if (error := message.error()) is not None:
                self._on_error(message, error)
                continue
            number, offset = message.partition(), message.offset()
            assert number is not None
            assert offset is not None
            partition = self._holdings.get(number)
            if partition is None or partition.restarting:
                continue
            if offset < partition.position:
                self._next_topic_check = 0.0  # is it a record of another topic of the same name?
                continue
            if offset > partition.position and not self._explain_gap(partition, offset):
                self._inbox.appendleft(message)
                return
            self._idle_since = now
            try:
                self._intake.take(partition, offset, message, now)
            except SinkUnavailable as problem:
                self.sink_unavailable(problem)
                return
            if self._intake.held_bytes >= _HELD_BYTES:
                return

    def _fetch(self, timeout: float) -> None:
        """Poll: hear of rebalances, errors and commits, and take what has been fetched."""
        count = max(1, min(_BATCH_MESSAGES, int(_BATCH_BYTES / self._message_bytes)))
        messages = self._consumer.consume(count, 0)
        if not messages:
            message = self._consumer.poll(timeout)
            messages = [] if message is None else [message]
        if self._is_in_contact():  # and did not sleep in there
            self._last_poll = boottime()
        if messages:
            self._inbox.extend(messages)
            mean = sum(len(message) for message in messages) / len(messages)
            self._message_bytes = max(1024.0, (self._message_bytes + mean) / 2, mean)

    # Contact with the group

    def _is_in_contact(self) -> bool:
        return boottime() - self._last_poll <= _TRUSTED_SILENCE * self._session_seconds

    def _regain_contact(self) -> bool:
        """Poll after a long silence, and see whether what was ours still is, before anything is written.

        False when the group has not said: until it has, nothing may be written.
        """
        silence = boottime() - self._last_poll
        if self._limiter.first("silence"):
            log.warning("this process did not run for %.0f s; asking the group if it still counts", silence)
        messages = self._consumer.consume(1, 0)  # serves rebalances that librdkafka knows of
        self._inbox.extend(messages)
        known = self._commits.confirm(self._consumer, list(self._holdings))
        if known is None:
            self._health.problem("kafka", self._client_health.problem or "the group does not answer")
            return False
        if not known:
            log.warning("the group has given our partitions to others")
            self._abandon(self._holdings.numbers)
        self._limiter.forget("silence")
        self._heard()
        return True

    def _heard(self) -> None:
        with self._fresh:
            self._last_poll = boottime()
            self._fresh.notify_all()

    def confirm(self, tenure: Tenure) -> bool:
        """See `delivery.Conditions`; called by the delivery thread."""
        while not self._is_in_contact():
            with self._fresh:
                self._fresh.wait(0.2)
            if tenure.is_over:
                return False
        return not tenure.is_over

    # When nothing can be written, or not fast enough

    def sink_unavailable(self, problem: SinkUnavailable | None) -> None:
        """Take note of why nothing can be delivered; from any thread."""
        if problem is None:
            if "destination" in self._health.problems:
                log.info("%s takes files again", self._destination.root)
            self._health.ok("destination")
            if self._observer is not None:
                self._observer.waiting("")
            return
        if "destination" not in self._health.problems:
            log.error("%s takes nothing (%s); waiting until it does", self._destination.root, problem)
        self._health.problem("destination", f"{self._destination.root!r} takes nothing: {problem}")
        if self._observer is not None:
            self._observer.waiting(f"the destination: {problem}")

    def _is_blocked(self) -> bool:
        if self._intake.is_stuck or self._intake.held_bytes >= _HELD_BYTES:
            return True
        if self._blocked_since is not None:
            self._blocked_since = None
            if self._paused:
                self._pause(False)
        return False

    def _wait_while_blocked(self) -> None:
        now = time.monotonic()
        if self._blocked_since is None:
            self._blocked_since = now
        if now - self._blocked_since >= _PAUSE_AFTER_SECONDS:
            if not self._paused:
                self._pause(True)
            self._fetch(0.1)
        else:
            self._wake.wait(0.05)
            self._wake.clear()
        if self._intake.is_stuck and now >= self._retry_at and self._is_in_contact():
            try:
                self._intake.retry()
                self.sink_unavailable(None)
            except SinkUnavailable as problem:
                self._retry_at = now + 1.0
                self.sink_unavailable(problem)

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        metrics.PAUSED.set(paused)
        ours = [TopicPartition(self._topic, number) for number in self._holdings.numbers]
        if not ours:
            return
        if paused:
            self._consumer.pause(ours)
        else:
            self._consumer.resume(ours)

    # Rebalances

    def _on_assign(self, _consumer: Consumer, assigned: list[TopicPartition]) -> None:
        self._joined = True
        was_in_contact = self._is_in_contact()
        numbers = [partition.partition for partition in assigned]
        self._assign(self._open(numbers))
        if was_in_contact:  # else what we hold since before a silence is to be asked for first
            self._heard()
        self._health.ok("assignment")

    def _assign(self, starts: list[TopicPartition] | None) -> None:
        if starts:
            self._consumer.incremental_assign(starts)
            if self._paused:
                self._consumer.pause(starts)

    def _open(self, numbers: list[int], *, ignore_commits: bool = False) -> list[TopicPartition] | None:
        """Take partitions over, and give where to read them from; None if told to stop first."""
        if not numbers:
            return []
        asked = self._ask_offsets(numbers)
        if asked is None:
            return None
        topic_id, committed, ranges = asked
        if self._destination.is_new and any(where.offset > 0 for where in committed):
            self._warn_of_another_place()
        starts = []
        for where in committed:
            number = where.partition
            offset = None if where.offset < 0 or ignore_commits else where.offset
            while True:
                try:
                    start = self._holdings.open(
                        number, topic_id, offset, where.metadata, ranges[self._topic, number]
                    )
                    break
                except SinkUnavailable as problem:
                    self.sink_unavailable(problem)
                if self._stop is None or self._stop.wait(1.0):
                    return None
            if "destination" in self._health.problems and not self._intake.is_stuck:
                self.sink_unavailable(None)
            starts.append(TopicPartition(self._topic, number, start))
        return starts

    def _warn_of_another_place(self) -> None:
        if self._limiter.first("another place"):
            log.warning(
                "%s is new, but group %s has received files elsewhere: only later ones come here. For all of "
                "them use another --group; for some, penstock resend",
                self._destination.root,
                self._destination.id,
            )

    def _ask_offsets(
        self, numbers: list[int]
    ) -> tuple[str, list[TopicPartition], dict[tuple[str, int], LogRange]] | None:
        """Ask Kafka for the topic's id, what is committed and what there is; None if told to stop first."""
        while True:
            try:
                topic_id = self._topics.describe(self._topic).topic_id
                committed = self._consumer.committed(
                    [TopicPartition(self._topic, number) for number in numbers], timeout=5.0
                )
                for partition in committed:
                    if partition.error is not None:
                        raise KafkaException(partition.error)
                ranges = self._topics.log_starts_and_ends((self._topic, number) for number in numbers)
                return topic_id, committed, ranges
            except (KafkaException, PenstockError) as error:
                explained = (
                    explain_kafka(error, topic=self._topic) if isinstance(error, KafkaException) else error
                )
            if isinstance(explained, NotAuthorized):
                raise explained
            if self._limiter.first("offsets"):
                log.warning("waiting for the offsets of %s: %s", self._topic, explained)
            if self._stop is None or self._stop.wait(0.2):
                return None

    def _on_revoke(self, _consumer: Consumer, revoked: list[TopicPartition]) -> None:
        numbers = [partition.partition for partition in revoked]
        if not self._is_in_contact():
            self._abandon(numbers)  # somebody else may have them for long
            return
        self._heard()
        self._hand_over(numbers, Deadline(self._settings.revoke_timeout_seconds))
        self._heard()

    def _on_lost(self, _consumer: Consumer, lost: list[TopicPartition]) -> None:
        numbers = [partition.partition for partition in lost]
        if any(self._holdings.get(number) for number in numbers):
            log.warning("partitions %s were taken from us", ", ".join(map(str, sorted(numbers))))
        self._abandon(numbers)
        self._heard()

    def _hand_over(self, numbers: list[int], deadline: Deadline) -> None:
        self._drop_from_inbox(numbers)
        self._holdings.hand_over(self._consumer, numbers, deadline)
        self._forget_lag(numbers)

    def _abandon(self, numbers: list[int]) -> None:
        self._drop_from_inbox(numbers)
        self._holdings.abandon(numbers)
        self._forget_lag(numbers)

    def _forget_lag(self, numbers: list[int]) -> None:
        for number in self._lagging.intersection(numbers):
            self._lagging.discard(number)
            metrics.LAG.remove(str(number))

    def _drop_from_inbox(self, numbers: list[int]) -> None:
        for number in numbers:
            self._unreadable.forget((self._topic, number))
        dropped = set(numbers)
        self._inbox = deque(message for message in self._inbox if message.partition() not in dropped)

    def _restart(self, partition: Partition) -> None:
        """Read a partition again from its checkpoint: bytes that were on disk are lost, or may be."""
        log.warning(
            "partition %d is read again from its checkpoint: %s", partition.number, partition.restarting
        )
        metrics.RESTARTS.inc()
        self._abandon([partition.number])
        self._consumer.incremental_unassign([TopicPartition(self._topic, partition.number)])
        self._assign(self._open([partition.number]))

    # Now and then

    def _tick(self, now: float) -> None:
        problem = self._client_health.problem
        if problem is None:
            self._health.ok("kafka")
        else:
            self._health.problem("kafka", problem)
        self._beat()
        metrics.HELD_BYTES.set(self._intake.held_bytes)
        metrics.DELIVERIES_IN_FLIGHT.set(sum(len(one.pending) for one in self._holdings))
        metrics.UPLOADS_IN_FLIGHT.set(sum(len(one.assembly) for one in self._holdings))
        expired_before = now - self._settings.incomplete_after_seconds
        for partition in self._holdings:
            _low, high = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition.number), cached=True
            )
            if high >= 0:
                metrics.LAG.labels(str(partition.number)).set(max(0, high - partition.position))
                self._lagging.add(partition.number)
            if partition.at_end and not self._intake.is_stuck:
                for refusal in partition.assembly.expire(expired_before):
                    self._intake.refuse(partition, partition.position - 1, refusal)
        if now >= self._next_topic_check:
            self._check_topic(now)
        if now >= self._next_orphans and len(self._holdings):
            self._next_orphans = now + _ORPHANS_SECONDS
            known = {str(upload.upload_id) for one in self._holdings for upload in one.assembly}
            self._background.submit(
                remove_orphans, self._destination, known, self._settings.incomplete_after_seconds
            )

    def _check_topic(self, now: float) -> None:
        """See whether the topic is still the one that our partitions are of; its name says nothing of that.

        Those that were assigned after it was made again are of the new one already.
        """
        if self._topic_check is None:
            self._topic_check = self._background.submit(self._topics.describe, self._topic)
            return
        if not self._topic_check.done():
            return
        check, self._topic_check = self._topic_check, None
        self._next_topic_check = now + _TOPIC_CHECK_SECONDS
        try:
            info = check.result()
        except PenstockError as error:
            self._health.problem("topic", str(error))
            return
        self._health.ok("topic")
        numbers = [one.number for one in self._holdings if one.topic_id != info.topic_id]
        if numbers:
            log.warning("topic %s was deleted and made again: reading it from its start", self._topic)
            self._abandon(numbers)
            self._consumer.incremental_unassign([TopicPartition(self._topic, number) for number in numbers])
            starts = self._open(
                [number for number in numbers if number < info.partitions], ignore_commits=True
            )
            self._assign(starts)

    def _beat(self) -> None:
        problems = self._health.problems
        if self._heartbeats.is_due(problems):
            self._heartbeats.beat({"problems": problems, "partitions": self._holdings.numbers})

    def _on_error(self, message: Message, error: KafkaError) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public constant
            partition = self._holdings.get(message.partition() or 0)
            end = message.offset() or 0
            if partition is None or partition.restarting:
                return
            if end < partition.position:
                self._next_topic_check = 0.0
                return
            if end > partition.position:
                if not self._explain_gap(partition, end):
                    return  # it is told again
                partition.position = end
            partition.at_end = True
            return
        if self._unreadable.met(self._consumer, message):
            partition = self._holdings.get(message.partition() or 0)
            if partition is not None:
                partition.at_end = False
            return
        explained = explain_kafka(error, topic=self._topic, bootstrap=self._settings.bootstrap_servers)
        if isinstance(explained, NotAuthorized):
            raise explained
        if self._limiter.first(code):
            log.warning("%s", explained)

    def _step_over(self, batch: UnreadableBatch) -> None:
        """Let nothing wait for records that cannot be unpacked: what files lost there is asked for again."""
        partition = self._holdings.get(batch.place[1])
        if partition is None or partition.restarting or partition.position >= batch.end:
            return
        self._answers.unreadable(partition, max(partition.position, batch.start), batch)
        partition.position = batch.end

    def _explain_gap(self, partition: Partition, offset: int) -> bool:
        """Tell of offsets that retention took; False when that cannot be known now.

        Others are missing harmlessly: transactions, their markers, records deleted by key.
        """
        try:
            low, _high = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition.number), timeout=2.0, cached=False
            )
        except KafkaException:
            return False
        if low > partition.position:
            self._answers.range_lost(partition, partition.position, min(low, offset))
        return True

    def _is_idle(self) -> bool:
        if self._settings.until_idle is None:
            return False
        now = time.monotonic()
        busy = (
            not self._joined
            or bool(self._inbox)
            or self._intake.is_stuck
            or len(self._receipts) > 0
            or not self._holdings.are_settled
            or not all(partition.at_end for partition in self._holdings)
        )
        if busy:
            self._idle_since = now
        return now - self._idle_since >= self._settings.until_idle

    # The end

    def _drain(self) -> None:
        """Finish what is under way, and commit."""
        if not self._is_in_contact():
            return  # nothing may be written
        log.info("finishing what is under way")
        self._hand_over(self._holdings.numbers, Deadline(self._settings.drain_timeout_seconds))

    def close(self) -> None:
        """Let go of everything."""
        self._abandon(self._holdings.numbers)
        self._delivery.close(5.0)
        self._commits.close()
        self._background.shutdown(wait=False, cancel_futures=True)
        self._receipts.close()
        if self._ended_well:
            self._heartbeats.stopped()
        self._telemetry.close(0.2)
        self._replica.close()
        self._unreadable.close()
        self._consumer.close()
        self._recovery_sink.close()
