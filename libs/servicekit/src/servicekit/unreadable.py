"""Batches of records that no client can unpack, and how reading goes on behind them.

Whoever may write a topic can put a batch there that librdkafka refuses: a few kilobytes that unpack to more
than `receive.message.max.bytes`, or broken ones that a broker has not looked at. It then says so at that
offset, again and again, and the partition stands still for every reader. Where such a batch ends, a client
cannot know; the brokers give all of a batch to whoever asks for any offset in it. So that is found by asking,
beside the reading: a batch of n records takes about 2 log n questions.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from servicekit.exceptions import KafkaFailed, KafkaUnavailable, PenstockError, explain_kafka
from servicekit.kafka import make_consumer
from servicekit.lifecycle import Deadline
from servicekit.logs import Limiter
from servicekit.settings import ServiceSettings

log = logging.getLogger(__name__)

_UNREADABLE: Final = frozenset(
    {KafkaError._BAD_COMPRESSION, KafkaError._BAD_MSG}  # noqa: SLF001 - public constants
)
_ANSWER_SECONDS: Final = 5.0

Place = tuple[str, int]
"""A partition: topic and number."""


@dataclass(frozen=True, slots=True)
class UnreadableBatch:
    """Records that cannot be read: those from `start` up to, and without, `end`."""

    place: Place
    start: int
    end: int
    reason: str

    def __str__(self) -> str:
        return f"the records {self.start} to {self.end - 1} cannot be unpacked ({self.reason})"


class UnreadableBatches:
    """Finds where unreadable batches end, and lets a consumer go on there. For the thread that polls it."""

    def __init__(self, settings: ServiceSettings, group: str) -> None:
        self._settings = settings
        self._group = group
        self._searches: dict[Place, tuple[int, str, Future[int]]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._scout: Consumer | None = None
        self._limiter = Limiter(every_seconds=60)
        self._closing = threading.Event()

    def __len__(self) -> int:
        """How many partitions wait for an end to be found."""
        return len(self._searches)

    def met(self, consumer: Consumer, message: Message) -> bool:
        """Whether an error tells of an unreadable batch. Its partition waits until the end is found."""
        error, topic, number, offset = message.error(), message.topic(), message.partition(), message.offset()
        if error is None or error.code() not in _UNREADABLE:
            return False
        if topic is None or number is None or offset is None or offset < 0:
            return False
        with contextlib.suppress(KafkaException):  # not ours any more
            consumer.pause([TopicPartition(topic, number)])
        place = topic, number
        if place not in self._searches:
            self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="unreadable")
            search = self._pool.submit(self._end_of, place, offset)
            self._searches[place] = offset, error.str(), search
        return True

    def passed(self, consumer: Consumer) -> list[UnreadableBatch]:
        """Let the consumer read on behind the batches whose end is known by now, and give those."""
        done = [place for place, (_, _, search) in self._searches.items() if search.done()]
        found = []
        for place in done:
            start, reason, search = self._searches.pop(place)
            try:
                end = search.result()
            except PenstockError as error:
                if self._limiter.first(type(error)):
                    log.warning("%s, partition %d, offset %d: %s", *place, start, error)
                end = start
            try:
                consumer.resume([TopicPartition(*place)])
                if end > start:
                    consumer.seek(TopicPartition(*place, end))
            except KafkaException as error:
                # It is not ours any more; or it is, and the same error comes again.
                log.debug("%s, partition %d: not moved to offset %d: %s", *place, end, error)
                continue
            if end > start:
                found.append(UnreadableBatch(place, start, end, reason))
        return found

    def forget(self, place: Place) -> None:
        """Forget what is searched in a partition that is not ours any more, or is read from elsewhere."""
        self._searches.pop(place, None)

    def close(self) -> None:
        """End the search. Does not wait for that."""
        self._closing.set()
        self._searches.clear()
        if self._pool is not None:
            self._pool.submit(self._dismiss)
            self._pool.shutdown(wait=False)

    def _end_of(self, place: Place, start: int) -> int:
        if self._scout is None:
            self._scout = make_consumer(
                self._settings,
                self._group,
                "classic",
                # Aborted records have offsets, too; nothing is read but errors, and the next answer soon.
                isolation_level="read_uncommitted",
                enable_partition_eof=True,
                fetch_wait_max_ms=50,
                fetch_error_backoff_ms=10,
                message_max_bytes=1024,
                fetch_max_bytes=1024,
                max_partition_fetch_bytes=1024,
            )
        scout = self._scout
        try:
            _low, high = scout.get_watermark_offsets(TopicPartition(*place), timeout=_ANSWER_SECONDS)
            return end_of_batch(start, high, lambda offset: self._unreadable_at(scout, place, offset))
        except KafkaException as error:
            raise explain_kafka(error, topic=place[0]) from None
        finally:
            with contextlib.suppress(KafkaException):
                scout.unassign()

    def _unreadable_at(self, scout: Consumer, place: Place, offset: int) -> int | None:
        scout.assign([TopicPartition(*place, offset)])
        deadline = Deadline(_ANSWER_SECONDS)
        while not deadline.passed and not self._closing.is_set():
            message = scout.poll(deadline.bound(0.5))
            if message is None:
                continue
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                return None
            if error.code() in _UNREADABLE:
                return message.offset()
            explained = explain_kafka(error, topic=place[0])
            if not isinstance(explained, KafkaUnavailable) and error.code() != (
                KafkaError.GROUP_AUTHORIZATION_FAILED  # librdkafka looks for a coordinator that is not needed
            ):
                raise explained
        raise KafkaFailed("where an unreadable batch ends cannot be found: Kafka does not answer")

    def _dismiss(self) -> None:
        if self._scout is not None:
            self._scout.close()


def end_of_batch(start: int, log_end: int, unreadable_at: Callable[[int], int | None]) -> int:
    """Return the offset behind the unreadable batch that begins at `start`; `start` if it can be read now.

    `unreadable_at` gives the first offset of the unreadable batch that an offset is in, None if in none.
    """
    if start >= log_end or unreadable_at(start) != start:
        return start
    inside, step = start, 1
    while (behind := min(inside + step, log_end)) < log_end and unreadable_at(behind) == start:
        inside, step = behind, 2 * step
    while behind - inside > 1:
        middle = (inside + behind) // 2
        if unreadable_at(middle) == start:
            inside = middle
        else:
            behind = middle
    return behind
