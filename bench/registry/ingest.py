"""How many events per second the registry learns, and how that compares with bare INSERTs.

    python -m bench.registry.ingest [--files 20000] [--database postgresql://...]

Events are those of new files (discovered, uploaded, delivered to one destination), in the order in which
they happen: an upload's receipt comes some seconds after it, so most files are met in three batches. Bare
INSERTs are the same rows (a file, an upload and a receipt for each file) into the same, emptied tables, in
as many transactions. Without `--database`, a PostgreSQL is fetched and started, as for the tests.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import delete, insert, select
from tests.postgres_server import PostgresServer, unpack

from chunkproto import next_upload_id
from penstock_registry.store.learning import Batch, Position
from penstock_registry.store.schema import files, metadata, receipts, uploads
from penstock_registry.store.store import Store
from servicekit.events import Event, FileDelivered, FileDiscovered, FileUploaded

BATCH = 2000
ROWS_TABLES = (files, uploads, receipts)


def events_of_new_files(count: int, now: float) -> list[Event]:
    """The life of `count` files, a thousand of which begin in each second, by time."""
    upload_id, said = None, []
    for number in range(count):
        at = now + number / 1000
        upload_id = next_upload_id(int(at * 1000), random.getrandbits(74), upload_id)
        about = {
            "source_id": "microscope-1",
            "topic": "lab1.images",
            "path": f"2026/run-{number // 1000:05}/image-{number:08}.tif",
            "size": 4_000_000,
        }
        digest = f"{random.getrandbits(256):064x}"
        said.append(FileDiscovered(time=at, **about))
        said.append(
            FileUploaded(
                time=at + 2,
                upload_id=str(upload_id),
                digest=digest,
                partition=number % 12,
                first_offset=number,
                last_offset=number,
                seconds=0.2,
                **about,
            )
        )
        said.append(
            FileDelivered(
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
        )
    return sorted(said, key=lambda event: event.time)


def learn(store: Store, events: list[Event]) -> float:
    """Return events per second."""
    began = time.perf_counter()
    for start in range(0, len(events), BATCH):
        batch = events[start : start + BATCH]
        store.learn(
            Batch(events=batch, positions={("penstock.events", 0): Position("T", start + len(batch))})
        )
    return len(events) / (time.perf_counter() - began)


def insert_rows(store: Store) -> float:
    """Insert the rows that were learned once more, into empty tables; return rows per second."""
    with store.engine.connect() as connection:
        rows = {
            table: [row._asdict() for row in connection.execute(select(*table.c))] for table in ROWS_TABLES
        }
    with store.engine.begin() as connection:
        for table in ROWS_TABLES:
            connection.execute(delete(table))
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM FULL files, uploads, receipts")
    began = time.perf_counter()
    step = BATCH // len(ROWS_TABLES)
    for start in range(0, len(rows[files]), step):
        with store.engine.begin() as connection:
            for table in ROWS_TABLES:
                connection.execute(insert(table), rows[table][start : start + step])
    return sum(map(len, rows.values())) / (time.perf_counter() - began)


@contextmanager
def postgresql() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
        programs = Path(directory)
        programs.chmod(0o755)
        unpack(programs)
        with PostgresServer(programs) as server:
            yield server.url()


def measure(name: str, url: str, count: int) -> None:
    with Store(url) as store:
        metadata.drop_all(store.engine)
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")
        store.migrate()
        learn(store, events_of_new_files(BATCH, time.time() - 60))  # statements are compiled, pages are there
        learned = learn(store, events_of_new_files(count, time.time()))
        inserted = insert_rows(store)
    print(f"| {name} | {learned:,.0f} | {inserted:,.0f} | {learned / inserted:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--database", help="URL of an empty PostgreSQL database: ITS TABLES ARE DROPPED")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    print("| database | events learned/s | rows inserted/s | ratio |\n|---|---|---|---|")
    if options.only != "postgresql":
        with tempfile.TemporaryDirectory() as directory:
            measure("SQLite", f"sqlite:///{directory}/registry.db", options.files)
    if options.only != "sqlite":
        if options.database:
            measure("PostgreSQL", options.database, options.files)
        else:
            with postgresql() as url:
                measure("PostgreSQL", url, options.files)


if __name__ == "__main__":
    main()
