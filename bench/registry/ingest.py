"""How many events per second the registry learns, what that costs, and how it compares with bare INSERTs.

    python -m bench.registry.ingest [--files 10000] [--database postgresql://...] [--known 2000000]

From the values of Kafka's records (JSON) to what is committed: decoded, checked and learned as the reader
does it, all but Kafka. Two lives of files, in the order in which they happen:

- new files: discovered, uploaded, delivered to one destination; an upload's receipt comes some seconds after
  it, so most files are met in three batches;
- progress: the same, with eight reports of progress for each.

Bare INSERTs are the rows of the new files (a file, an upload, a receipt for each) once more into the same,
emptied tables, in as many transactions. On a busy machine look at the processor time: ours, and PostgreSQL's
(all of its processes), in microseconds per event. The best of several runs counts. `--known` fills the tables
with so many files first, and measures once more.
"""

import argparse
import gc
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from bench.registry.queries import fill
from sqlalchemy import Engine, delete, insert, select, text
from tests.postgres_server import PostgresServer, unpack

from chunkproto import next_upload_id
from penstock_registry.main import COLLECT_AFTER
from penstock_registry.readings import Reading, learn
from penstock_registry.records import HEAD_BYTES, KnownTopics
from penstock_registry.store.schema import files, metadata, receipts, uploads
from penstock_registry.store.store import Store
from servicekit.events import (
    EVENTS_TOPIC,
    Event,
    FileDelivered,
    FileDiscovered,
    FileUploaded,
    FileUploading,
    Receipt,
    encode,
    receipts_topic,
)

TOPIC = "lab1.images"
SIZE = 4_000_000
REPORTS = 8
ROWS_TABLES = (files, uploads, receipts)

Record: TypeAlias = tuple[str, bytes]
"""Topic and value."""


def events_of_new_files(count: int, now: float, reports: int = 0) -> Iterator[Event]:
    """The life of `count` files, a thousand of which begin in each second."""
    upload_id = None
    for number in range(count):
        at = now + number / 1000
        upload_id = next_upload_id(int(at * 1000), random.getrandbits(74), upload_id)
        about = {
            "source_id": "microscope-1",
            "topic": TOPIC,
            "path": f"{now:.0f}/run-{number // 1000:05}/image-{number:08}.tif",
            "size": SIZE,
        }
        digest = f"{random.getrandbits(256):064x}"
        yield FileDiscovered(time=at, **about)
        for report in range(reports):
            yield FileUploading(
                time=at + 0.1 + 1.8 * report / reports,
                upload_id=str(upload_id),
                bytes_done=SIZE * report // reports,
                **about,
            )
        yield FileUploaded(
            time=at + 2,
            upload_id=str(upload_id),
            digest=digest,
            partition=number % 12,
            first_offset=number,
            last_offset=number,
            seconds=0.2,
            **about,
        )
        yield FileDelivered(
            time=at + 5,
            upload_id=str(upload_id),
            digest=digest,
            destination="archive",
            topic_id="q83Hh0b2Rcu3X0lJ1q2v3w",
            partition=number % 12,
            offset=number,
            closed_at=at,
            visible_at=at + 5,
            **about,
        )


def records_of(events: Iterable[Event]) -> list[Record]:
    """The events' records, by time."""
    return [
        (receipts_topic(TOPIC) if isinstance(event, Receipt) else EVENTS_TOPIC, encode(event)[1])
        for event in sorted(events, key=lambda event: event.time)
    ]


class Processors:
    """Processor time: of this program, and of the PostgreSQL server, if it runs on this machine."""

    def __init__(self, engine: Engine) -> None:
        self._postmaster: int | None = None
        if engine.dialect.name == "postgresql" and engine.url.host in ("127.0.0.1", "localhost", "::1"):
            with engine.connect() as connection:
                backend = connection.scalar(text("SELECT pg_backend_pid()"))
            self._postmaster = int(_stat(Path(f"/proc/{backend}"))[1])

    def ours(self) -> float:
        return time.process_time()

    def servers(self) -> float:
        """Of all its processes, those included that have ended."""
        if self._postmaster is None:
            return 0.0
        ticks = sum(map(int, _stat(Path(f"/proc/{self._postmaster}"))[11:15]))
        for process in Path("/proc").glob("[0-9]*"):
            try:
                stat = _stat(process)
            except OSError:
                continue  # it has ended
            if int(stat[1]) == self._postmaster:
                ticks += int(stat[11]) + int(stat[12])
        return ticks / 100


def _stat(process: Path) -> list[str]:
    """The fields of /proc/PID/stat after the program's name: state, parent..."""
    return (process / "stat").read_text().rpartition(")")[2].split()


@dataclass(frozen=True)
class Run:
    """What one run took."""

    count: int
    seconds: float
    ours: float
    servers: float

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def row(self) -> str:
        ours, servers = (1e6 * spent / self.count for spent in (self.ours, self.servers))
        return f"{self.per_second:,.0f} | {ours:.0f} | {servers:.0f}"


