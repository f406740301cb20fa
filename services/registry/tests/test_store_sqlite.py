"""The store in a file: tables, positions, heartbeats, what is kept aside, what is forgotten."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from sqlalchemy import func, select, text
from tests.registry_history import BEGINNING, END, histories
from tests.registry_tables import Tables, tables_from, tables_of

from penstock_registry.exceptions import DatabaseRefused, DatabaseUnavailable
from penstock_registry.store import database, patience
from penstock_registry.store.learning import Aside, Batch, Beat, Position
from penstock_registry.store.schema import IN_KAFKA, files, heartbeats, metadata, problems, services
from penstock_registry.store.store import Store
from servicekit.events import Event, FileDiscovered, FileRejected, FileUploaded, ServiceHeartbeat

DAY = 86_400.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/registry.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url, clock=lambda: END) as store:
        store.migrate()
        yield store


def discovered(number: int = 1, at: float = BEGINNING) -> FileDiscovered:
    return FileDiscovered(time=at, source_id="s", path=f"{number}.dat", size=7, topic="t")


def beat(at: float, **given: int) -> ServiceHeartbeat:
    return ServiceHeartbeat(time=at, program_id="p", service="uploader", host="h", version="1", **given)


def program(store: Store) -> dict:
    with store.engine.connect() as connection:
        return connection.execute(select(*services.c)).one()._asdict()


# Tables


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
def test_the_migrations_give_the_tables_of_the_schema(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        made = connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'index'")).all()
    assert {index.name for table in metadata.tables.values() for index in table.indexes} <= set(made)


def test_migrating_again_changes_nothing(store: Store) -> None:
    store.learn(Batch(events=[discovered()]))
    store.migrate()
    assert len(tables_of(store.engine)["files"]) == 1


def test_a_database_of_a_newer_registry_is_refused(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseRefused, match=r"newer registry .*9999"):
        store.migrate()


def test_a_file_that_is_no_database_or_cannot_be_opened_is_said_to_be_away(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path}/missing/registry.db") as store, pytest.raises(DatabaseUnavailable):
        store.positions()


@pytest.mark.parametrize("ask", [Store.migrate, Store.positions])
def test_a_file_that_is_no_database_is_refused_in_one_line(
    tmp_path: Path, ask: Callable[[Store], object]
) -> None:
    (tmp_path / "registry.db").write_bytes(b"something that somebody wrote, and no database at all" * 100)
    with (
        Store(f"sqlite:///{tmp_path}/registry.db") as store,
        pytest.raises(DatabaseRefused, match=r"registry\.db is no SQLite database: name another"),
    ):
        ask(store)


def test_a_database_that_was_damaged_is_said_to_be_away(url: str, store: Store, tmp_path: Path) -> None:
    store.learn(Batch(events=[discovered(number) for number in range(500)]))
    store.close()
    whole = (tmp_path / "registry.db").read_bytes()
    (tmp_path / "registry.db").write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with Store(url) as damaged, pytest.raises(DatabaseUnavailable, match="malformed"):
        damaged.positions()


def test_a_disk_without_room_is_waited_for_and_loses_nothing(store: Store) -> None:
    batch = Batch(
        events=[discovered(number) for number in range(1000)], positions={("t", 0): Position("T", 9)}
    )
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")  # of this connection, which is pooled
    with pytest.raises(DatabaseUnavailable, match="full"):
        store.learn(batch)
    assert store.positions() == {}

    with store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    store.learn(batch)
    assert len(tables_of(store.engine)["files"]) == 1000


def test_a_database_that_may_only_be_read_is_said_to_be_so(url: str, store: Store) -> None:
    with store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = on")
    with pytest.raises(DatabaseUnavailable, match=r"readonly .*may be written"):
        store.learn(Batch(events=[discovered()]))
    assert store.positions() == {}


def test_a_stop_does_not_wait_for_who_writes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = threading.Event()
    monkeypatch.setattr(patience, "_STOP_SECONDS", 0.1)
    monkeypatch.setattr(database, "_BUSY_SLICE_SECONDS", 0.05)
    with Store(url) as one, Store(url, stopping=stopping.is_set) as two:
        one.migrate()
        stopping.set()
        began = time.monotonic()
        with database.writing(one.engine), pytest.raises(DatabaseUnavailable, match="locked"):
            two.learn(Batch(events=[discovered()]))
        assert time.monotonic() - began < 5


def test_who_writes_waits_for_another_who_writes(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()

    def learn() -> None:
        with Store(url, clock=lambda: END) as other:
            other.learn(Batch(events=[discovered(2)]))
        done.set()

    with database.writing(store.engine) as connection:
        connection.execute(select(func.count()).select_from(files))
        thread = threading.Thread(target=learn)
        thread.start()
        assert not done.wait(0.2)
    thread.join(30)
    assert done.is_set()


def test_a_database_that_stays_locked_is_away(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.05)
    with Store(url) as one, Store(url) as two:
        one.migrate()
        with database.writing(one.engine), pytest.raises(DatabaseUnavailable, match="locked"):
            two.learn(Batch(events=[discovered()]))


# Positions


def test_the_greatest_position_in_a_topic_stands(store: Store) -> None:
    for offset in (5, 3):
        store.learn(Batch(positions={("t", 0): Position("T1", offset)}))
    assert store.positions() == {("t", 0): Position("T1", 5)}


def test_a_topic_that_was_made_again_begins_again(store: Store) -> None:
    store.learn(Batch(positions={("t", 0): Position("T1", 5), ("t", 1): Position("T1", 7)}))
    store.learn(Batch(positions={("t", 0): Position("T2", 1)}))
    assert store.positions() == {("t", 0): Position("T2", 1), ("t", 1): Position("T1", 7)}


# What is kept aside


def test_the_newest_thousand_are_kept_aside(store: Store) -> None:
    asides = [Aside("t", 0, number, BEGINNING + number, "no JSON", b"\0{") for number in range(1005)]
    store.learn(Batch(asides=asides[:600]))
    store.learn(Batch(asides=asides[300:]))
    with store.engine.connect() as connection:
        kept = connection.scalars(select(problems.c.offset).order_by(problems.c.offset)).all()
    assert kept == list(range(5, 1005))


# Heartbeats


def test_each_heartbeat_is_counted_once_in_whatever_order(store: Store) -> None:
    beats = [beat(BEGINNING + 10 * number, n_bytes_read=1 << number) for number in range(6)]
    for batch in ([beats[0], beats[3]], [beats[1], beats[3]], beats[4:], beats, [beats[2], beats[5]]):
        store.learn(Batch(events=batch))
    row = program(store)
    assert row["n_bytes_read"] == 0b111111
    assert (row["first_at"], row["last_at"]) == (BEGINNING, BEGINNING + 50)


def test_a_restart_does_not_shorten_the_interval(store: Store) -> None:
    for batch in ((0, 60), (120, 135), (195,)):
        store.learn(Batch(events=[beat(BEGINNING + at) for at in batch]))
        assert program(store)["interval_seconds"] == 60


def test_a_program_says_its_interval_itself(store: Store) -> None:
    told = Beat("penstock", "p", "uploader", "h", "1", BEGINNING, (0,) * 6, {"interval_seconds": 7}, False)
    store.learn(Batch(beats=[told]))
    assert program(store)["interval_seconds"] == 7


def test_heartbeats_a_day_older_than_the_newest_are_ignored(store: Store) -> None:
    store.learn(Batch(events=[beat(END, n_bytes_read=1)]))
    store.learn(Batch(events=[beat(END - DAY - 1, n_bytes_read=2), beat(END - DAY + 1, n_bytes_read=4)]))
    assert program(store)["n_bytes_read"] == 5


def test_the_newest_heartbeat_says_what_a_program_is(store: Store) -> None:
    def told(at: float, *, stopped: bool) -> Beat:
        return Beat("penstock", "p", "uploader", "h", f"{at}", at, (0,) * 6, {"at": at}, stopped)

    store.learn(Batch(beats=[told(BEGINNING + 10, stopped=True)]))
    store.learn(Batch(beats=[told(BEGINNING, stopped=False)]))
    row = program(store)
    assert (row["version"], row["stopped"], row["status"]["at"]) == (
        f"{BEGINNING + 10}",
        True,
        BEGINNING + 10,
    )


# What is forgotten


def test_events_older_than_what_is_remembered_are_ignored_and_counted(url: str) -> None:
    with Store(url, retention_seconds=DAY, clock=lambda: END) as store:
        store.migrate()
        store.learn(Batch(events=[discovered(1, END - DAY - 1), discovered(2, END - DAY + 1)]))
        assert store.ignored == 1
        assert [row[3] for row in tables_of(store.engine)["files"]] == [b"2.dat"]


@given(history=histories(files=3))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_forgetting_the_counts_are_what_counting_gives(
    tmp_path_factory: pytest.TempPathFactory, history: list[Event]
) -> None:
    directory = tmp_path_factory.mktemp("forgetting")
    with Store(f"sqlite:///{directory}/registry.db", retention_seconds=DAY, clock=lambda: END) as store:
        store.migrate()
        store.learn(Batch(events=history))
        before = tables_of(store.engine)
        now = END + DAY / 2
        store.forget(now)
        after = tables_of(store.engine)
    kept = [row for row in before["files"] if row[-1] >= now - DAY]
    assert [row[0] for row in after["files"]] == [row[0] for row in kept]
    assert counted(after) == {
        row[:3]: row[3:] for row in after["counts"] if row[1] == "" and row[2] != IN_KAFKA
    }
    streams = {row[0] for row in after["streams"]}
    assert {row[1] for row in after["files"]} <= streams
    of_these = [row for row in before["totals"] if row[0] in streams]
    assert after["totals"] == of_these, "what Prometheus saw does not go down"
    ids = {row[0] for row in after["uploads"]}
    assert {row[0] for row in after["receipts"]} <= ids
    assert all(row[7] is None or row[7] in ids for row in after["files"])


def counted(tables: Tables) -> dict:
    found: dict = {}
    for row in tables["files"]:
        key = (row[1], "", row[5])
        count, size = found.get(key, (0, 0))
        found[key] = (count + 1, size + row[9])
    return found


def test_all_goes_in_the_end(store: Store) -> None:
    rejected = FileRejected(
        time=BEGINNING, destination="d", topic="t", topic_id="T", partition=0, offset=1, reason="undecodable"
    )
    store.learn(Batch(events=[discovered(), beat(BEGINNING), rejected]))
    store.forget(END + 200 * DAY)
    with store.engine.connect() as connection:
        left = {
            name: connection.scalar(select(func.count()).select_from(table))
            for name, table in metadata.tables.items()
        }
    assert {name for name, count in left.items() if count} == set()


def test_programs_that_stopped_go_after_a_day_silent_ones_stay(store: Store) -> None:
    stopped = Beat("penstock", "stopped", "uploader", "h", "1", BEGINNING, (0,) * 6, {}, True)
    store.learn(Batch(events=[beat(BEGINNING)], beats=[stopped]))
    store.forget(BEGINNING + 1.5 * DAY)
    assert program(store)["program_id"] == "p"
    with store.engine.connect() as connection:
        assert connection.scalars(select(heartbeats.c.program_id)).all() == ["p"]


def test_uploads_of_replaced_versions_go_though_the_file_lives(url: str) -> None:
    def uploaded(number: int, at: float) -> FileUploaded:
        return FileUploaded(
            time=at,
            upload_id=f"01980000-0000-7000-8000-{number:012x}",
            source_id="s",
            path="log",
            size=number,
            topic="t",
            digest=f"{number:064x}",
            partition=0,
            first_offset=number,
            last_offset=number,
        )

    with Store(url, retention_seconds=DAY, clock=lambda: END) as store:
        store.migrate()
        store.learn(Batch(events=[uploaded(1, END - DAY + 5), uploaded(2, END)]))
        store.forget(END + 10)
        assert [row[3] for row in tables_of(store.engine)["uploads"]] == [2]
        assert tables_of(store.engine)["counts"] == tables_from([uploaded(2, END)])["counts"]


def test_a_size_is_kept_by_forgetting_the_oldest_and_free_pages_are_given_back(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    with Store(f"sqlite:///{path}", max_bytes=600_000, clock=lambda: END) as store:
        store.migrate()
        store.learn(Batch(events=[discovered(number, BEGINNING + number) for number in range(3000)]))
        with store.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        forgotten = store.forget()
        assert 0 < forgotten.before_their_time < 3000
        with store.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA page_count").scalar_one() < pages
            assert connection.scalar(select(func.min(files.c.last_at))) == BEGINNING + forgotten.files
