"""What is known of streams and programs, for Prometheus: read from the tables whenever someone asks.

Counters are the tables' sums, which only grow. So they are right over restarts of the registry and of the
programs, over heartbeats that come twice, late or never, and the same from every replica.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from blake3 import blake3
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, Row, select
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from penstock_registry.store.queries import programs
from penstock_registry.store.schema import IN_KAFKA, counts, streams, totals
from servicekit.events import COUNTERS
from servicekit.exceptions import PenstockError
from servicekit.logs import Limiter

log = logging.getLogger(__name__)

MOST_ROWS: Final = 20_000
"""So many rows of a table are shown: a scrape must end. Streams and programs come to far less."""
LABEL_CHARACTERS: Final = 249
"""What Kafka allows for topics and groups. Longer names, and such that cannot be printed, are shortened."""

_OF_TOTALS: Final = {
    "uploaded": ("penstock_stream_uploaded", "Kafka has acknowledged", ["stream"]),
    "delivered": ("penstock_delivered", "a destination has receipted", ["stream", "destination"]),
    "rejected": ("penstock_rejected", "a destination has rejected", ["stream", "destination"]),
    "skipped": ("penstock_skipped", "a destination did not want", ["stream", "destination"]),
}
_PROGRAM: Final = ["program_id", "kind", "service"]
_OF_PROGRAMS: Final = {
    "n_messages_read": ("penstock_program_messages_read", "Messages that a program has read"),
    "n_bytes_read": ("penstock_program_read_bytes", "Bytes that a program has read"),
    "n_messages_processed": ("penstock_program_messages_processed", "Messages that a program has processed"),
    "n_bytes_processed": ("penstock_program_processed_bytes", "Bytes that a program has processed"),
    "n_messages_produced": ("penstock_program_messages_produced", "Messages that a program has produced"),
    "n_bytes_produced": ("penstock_program_produced_bytes", "Bytes that a program has produced"),
}


class KnownMetrics(Collector):
    """Asks the tables when Prometheus does. While they do not answer it says that, and nothing else."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._limiter = Limiter(every_seconds=60)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not ask the database."""
        return []

    @override
    def collect(self) -> Iterator[Metric]:
        """Yield all that is known, and whether the database answered."""
        up = GaugeMetricFamily("penstock_registry_database_up", "1 if the database answers, else 0.")
        try:
            with self._engine.connect() as connection:
                found = [*_of_streams(connection), *_of_totals(connection), *self._of_programs(connection)]
        except (SQLAlchemyError, PenstockError) as error:
            if self._limiter.first("away"):
                log.warning("no metrics of streams: the database does not answer (%s)", type(error).__name__)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from found

    def _of_programs(self, connection: Connection) -> list[Metric]:
        counters = {
            name: CounterMetricFamily(metric, f"{text}, by its heartbeats.", labels=_PROGRAM)
            for name, (metric, text) in _OF_PROGRAMS.items()
        }
        last = GaugeMetricFamily(
            "penstock_program_last_heartbeat_timestamp_seconds",
            "When a program was last heard of, in seconds since 1970.",
            labels=_PROGRAM,
        )
        up = GaugeMetricFamily(
            "penstock_program_up",
            "1 if a program is alive, 0 if it has fallen silent; absent if it has said that it stops, or "
            "another one has taken its place.",
            labels=_PROGRAM,
        )
        for program in programs.all_of(connection, self._clock(), MOST_ROWS):
            labels = _labels(program.program_id, program.kind, program.service)
            for name in COUNTERS:
                counters[name].add_metric(labels, program.totals[name])
            last.add_metric(labels, program.last_at)
            if program.state != "stopped":
                up.add_metric(labels, 1 if program.state == "alive" else 0)
        return [*counters.values(), last, up]


def _of_streams(connection: Connection) -> list[Metric]:
    """Return what the files are now, and what each destination has not answered yet."""
    files = GaugeMetricFamily("penstock_stream_files", "Files by state.", labels=["stream", "state"])
    size = GaugeMetricFamily("penstock_stream_bytes", "Bytes of files by state.", labels=["stream", "state"])
    lag_labels = ["stream", "destination"]
    lag_files = GaugeMetricFamily(
        "penstock_stream_lag_files",
        "Files that Kafka has and a destination has not answered yet.",
        labels=lag_labels,
    )
    lag_bytes = GaugeMetricFamily(
        "penstock_stream_lag_bytes",
        "Bytes of the files that Kafka has and a destination has not answered yet.",
        labels=lag_labels,
    )
    in_kafka: dict[str, Row[Any]] = {}
    answered: defaultdict[tuple[str, str], list[Row[Any]]] = defaultdict(list)
    for row in _by_topic(connection, counts):
        if row.destination:
            answered[row.topic, row.destination].append(row)
        elif row.state == IN_KAFKA:
            in_kafka[row.topic] = row
        else:
            labels = _labels(row.topic, row.state)
            files.add_metric(labels, row.files)
            size.add_metric(labels, row.bytes)
    for (topic, destination), rows in answered.items():
        whole = in_kafka.get(topic)
        labels = _labels(topic, destination)
        lag_files.add_metric(labels, max(0, (whole.files if whole else 0) - sum(row.files for row in rows)))
        lag_bytes.add_metric(labels, max(0, (whole.bytes if whole else 0) - sum(row.bytes for row in rows)))
    return [files, size, lag_files, lag_bytes]


def _of_totals(connection: Connection) -> list[Metric]:
    """Return what has happened since the registry began to read."""
    families = {
        outcome: (
            CounterMetricFamily(f"{name}_files", f"Files that {text}.", labels=labels),
            CounterMetricFamily(f"{name}_bytes", f"Bytes of files that {text}.", labels=labels),
        )
        for outcome, (name, text, labels) in _OF_TOTALS.items()
    }
    for row in _by_topic(connection, totals):
        if row.outcome in families:
            files, size = families[row.outcome]
            labels = _labels(row.topic, *([row.destination] if row.destination else []))
            files.add_metric(labels, row.files)
            size.add_metric(labels, row.bytes)
    return [family for both in families.values() for family in both]


def _by_topic(connection: Connection, table: Any) -> Sequence[Row[Any]]:  # noqa: ANN401 - a Table, generically
    """Return the rows of a table that has a stream's id, with the stream's topic."""
    joined = table.join(streams, streams.c.id == table.c.stream_id)
    return connection.execute(select(streams.c.topic, table).select_from(joined).limit(MOST_ROWS)).all()


def _labels(*texts: str) -> list[str]:
    return [_label(text) for text in texts]


def _label(text: str) -> str:
    """Return a text that is safe in a label; what had to be changed still is unlike every other text."""
    if len(text) <= LABEL_CHARACTERS and text.isprintable():
        return text
    mark = blake3(text.encode("utf-8", "surrogatepass")).hexdigest(4)
    cleaned = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:200])
    return f"{cleaned}~{mark}"
