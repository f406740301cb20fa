"""What all tests that need a real Kafka share."""

from tests.kafka import kafka, own_broker

__all__ = ["kafka", "own_broker"]
