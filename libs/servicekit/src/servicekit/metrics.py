"""Metrics that all services have, and how they are named.

Names are `penstock_<part>_<what>_<unit>[_total]`; those of one service live in that service. All are
registered with prometheus_client's default registry.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Info
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

BUILD = Info("penstock_build", "Version of Penstock that runs, by service.")
EVENTS_PUBLISHED = Counter(
    "penstock_events_published", "Telemetry events that the brokers have acknowledged.", ["type"]
)
EVENTS_DROPPED = Counter(
    "penstock_events_dropped",
    "Telemetry events that were dropped because their queue was full or their topic could not be written.",
    ["type"],
)
KAFKA_BROKERS_UP = Gauge(
    "penstock_kafka_client_brokers_up", "Brokers that a client is connected to.", ["client"]
)
KAFKA_QUEUE_MESSAGES = Gauge(
    "penstock_kafka_client_queue_messages",
    "Records that a producer holds and Kafka has not acknowledged.",
    ["client"],
)
KAFKA_QUEUE_BYTES = Gauge(
    "penstock_kafka_client_queue_bytes",
    "Bytes that a producer holds and Kafka has not acknowledged.",
    ["client"],
)
KAFKA_SENT_BYTES = Gauge(
    "penstock_kafka_client_sent_bytes", "Bytes that a client has sent to Kafka.", ["client"]
)
KAFKA_RECEIVED_BYTES = Gauge(
    "penstock_kafka_client_received_bytes", "Bytes that a client has received from Kafka.", ["client"]
)


def set_build_info(service: str, version: str) -> None:
    """Say what runs here, for `penstock_build_info`."""
    BUILD.info({"service": service, "version": version, "python": platform.python_version()})


def observe_kafka_client(client: str, stats: Mapping[str, Any], *, brokers_up: int) -> None:
    """Take over the few numbers of librdkafka's statistics that tell something."""
    KAFKA_BROKERS_UP.labels(client).set(brokers_up)
    KAFKA_QUEUE_MESSAGES.labels(client).set(stats.get("msg_cnt", 0))
    KAFKA_QUEUE_BYTES.labels(client).set(stats.get("msg_size", 0))
    KAFKA_SENT_BYTES.labels(client).set(stats.get("tx_bytes", 0))
    KAFKA_RECEIVED_BYTES.labels(client).set(stats.get("rx_bytes", 0))


def exposition(registry: CollectorRegistry = REGISTRY) -> bytes:
    """Return all metrics in Prometheus' text format, with content type `CONTENT_TYPE`."""
    return generate_latest(registry)
