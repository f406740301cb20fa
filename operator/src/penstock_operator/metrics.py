"""The operator's own metrics."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_STREAM: Final = ["namespace", "stream"]

RECONCILES: Final = Counter(
    "penstock_operator_reconciles",
    "Times that a DirectoryStream was compared with what there is, by what came of it: done, failed.",
    ["result"],
)
RECONCILE_SECONDS: Final = Histogram(
    "penstock_operator_reconcile_seconds", "Time that it took to compare one and to do what was missing."
)
ERRORS: Final = Counter(
    "penstock_operator_errors",
    "Things that failed, by whom they were asked of: kubernetes, kafka, or the operator itself (a bug).",
    ["of"],
)
WRITES: Final = Counter(
    "penstock_operator_writes", "Requests that change something in Kubernetes, by kind of object.", ["kind"]
)
READ_SECONDS: Final = Histogram(
    "penstock_operator_kafka_read_seconds",
    "Time that one reading of all streams of a Kafka cluster took.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120),
)
STREAMS: Final = Gauge("penstock_operator_streams", "DirectoryStreams that are looked after.")

INFO: Final = Gauge(
    "penstock_operator_stream_info",
    "Which topic a DirectoryStream goes through, and as which destination (consumer group) it reads it; "
    "always 1.",
    [*_STREAM, "topic", "destination"],
)
READY: Final = Gauge(
    "penstock_operator_stream_ready", "Whether the DirectoryStream is Ready: 1 if so, else 0.", _STREAM
)
SCALING_ACTIVE: Final = Gauge(
    "penstock_operator_stream_scaling_active",
    "Whether the number of downloaders follows what is seen: 1 if so, else 0.",
    _STREAM,
)
PARTITIONS: Final = Gauge("penstock_operator_stream_partitions", "Partitions of the topic.", _STREAM)
LAG: Final = Gauge(
    "penstock_operator_stream_lag_records", "Records that the destination has not read for good.", _STREAM
)
DESIRED: Final = Gauge(
    "penstock_operator_stream_desired_replicas", "Downloaders that there are to be.", _STREAM
)
READY_REPLICAS: Final = Gauge(
    "penstock_operator_stream_ready_replicas", "Downloaders that are ready.", _STREAM
)
NEW_PARTITION_SECONDS: Final = Histogram(
    "penstock_operator_new_partition_to_ready_seconds",
    "Time from when new partitions were seen until all downloaders that they called for were ready.",
    buckets=(1, 2.5, 5, 10, 15, 30, 60, 120, 300, 600),
)

for _of in ("kubernetes", "kafka", "operator"):
    ERRORS.labels(_of)  # 0 before the first one, which else no rate would show
for _result in ("done", "failed"):
    RECONCILES.labels(_result)

OF_STREAMS: Final = (READY, SCALING_ACTIVE, PARTITIONS, LAG, DESIRED, READY_REPLICAS)
"""Those with a series for each stream, which goes with it."""
