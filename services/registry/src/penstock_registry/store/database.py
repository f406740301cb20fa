"""The database: how we connect, what we ask of it, and what its errors mean."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from penstock_registry.exceptions import DatabaseRefused, DatabaseUnavailable

POSTGRESQL_MINIMUM: Final = 15
_WRITER_LOCK: Final = 0x50454E53544F434B
"""PostgreSQL's advisory lock of whoever writes: "PENSTOCK"."""
# A plan is made for each statement: one that is kept from when the tables were small walks all of them for
# each batch, until statistics are taken again. (Nor does `synchronous_commit` go off here: the pool connects
# again after a crash before anybody has noticed it, and the reader would go on behind what was lost.)
_PREPARE_WRITING: Final = text(
    "SELECT pg_advisory_xact_lock(:lock), set_config('plan_cache_mode', 'force_custom_plan', true)"
)
_BUSY_SECONDS: Final = 30.0
_decode_json: Final = json.JSONDecoder().decode
_WRITES: Final = "penstock_writes"
# Limits that a value met (54), not a server that is away: nothing that waiting mends.
_ABOUT_A_VALUE: Final = re.compile(r"54")


def connect(url: str | URL) -> Engine:
    """Return the engine of a database. Nothing is connected yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": _BUSY_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        pool_timeout=_BUSY_SECONDS,
        json_deserializer=_from_json,
        connect_args={"connect_timeout": 10, "application_name": "penstock-registry"},
    )


def _from_json(raw: bytes) -> object:
    # json.loads() would first guess the encoding; most of what we keep as JSON is empty.
    if raw == b"{}":
        return {}
    return [] if raw == b"[]" else _decode_json(raw.decode())


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, below
    cursor = connection.cursor()
    # Only a new file takes this: its free pages can be given back to the file system.
    cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute(
        "PRAGMA synchronous = NORMAL"
    )  # with WAL: a power cut loses the last moments, in one piece
    cursor.execute("PRAGMA cache_size = -65536")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes then fails where it cannot wait; so a writer says so at once.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a transaction that is the only one that writes, of all programs. Raises DatabaseUnavailable."""
    with explained(engine), engine.execution_options(**{_WRITES: True}).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(_PREPARE_WRITING, {"lock": _WRITER_LOCK})
        yield connection


@contextmanager
def explained(engine: Engine) -> Iterator[None]:
    """Raise DatabaseUnavailable for errors that pass when the database comes back.

    Those about a value of ours come out as SQLAlchemy's: DataError, IntegrityError or StatementError.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        if _ABOUT_A_VALUE.match(str(getattr(error.orig, "sqlstate", None) or "")):
            raise DataError(error.statement, None, error.orig or error) from None
        raise unavailable(engine.url, error.orig or error) from error
    except PoolTimeout as error:
        raise unavailable(engine.url, error) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise unavailable(engine.url, error.orig or error) from error
        raise


def unavailable(url: URL, error: BaseException) -> DatabaseUnavailable:
    """Return the error that says which database does not answer, and why."""
    where = url.database if url.get_backend_name() == "sqlite" else f"{url.host or ''}/{url.database}"
    said = " ".join(str(error).split())
    if url.password:
        said = said.replace(str(url.password), "***")
    return DatabaseUnavailable(
        f"the database {where} does not answer ({said[:300]}): check that it runs, that its disk has room "
        "and that its address is right; nothing is lost, reading goes on when it is back"
    )


def refuse_old_server(connection: Connection) -> None:
    """Raise DatabaseRefused for a PostgreSQL that is too old for what we ask of it."""
    version: Any = connection.dialect.server_version_info
    if connection.dialect.name == "postgresql" and version[0] < POSTGRESQL_MINIMUM:
        raise DatabaseRefused(
            f"PostgreSQL {version[0]} is too old: the registry needs {POSTGRESQL_MINIMUM} or newer"
        )
