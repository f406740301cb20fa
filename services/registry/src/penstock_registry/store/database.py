"""The database: how we connect, what we ask of it, and what its errors mean."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from penstock_registry.exceptions import DatabaseRefused, DatabaseUnavailable
from penstock_registry.store.patience import (
    LATE_SECONDS,
    LOCK_SECONDS,
    READING_SECONDS,
    WRITING_SECONDS,
    Patience,
    PatientConnection,
)
from servicekit.lifecycle import Deadline

POSTGRESQL_MINIMUM: Final = 15
_WRITER_LOCK: Final = 0x50454E53544F434B
"""PostgreSQL's advisory lock of whoever writes: "PENSTOCK"."""
# A plan is made for each statement: one that is kept from when the tables were small walks all of them for
# each batch, until statistics are taken again. (Nor does `synchronous_commit` go off here: the pool connects
# again after a crash before anybody has noticed it, and the reader would go on behind what was lost.)
_PREPARE_WRITING: Final = text(
    "SELECT pg_advisory_xact_lock(:lock), set_config('plan_cache_mode', 'force_custom_plan', true), "
    "set_config('statement_timeout', :milliseconds, true)"
)
_CONNECT_SECONDS: Final = 5
_PING_SECONDS: Final = 2.0
"""Whether a connection that was not used for a while still lives must be known soon."""
_POOL_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 30
"""A transaction of a program that hangs is ended by the server: others want to write."""
_LIMITS: Final = {
    "lock_timeout": LOCK_SECONDS,
    "statement_timeout": READING_SECONDS,
    "idle_in_transaction_session_timeout": _IDLE_SECONDS,
}
_NETWORK: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds; without effect where there is no such thing
}
_BUSY_SECONDS: Final = 30.0
"""SQLite's own patience, for what is locked for moments only."""
_BUSY_SLICE_SECONDS: Final = 0.2
_decode_json: Final = json.JSONDecoder().decode
_STATEMENT_SECONDS: Final = "penstock_statement_seconds"
_PATIENCE: Final = "penstock_patience"
# Limits that a value met (54), not a server that is away: nothing that waiting mends.
_ABOUT_A_VALUE: Final = re.compile(r"54")
# By SQLSTATE, what other classes of errors than OperationalError hold: a transaction that the server has
# ended (ours stood still), and a server that takes nothing for now (a standby).
_PASSES: Final = frozenset({"25P03", "25P04", "25006"})
_LOCKED: Final = "55P03"


def connect(url: str | URL, *, stopping: Callable[[], bool] = lambda: False) -> Engine:
    """Return the engine of a database. Nothing is connected yet.

    `stopping` is asked while an answer is awaited: a stop gives up what does not end soon.
    """
    parsed = make_url(url)
    patience = Patience(stopping)
    options = {_PATIENCE: patience}
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": _BUSY_SECONDS}, execution_options=options)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        pool_timeout=_POOL_SECONDS,
        json_deserializer=_from_json,
        execution_options=options,
    )

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, given: Sequence[Any], named: dict[str, Any]) -> Any:  # noqa: ANN401 - a DBAPI connection
        limits = " ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in _LIMITS.items())
        said: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, "application_name": "penstock-registry"}
        said |= _NETWORK | named | {"options": f"{limits} {named.get('options', '')}".strip()}
        connection = PatientConnection.connect(*given, **said)
        connection.patience = patience
        try:
            _refuse_encoding(connection)
        except DatabaseRefused:
            connection.close()
            raise
        return connection

    event.listen(engine, "begin", _begin_postgresql)
    event.listen(engine, "checkin", _await_ping)
    return engine


