"""Kafka for tests: the fixtures `kafka` (shared by the whole run), `own_broker` and `own_cluster`.

A conftest.py makes them its own with `from tests.kafka import kafka, own_broker, own_cluster`. Brokers start
only when a test asks for one. Topics and groups of the shared broker are told apart by name: let
`create_topic` choose one, and `unique` for groups.
"""

import itertools
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)
from tests.shared_broker import shared_broker
from tests.waiting import eventually

from penstock.broker import Broker, Cluster

_numbers = itertools.count(1)


def unique(prefix: str) -> str:
    """Return a name that no other test uses."""
    return f"{prefix}-{os.getpid()}-{next(_numbers)}-{uuid.uuid4().hex[:6]}"


class Kafka:
    """A Kafka that tests can arrange and look into; what a method did can be seen when it returns."""

    def __init__(self, client_config: Mapping[str, str]) -> None:
        self._config = dict(client_config)
        self._admin: AdminClient | None = None

    @property
    def bootstrap_servers(self) -> str:
        return self._config["bootstrap.servers"]

    def client_config(self) -> dict[str, str]:
        """The properties with which a producer or consumer connects."""
        return dict(self._config)

    @property
    def admin(self) -> AdminClient:
        """For what has no method here. Never call its list_consumer_group_offsets: it can crash Python."""
        if self._admin is None:
            self._admin = AdminClient({**self._config, "log_level": 0, "reconnect.backoff.max.ms": 500})
        return self._admin

    def create_topic(
        self, name: str | None = None, partitions: int = 1, config: Mapping[str, str | int] | None = None
    ) -> str:
        """Create a topic (with a unique name, if none is given) and return its name once it can be used."""
        name = name or unique("topic")
        settings = {key: str(value) for key, value in (config or {}).items()}
        self.admin.create_topics([NewTopic(name, partitions, config=settings)])[name].result(30)
        self._await_partitions(name, partitions)
        return name

    def create_partitions(self, topic: str, total: int) -> None:
        """Let the topic have `total` partitions."""
        self.admin.create_partitions([NewPartitions(topic, total)])[topic].result(30)
        self._await_partitions(topic, total)

    def delete_topic(self, topic: str) -> None:
        """Delete the topic; afterwards its name is free."""
        self.admin.delete_topics([topic])[topic].result(30)
        eventually(
            lambda: topic not in self.admin.list_topics(timeout=10).topics, describe=f"{topic} is gone"
        )

    def shorten_session(self, group: str, milliseconds: int = 2000) -> None:
        """Let members of this KIP-848 group be declared dead soon (classic ones say so for themselves)."""
        change = ConfigEntry(
            "consumer.session.timeout.ms", str(milliseconds), incremental_operation=AlterConfigOpType.SET
        )
        resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=[change])
        self.admin.incremental_alter_configs([resource])[resource].result(30)

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Delete what lies before an offset, as retention would: offsets by partition, -1 for all."""
        wanted = [TopicPartition(topic, partition, offset) for partition, offset in before.items()]
        for done in self.admin.delete_records(wanted).values():
            done.result(30)

    def partitions(self, topic: str) -> list[int]:
        return sorted(self.admin.list_topics(topic, timeout=10).topics[topic].partitions)

    def start_offsets(self, topic: str) -> dict[int, int]:
        """The first offset that can be read, by partition."""
        return self._offsets(topic, OffsetSpec.earliest())

    def end_offsets(self, topic: str) -> dict[int, int]:
        """The offset of the next record, by partition."""
        return self._offsets(topic, OffsetSpec.latest())

    def committed(self, group: str, topic: str) -> dict[int, TopicPartition]:
        """What the group has committed, by partition: `.offset` (negative: nothing), `.metadata`."""
        consumer = Consumer({**self._config, "group.id": group, "log_level": 0})
        try:
            wanted = [TopicPartition(topic, partition) for partition in self.partitions(topic)]
            return {found.partition: found for found in consumer.committed(wanted, timeout=30)}
        finally:
            consumer.close()

    def send(self, topic: str, *values: bytes, partition: int = 0) -> None:
        """Produce records, and return when all brokers that must have acknowledged them."""
        config = {"acks": "all", "message.max.bytes": 8 << 20, "log_level": 0}
        producer = Producer({**self._config, **config})
        refused: list[KafkaError] = []
        for value in values:
            producer.produce(
                topic, value, partition=partition, on_delivery=lambda e, _: refused.append(e) if e else None
            )
        left = producer.flush(60)
        if refused:
            raise KafkaException(refused[0])
        assert left == 0, f"{left} of {len(values)} records were not acknowledged"

    def records(self, topic: str) -> list[Message]:
        """All records that the topic holds now, partition by partition, each in order of offset."""
        ends, found = self.end_offsets(topic), []
        consumer = Consumer(
            {
                **self._config,
                "group.id": unique("look"),
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        try:
            starts = self.start_offsets(topic)
            consumer.assign([TopicPartition(topic, p, starts[p]) for p in ends])
            open_partitions = {p for p, end in ends.items() if starts[p] < end}
            while open_partitions:
                # In a list: a message with an empty value has the length 0, and so is false.
                [message] = eventually(
                    lambda: [m for m in [consumer.poll(1.0)] if m is not None],
                    describe=f"the next record of {topic}",
                )
                if message.error() is None:
                    found.append(message)
                    if message.offset() + 1 >= ends[message.partition()]:
                        open_partitions.discard(message.partition())
                elif message.error().name() == "_PARTITION_EOF":
                    open_partitions.discard(message.partition())
                else:
                    raise KafkaException(message.error())
        finally:
            consumer.close()
        return sorted(found, key=lambda m: (m.partition(), m.offset()))

    def _offsets(self, topic: str, spec: OffsetSpec) -> dict[int, int]:
        asked = self.admin.list_offsets({TopicPartition(topic, p): spec for p in self.partitions(topic)})
        return {partition.partition: answer.result(30).offset for partition, answer in asked.items()}

    def _await_partitions(self, topic: str, count: int) -> None:
        def usable() -> bool:
            try:
                return len(self.partitions(topic)) == count and len(self.end_offsets(topic)) == count
            except (KafkaException, KeyError):
                return False

        eventually(usable, describe=f"{topic} with {count} partitions can be used")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """A Kafka that all tests of the run share, in all of its processes. It starts when the first one asks."""
    directory = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        directory = directory.parent  # the run's; each worker has one below it
    with shared_broker(directory) as bootstrap_servers:
        yield Kafka({"bootstrap.servers": bootstrap_servers})


@pytest.fixture
def own_broker() -> Iterator[Callable[..., Broker]]:
    """Start brokers that the test may stop, kill and configure: `own_broker(**arguments of Broker)`.

    `Kafka(broker.client_config())` gives the same means as the fixture `kafka`.
    """
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(Broker(*args, **kwargs))


@pytest.fixture
def own_cluster() -> Iterator[Callable[..., Cluster]]:
    """Start clusters whose brokers the test may stop and kill: `own_cluster(**arguments of Cluster)`."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(Cluster(*args, **kwargs))
