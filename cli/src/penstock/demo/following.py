"""Follows a stream from the outside, by what its services tell on Kafka: telemetry and receipts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from penstock.progress import Board
from servicekit.events import (
    EVENTS_TOPIC,
    Event,
    FileDelivered,
    FileRejected,
    FileUploaded,
    FileUploading,
    decode,
    receipts_topic,
)
from servicekit.exceptions import NotOurEvent, PenstockError, explain_kafka


class Follower:
    """Reads telemetry and receipts of one topic in a thread, shows them, and remembers the receipts.

    `arrived(path)` is asked at each receipt whether what the source holds now is what was delivered: a file
    that was appended to meanwhile will have another one.
    """

    def __init__(
        self, bootstrap_servers: str, topic: str, board: Board, arrived: Callable[[str], bool]
    ) -> None:
        self.board = board
        self.delivered: dict[str, FileDelivered] = {}
        """The last receipt of each path that has arrived."""
        self.rejected: dict[str, FileRejected] = {}
        """Paths that were refused for good, and not delivered since."""
        self.failure: PenstockError | None = None
        """Why this thread has ended, if it was not told to."""
        self._arrived = arrived
        self._topics = (receipts_topic(topic), EVENTS_TOPIC)
        self._topic = topic
        self._over: set[str] = set()  # uploads of which no telemetry matters any more
        self._last_sign = time.monotonic()
        self._stop = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "penstock-demo-follower",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
            }
        )
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow; both topics have to exist."""
        self._consumer.assign(
            [
                TopicPartition(topic, partition, 0)
                for topic in self._topics
                for partition in self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
            ]
        )
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._consumer.close()

    @property
    def idle_seconds(self) -> float:
        """How long nothing has been heard of any file."""
        return time.monotonic() - self._last_sign

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                for message in self._consumer.consume(500, timeout=0.1):
                    self._take(message)
        except KafkaException as error:
            self.failure = explain_kafka(error)

    def _take(self, message: Message) -> None:
        if message.error() is not None:
            return
        try:
            event = decode(message.value())
        except NotOurEvent:
            return
        self._show(event)

    def _show(self, event: Event) -> None:
        if getattr(event, "topic", None) != self._topic:
            return
        if isinstance(event, FileUploading | FileUploaded):
            self._last_sign = time.monotonic()
            if event.upload_id in self._over:
                return
            if isinstance(event, FileUploading):
                self.board.progress(event.path, event.bytes_done, event.size)
            else:
                self.board.progress(event.path, event.size, event.size, "delivering")
        elif isinstance(event, FileDelivered):
            self._last_sign = time.monotonic()
            self._over.add(event.upload_id)
            self.rejected.pop(event.path, None)
            first = event.path not in self.delivered
            if not self._arrived(event.path):
                self.board.dropped(event.path)
                return
            self.delivered[event.path] = event
            if first:
                self.board.finished(event.path, event.size)
            else:
                self.board.dropped(event.path)
        elif isinstance(event, FileRejected):
            self._last_sign = time.monotonic()
            self._over.add(event.upload_id)
            if not event.asks_again:
                self.rejected[event.path] = event
                self.board.failed(event.path, f"{event.reason}: {event.detail}")
