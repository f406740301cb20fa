"""All questions, each in a transaction of its own that changes nothing."""

from __future__ import annotations

import base64
import binascii
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Engine, func, select

from penstock_registry import health
from penstock_registry.api import models
from penstock_registry.exceptions import BadQuestion
from penstock_registry.store.database import explained
from penstock_registry.store.queries import files, over_time, programs, receipts, rows, uploads
from penstock_registry.store.queries import streams as at_a_glance
from penstock_registry.store.schema import (
    file_key,
    lost_ranges,
    problems,
    stream_key,
    streams,
    totals,
)
from penstock_registry.store.schema import files as files_table

MOST_STREAMS: Final = 10_000
_MOST_DESTINATIONS: Final = 20_000
_MOST: Final = 1000
_FAILURES: Final = 20
_IN_FLIGHT: Final = 50
_LOST: Final = 20
_FAILED_STATES: Final = frozenset({"failed", "rejected"})


class Queries:
    """Questions to one database. Any thread may ask.

    Each raises DatabaseUnavailable while the database is away.
    """

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._reading = engine
        if engine.dialect.name == "postgresql":
            self._reading = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        self._clock = clock

    def overview(self, stream: str | None = None) -> models.Overview:
        """Return all of it at a glance, or one stream of it."""
        now = self._clock()
        with self._asking() as connection:
            topics = _topics(connection)
            known_programs = programs.all_of(connection, now)
            known = at_a_glance.all_of(connection, now, known_programs, stream)
            return models.Overview(
                at=now,
                streams=known,
                failures=files.newest(connection, _FAILED_STATES, stream, _FAILURES, topics),
                failures_total=sum(
                    amount.files
                    for one in known
                    for state, amount in one.files.items()
                    if state in _FAILED_STATES
                ),
                in_flight=files.in_flight(connection, stream, _lagging(known), _IN_FLIGHT, topics),
                services=known_programs,
                lost=_lost(connection, topics, stream, _LOST, since=now - health.LOST_SECONDS),
                problems_total=connection.execute(select(func.count()).select_from(problems)).scalar_one(),
            )

    def streams(self) -> models.Streams:
        """Return all streams."""
        now = self._clock()
        with self._asking() as connection:
            return models.Streams(items=at_a_glance.all_of(connection, now, programs.all_of(connection, now)))

    def stream(self, topic: str) -> models.Stream | None:
        """Return the stream of this topic."""
        now = self._clock()
        with self._asking() as connection:
            found = at_a_glance.all_of(connection, now, programs.all_of(connection, now), topic)
        return found[0] if found else None

    def files(self, wanted: files.Wanted, limit: int, cursor: str | None = None) -> models.Files:
        """Return a page of files."""
        with self._asking() as connection:
            return files.page(connection, wanted, limit, cursor, _topics(connection))

    def lookup(self, wanted: models.Lookup) -> models.Files:
        """Return the files of these paths, in the order of the paths; what is not known is left out."""
        paths = [_exact(path) for path in wanted.paths]
        with self._asking() as connection:
            topics = _topics(connection)
            if wanted.source is None:
                found = files.at_paths(connection, wanted.stream, paths)
            else:
                keys = [file_key(wanted.stream, wanted.source, path) for path in paths]
                found = connection.execute(select(files_table).where(files_table.c.id.in_(keys))).all()
            place = {path: number for number, path in reversed(list(enumerate(paths)))}
            ordered = sorted(found, key=lambda row: (place[row.path], row.source_id))
            return models.Files(items=[rows.file(row, topics) for row in ordered])

    def file(self, file_id: UUID) -> models.FileDetail | None:
        """Return a file with its uploads."""
        with self._asking() as connection:
            return uploads.file_detail(connection, file_id, _topics(connection))

    def upload(self, upload_id: UUID) -> models.Upload | None:
        """Return an upload with its whole history."""
        with self._asking() as connection:
            return uploads.upload(connection, upload_id, _topics(connection))

    def receipts(
        self, wanted: receipts.WantedReceipts, limit: int, cursor: str | None = None
    ) -> models.Receipts:
        """Return a page of receipts."""
        with self._asking() as connection:
            return receipts.page(connection, wanted, limit, cursor, _topics(connection))

    def services(self) -> models.Services:
        """Return the programs that send heartbeats: silent ones first, then by name."""
        with self._asking() as connection:
            return models.Services(items=programs.all_of(connection, self._clock()))

    def throughput(
        self,
        *,
        stream: str | None = None,
        destination: str | None = None,
        since: float | None = None,
        until: float | None = None,
        step: int = 60,
    ) -> models.Throughput:
        """Return totals over time."""
        with self._asking() as connection:
            return over_time.series(
                connection,
                _topics(connection),
                stream=stream,
                destination=destination,
                since=since,
                until=until,
                step=step,
                now=self._clock(),
            )

    def lost_ranges(self, stream: str | None = None) -> models.LostRanges:
        """Return what was lost, the newest first."""
        with self._asking() as connection:
            return models.LostRanges(items=_lost(connection, _topics(connection), stream, _MOST))

    def problems(self) -> models.Asides:
        """Return the records that were no events, the newest first."""
        newest = select(problems).order_by(problems.c.at.desc(), problems.c.topic, problems.c.offset)
        with self._asking() as connection:
            found = connection.execute(newest.limit(_MOST)).all()
        return models.Asides(
            items=[
                models.Aside(
                    topic=row.topic,
                    partition=row.partition,
                    offset=row.offset,
                    at=row.at,
                    reason=row.reason,
                    head_base64=base64.b64encode(row.head).decode("ascii"),
                )
                for row in found
            ]
        )

    @contextmanager
    def _asking(self) -> Iterator[Connection]:
        """Give a connection whose statements all see the same state of the database."""
        with explained(self._engine), self._reading.connect() as connection:
            yield connection


