"""A PostgreSQL that hangs, or is locked by a registry that hangs: it is said, and nobody waits for ever."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy.exc import OperationalError
from tests.integration.registry.saying import lives_of_files, records_of, say
from tests.postgres_server import PostgresServer
from tests.waiting import eventually

from penstock_registry.exceptions import DatabaseUnavailable
from penstock_registry.store import database, patience
from penstock_registry.store.learning import Batch
from penstock_registry.store.store import Store

STOP_SECONDS = 8.0  # five seconds, and what a machine with more to do may need


@pytest.fixture
def server(own_postgres) -> PostgresServer:
    return own_postgres()


@contextmanager
def locked(server: PostgresServer, name: str) -> Iterator[None]:
    """Hold the writers' lock, as a registry does that was frozen while it learned."""
    with server.connect(name) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [database._WRITER_LOCK])
        yield


@contextmanager
def frozen(server: PostgresServer, name: str) -> Iterator[None]:
    """Let the server's processes for a database stand still: connections stay, nothing is said."""
    with server.connect() as connection:
        found = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", [name]).fetchall()
    assert found
    for (process,) in found:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for (process,) in found:
            os.kill(process, signal.SIGCONT)


def stops_soon(registry) -> None:
    began = time.monotonic()
    registry.stop()
    assert time.monotonic() - began < STOP_SECONDS


@contextmanager
def hung(server: PostgresServer, name: str) -> Iterator[None]:
    """Let the whole server stand still: who connects anew hears nothing, either."""
    with frozen(server, name):
        server.pause()
        try:
            yield
        finally:
            server.resume()


HANGS = pytest.mark.parametrize("hanging", [locked, hung])


@HANGS
def test_one_that_hangs_is_seen_said_and_survived(kafka, topic, events, make_registry, server, hanging):
    registry = make_registry(streams=[topic], events=events, database=server.create_database("penstock"))
    registry.start()
    say(kafka, *records_of(events, lives_of_files(topic, 5)))
    registry.await_read()

    with hanging(server, "penstock"):
        say(kafka, *records_of(events, lives_of_files(topic, 10)))
        eventually(lambda: "database" in registry.problems(), 25, describe="readiness says so")
        eventually(lambda: "waiting for it" in registry.service.said, 40, describe="the log says so")
        if hanging is locked:
            assert "another registry" in registry.service.said
            for _ in range(40):
                assert "database" in registry.problems(), "it does not say that all is well in between"
                time.sleep(0.1)

    eventually(registry.is_ready, describe=lambda: f"it goes on: {registry.problems()}")
    registry.await_read()
    assert len(registry.tables()["files"]) == 10
    assert registry.service.said.count("waiting for it") <= 1
    stops_soon(registry)


def test_connections_that_died_without_a_word_are_replaced(kafka, topic, events, make_registry, server):
    registry = make_registry(streams=[topic], events=events, database=server.create_database("penstock"))
    registry.start()
    say(kafka, *records_of(events, lives_of_files(topic, 5)))
    registry.await_read()

    with frozen(server, "penstock"):
        say(kafka, *records_of(events, lives_of_files(topic, 10)))
        registry.await_read()

    assert len(registry.tables()["files"]) == 10


@HANGS
def test_a_stop_does_not_wait_for_it(kafka, topic, events, make_registry, server, hanging):
    registry = make_registry(streams=[topic], events=events, database=server.create_database("penstock"))
    registry.start()
    say(kafka, *records_of(events, lives_of_files(topic, 5)))
    registry.await_read()

    with hanging(server, "penstock"):
        say(kafka, *records_of(events, lives_of_files(topic, 10)))
        eventually(lambda: "database" in registry.problems(), describe="it waits for the database")
        stops_soon(registry)


def test_a_start_that_waits_for_the_lock_can_be_stopped(topic, events, make_registry, server):
    registry = make_registry(streams=[topic], events=events, database=server.create_database("penstock"))
    with locked(server, "penstock"):
        registry.start_only()
        eventually(lambda: "metrics at" in registry.service.said)
        eventually(lambda: "hangs" in registry.problems().get("database", ""), describe=registry.problems)
        stops_soon(registry)


