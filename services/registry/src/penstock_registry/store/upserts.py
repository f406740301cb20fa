"""Many rows in one statement, in the way that each database is quick at.

PostgreSQL takes them as one JSON document, SQLite one by one without a round trip. Rows are tuples in the
order of the table's columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    cast,
    column,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.dml import Insert

Row: TypeAlias = tuple[Any, ...]
Excluded: TypeAlias = ReadOnlyColumnCollection[str, Any]
"""The row that met an existing one."""
Update: TypeAlias = Callable[[Table, Excluded], Mapping[str, ColumnElement[Any]]]
"""What the columns of the existing row become."""

# PostgreSQL reads and plans a document of this many rows in some milliseconds.
_ROWS: Final = 2000


def replaced(table: Table, excluded: Excluded) -> Mapping[str, ColumnElement[Any]]:
    """Let the new row stand."""
    return {c.name: excluded[c.name] for c in table.columns if not c.primary_key}


def added(table: Table, excluded: Excluded) -> Mapping[str, ColumnElement[Any]]:
    """Add files and bytes to those that are there."""
    return {name: table.c[name] + excluded[name] for name in ("files", "bytes")}


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
    names = [c.name for c in table.columns]
    named = [dict(zip(names, row, strict=True)) for row in rows]
    if connection.dialect.name == "postgresql":
        statement = _postgresql_upsert(table, update)
        for start in range(0, len(named), _ROWS):
            connection.execute(statement, {"rows": _to_json(named[start : start + _ROWS])})
    else:
        connection.execute(_sqlite_upsert(table, update), named)


@lru_cache(maxsize=64)
def _postgresql_upsert(table: Table, update: Update | None) -> Insert:
    rows = (
        func.json_to_recordset(cast(bindparam("rows", type_=Text), JSON))
        .table_valued(*(column(c.name, c.type) for c in table.columns))
        .render_derived(name="rows", with_types=True)
    )
    insert = postgresql.insert(table).from_select(
        [c.name for c in table.columns], select(*rows.c), include_defaults=False
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


def among(connection: Connection, ids: Column[UUID], name: str = "ids") -> ColumnElement[bool]:
    """Return the condition that a column is one of the ids that `ids_parameter` gives for `name`."""
    if connection.dialect.name == "postgresql":
        given: BindParameter[Any] = bindparam(name, type_=ARRAY(Uuid()))
        return ids == any_(given)
    # As text: SQLite keeps UUIDs as 32 hexadecimal digits.
    values = func.json_each(bindparam(name, type_=Text)).table_valued(column("value", ids.type))
    return ids.in_(select(values.c.value))


def ids_parameter(connection: Connection, ids: Sequence[UUID]) -> list[UUID] | str:
    """Return what is bound to the parameter of `among`."""
    if connection.dialect.name == "postgresql":
        return list(ids)
    return json.dumps([given.hex for given in ids])


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return str(value)  # a UUID


_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain).encode