def _topics(connection: Connection) -> rows.Topics:
    found = connection.execute(select(streams.c.id, streams.c.topic).limit(MOST_STREAMS))
    destinations: dict[int, list[str]] = defaultdict(list)
    answered = select(totals.c.stream_id, totals.c.destination).where(totals.c.destination != "").distinct()
    for stream, name in sorted(tuple(row) for row in connection.execute(answered.limit(_MOST_DESTINATIONS))):
        destinations[stream].append(name)
    return rows.Topics({row.id: row.topic for row in found}, destinations)


def _lagging(known: Iterable[models.Stream]) -> dict[str, list[str]]:
    """Return who lags, by topic: the streams where most files wait first."""
    lagging = {
        stream.topic: {one.name: one.lag.files for one in stream.destinations if one.lag.files}
        for stream in known
    }
    order = sorted(lagging, key=lambda topic: (-max(lagging[topic].values(), default=0), topic))
    return {topic: sorted(lagging[topic]) for topic in order if lagging[topic]}


def _lost(
    connection: Connection, topics: rows.Topics, stream: str | None, limit: int, since: float = 0.0
) -> list[models.LostRange]:
    newest = select(lost_ranges).where(lost_ranges.c.at >= since)
    if stream is not None:
        newest = newest.where(lost_ranges.c.stream_id == stream_key(stream))
    newest = newest.order_by(lost_ranges.c.at.desc(), lost_ranges.c.partition, lost_ranges.c.from_offset)
    return [rows.lost_range(row, topics) for row in connection.execute(newest.limit(limit))]


def _exact(path: models.WantedPath) -> bytes:
    if path.path_base64 is not None:
        try:
            return base64.b64decode(path.path_base64, validate=True)
        except (binascii.Error, ValueError):
            raise BadQuestion("path_base64: not base64") from None
    if path.path is None:
        raise BadQuestion("each path needs `path` or `path_base64`")
    try:
        return path.path.encode()
    except UnicodeEncodeError:
        raise BadQuestion("path: not Unicode (a lone surrogate); give `path_base64`") from None
