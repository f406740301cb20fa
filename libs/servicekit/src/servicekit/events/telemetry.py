"""Telemetry: events that are sent if that is possible, and dropped and counted if not."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from servicekit import metrics
from servicekit.events.coding import encode
from servicekit.events.models import EVENTS_TOPIC, Event
from servicekit.exceptions import PenstockError, explain_kafka
from servicekit.kafka import make_producer
from servicekit.logs import Limiter
from servicekit.settings import ServiceSettings

log = logging.getLogger(__name__)

RENEWAL_SECONDS: Final = 60.0
"""While telemetry cannot be sent, another client tries it so often."""


class Telemetry:
    """Publishes telemetry without ever holding up who calls it: what cannot be sent is dropped.

    Drops are counted, in `dropped` and in `penstock_events_dropped_total`. A topic that is missing, or may
    not be written, is logged once. `topic` None publishes nothing at all.
    """

    def __init__(self, settings: ServiceSettings, *, topic: str | None = EVENTS_TOPIC) -> None:
        self._topic = topic
        self.dropped = 0
        """Events dropped so far."""
        self._limiter = Limiter()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        if topic is None:
            return
        self._settings = settings
        self._producer = self._connect()
        self._timed_out = False
        self._thread = threading.Thread(target=self._poll, name="telemetry", daemon=True)
        self._thread.start()

    def _connect(self) -> Producer:
        return make_producer(
            self._settings,
            enable_idempotence=False,
            enable_gapless_guarantee=False,
            acks="1",
            message_timeout_ms=30_000,  # older than this, telemetry is history
            topic_metadata_propagation_max_ms=5_000,  # so long a missing topic may still come
            queue_buffering_max_kbytes=4096,
            queue_buffering_max_messages=10_000,
            linger_ms=200,
            compression_type="lz4",
        )

    def publish(self, event: Event) -> None:
        """Hand over an event. Returns at once, whatever happens to it."""
        if self._topic is None:
            return
        if self._closed.is_set():
            self._drop(event.type)
            return
        key, value = encode(event)
        try:
            self._producer.produce(self._topic, value, key, on_delivery=_Report(self, event.type))
        except (BufferError, KafkaException):
            self._drop(event.type)

    def close(self, timeout: float = 1.0) -> None:
        """Give what is queued `timeout` seconds to go; drop the rest."""
        if self._topic is None or self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        if self._producer.flush(timeout):
            self._producer.purge()
            self._producer.flush(0)

    def _poll(self) -> None:
        replaced_at = time.monotonic()
        while not self._closed.is_set():
            self._producer.poll(0.2)
            if self._timed_out and time.monotonic() - replaced_at > RENEWAL_SECONDS:
                # Kafka may be away, or the client may have forgotten where it is (kafka.FORGOTTEN_SECONDS).
                self._producer = self._connect()
                self._timed_out, replaced_at = False, time.monotonic()

    def _drop(self, kind: str) -> None:
        with self._lock:
            self.dropped += 1
        metrics.EVENTS_DROPPED.labels(kind).inc()

    def _failed(self, kind: str, error: KafkaError) -> None:
        self._drop(kind)
        if error.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001
            self._timed_out = True
        if error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):  # noqa: SLF001
            return  # we are closing, and nobody knew what to do with it
        explained: PenstockError = explain_kafka(error, topic=self._topic)
        if self._limiter.first(type(explained)):
            log.info("no telemetry: %s", explained)


class _Report:
    """The delivery report of one event."""

    __slots__ = ("_kind", "_telemetry")

    def __init__(self, telemetry: Telemetry, kind: str) -> None:
        self._telemetry = telemetry
        self._kind = kind

    def __call__(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            metrics.EVENTS_PUBLISHED.labels(self._kind).inc()
        else:
            self._telemetry._failed(self._kind, error)  # noqa: SLF001 - a part of it