class Bench:
    """One database, and what runs in it."""

    def __init__(self, name: str, url: str) -> None:
        self._name = name
        self.store = Store(url)
        metadata.drop_all(self.store.engine)
        with self.store.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")
        self.store.migrate()
        self._processors = Processors(self.store.engine)
        self._topics = KnownTopics(events=EVENTS_TOPIC)
        self._offset = 0

    def learn(self, records: Sequence[Record], batch: int) -> Run:
        with self._measured(len(records)) as runs:
            for start in range(0, len(records), batch):
                learn(self.store, [self._read(*record) for record in records[start : start + batch]])
        return runs[0]

    def _read(self, topic: str, value: bytes) -> Reading:
        self._offset += 1
        said = self._topics.understand(topic, None, value)
        kind = self._topics.kind_of(topic)
        return Reading(kind, (topic, 0), "T", self._offset, time.time(), value[:HEAD_BYTES], said)

    def insert_rows(self, batch: int) -> Run:
        """Insert the rows that were learned once more, into empty tables."""
        engine = self.store.engine
        with engine.connect() as connection:
            rows = {
                table: [row._asdict() for row in connection.execute(select(*table.c))]
                for table in ROWS_TABLES
            }
        self.empty()
        step = batch // len(ROWS_TABLES)
        with self._measured(sum(map(len, rows.values()))) as runs:
            for start in range(0, len(rows[files]), step):
                with engine.begin() as connection:
                    for table in ROWS_TABLES:
                        connection.execute(insert(table), rows[table][start : start + step])
        return runs[0]

    def empty(self) -> None:
        with self.store.engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(delete(table))
        self._vacuum("FULL")

    def fill(self, count: int) -> None:
        self.empty()
        fill(self.store, count, time.time())
        with self.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if connection.dialect.name == "postgresql":
                for table in ROWS_TABLES:
                    connection.exec_driver_sql(f"ALTER TABLE {table.name} SET LOGGED")

    def _vacuum(self, how: str = "") -> None:
        if self.store.engine.dialect.name == "postgresql":
            with self.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql(f"VACUUM {how}")

    @contextmanager
    def _measured(self, count: int) -> Iterator[list[Run]]:
        runs: list[Run] = []
        before = time.perf_counter(), self._processors.ours(), self._processors.servers()
        yield runs
        after = time.perf_counter(), self._processors.ours(), self._processors.servers()
        runs.append(Run(count, *(b - a for a, b in zip(before, after, strict=True))))

    def report(self, what: str, batch: int, best: Run, inserted: Run | None = None) -> None:
        ratio = f"{best.per_second / inserted.per_second:.2f}" if inserted else ""
        print(f"| {self._name} | {what} | {batch} | {best.row()} | {ratio} |", flush=True)

    def best(self, count: int, batch: int, times: int, reports: int = 0) -> Run:
        runs = []
        for _ in range(times):
            events = events_of_new_files(count // (reports + 1), time.time(), reports)
            runs.append(self.learn(records_of(events), batch))
        return min(runs, key=lambda run: run.ours + run.servers)


def measure(name: str, url: str, options: argparse.Namespace) -> None:
    bench = Bench(name, url)
    with bench.store:
        bench.best(1000, 1000, 1)  # statements are compiled, pages are there
        for batch in options.batches:
            bench.empty()
            learned = bench.best(options.files, batch, options.times)
            inserted = min(
                (bench.insert_rows(batch) for _ in range(options.times)), key=lambda run: run.seconds
            )
            bench.report("new files", batch, learned, inserted)
            bench.report("(rows inserted)", batch, inserted)
            bench.empty()
            bench.report("progress", batch, bench.best(options.files, batch, options.times, REPORTS))
        if options.known:
            bench.fill(options.known)
            for batch in options.batches:
                found = bench.best(options.files, batch, options.times)
                bench.report(f"new files, {options.known:,} known", batch, found)


@contextmanager
def postgresql() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
        programs = Path(directory)
        programs.chmod(0o755)
        unpack(programs)
        with PostgresServer(programs) as server:
            yield server.url()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[500, 2000, 5000])
    parser.add_argument(
        "--known", type=int, default=0, help="so many files are there already, in a last phase"
    )
    parser.add_argument("--database", help="URL of an empty PostgreSQL database: ITS TABLES ARE DROPPED")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    gc.set_threshold(COLLECT_AFTER)
    print("| database | what | batch | a second | our CPU, us | PostgreSQL's CPU, us | ratio |")
    print("|---|---|---|---|---|---|---|")
    if options.only != "postgresql":
        with tempfile.TemporaryDirectory() as directory:
            measure("SQLite", f"sqlite:///{directory}/registry.db", options)
    if options.only != "sqlite":
        if options.database:
            measure("PostgreSQL", options.database, options)
        else:
            with postgresql() as url:
                measure("PostgreSQL", url, options)


if __name__ == "__main__":
    main()