def _refuse_encoding(connection: PatientConnection) -> None:
    """Raise DatabaseRefused for a PostgreSQL database that cannot hold every path."""
    # Asked before SQLAlchemy's own first question, whose answer would be bytes.
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise DatabaseRefused(
            f"the database {connection.info.dbname} keeps text as {encoding}, which cannot hold every file's "
            "name: name one that was made with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )


def patience_of(engine: Engine) -> Patience:
    """Return the patience of all who use this engine."""
    patience: Patience = engine.get_execution_options()[_PATIENCE]
    return patience


def _from_json(raw: bytes) -> object:
    # json.loads() would first guess the encoding; most of what we keep as JSON is empty.
    if raw == b"{}":
        return {}
    return [] if raw == b"[]" else _decode_json(raw.decode())


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, below
    cursor = connection.cursor()
    # Only a new file takes this: its free pages can be given back to the file system. Of any other it would
    # lock the whole, and wait for whoever writes.
    if cursor.execute("PRAGMA page_count").fetchone() == (0,):
        cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute(
        "PRAGMA synchronous = NORMAL"
    )  # with WAL: a power cut loses the last moments, in one piece
    cursor.execute("PRAGMA cache_size = -65536")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if _STATEMENT_SECONDS not in options:
        connection.exec_driver_sql("BEGIN")
        return
    # A transaction that reads first and writes then fails where it cannot wait; so a writer says so at once.
    # It waits in slices: SQLite itself would not let go when we are told to stop.
    deadline, patience = Deadline(LOCK_SECONDS), options[_PATIENCE]
    _be_patient(connection, _BUSY_SLICE_SECONDS)
    try:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except OperationalError as error:
                code = getattr(error.orig, "sqlite_errorcode", 0)
                if code & 0xFF != sqlite3.SQLITE_BUSY or deadline.passed or patience.is_over:
                    raise
            else:
                return
    finally:
        _be_patient(connection, _BUSY_SECONDS)


def _be_patient(connection: Connection, seconds: float) -> None:
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


def _begin_postgresql(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, PatientConnection)
    seconds = connection.get_execution_options().get(_STATEMENT_SECONDS, READING_SECONDS)
    driver.seconds = seconds + LATE_SECONDS


def _await_ping(driver: PatientConnection | None, _record: object) -> None:
    if driver is not None:
        driver.seconds = _PING_SECONDS


@contextmanager
def writing(
    engine: Engine, what: str = "writing", *, statement_seconds: float = WRITING_SECONDS
) -> Iterator[Connection]:
    """Give a transaction that is the only one that writes, of all programs. Raises DatabaseUnavailable."""
    options = {_STATEMENT_SECONDS: statement_seconds}
    with (
        patience_of(engine).doing(what),
        explained(engine),
        engine.execution_options(**options).begin() as connection,
    ):
        if connection.dialect.name == "postgresql":
            milliseconds = str(int(statement_seconds * 1000))
            connection.execute(_PREPARE_WRITING, {"lock": _WRITER_LOCK, "milliseconds": milliseconds})
        yield connection


@contextmanager
def explained(engine: Engine) -> Iterator[None]:
    """Raise DatabaseUnavailable for errors that pass when the database comes back.

    Those about a value of ours come out as SQLAlchemy's: DataError, IntegrityError or StatementError.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        if _ABOUT_A_VALUE.match(_sqlstate(error.orig)):
            raise DataError(error.statement, None, error.orig or error) from None
        raise unavailable(engine.url, error.orig or error) from error
    except PoolTimeout as error:
        raise unavailable(engine.url, error) from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_NOTADB:
            raise DatabaseRefused(f"{engine.url.database} is no SQLite database: name another file") from None
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise unavailable(engine.url, error.orig or error) from error
        if error.connection_invalidated or _sqlstate(error.orig) in _PASSES:
            raise unavailable(engine.url, error.orig or error) from error
        raise


def _sqlstate(error: BaseException | None) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def unavailable(url: URL, error: BaseException) -> DatabaseUnavailable:
    """Return the error that says which database does not answer, and why."""
    where = url.database if url.get_backend_name() == "sqlite" else f"{url.host or ''}/{url.database}"
    said = " ".join(str(error).split())
    if url.password:
        said = said.replace(str(url.password), "***")
    if _sqlstate(error) == _LOCKED:
        said += f"; another registry has been writing for {LOCK_SECONDS:.0f} s, or hangs while it writes"
    if url.get_backend_name() == "sqlite":
        check = "that this file may be written, that its disk has room and that nobody else has locked it"
    else:
        check = "that it runs, that its disk has room and that its address is right"
    return DatabaseUnavailable(
        f"the database {where} does not answer ({said[:300]}): check {check}; nothing is lost, reading goes "
        "on when it is back"
    )


def refuse_old_server(connection: Connection) -> None:
    """Raise DatabaseRefused for a PostgreSQL that is too old for what we ask of it."""
    version: Any = connection.dialect.server_version_info
    if connection.dialect.name == "postgresql" and version[0] < POSTGRESQL_MINIMUM:
        raise DatabaseRefused(
            f"PostgreSQL {version[0]} is too old: the registry needs {POSTGRESQL_MINIMUM} or newer"
        )