def test_a_start_finds_the_lock_free_in_the_end(topic, events, make_registry, server):
    registry = make_registry(streams=[topic], events=events, database=server.create_database("penstock"))
    with locked(server, "penstock"):
        registry.start(ready=False)
        assert "another registry" in registry.problems()["database"]
    eventually(registry.is_ready, describe=lambda: f"it is ready: {registry.problems()}")


@pytest.fixture
def impatient(monkeypatch):
    """Everything that takes seconds takes tenths of seconds."""
    monkeypatch.setitem(database._LIMITS, "lock_timeout", 1)
    monkeypatch.setattr(database, "LATE_SECONDS", 0.3)
    monkeypatch.setattr(patience, "_STOP_SECONDS", 0.1)


def test_the_lock_of_writers_is_waited_for_no_longer_than_that(server, impatient):
    with Store(server.create_database("penstock")) as store:
        store.migrate()
        with locked(server, "penstock"), pytest.raises(DatabaseUnavailable, match="another registry"):
            store.learn(Batch())
        store.learn(Batch())


def test_a_server_that_says_nothing_is_given_up_and_asked_again(server, impatient, monkeypatch):
    monkeypatch.setattr(database, "READING_SECONDS", 0.2)
    with Store(server.create_database("penstock")) as store:
        store.migrate()
        with database.explained(store.engine), store.engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
            with frozen(server, "penstock"):
                with pytest.raises(OperationalError, match="has said nothing"):
                    connection.exec_driver_sql("SELECT 1")
                assert store.positions() == {}, "by a new connection"
            connection.invalidate()


def test_a_connection_that_has_died_in_the_pool_is_not_waited_for(server, impatient, monkeypatch):
    monkeypatch.setattr(database, "_PING_SECONDS", 0.1)
    with Store(server.create_database("penstock")) as store:
        store.migrate()
        with frozen(server, "penstock"):
            began = time.monotonic()
            assert store.positions() == {}, "by a new connection"
            assert time.monotonic() - began < 5


def test_a_statement_that_takes_too_long_is_ended_by_the_server(server, impatient, monkeypatch):
    monkeypatch.setattr(database, "READING_SECONDS", 30)
    monkeypatch.setitem(database._LIMITS, "statement_timeout", 0.1)
    with Store(server.create_database("penstock")) as store:
        store.migrate()
        with (
            pytest.raises(DatabaseUnavailable, match="statement timeout"),
            database.explained(store.engine),
            store.engine.connect() as connection,
        ):
            connection.exec_driver_sql("SELECT pg_sleep(20)")


def test_a_writer_that_stood_still_is_ended_and_writes_again(server, impatient, monkeypatch):
    monkeypatch.setitem(database._LIMITS, "idle_in_transaction_session_timeout", 0.1)
    url = server.create_database("penstock")
    with Store(url) as frozen_one:
        frozen_one.migrate()

        def write_and_stand_still() -> None:
            with database.writing(frozen_one.engine) as connection:
                eventually(lambda: not _in_transaction(server), describe="the server ends it")
                connection.exec_driver_sql("SELECT 1")

        with pytest.raises(DatabaseUnavailable, match="idle-in-transaction"):
            write_and_stand_still()
        frozen_one.learn(Batch())


def _in_transaction(server: PostgresServer) -> bool:
    with server.connect() as connection:
        return bool(
            connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = 'penstock' AND state LIKE 'idle in%'"
            ).fetchall()
        )


def test_what_a_stop_gives_up_is_given_up_soon(server, impatient):
    stopping = threading.Event()
    with Store(server.create_database("penstock"), stopping=stopping.is_set) as store:
        store.migrate()
        stopping.set()
        with locked(server, "penstock"), pytest.raises(DatabaseUnavailable, match="the registry stops"):
            store.learn(Batch())


def test_options_of_the_address_come_last(server):
    url = server.create_database("penstock")
    with Store(f"{url}?options=-c%20statement_timeout%3D1234") as store, store.engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "1234ms"
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "10s"
