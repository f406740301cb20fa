"""Commits: what is on disk is made durable, then the offsets past it are committed, now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Literal, Protocol, overload

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from chunkproto.assembly import Upload
from chunkproto.checkpoint import Checkpoint
from penstock_downloader import metrics
from penstock_downloader.exceptions import PartialLost
from penstock_downloader.intake import Intake
from penstock_downloader.partials import Partials, sync
from penstock_downloader.partition import Partition
from penstock_downloader.settings import DownloaderSettings
from servicekit.faults import crash_point, declare
from servicekit.lifecycle import Deadline
from servicekit.logs import Limiter, fields

log = logging.getLogger(__name__)

declare("commit.before", "commit.after")

_NOT_OURS = frozenset(
    code
    for name in (
        "UNKNOWN_MEMBER_ID",
        "ILLEGAL_GENERATION",
        "FENCED_INSTANCE_ID",
        "FENCED_MEMBER_EPOCH",
    )
    if (code := getattr(KafkaError, name, None)) is not None
)
"""The group does not know us any more, or not as the owner of these partitions.

STALE_MEMBER_EPOCH is none of them: it does know us, and tells us the new epoch with the next heartbeat.
"""


_Sent = dict[int, tuple[Partition, Checkpoint]]
"""By the number of the partition."""


@dataclass(slots=True)
class _Cycle:
    """One commit under way: first partials are synced, off the poll thread, then Kafka answers."""

    partitions: list[Partition]
    syncing: list[tuple[Partition, Upload]]
    synced: Future[dict[int, str]]
    sent: _Sent = field(default_factory=dict)


class Committer(Protocol):
    """What a commit needs of a consumer: see `confluent_kafka.Consumer.commit`."""

    @overload
    def commit(self, *, offsets: list[TopicPartition], asynchronous: Literal[True] = ...) -> None: ...

    @overload
    def commit(
        self, *, offsets: list[TopicPartition], asynchronous: Literal[False]
    ) -> list[TopicPartition]: ...


class Commits:
    """Commits the offsets of one consumer, one commit at a time: they cannot pass each other."""

    def __init__(self, settings: DownloaderSettings, partials: Partials, intake: Intake) -> None:
        self._topic = settings.topic
        self._interval = settings.commit_interval_seconds
        self._bytes = int(settings.commit_bytes)
        self._partials = partials
        self._intake = intake
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._cycle: _Cycle | None = None
        self._question: _Sent | None = None
        self._known: bool | None = None
        self._next = time.monotonic() + self._interval
        self._limiter = Limiter(every_seconds=60)

    def turn(self, consumer: Committer, partitions: Iterable[Partition], now: float) -> None:
        """Do the next step of a commit, if there is one to do. Never waits."""
        cycle = self._cycle
        if cycle is None:
            if (
                now >= self._next or self._intake.unsynced_bytes >= self._bytes
            ) and not self._intake.is_stuck:
                self._cycle = self._begin(list(partitions))
        elif not cycle.sent and cycle.synced.done():
            self._take_over(cycle)
            self._send(consumer, cycle)
            if not cycle.sent:
                self._finish()

    def on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Take Kafka's answer; librdkafka's `on_commit`."""
        cycle = self._cycle  # whose answer comes before that to a later question
        if cycle is not None and cycle.sent and _is_about(cycle.sent, partitions):
            self._note(cycle.sent, error, partitions)
            self._finish()
        elif self._question is not None and _is_about(self._question, partitions):
            self._take_answer(error, partitions)
        # Else of a commit that a rebalance has overtaken.

    def flush(self, consumer: Committer, partitions: list[Partition], deadline: Deadline) -> bool:
        """Make all of these partitions durable and commit it, before the deadline; whether that worked."""
        cycle = self._cycle
        if cycle is not None and not cycle.sent:
            # How its syncs went must be known: a failed one is told only once.
            wait([cycle.synced], timeout=deadline.remaining)
            if not cycle.synced.done():
                return False
            self._take_over(cycle)
        self._cycle = None  # if it was sent: this one is sent after it, and passes no less
        cycle = self._begin(partitions)
        wait([cycle.synced], timeout=deadline.remaining)
        if not cycle.synced.done():
            self._cycle = cycle
            return False
        self._take_over(cycle)
        sent = self._checkpoints(partitions)
        if not sent:
            return True
        crash_point("commit.before")
        try:
            answer = consumer.commit(offsets=self._offsets(sent), asynchronous=False)
        except KafkaException as error:
            self._note(sent, error.args[0], [])
            return False
        crash_point("commit.after")
        return self._note(sent, None, answer)

    def confirm(self, consumer: Committer, partitions: list[Partition]) -> bool | None:
        """Whether the group still knows us: it refuses the commits of members that it has dropped.

        None while it has not answered: call again, after `consumer` had time to call `on_commit`. Without
        partitions there is nothing to ask for.
        """
        if self._known is None and partitions:
            if self._question is None:
                self._ask(consumer, partitions)
            return None
        known, self._known, self._question = self._known, None, None
        return known or not partitions

    def _ask(self, consumer: Committer, partitions: list[Partition]) -> None:
        question = {
            partition.number: (partition, checkpoint)
            for partition in partitions
            if (checkpoint := partition.renewed_checkpoint()) is not None
        }
        if not question:  # all are read again from the log start: nothing of theirs is written until then
            self._known = True
            return
        try:
            consumer.commit(offsets=self._offsets(question), asynchronous=True)
        except KafkaException as error:
            self._note(question, error.args[0], [])
            return
        self._question = question

    def _take_answer(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Take the answer to `confirm`; one that says nothing of us (no coordinator, say) is no answer."""
        question, self._question = self._question, None
        if question is None:
            return
        self._note(question, error, partitions)
        errors = [error] if error is not None else [one.error for one in partitions]
        if any(one is not None and one.code() in _NOT_OURS for one in errors):
            self._known = False
        elif any(one is None for one in errors):  # KafkaError cannot be compared with None
            self._known = True

    def close(self, *, wait: bool = False) -> None:
        """End the thread that syncs; with `wait`, once it has done what was begun."""
        self._pool.shutdown(wait=wait, cancel_futures=not wait)

    def _begin(self, partitions: list[Partition]) -> _Cycle:
        self._intake.unsynced_bytes = 0
        dirty = []
        for partition in partitions:
            if partition.restarting:
                continue
            for upload in partition.assembly:
                if (
                    upload.is_dirty
                    and not upload.complete
                    and not upload.refused
                    and not self._intake.is_stuck_at(upload.upload_id)
                ):
                    upload.begin_sync()
                    dirty.append((partition, upload))
        paths = [self._partials.path(upload.upload_id) for _, upload in dirty]
        return _Cycle(partitions, dirty, self._pool.submit(_sync_all, paths))

    def _take_over(self, cycle: _Cycle) -> None:
        failures = cycle.synced.result()
        for at, (partition, upload) in enumerate(cycle.syncing):
            if partition.tenure.is_over:
                continue  # the partial is its next owner's
            if partition.assembly.get(upload.upload_id) is not upload or upload.complete or upload.refused:
                continue
            if at in failures:
                # A second fsync would prove nothing: these bytes are read again.
                self._partials.discard(upload.upload_id)
                partition.restarting = failures[at]
            else:
                upload.finish_sync()

    def _send(self, consumer: Committer, cycle: _Cycle) -> None:
        sent = self._checkpoints(cycle.partitions)
        if not sent:
            return
        crash_point("commit.before")
        try:
            consumer.commit(offsets=self._offsets(sent), asynchronous=True)
        except KafkaException as error:
            self._note(sent, error.args[0], [])
            return
        cycle.sent = sent

    def _checkpoints(self, partitions: Iterable[Partition]) -> _Sent:
        found = {}
        for partition in partitions:
            # Kafka would take the commit of a partition that is no longer ours: we must not ask.
            if partition.tenure.is_over or partition.restarting:
                continue
            checkpoint = partition.checkpoint()
            if checkpoint is not None:
                found[partition.number] = (partition, checkpoint)
        return found

    def _offsets(self, sent: Mapping[int, tuple[Partition, Checkpoint]]) -> list[TopicPartition]:
        return [
            TopicPartition(
                self._topic, number, checkpoint.offset, checkpoint.encode_metadata(partition.topic_id)
            )
            for number, (partition, checkpoint) in sent.items()
        ]

    def _note(
        self,
        sent: Mapping[int, tuple[Partition, Checkpoint]],
        error: KafkaError | None,
        answers: list[TopicPartition],
    ) -> bool:
        """Look at the answer for each partition: one can fail without the call failing."""
        failed = {answer.partition: answer.error for answer in answers if answer.error is not None}
        for number, (partition, checkpoint) in sent.items():
            trouble = failed.get(number, error)
            if trouble is None:
                partition.committed = checkpoint
                metrics.COMMITS.inc()
                self._limiter.forget(number)
                continue
            metrics.COMMIT_FAILURES.labels(trouble.name()).inc()
            if self._limiter.first(number):
                log.warning(
                    "a commit failed, and will be tried again: %s",
                    trouble.str(),
                    extra=fields(topic=self._topic, partition=number, offset=checkpoint.offset),
                )
        return error is None and not failed

    def _finish(self) -> None:
        crash_point("commit.after")
        self._cycle = None
        self._next = time.monotonic() + self._interval


def _is_about(sent: _Sent, answers: list[TopicPartition]) -> bool:
    """Whether Kafka's answers are those to a commit; an error as a whole may come without them."""
    asked = {(number, checkpoint.offset) for number, (_, checkpoint) in sent.items()}
    return not answers or {(one.partition, one.offset) for one in answers} == asked


def _sync_all(paths: list[str]) -> dict[int, str]:
    """Sync each file; say which could not be, by their place in the list, and why."""
    failures = {}
    for at, path in enumerate(paths):
        try:
            sync(path)
        except PartialLost as lost:
            failures[at] = str(lost)
        except OSError as error:
            failures[at] = f"not durable: {error.strerror}"
    return failures
