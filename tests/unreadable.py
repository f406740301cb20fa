"""Batches that librdkafka refuses to unpack, as anyone can write them who may write at all."""

from confluent_kafka import Producer
from tests.kafka import Kafka

LIMIT = 100_000_000
"""librdkafka's receive.message.max.bytes: what a batch may unpack to."""


def send_unreadable(kafka: Kafka, topic: str, before: int = 0, after: int = 0) -> None:
    """Put a batch on partition 0: some small records, a huge one, small ones. It is a few kilobytes."""
    producer = Producer(
        {
            **kafka.client_config(),
            "compression.type": "zstd",
            "message.max.bytes": 1_000_000_000,
            "batch.size": 2_147_483_647,
            "queue.buffering.max.kbytes": 2_000_000,
            "linger.ms": 60_000,  # until all are there; flush() does not wait for it
        }
    )
    for value in [*[b"small"] * before, bytes(LIMIT + 8_000_000), *[b"small"] * after]:
        producer.produce(topic, value, partition=0)
    assert producer.flush(60) == 0
