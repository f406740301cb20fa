"""A registry under test: the real service as a process, what it answers, and what its tables hold."""

import json
import re
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import select
from tests.kafka import Kafka, unique
from tests.stream import Service
from tests.waiting import eventually

from penstock_registry.store import schema
from penstock_registry.store.store import Store

FUNCTIONS_OF_EVENTS = [
    table
    for table in schema.metadata.sorted_tables
    if table.name not in ("positions", "problems", "heartbeats")
]


class Registry:
    """One registry. It keeps its directory, group and database when it is started again."""

    def __init__(
        self,
        kafka: Kafka,
        directory: Path,
        *,
        streams: Iterable[str],
        events: str,
        database: str = "",
        group: str = "",
        **settings: object,
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.kafka = kafka
        self.streams = list(streams)
        self.events = events
        self.group = group or unique("registry")
        self.database = database or f"sqlite:///{directory / 'registry.db'}"
        config = kafka.client_config()
        bootstrap = config.pop("bootstrap.servers")
        # So that the partitions of one that was killed are given to another soon.
        config |= {"session.timeout.ms": "3000", "heartbeat.interval.ms": "300"}
        self._settings = {
            "bootstrap_servers": bootstrap,
            "kafka": "\n".join(f"{name}={value}" for name, value in config.items()),
            "state_dir": directory,
            "database": self.database,
            "group": self.group,
            "port": 0,
            "metrics_port": 0,
            "streams": ",".join(self.streams),
            "events_topic": events,
        } | settings
        self.service: Service
        self._starts = 0

    def start(self, *, ready: bool = True) -> "Registry":
        """Start it and wait until it answers (`ready`: and reads)."""
        self.start_only()
        eventually(lambda: self.url, describe=lambda: f"it answers: {self.service.said}")
        if ready:
            eventually(self.is_ready, describe=lambda: f"it is ready: {self.service.said}")
        return self

    def start_only(self) -> None:
        """Start it, and wait for nothing."""
        self._starts += 1
        environment = {f"PENSTOCK_{name.upper()}": str(value) for name, value in self._settings.items()}
        log = self.directory / f"registry-{self._starts}.log"
        self.service = Service("penstock-registry", environment, log)

    def stop(self) -> None:
        assert self.service.stop(timeout=15) == 0, self.service.said

    def kill(self) -> None:
        self.service.kill()

    def close(self) -> None:
        if self._starts and self.service.running:
            self.service.kill()

    # What it says

    @property
    def url(self) -> str:
        found = re.search(r"the registry answers at (http://\S+)/\s", self.service.said)
        assert found, self.service.said
        return found[1]

    @property
    def metrics_url(self) -> str:
        found = re.search(r"metrics at (http://\S+)/metrics\s", self.service.said)
        assert found, self.service.said
        return found[1]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1{path}", timeout=10) as response:
            return json.load(response)

    def metric(self, name: str) -> float:
        """The sum of a metric over all of its labels."""
        with urllib.request.urlopen(f"{self.metrics_url}/metrics", timeout=10) as response:
            text = response.read().decode()
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if re.match(rf"{re.escape(name)}[ {{]", line)
        )

    def is_ready(self) -> bool:
        return not self.problems()

    def problems(self) -> dict[str, str]:
        """What it is not ready for."""
        try:
            with urllib.request.urlopen(f"{self.metrics_url}/readyz", timeout=10) as response:
                told = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                told = json.load(error)
        return {problem["name"]: problem["message"] for problem in told}

    # What its tables hold

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows that are a function of the events."""
        with Store(self.database) as store, store.engine.connect() as connection:
            return {
                table.name: sorted(
                    (tuple(map(_comparable, row)) for row in connection.execute(select(table))), key=repr
                )
                for table in FUNCTIONS_OF_EVENTS
            }

    def await_read(self, *topics: str, timeout: float = 60) -> "Registry":
        """Wait until all that these topics hold now was learned; none given: all that it reads."""
        wanted = topics or (self.events, *(f"{stream}.receipts" for stream in self.streams))
        ends = {
            (topic, number): end
            for topic in wanted
            for number, end in self.kafka.end_offsets(topic).items()
            if end > 0
        }

        def missing() -> dict[tuple[str, int], tuple[int, int]]:
            with Store(self.database) as store:
                read = {place: position.next_offset for place, position in store.positions().items()}
            return {
                place: (read.get(place, 0), end) for place, end in ends.items() if read.get(place, 0) < end
            }

        eventually(
            lambda: not missing(),
            timeout,
            describe=lambda: f"all is read: {missing()}\n{self.service.said[-3000:]}",
        )
        return self


def _comparable(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
