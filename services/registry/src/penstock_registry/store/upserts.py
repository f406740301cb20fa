"""Many rows in one statement, in the way that each database is quick at.

PostgreSQL takes them by COPY into a temporary table (a third of what parsing them from JSON costs it, half of
what writing that costs us), SQLite one by one without a round trip. Rows are tuples in the order of the
table's columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Integer,
    Table,
    Text,
    any_,
    bindparam,
    case,
    cast,
    column,
    func,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import UserDefinedType

from penstock_registry.knowledge.sums import MOST

Row: TypeAlias = tuple[Any, ...]
Excluded: TypeAlias = ReadOnlyColumnCollection[str, Any]
"""The row that met an existing one."""
Update: TypeAlias = Callable[[Table, Excluded], Mapping[str, ColumnElement[Any]]]
"""What the columns of the existing row become."""


def replaced(table: Table, excluded: Excluded) -> Mapping[str, ColumnElement[Any]]:
    """Let the new row stand."""
    return {c.name: excluded[c.name] for c in table.columns if not c.primary_key}


def added(table: Table, excluded: Excluded) -> Mapping[str, ColumnElement[Any]]:
    """Add files and bytes to those that are there, within what the columns can hold."""
    return {name: _bounded(table.c[name] + excluded[name]) for name in ("files", "bytes")}


def _bounded(amount: ColumnElement[int]) -> ColumnElement[int]:
    return case((amount > MOST, MOST), (amount < 0, 0), else_=amount)


def later_total(table: Table, excluded: Excluded) -> Mapping[str, ColumnElement[Any]]:
    """Add files and bytes; the later time stands."""
    at = case((excluded["last_at"] > table.c.last_at, excluded["last_at"]), else_=table.c.last_at)
    return {**added(table, excluded), "last_at": at}


def widened(table: Table, excluded: Excluded) -> Mapping[str, ColumnElement[Any]]:
    """Let the earlier first time and the later last time stand."""
    first, last = table.c.first_at, table.c.last_at
    return {
        "first_at": case((excluded["first_at"] < first, excluded["first_at"]), else_=first),
        "last_at": case((excluded["last_at"] > last, excluded["last_at"]), else_=last),
    }


def earliest(table: Table, excluded: Excluded) -> Mapping[str, ColumnElement[Any]]:
    """Let the earlier time stand."""
    return {"at": case((excluded["at"] < table.c.at, excluded["at"]), else_=table.c.at)}


def furthest(table: Table, excluded: Excluded) -> Mapping[str, ColumnElement[Any]]:
    """Let the greater position in the same topic stand; a topic that was made again replaces the old one."""
    same = table.c.topic_id == excluded["topic_id"]
    behind = table.c.next_offset > excluded["next_offset"]
    return {
        "topic_id": excluded["topic_id"],
        "next_offset": case((same & behind, table.c.next_offset), else_=excluded["next_offset"]),
    }


def upsert(connection: Connection, table: Table, rows: Sequence[Row], update: Update | None) -> None:
    """Insert rows; those that are there already are changed by `update`, or left alone."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, _arrival(table), rows)
        connection.execute(_postgresql_upsert(table, update))
    else:
        names = [c.name for c in table.columns]
        connection.execute(
            _sqlite_upsert(table, update), [dict(zip(names, row, strict=True)) for row in rows]
        )


@dataclass(frozen=True, slots=True)
class _Arrival:
    """The temporary table through which rows go into a table."""

    name: str
    create: str
    copy: str
    types: tuple[str, ...]
    """PostgreSQL's names of the columns' types."""
    documents: tuple[int, ...]
    """Which of the columns hold JSON."""


@lru_cache(maxsize=64)
def _arrival(table: Table) -> _Arrival:
    name = f"arriving_{table.name}"
    types = tuple(map(_arriving_type, table.columns))
    columns = ", ".join(f'"{c.name}" {its}' for c, its in zip(table.columns, types, strict=True))
    names = ", ".join(f'"{c.name}"' for c in table.columns)
    return _Arrival(
        name,
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({columns}) ON COMMIT DELETE ROWS",
        f"COPY {name} ({names}) FROM STDIN (FORMAT BINARY)",
        types,
        tuple(place for place, c in enumerate(table.columns) if isinstance(c.type, JSON)),
    )


def _arriving_type(column: Column[Any]) -> str:
    """Return the type without its bounds: what goes beyond them is refused on the way into the table.

    (Were it copied to where it does not fit, psycopg would cut off a number's upper half and say nothing.)
    """
    if isinstance(column.type, Integer):
        return "bigint"
    compiled = column.type.compile(postgresql.dialect())  # type: ignore[no-untyped-call]
    return compiled.lower().partition("(")[0]


def _copy(connection: Connection, arrival: _Arrival, rows: Sequence[Row]) -> None:
    """Copy rows into the temporary table, which is emptied first: a transaction may use it twice."""
    connection.exec_driver_sql(arrival.create)
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor:
            cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(arrival.name)))
            with cursor.copy(arrival.copy) as copy:
                copy.set_types(arrival.types)
                for row in _with_documents(rows, arrival.documents):
                    copy.write_row(row)
    except psycopg.Error as error:
        # As if SQLAlchemy had executed it, which knows no COPY.
        raise DBAPIError.instance(
            arrival.copy, None, error, psycopg.Error, dialect=connection.dialect
        ) from error


def _with_documents(rows: Sequence[Row], documents: Sequence[int]) -> Iterator[Sequence[Any]]:
    if not documents:
        yield from rows
        return
    for row in rows:
        values = list(row)
        for place in documents:
            if values[place] is not None:
                values[place] = Jsonb(values[place], _to_json)
        yield values


@lru_cache(maxsize=64)
def _postgresql_upsert(table: Table, update: Update | None) -> Insert:
    columns = [column(c.name, c.type) for c in table.columns]
    arrived = select(*columns).select_from(text(_arrival(table).name))
    insert = postgresql.insert(table).from_select(
        [c.name for c in table.columns], arrived, include_defaults=False
    )
    if update is None:
        return insert.on_conflict_do_nothing()
    return insert.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_=dict(update(table, insert.excluded))
    )


@lru_cache(maxsize=64)
def _sqlite_upsert(table: Table, update: Update | None) -> Insert:
    insert = sqlite.insert(table)
    if update is None:
        return insert.on_conflict_do_nothing()
    return insert.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_=dict(update(table, insert.excluded))
    )


class _UuidArray(UserDefinedType[str]):
    """PostgreSQL's uuid[], bound as its text: a third of what psycopg takes to make it of a list."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "UUID[]"


def among(connection: Connection, ids: Column[UUID], name: str = "ids") -> ColumnElement[bool]:
    """Return the condition that a column is one of the ids that `ids_parameter` gives for `name`."""
    if connection.dialect.name == "postgresql":
        return ids == any_(cast(bindparam(name), _UuidArray()))
    # As text: SQLite keeps UUIDs as 32 hexadecimal digits.
    values = func.json_each(bindparam(name, type_=Text)).table_valued(column("value", ids.type))
    return ids.in_(select(values.c.value))


def ids_parameter(connection: Connection, ids: Iterable[UUID]) -> str:
    """Return what is bound to the parameter of `among`."""
    if connection.dialect.name == "postgresql":
        return f"{{{','.join([given.hex for given in ids])}}}"
    return json.dumps([given.hex for given in ids])


_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
