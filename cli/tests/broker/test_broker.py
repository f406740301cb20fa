"""A broker starts, keeps its data, and leaves nothing behind."""

import pytest
from confluent_kafka import Producer
from tests.kafka import Kafka


def send(kafka: Kafka, topic: str, *values: bytes) -> None:
    producer = Producer({**kafka.client_config(), "acks": "all"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


@pytest.mark.parametrize("i", range(4))
def test_the_shared_broker_carries_records(kafka, i):
    topic = kafka.create_topic(partitions=2)
    send(kafka, topic, b"one", b"two")
    assert sorted(record.value() for record in kafka.records(topic)) == [b"one", b"two"]
