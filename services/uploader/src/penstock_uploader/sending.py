"""The producer: records out, acknowledgements in, and how many bytes are between the two.

Kafka is asked for few delivery reports, because each costs a copy of the record's bytes: for a large file
only with the first chunk, every `STRIDE_BYTES` or `STRIDE_SECONDS`, and the last one. The idempotent producer
keeps the order within a partition, and with `enable.gapless.guarantee` a record that cannot be delivered ends
the producer: so a report proves all records of the same file before it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message

from chunkproto.native import HEADER, RECORD_OVERHEAD_BYTES, encode_header
from chunkproto.records import Record
from penstock_uploader.settings import UploaderSettings
from servicekit.exceptions import PenstockError, explain_kafka
from servicekit.kafka import ClientHealth, make_producer

log = logging.getLogger(__name__)

STRIDE_BYTES: Final = 4 * 1024 * 1024
STRIDE_SECONDS: Final = 1.0
"""A slow upload is seen to go on, and goes on from there after a crash."""
RECORD_COST: Final = 8 * 1024
"""What a record counts for beside its bytes, so that bytes bound the number of records too: what we and
librdkafka keep of one until it is acknowledged."""


class Kind(Enum):
    """What a report is about."""

    CHUNK = "chunk"
    WHOLE = "whole"
    END = "end"
    ABORT = "abort"


class ProducerLost(Exception):
    """This producer can send no more; `cause` says why, for people."""

    def __init__(self, cause: PenstockError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(slots=True, eq=False)
class Report:
    """Kafka has this record, and all of the same upload before it."""

    subject: object
    kind: Kind
    chunks: int
    cost: int
    sending: Sending
    offset: int = -1

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        """Take librdkafka's delivery report."""
        sending = self.sending
        sending.in_flight -= self.cost
        if error is None:
            self.offset = message.offset()  # type: ignore[assignment]  # a delivered record has one
            sending.reports.append(self)
        elif sending.lost is None and error.code() != KafkaError._PURGE_QUEUE:  # noqa: SLF001
            sending.lost = explain_kafka(error, topic=sending.topic)


class Sending:
    """One producer, for one topic. It is thrown away when it is lost, or when the topic is another one."""

    def __init__(self, settings: UploaderSettings, health: ClientHealth, max_batch_bytes: int) -> None:
        self.topic = settings.topic
        self.in_flight = 0
        """Bytes produced and not yet acknowledged, and what records cost beside them."""
        self.reports: list[Report] = []
        self.lost: PenstockError | None = None
        self.health = health
        self._limit = int(settings.max_inflight_bytes)
        self._producer = make_producer(
            settings,
            health=health,
            # Ours is the bound; librdkafka's must never be met first.
            queue_buffering_max_kbytes=max(1024, 2 * self._limit // 1024 + RECORD_OVERHEAD_BYTES // 1024),
            # A topic that takes less than the default refuses whole batches. A user may make them smaller.
            batch_size=min(max_batch_bytes, int(settings.kafka.get("batch.size", max_batch_bytes))),
            message_max_bytes=max(1_000_000, int(settings.chunk_size) + RECORD_OVERHEAD_BYTES),
        )

    @property
    def room(self) -> int:
        """How many bytes may still be produced."""
        return self._limit - self.in_flight

    def produce(
        self, record: Record, key: bytes, value: bytes | None, partition: int, report: Report | None
    ) -> None:
        """Hand a record over; raises ProducerLost. What those without a report cost is the next report's."""
        headers: list[tuple[str, str | bytes | None]] = [(HEADER, encode_header(record))]
        while True:
            self._check()
            try:
                if report is None:
                    self._producer.produce(self.topic, value, key, partition, headers=headers)
                else:
                    self._producer.produce(self.topic, value, key, partition, report, headers=headers)
                return
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as error:
                self.lost = explain_kafka(error, topic=self.topic)

    def poll(self, timeout: float = 0.0) -> None:
        """Let acknowledgements in, waiting at most `timeout` seconds for the first; raises ProducerLost."""
        self._producer.poll(timeout)
        self._check()

    def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until all is acknowledged; whether it is. Raises ProducerLost."""
        left = self._producer.flush(timeout)
        self._check()
        return left == 0

    def knows_partitions(self, count: int, timeout: float = 5.0) -> bool:
        """Whether this producer can already send to the first `count` partitions of the topic."""
        try:
            return len(self._producer.list_topics(self.topic, timeout).topics[self.topic].partitions) >= count
        except (KafkaException, KeyError):
            return False

    def take_reports(self) -> list[Report]:
        """Take the reports that came in, in the order in which they came."""
        taken, self.reports = self.reports, []
        return taken

    def discard(self) -> None:
        """Forget what has not been acknowledged."""
        self._producer.purge()
        self._producer.flush(0)
        self.reports.clear()

    def _check(self) -> None:
        cause = self.health.fatal or self.lost
        if cause is not None:
            raise ProducerLost(cause)
