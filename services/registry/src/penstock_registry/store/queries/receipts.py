"""Lists of receipts, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Row,
    Text,
    Uuid,
    exists,
    literal,
    select,
    tuple_,
)

from penstock_registry.api import models
from penstock_registry.store.queries import cursors, rows
from penstock_registry.store.queries.walking import WALK, Columns, Conditions, Leg, follow
from penstock_registry.store.schema import files, receipts, stream_key, uploads


@dataclass(frozen=True, slots=True)
class WantedReceipts:
    """Which receipts are asked for. What is None does not matter."""

    stream: str | None = None
    destination: str | None = None
    source: str | None = None
    outcome: str | None = None
    since: float | None = None
    until: float | None = None

    @property
    def mark(self) -> str:
        """What tells its cursors from those of another one."""
        return cursors.mark(
            "receipts", self.stream, self.destination, self.source, self.outcome, self.since, self.until
        )


def page(
    connection: Connection,
    wanted: WantedReceipts,
    limit: int,
    cursor: str | None,
    topics: rows.Topics,
    *,
    most: int = WALK,
) -> models.Receipts:
    """Return a page of receipts. Raises BadQuestion for a cursor that is none of this query."""
    key = (receipts.c.at, receipts.c.upload_id, receipts.c.destination, receipts.c.stream_id)
    query = select(receipts)
    if wanted.stream is not None:
        query = query.where(receipts.c.stream_id == stream_key(wanted.stream))
    if wanted.since is not None:
        query = query.where(receipts.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(receipts.c.at < wanted.until)
    if cursor is not None:
        at, upload, destination, stream = cursors.decode(cursor, wanted.mark, float, UUID, str, int)
        place = (literal(at, Double), literal(upload, Uuid), literal(destination, Text))
        query = query.where(tuple_(*key) < tuple_(*place, literal(stream, BigInteger)))

    def fits(columns: Columns) -> Conditions:
        conditions: Conditions = []
        if wanted.destination is not None:
            conditions.append(columns.destination == wanted.destination)
        if wanted.outcome is not None:
            conditions.append(columns.outcome == wanted.outcome)
        if wanted.source is not None:
            conditions.append(_of_source(columns, wanted.source))
        return conditions

    names = [column.name for column in key]
    query = query.order_by(*(column.desc() for column in key))
    leg = Leg((), (), lambda most: [query.limit(most)], names, fits, descending=True)
    found, end = follow(connection, [leg], limit, most)
    origins = _origins(connection, found)
    nowhere = (None, None)
    return models.Receipts(
        items=[rows.receipt(r, topics, *origins.get((r.upload_id, r.stream_id), nowhere)) for r in found],
        next=None if end is None else cursors.encode(wanted.mark, end),
    )


def _of_source(columns: Columns, source: str) -> ColumnElement[bool]:
    return exists().where(
        uploads.c.id == columns.upload_id,
        uploads.c.stream_id == columns.stream_id,
        files.c.id == uploads.c.file_id,
        files.c.source_id == source,
    )


def _origins(connection: Connection, found: Sequence[Row[Any]]) -> dict[tuple[UUID, int], tuple[str, bytes]]:
    """Return source and path of the uploads that were answered."""
    keys = {(row.upload_id, row.stream_id) for row in found}
    joined = (
        select(uploads.c.id, uploads.c.stream_id, files.c.source_id, files.c.path)
        .join(files, files.c.id == uploads.c.file_id)
        .where(uploads.c.id.in_([upload for upload, _ in keys]))
    )
    return {(row.id, row.stream_id): (row.source_id, row.path) for row in connection.execute(joined)}
