"""What all tests here that need a real Kafka share."""

from tests.kafka import kafka, own_broker, own_cluster

__all__ = ["kafka", "own_broker", "own_cluster"]
