"""One stay in the consumer group: records are taken, understood and learned, until the first trouble."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaException, Message, TopicPartition

from chunkproto.native import HEADER
from penstock_registry import metrics
from penstock_registry.assignment import where_to_start
from penstock_registry.readings import Learner, Place, Reading, learn, put_aside
from penstock_registry.records import HEAD_BYTES, KnownTopics
from penstock_registry.settings import RegistrySettings
from servicekit.exceptions import (
    ClientLost,
    KafkaUnavailable,
    NotOurEvent,
    PenstockError,
    UnknownTopic,
    explain_kafka,
)
from servicekit.http import Health
from servicekit.kafka import ClientHealth, has_header, make_consumer
from servicekit.lifecycle import Deadline
from servicekit.logs import Limiter, fields
from servicekit.topics import Topics
from servicekit.unreadable import UnreadableBatch, UnreadableBatches

log = logging.getLogger(__name__)

_BATCH_RECORDS: Final = 2000
_BATCH_BYTES: Final = 4 * 1024 * 1024
_LINGER_SECONDS: Final = 0.1
"""A batch waits so long for more records: many share one transaction, and nobody sees the delay."""
_POLL_SECONDS: Final = 0.2
_DISCOVERY_MILLISECONDS: Final = 5000
"""How soon the topic of a new stream is found."""
_TOPIC_CHECK_SECONDS: Final = 10.0
_DATABASE_CHECK_SECONDS: Final = 5.0
_COMPLAINT_SECONDS: Final = 30.0
"""So long after Kafka has last refused something (an ACL) that is taken for mended."""


class BeginAgain(Exception):
    """What is known of the partitions is not true any more: ask anew, and go on from there."""


@dataclass(slots=True)
class _Holding:
    """A partition that we were given."""

    topic_id: str
    next_offset: int


class Membership:
    """One stay in the consumer group: from joining it until the first trouble. For one thread."""

    def __init__(
        self, settings: RegistrySettings, known: KnownTopics, store: Learner, topics: Topics, health: Health
    ) -> None:
        self._bootstrap = settings.bootstrap_servers
        self._known = known
        self._store = store
        self._topics = topics
        self._health = health
        self._holdings: dict[Place, _Holding] = {}
        self._database_seen = time.monotonic()
        self._next_check = time.monotonic() + _TOPIC_CHECK_SECONDS
        self._complained_at: float | None = None
        self._limiter = Limiter(every_seconds=60)
        self._client = ClientHealth("consumer", settings.bootstrap_servers)
        # Not KIP-848: there the brokers look for topics that match, by default every ten minutes.
        self._consumer: Consumer = make_consumer(
            settings,
            settings.consumer_group,
            "classic",
            health=self._client,
            topic_metadata_refresh_interval_ms=_DISCOVERY_MILLISECONDS,
            # Events are small: this much of them is plenty.
            queued_max_messages_kbytes=4096,
            fetch_max_bytes=1024 * 1024,
            max_partition_fetch_bytes=1024 * 1024,
        )
        self._unreadable = UnreadableBatches(settings, settings.consumer_group)
        health.check("kafka", lambda: self._client.problem)
        self._consumer.subscribe(
            known.patterns, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def close(self) -> None:
        """Leave the group."""
        self._unreadable.close()
        self._consumer.close()
        metrics.PARTITIONS.set(0)

    def turn(self) -> None:
        """Read some, learn it, and see whether all is as it was.

        Raises DatabaseUnavailable, BeginAgain and other PenstockErrors: then this stay is over.
        """
        messages = self._gather()
        if self._client.fatal is not None:
            raise self._client.fatal
        found = list(self._readings(messages))
        found += [self._step_over(batch) for batch in self._unreadable.passed(self._consumer)]
        if found:
            self._learn(found)
            self._commit(found)
        elif self._client.problem is None and self._holdings:
            metrics.behind.caught_up()
        metrics.behind.stands_still(bool(self._unreadable) or self._complained_at is not None)
        self._check_database()
        self._check_topics()

    # Taking records

    def _gather(self) -> list[Message]:
        """Wait a moment for a record, and take those that come with it."""
        first = self._consumer.poll(_POLL_SECONDS)
        if first is None:
            return []
        gathered, size = [first], len(first)
        linger = Deadline(_LINGER_SECONDS)
        while len(gathered) < _BATCH_RECORDS and size < _BATCH_BYTES and not linger.passed:
            # What is in the client's queue, which is bounded; the wait is for one record only.
            more = self._consumer.consume(_BATCH_RECORDS - len(gathered), 0)
            if not more:
                late = self._consumer.poll(linger.bound(0.02))
                more = [] if late is None else [late]
            gathered += more
            size += sum(len(message) for message in more)
        return gathered

    def _readings(self, messages: Iterable[Message]) -> Iterator[Reading]:
        for message in messages:
            error = message.error()
            if error is not None:
                if self._unreadable.met(self._consumer, message):
                    continue
                self._complain(explain_kafka(error, topic=message.topic(), bootstrap=self._bootstrap))
                continue
            topic, number, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None
            assert number is not None
            assert offset is not None
            holding = self._holdings.get((topic, number))
            if holding is None:
                continue  # it was taken from us after this record had been fetched
            if offset < holding.next_offset:
                # The log is shorter than it was: another topic of the same name, or the end was lost.
                raise BeginAgain(f"{topic}, partition {number} goes back to offset {offset}")
            if offset > holding.next_offset:
                self._explain_gap((topic, number), holding, offset)
            holding.next_offset = offset + 1
            yield self._understand(message, (topic, number), holding.topic_id, offset)

    def _understand(self, message: Message, place: Place, topic_id: str, offset: int) -> Reading:
        kind = self._known.kind_of(place[0])
        key, value = _bytes_of(message.key()), _bytes_of(message.value())
        timestamp_kind, milliseconds = message.timestamp()
        written_at = None if timestamp_kind == TIMESTAMP_NOT_AVAILABLE else max(0, milliseconds) / 1000
        reading = Reading(
            kind=kind,
            place=place,
            topic_id=topic_id,
            offset=offset,
            at=time.time() if written_at is None else min(written_at, time.time()),
            head=(value or b"")[:HEAD_BYTES],
        )
        metrics.RECORDS.labels(kind).inc()
        try:
            said = self._known.understand(
                place[0], key, value, is_of_file=has_header(message, HEADER), written_at=written_at
            )
            return replace(reading, said=said)
        except NotOurEvent as problem:
            return put_aside(reading, problem)

    def _step_over(self, batch: UnreadableBatch) -> Reading:
        """Keep aside what cannot be unpacked, as one record: its last."""
        holding = self._holdings[batch.place]
        holding.next_offset = batch.end
        kind = self._known.kind_of(batch.place[0])
        reading = Reading(kind, batch.place, holding.topic_id, batch.end - 1, time.time(), b"")
        return put_aside(reading, NotOurEvent(str(batch)))

    # Learning

    def _learn(self, found: list[Reading]) -> None:
        with metrics.BATCH_SECONDS.time():
            learn(self._store, found)
        metrics.behind.learned(max(reading.at for reading in found))
        self._database_seen = time.monotonic()
        self._health.ok("database")

    def _commit(self, found: list[Reading]) -> None:
        """Tell Kafka how far we are, for whoever watches lag; where we go on is in the store."""
        offsets = [
            TopicPartition(*place, holding.next_offset)
            for place in {reading.place for reading in found}
            if (holding := self._holdings.get(place)) is not None
        ]
        if offsets:
            with contextlib.suppress(KafkaException):
                self._consumer.commit(offsets=offsets, asynchronous=True)

    # Partitions come and go

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Read each partition from where the store says. What is raised here comes out of the poll."""
        places = [(partition.topic, partition.partition) for partition in assigned]
        known = self._store.positions() if places else {}
        ids = self._topics.ids(topic for topic, _ in places)
        if gone := sorted({topic for topic, _ in places if topic not in ids}):
            raise UnknownTopic(f"{', '.join(gone)} was deleted just now, or is hidden from us")
        ranges = self._topics.log_starts_and_ends(places)
        starts = []
        for place, log_range in ranges.items():
            start = where_to_start(known.get(place), ids[place[0]], log_range)
            if start.missed:
                self._missed(place, start.missed)
            self._holdings[place] = _Holding(ids[place[0]], start.offset)
            starts.append(TopicPartition(*place, start.offset))
            log.debug("%s, partition %d: from offset %d", *place, start.offset)
        consumer.incremental_assign(starts)
        metrics.PARTITIONS.set(len(self._holdings))
        self._health.ok("reading")
        if topics := sorted(ids):
            log.info("reading", extra=fields(topics=",".join(topics), partitions=len(places)))

    def _on_revoke(self, _consumer: Consumer, revoked: list[TopicPartition]) -> None:
        for partition in revoked:
            self._holdings.pop((partition.topic, partition.partition), None)
            self._unreadable.forget((partition.topic, partition.partition))
        metrics.PARTITIONS.set(len(self._holdings))

    def _check_database(self) -> None:
        """Ask the database now and then while there is nothing to learn: that it is away must be seen."""
        now = time.monotonic()
        if now - self._database_seen > _DATABASE_CHECK_SECONDS:
            self._store.positions()
            self._database_seen = now

    def _check_topics(self) -> None:
        """See from time to time whether each topic still is the one that we began to read."""
        now = time.monotonic()
        if self._complained_at is not None and now - self._complained_at > _COMPLAINT_SECONDS:
            self._complained_at = None
            self._health.ok("reading")
        if now < self._next_check or self._client.problem is not None:
            return
        self._next_check = now + _TOPIC_CHECK_SECONDS
        began = {topic: holding.topic_id for (topic, _), holding in self._holdings.items()}
        try:
            ids = self._topics.ids(began)
        except KafkaUnavailable:
            return
        for topic, topic_id in began.items():
            if ids.get(topic, topic_id) != topic_id:
                raise BeginAgain(f"{topic} was deleted and made again")

    def _explain_gap(self, place: Place, holding: _Holding, offset: int) -> None:
        """Say so when records were deleted before they were read; offsets may also lack for other reasons."""
        start = self._topics.log_starts_and_ends([place])[place].start
        if (missed := min(start, offset) - holding.next_offset) > 0:
            self._missed(place, missed)

    def _missed(self, place: Place, records: int) -> None:
        topic, number = place
        metrics.MISSED.labels(self._known.kind_of(topic)).inc(records)
        log.warning(
            "%s, partition %d: %d records were deleted before they were read: the registry was away for "
            "longer than the topic keeps them",
            topic,
            number,
            records,
        )

    def _complain(self, error: PenstockError) -> None:
        if isinstance(error, ClientLost):
            raise error
        if isinstance(error, KafkaUnavailable | UnknownTopic):
            return  # the client's health says the one; to the other the group soon adapts
        self._complained_at = time.monotonic()
        self._health.problem("reading", str(error))
        if self._limiter.first(type(error)):
            log.warning("%s", error)


def _bytes_of(part: str | bytes | None) -> bytes | None:
    return part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
