"""What is forgotten, and when.

Files go, with their uploads and answers, when nothing was heard of them for as long as is remembered; before
their time, the longest unheard of first, when the database is larger than it may be. Always in small
transactions, so that whoever learns waits for moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    text,
)

from penstock_registry.knowledge import FileRow, State, Sums, in_counts
from penstock_registry.knowledge.sums import CountKey
from penstock_registry.store.database import explained, writing
from penstock_registry.store.heartbeats import REMEMBERED_SECONDS
from penstock_registry.store.learning import MINUTES_KEPT_SECONDS, change_counts
from penstock_registry.store.schema import (
    counts,
    files,
    heartbeats,
    lost_ranges,
    receipts,
    services,
    streams,
    throughput,
    totals,
    uploads,
)
from penstock_registry.store.upserts import among, ids_parameter

_STEP: Final = 500
"""Files or uploads in one transaction: some tens of milliseconds."""
_STEPS_FOR_SIZE: Final = 200
"""Transactions that one round spends on making the database smaller."""
_MINUTES_SECONDS: Final = MINUTES_KEPT_SECONDS + 3600
_STOPPED_SECONDS: Final = 86_400.0
_FREE_PAGES: Final = 2000
"""SQLite gives back so many pages at once."""
# What a row costs beside its columns in PostgreSQL: header, line pointer, and its entries in the indexes.
_FILE_BYTES: Final = 500
_UPLOAD_BYTES: Final = 180
_RECEIPT_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What one round forgot."""

    files: int = 0
    before_their_time: int = 0
    """Of these files, because of the database's size."""


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long what nothing was heard of is remembered, and how large the database may be, in bytes."""

    seconds: float
    max_bytes: int | None = None

    def forget(self, engine: Engine, now: float) -> Forgotten:
        """Forget what is to be forgotten now. Raises DatabaseUnavailable."""
        horizon = now - self.seconds
        forgotten = 0
        while step := _forget_files(engine, horizon):
            forgotten += step
        while _forget_uploads(engine, horizon):
            pass
        with writing(engine) as connection:
            self._forget_rest(connection, now)
        early = 0 if self.max_bytes is None else _shrink(engine, self.max_bytes)
        _give_back(engine)
        return Forgotten(forgotten + early, early)

    def _forget_rest(self, connection: Connection, now: float) -> None:
        horizon = now - self.seconds
        for step, since in ((60, now - _MINUTES_SECONDS), (3600, horizon - 3600)):
            connection.execute(
                delete(throughput).where(throughput.c.step == step, throughput.c.begins_at < since)
            )
        connection.execute(delete(lost_ranges).where(lost_ranges.c.at < horizon))
        gone = or_(
            services.c.last_at < horizon,
            and_(services.c.stopped, services.c.last_at < now - _STOPPED_SECONDS),
        )
        connection.execute(delete(services).where(gone))
        newest = (
            select(services.c.last_at)
            .where(services.c.kind == heartbeats.c.kind, services.c.program_id == heartbeats.c.program_id)
            .scalar_subquery()
        )
        connection.execute(
            delete(heartbeats).where(or_(newest.is_(None), heartbeats.c.at < newest - REMEMBERED_SECONDS))
        )
        self._forget_streams(connection, horizon)

    def _forget_streams(self, connection: Connection, horizon: float) -> None:
        """Forget the sums of streams of which nothing else is known any more."""
        silent = connection.scalars(
            select(streams.c.id).where(
                streams.c.last_at < horizon,
                ~exists().where(files.c.stream_id == streams.c.id),
            )
        ).all()
        if silent:
            for table in (totals, throughput):
                connection.execute(delete(table).where(table.c.stream_id.in_(silent)))
            connection.execute(delete(streams).where(streams.c.id.in_(silent)))


def _forget_files(engine: Engine, horizon: float | None) -> int:
    """Forget some files, the longest unheard of first; return how many."""
    with writing(engine) as connection:
        oldest = select(*files.c).order_by(files.c.last_at, files.c.id).limit(_STEP)
        if horizon is not None:
            oldest = oldest.where(files.c.last_at < horizon)
        found = [FileRow._make(row) for row in connection.execute(oldest)]
        if found:
            ids = {"ids": ids_parameter(connection, [file.id for file in found])}
            theirs = connection.execute(
                select(uploads.c.id, uploads.c.stream_id).where(among(connection, uploads.c.file_id)), ids
            )
            _delete_uploads(connection, [(row.id, row.stream_id) for row in theirs])
            connection.execute(delete(files).where(among(connection, files.c.id)), ids)
            sums: Sums[CountKey] = Sums()
            for file in found:
                sums.add(in_counts(file), -1)
            change_counts(connection, sums)
        return len(found)


def _forget_uploads(engine: Engine, horizon: float) -> int:
    """Forget some uploads that are of no file, or of a version that was replaced; return how many."""
    version = select(files.c.version_id).where(files.c.id == uploads.c.file_id).scalar_subquery()
    with writing(engine) as connection:
        found = connection.execute(
            select(uploads.c.id, uploads.c.stream_id)
            .where(
                uploads.c.last_at < horizon,
                or_(uploads.c.file_id.is_(None), uploads.c.id < version),
            )
            .limit(_STEP)
        )
        keys = [(row.id, row.stream_id) for row in found]
        _delete_uploads(connection, keys)
        return len(keys)


def _delete_uploads(connection: Connection, keys: Sequence[tuple[UUID, int]]) -> None:
    """Delete uploads and their answers."""
    by_stream: dict[int, list[UUID]] = {}
    for upload_id, stream_id in keys:
        by_stream.setdefault(stream_id, []).append(upload_id)
    for stream_id, upload_ids in by_stream.items():
        ids = {"ids": ids_parameter(connection, upload_ids)}
        for table, column in ((receipts, receipts.c.upload_id), (uploads, uploads.c.id)):
            its: ColumnElement[bool] = table.c.stream_id == stream_id
            connection.execute(delete(table).where(among(connection, column), its), ids)


def _shrink(engine: Engine, max_bytes: int) -> int:
    forgotten = 0
    for _ in range(_STEPS_FOR_SIZE):
        if database_bytes(engine) <= max_bytes:
            break
        step = _forget_files(engine, None)
        if not step:
            break
        forgotten += step
    return forgotten


def database_bytes(engine: Engine) -> int:
    """Return how large the database is, without the room in it that is free.

    SQLite knows that. PostgreSQL does not tell how much of a table is free, so there it is estimated: the
    number of files, which `counts` knows, times what one costs with its uploads and answers, measured on the
    oldest and the newest ones.
    """
    with explained(engine), engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            pages, free, size = (
                int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
                for name in ("page_count", "freelist_count", "page_size")
            )
            return (pages - free) * size
        return int(_number_of_files(connection) * _postgresql_bytes_per_file(connection))


def _number_of_files(connection: Connection) -> int:
    states = [state.value for state in State]
    number = connection.scalar(
        select(func.sum(counts.c.files)).where(counts.c.destination == "", counts.c.state.in_(states))
    )
    return int(number or 0)


def _postgresql_bytes_per_file(connection: Connection) -> float:
    order = (files.c.last_at, files.c.id)
    ends = (order, tuple(column.desc() for column in order))
    some = {
        row.id for end in ends for row in connection.execute(select(files.c.id).order_by(*end).limit(_STEP))
    }
    if not some:
        return 0.0
    ids = {"ids": ids_parameter(connection, list(some))}
    of_files = select(*files.c).where(among(connection, files.c.id))
    of_uploads = select(*uploads.c).where(among(connection, uploads.c.file_id))
    of_receipts = (
        select(*receipts.c)
        .join(uploads, (uploads.c.id == receipts.c.upload_id) & (uploads.c.stream_id == receipts.c.stream_id))
        .where(among(connection, uploads.c.file_id))
    )
    total = 0.0
    for rows, overhead in (
        (of_files, _FILE_BYTES),
        (of_uploads, _UPLOAD_BYTES),
        (of_receipts, _RECEIPT_BYTES),
    ):
        row = rows.subquery("found")
        size = func.sum(func.pg_column_size(text("found.*")) + overhead)
        total += float(connection.scalar(select(size).select_from(row), ids) or 0)
    return total / len(some)


def _give_back(engine: Engine) -> None:
    """Give some of SQLite's free pages back to the file system, if a tenth or more is free."""
    if engine.dialect.name != "sqlite":
        return
    with explained(engine), closing(engine.raw_connection()) as connection:
        pages, free = (
            int(connection.cursor().execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count")
        )
        if free * 10 > pages:
            # As a script: that runs the statement to its end, page by page, in a transaction of its own.
            connection.cursor().executescript(f"PRAGMA incremental_vacuum({_FREE_PAGES})")
