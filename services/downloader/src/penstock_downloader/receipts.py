"""Receipts: what this destination answers to the uploaders, acknowledged before commits pass."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from penstock_downloader import metrics
from servicekit.events import Event, encode, receipts_topic
from servicekit.exceptions import NotAuthorized, explain_kafka
from servicekit.faults import crash_point, declare
from servicekit.http import Health
from servicekit.kafka import ClientHealth, make_producer
from servicekit.settings import ServiceSettings
from servicekit.topics import TopicInfo, Topics, receipts_config

log = logging.getLogger(__name__)

declare("receipt.before-send", "receipt.after-acknowledgement")

_RETRY_SECONDS: Final = 2.0


def ensure_receipts_topic(settings: ServiceSettings, topics: Topics, stream: TopicInfo) -> str:
    """Make the receipts topic of a stream if it is not there, and see that we may write it; return its name.

    Raises NotAuthorized with the commands that mend it. Nothing is written for that: the brokers are asked
    what we may do.
    """
    name = receipts_topic(stream.name)
    topics.ensure_topic(name, partitions=1, config=receipts_config(stream))
    if not topics.may_write(name):
        raise NotAuthorized(
            f"we may not write topic {name!r}, where the receipts go; have this run once: "
            f"kafka-acls --bootstrap-server {settings.bootstrap_servers} --add --allow-principal User:NAME "
            f"--operation Write --operation Describe --topic {name}"
        )
    return name


class Receipts:
    """Sends receipts and says of each when the brokers have acknowledged it. For one thread.

    None is ever given up: what fails for good (an ACL taken away) is sent again, by a new producer, until it
    goes, and commits wait for it.
    """

    def __init__(self, settings: ServiceSettings, topic: str, health: Health) -> None:
        self._settings = settings
        self._topic = topic
        self._health = health
        self._numbers = itertools.count()
        self._unacknowledged: dict[int, tuple[Event, Callable[[], None]]] = {}
        self._again: list[int] = []
        self._retry_at = 0.0
        self._client_health = ClientHealth("receipts")
        self._producer: Producer = self._connect()

    def __len__(self) -> int:
        return len(self._unacknowledged)

    def send(self, event: Event, acknowledged: Callable[[], None]) -> None:
        """Send a receipt; `acknowledged` is called from within `poll` later."""
        number = next(self._numbers)
        self._unacknowledged[number] = (event, acknowledged)
        self._produce(number, event)

    def poll(self, timeout: float = 0.0) -> None:
        """Hear what the brokers have acknowledged, for at most `timeout` seconds."""
        if self._unacknowledged or timeout:
            self._producer.poll(timeout if self._unacknowledged else 0)
        else:
            self._producer.poll(0)
        lost = self._client_health.fatal is not None
        if (self._again or lost) and time.monotonic() >= self._retry_at:
            again, self._again = self._again, []
            if lost:
                self._client_health = ClientHealth("receipts")
                self._producer = self._connect()
                again = list(self._unacknowledged)
            for number in again:
                if number in self._unacknowledged:
                    self._produce(number, self._unacknowledged[number][0])

    def close(self) -> None:
        """Let go of the producer; what is not acknowledged is given again by whoever reads its records."""
        self._producer.purge()
        self._producer.flush(0)

    def _connect(self) -> Producer:
        return make_producer(
            self._settings, health=self._client_health, enable_gapless_guarantee=False, linger_ms=2
        )

    def _produce(self, number: int, event: Event) -> None:
        crash_point("receipt.before-send")
        key, value = encode(event)
        try:
            self._producer.produce(self._topic, value, key, on_delivery=_Report(self, number))
        except BufferError:
            self._failed(number, None)
        except KafkaException as error:
            self._failed(number, error.args[0])

    def _acknowledged(self, number: int) -> None:
        found = self._unacknowledged.pop(number, None)
        if found is not None:
            metrics.RECEIPTS.labels(found[0].type).inc()
            crash_point("receipt.after-acknowledgement")
            found[1]()
        if not self._again:
            self._health.ok("receipts")

    def _failed(self, number: int, error: KafkaError | None) -> None:
        if number not in self._unacknowledged:
            return
        if not self._again:
            self._retry_at = time.monotonic() + (_RETRY_SECONDS if error is not None else 0.05)
        self._again.append(number)
        if error is not None:
            explained = explain_kafka(error, topic=self._topic, bootstrap=self._settings.bootstrap_servers)
            if "receipts" not in self._health.problems:
                log.error("a receipt cannot be written, and will be tried again: %s", explained)
            self._health.problem("receipts", str(explained))


class _Report:
    """The delivery report of one receipt."""

    __slots__ = ("_number", "_receipts")

    def __init__(self, receipts: Receipts, number: int) -> None:
        self._receipts = receipts
        self._number = number

    def __call__(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self._receipts._acknowledged(self._number)  # noqa: SLF001 - a part of it
        else:
            self._receipts._failed(self._number, error)  # noqa: SLF001
