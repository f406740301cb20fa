"""What tests ask of a Kafka inside of the cluster, run in its own pod: `python -c THIS QUESTION ARGUMENTS`.

The brokers' advertised names mean nothing to a test outside of the cluster, so the test sends this text to
where they do. ARGUMENTS is JSON; so is the answer, the one line on standard output.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

SECONDS = 30
CONFIG = {"bootstrap.servers": "localhost:9092", "log_level": 0}
admin = AdminClient(CONFIG)


def brokers() -> list[str]:
    """The addresses that clients are told, once the broker answers."""
    return [f"{broker.host}:{broker.port}" for broker in admin.list_topics(timeout=SECONDS).brokers.values()]


def create_topic(name: str, partitions: int, config: Mapping[str, str]) -> None:
    admin.create_topics([NewTopic(name, partitions, config=dict(config))])[name].result(SECONDS)


def delete_topic(name: str) -> None:
    admin.delete_topics([name])[name].result(SECONDS)


def add_partitions(topic: str, total: int) -> None:
    admin.create_partitions([NewPartitions(topic, total)])[topic].result(SECONDS)


def topics() -> dict[str, int]:
    """Partitions by topic, without Kafka's own."""
    found = admin.list_topics(timeout=SECONDS).topics
    return {name: len(topic.partitions) for name, topic in found.items() if not name.startswith("__")}


def log_starts(topic: str) -> dict[int, int]:
    return _offsets(topic, OffsetSpec.earliest())


def log_ends(topic: str) -> dict[int, int]:
    return _offsets(topic, OffsetSpec.latest())


def committed(group: str, topic: str) -> dict[int, Any]:
    """[offset, metadata] by partition, where there is one."""
    # Not AdminClient.list_consumer_group_offsets: it can crash Python while there is no coordinator.
    consumer = Consumer({**CONFIG, "group.id": group})
    try:
        wanted = [TopicPartition(topic, partition) for partition in _partitions(topic)]
        answer = consumer.committed(wanted, timeout=SECONDS)
    finally:
        consumer.close()
    return {found.partition: [found.offset, found.metadata] for found in answer if found.offset >= 0}


def group(name: str) -> dict[str, Any]:
    """Its state (STABLE, EMPTY, DEAD, ...), and the partitions of each member, as [topic, partition]."""
    found = admin.describe_consumer_groups([name])[name].result(SECONDS)
    return {
        "state": found.state.name,
        "members": {
            member.member_id: [[held.topic, held.partition] for held in member.assignment.topic_partitions]
            for member in found.members
        },
    }


def send(topic: str, values: list[str], partition: int) -> None:
    """Produce texts, and return when they are acknowledged."""
    producer = Producer({**CONFIG, "acks": "all"})
    refused: list[object] = []
    for value in values:
        producer.produce(
            topic, value, partition=partition, on_delivery=lambda e, _: refused.append(e) if e else None
        )
    left = producer.flush(SECONDS)
    if left or refused:
        raise SystemExit(f"{left} of {len(values)} were not acknowledged; refused: {refused[:1]}")


def _partitions(topic: str) -> list[int]:
    found = admin.list_topics(topic, timeout=SECONDS).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def _offsets(topic: str, spec: OffsetSpec) -> dict[int, int]:
    asked = admin.list_offsets({TopicPartition(topic, p): spec for p in _partitions(topic)})
    return {partition.partition: answer.result(SECONDS).offset for partition, answer in asked.items()}


QUESTIONS = (
    add_partitions, brokers, committed, create_topic, delete_topic, group, log_ends, log_starts, send, topics,
)  # fmt: skip

if __name__ == "__main__":
    ask = {question.__name__: question for question in QUESTIONS}[sys.argv[1]]
    try:
        print(json.dumps(ask(**json.loads(sys.argv[2]))))
    except KafkaException as error:
        sys.exit(f"{sys.argv[1]}: {error.args[0]}")
