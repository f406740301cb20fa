"""The store on a real PostgreSQL."""

import threading
from collections.abc import Callable, Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from sqlalchemy import create_engine, delete, make_url, text
from sqlalchemy.exc import DataError
from tests.postgres_server import PostgresServer
from tests.registry_history import BEGINNING, END, tellings
from tests.registry_tables import DERIVED, tables_from, tables_of

from penstock_registry.exceptions import DatabaseRefused, DatabaseUnavailable
from penstock_registry.store import database
from penstock_registry.store.learning import Batch, Position
from penstock_registry.store.retention import database_bytes
from penstock_registry.store.schema import metadata
from penstock_registry.store.store import Store
from servicekit.events import Event, FileDiscovered, FileUploaded


@pytest.fixture
def store(postgres: str) -> Iterator[Store]:
    """A store with its tables made."""
    with Store(postgres, clock=lambda: END) as store:
        store.migrate()
        yield store


def discovered(number: int, at: float = BEGINNING) -> FileDiscovered:
    return FileDiscovered(time=at, source_id="s", path=f"{number}.dat", size=7, topic="t")


@given(telling=tellings(files=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_neither_order_nor_repetition_changes_the_tables(
    store: Store, telling: tuple[list[Event], list[Event], list[int]]
) -> None:
    history, heard, sizes = telling
    with store.engine.begin() as connection:
        for table in metadata.tables.values():
            connection.execute(delete(table))
    while heard:
        size = sizes[len(heard) % len(sizes)]
        batch, heard = heard[:size], heard[size:]
        store.learn(Batch(events=batch))
    tables, expected = tables_of(store.engine), tables_from(history)
    for name in DERIVED:
        assert tables[name] == expected[name], name


def test_several_that_start_at_once_make_the_tables_once(postgres: str) -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        try:
            with Store(postgres) as store:
                barrier.wait(30)
                store.migrate()
        except BaseException as error:  # noqa: BLE001 - looked at below
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with Store(postgres) as store:
        assert store.positions() == {}


def test_several_that_learn_at_once_count_right(store: Store, postgres: str) -> None:
    def learn(numbers: range) -> None:
        with Store(postgres, clock=lambda: END) as other:
            for number in numbers:
                other.learn(Batch(events=[discovered(number), discovered(number + 5)]))

    threads = [threading.Thread(target=learn, args=(range(start, start + 20),)) for start in (0, 5, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = tables_from(discovered(number) for number in range(35))
    assert tables_of(store.engine, DERIVED) == expected


def test_the_migrations_give_the_tables_of_the_schema(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_server_that_is_too_old_is_refused(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "POSTGRESQL_MINIMUM", 99)
    with Store(postgres) as store, pytest.raises(DatabaseRefused, match="needs 99 or newer"):
        store.migrate()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_name_is_refused(postgres: str, encoding: str) -> None:
    """SQL_ASCII is what initdb chooses where no locale is set."""
    other = f"{make_url(postgres).database}_other"
    admin = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        options = f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        connection.execute(text(f'CREATE DATABASE "{other}" {options}'))
        with Store(make_url(postgres).set(database=other)) as store:
            for _ in range(2):
                with pytest.raises(DatabaseRefused, match=f"keeps text as {encoding}.*ENCODING 'UTF8'"):
                    store.migrate()
        connection.execute(text(f'DROP DATABASE "{other}"'))
    admin.dispose()


def uploaded() -> FileUploaded:
    return FileUploaded(
        time=BEGINNING, source_id="s", path="1.dat", size=7, topic="t", digest="0" * 64, seconds=1.0,
        upload_id="019b76da-a800-7000-8000-5f1e2d3c4b5a", partition=0, first_offset=0, last_offset=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "unchecked",
    [
        discovered(1).model_copy(update={"source_id": "with a NUL\0"}),
        uploaded().model_copy(update={"partition": 1 << 31}),
        uploaded().model_copy(update={"to": ("with a NUL\0",)}),
    ],
    ids=["text", "number", "document"],
)
def test_what_the_database_cannot_hold_is_told_from_a_database_that_is_away(
    store: Store, unchecked: Event
) -> None:
    with pytest.raises(DataError):
        store.learn(Batch(events=[discovered(2), unchecked], positions={("t", 0): Position("T", 1)}))
    assert store.positions() == {}
    assert tables_of(store.engine)["files"] == []


def test_a_database_that_is_away_is_said_to_be(own_postgres: Callable[[], PostgresServer]) -> None:
    server = own_postgres()
    with Store(server.url(), clock=lambda: END) as store:
        store.migrate()
        store.learn(Batch(events=[discovered(1)]))
        server.kill()
        with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1/postgres does not answer"):
            store.learn(Batch(events=[discovered(2)]))
        with pytest.raises(DatabaseUnavailable) as caught:
            store.positions()
        assert server.url().split(":")[2].split("@")[0] not in str(caught.value), "that is the password"
        server.start()
        store.learn(Batch(events=[discovered(2)]))
        assert len(tables_of(store.engine)["files"]) == 2


def test_a_size_is_kept_by_forgetting_the_oldest(postgres: str) -> None:
    with Store(postgres, max_bytes=1_000_000, clock=lambda: END) as store:
        store.migrate()
        events = []
        for number in range(1500):
            events.append(discovered(number, BEGINNING + number))
            events.append(
                FileUploaded(
                    time=BEGINNING + number + 1,
                    upload_id=f"01980000-0000-7000-8000-{number:012x}",
                    source_id="s",
                    path=f"{number}.dat",
                    size=7,
                    topic="t",
                    digest="0" * 64,
                    partition=0,
                    first_offset=0,
                    last_offset=0,
                )
            )
        store.learn(Batch(events=events))
        forgotten = store.forget()
        assert forgotten.before_their_time == forgotten.files >= 500
        assert database_bytes(store.engine) <= 1_000_000
        with store.engine.connect() as connection:
            oldest = connection.scalar(text("SELECT min(last_at) FROM files"))
            left = connection.scalar(text("SELECT count(*) FROM files"))
        assert left == 1500 - forgotten.files
        assert oldest == BEGINNING + forgotten.files + 1
