"""What all tests here share that need a real Kafka or PostgreSQL."""

from tests.kafka import kafka, own_broker, own_cluster
from tests.postgres import own_postgres, postgres, postgres_server

__all__ = ["kafka", "own_broker", "own_cluster", "own_postgres", "postgres", "postgres_server"]
