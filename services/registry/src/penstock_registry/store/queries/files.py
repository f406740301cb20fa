"""Lists of files: by time, by path, or those that a search finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    LargeBinary,
    Row,
    Select,
    Uuid,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)

from penstock_registry.api import models
from penstock_registry.store.queries import cursors, rows
from penstock_registry.store.queries.answers import seen_by
from penstock_registry.store.queries.cursors import Key
from penstock_registry.store.queries.walking import WALK, Columns, Conditions, Leg, follow
from penstock_registry.store.schema import PATH_INDEX_BYTES, files, name_key, stream_key, streams

Order = Literal["recent", "path"]

_FIRST_ID: Final = UUID(int=0)
_BY_PATH, _BY_NAME = 0, 1
_ON_THEIR_WAY: Final = frozenset({"uploading", "uploaded"})
_LAGGING_STREAMS: Final = 10
_LAGGING_DESTINATIONS: Final = 10

# As in the index: literals, for a parameter would not match it.
HEAD: Final = func.substr(
    files.c.path, literal_column("1"), literal_column(str(PATH_INDEX_BYTES)), type_=LargeBinary
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files are asked for. What is None or empty does not matter."""

    stream: str | None = None
    source: str | None = None
    states: frozenset[str] = frozenset()
    destination: str | None = None
    waiting_for: tuple[str, ...] = ()
    """Only what Kafka has and one of these destinations has not answered."""
    path_prefix: bytes = b""
    search: str = ""
    since: float | None = None
    until: float | None = None
    order: Order | None = None

    @property
    def mark(self) -> str:
        """What tells its cursors from those of another one."""
        return cursors.mark(
            self.stream, self.source, tuple(sorted(self.states)), self.destination, self.waiting_for,
            self.path_prefix, self.search, self.since, self.until, self.order,
        )  # fmt: skip

    @property
    def by_path(self) -> bool:
        """Whether the paths give the order: asked for, or with a prefix and no other order asked for."""
        return self.order == "path" or (self.order is None and bool(self.path_prefix))


def page(
    connection: Connection,
    wanted: Wanted,
    limit: int,
    cursor: str | None,
    topics: rows.Topics,
    *,
    most: int = WALK,
) -> models.Files:
    """Return a page of files. Raises BadQuestion for a cursor that is none of this query."""
    listing = _Listing(wanted, postgresql=connection.dialect.name == "postgresql")
    types = (int, int, bytes, UUID) if wanted.search or wanted.by_path else (float, UUID)
    after = None if cursor is None else cursors.decode(cursor, wanted.mark, *types)
    if wanted.search:
        legs = listing.searched(after)
    elif wanted.by_path:
        legs = listing.by_path(after)
    else:
        legs = listing.recent(after)
    found, end = follow(connection, legs, limit, most)
    return models.Files(
        items=[rows.file(row, topics) for row in found],
        next=None if end is None else cursors.encode(wanted.mark, end),
    )


def newest(
    connection: Connection, states: frozenset[str], stream: str | None, limit: int, topics: rows.Topics
) -> list[models.File]:
    """Return the newest files in these states."""
    return page(connection, Wanted(stream=stream, states=states), limit, None, topics).items


def in_flight(
    connection: Connection,
    stream: str | None,
    lagging: Mapping[str, Sequence[str]],
    limit: int,
    topics: rows.Topics,
) -> list[models.File]:
    """Return the newest files that are on their way to somebody.

    That is: which are sent, or which Kafka has and a destination has not answered, though others may have.
    `lagging` are destinations by topic, those first that are looked at first; a bounded number of them is.
    """
    found = newest(connection, _ON_THEIR_WAY, stream, limit, topics)
    looked_at = list(lagging)[:_LAGGING_STREAMS]
    for topic in looked_at:
        wanted = Wanted(stream=topic, waiting_for=tuple(lagging[topic][:_LAGGING_DESTINATIONS]))
        found += page(connection, wanted, limit, None, topics, most=WALK // len(looked_at)).items
    unique = {file.id: file for file in found}
    return sorted(unique.values(), key=lambda file: (file.last_at, file.id.int), reverse=True)[:limit]


class _Listing:
    """The ways along the indexes that give what is wanted."""

    def __init__(self, wanted: Wanted, *, postgresql: bool) -> None:
        self._wanted = wanted
        self._postgresql = postgresql

    def recent(self, after: Key | None) -> Iterator[Leg]:
        """Walk by time, the newest first."""
        wanted = self._wanted
        key = (files.c.last_at, files.c.id)
        bounds: Conditions = [] if wanted.stream is None else [files.c.stream_id == stream_key(wanted.stream)]
        bounds += _within(wanted, files.c)
        if after is not None:
            at, last = after
            bounds.append(tuple_(*key) < tuple_(literal(at, Double), literal(last, Uuid)))
        walks_states = bool(wanted.states) and wanted.destination is None
        base = select(files).where(*bounds).order_by(*(column.desc() for column in key))

        def branches(most: int) -> list[Select[Any]]:
            if not walks_states:
                return [base.limit(most)]
            return [base.where(files.c.state == state).limit(most) for state in sorted(wanted.states)]

        def fits(columns: Columns) -> Conditions:
            conditions = self._common(columns, states=not walks_states)
            if wanted.path_prefix:
                conditions.append(_begins(columns.path, wanted.path_prefix))
            return conditions

        yield Leg((), (), branches, ("last_at", "id"), fits, descending=True)

    def by_path(self, after: Key | None) -> Iterator[Leg]:
        """Walk by path, stream after stream."""
        yield from self._along_paths(after, self._wanted.path_prefix)

    def searched(self, after: Key | None) -> Iterator[Leg]:
        """Walk what begins with the words by its path, then what begins with them by its name."""
        sought, prefix = self._wanted.search.encode("utf-8", "surrogateescape"), self._wanted.path_prefix
        if sought.startswith(prefix) or prefix.startswith(sought):
            yield from self._along_paths(after, max(sought, prefix, key=len))
        if b"/" not in sought:
            yield from self._along_names(after, sought)

    def _along_paths(self, after: Key | None, prefix: bytes) -> Iterator[Leg]:
        def fits(columns: Columns) -> Conditions:
            conditions = [*self._common(columns), *_within(self._wanted, columns)]
            if len(prefix) > PATH_INDEX_BYTES:
                conditions.append(_begins(columns.path, prefix))
            return conditions

        bounds = _range(HEAD, prefix[:PATH_INDEX_BYTES])
        yield from self._leg(_BY_PATH, after, "head", HEAD, bounds, fits)

    def _along_names(self, after: Key | None, sought: bytes) -> Iterator[Leg]:
        def fits(columns: Columns) -> Conditions:
            conditions = [*self._common(columns), *_within(self._wanted, columns)]
            conditions.append(~_begins(columns.path, sought))  # found by its path
            if self._wanted.path_prefix:
                conditions.append(_begins(columns.path, self._wanted.path_prefix))
            return conditions

        column = files.c.name_key
        yield from self._leg(_BY_NAME, after, "name_key", column, _range(column, name_key(sought)), fits)

    def _leg(
        self,
        phase: int,
        after: Key | None,
        name: str,
        column: ColumnElement[Any],
        bounds: Conditions,
        fits: Callable[[Columns], Conditions],
    ) -> Iterator[Leg]:
        """Walk an index that begins with the stream: in one, or in all, one after the other."""
        if after is not None and phase < after[0]:  # type: ignore[operator]  # both are numbers
            return
        place = after[1:] if after is not None and phase == after[0] else None
        query = (select(files) if name in files.c else select(files, column.label(name))).where(*bounds)
        if place is not None:
            stream, beginning, last = place
            values = (literal(stream, BigInteger), literal(beginning, LargeBinary), literal(last, Uuid))
            query = query.where(tuple_(files.c.stream_id, column, files.c.id) > tuple_(*values))
        order = (files.c.stream_id, column, files.c.id)

        def branches(most: int) -> list[Select[Any]]:
            if self._wanted.stream is not None:
                of_one = query.where(files.c.stream_id == stream_key(self._wanted.stream))
                return [of_one.order_by(*order).limit(most)]
            if not self._postgresql:
                of_all = query.where(files.c.stream_id.in_(select(streams.c.id)))
                return [of_all.order_by(*order).limit(most)]
            # The planner would not walk the index stream by stream of itself.
            of_each = query.where(files.c.stream_id == streams.c.id).order_by(*order).limit(most).lateral()
            joined = select(of_each).select_from(streams.join(of_each, true()))
            if place is not None:
                joined = joined.where(streams.c.id >= place[0])
            return [joined.order_by(streams.c.id, of_each.c[name], of_each.c.id).limit(most)]

        yield Leg((phase,), (0, b"", _FIRST_ID), branches, ("stream_id", name, "id"), fits)

    def _common(self, columns: Columns, *, states: bool = True) -> Conditions:
        wanted = self._wanted
        conditions: Conditions = []
        if wanted.source is not None:
            conditions.append(columns.source_id == wanted.source)
        if wanted.destination is not None:
            conditions.append(
                seen_by(wanted.destination, wanted.states, columns, postgresql=self._postgresql)
            )
        elif wanted.states and states:
            conditions.append(columns.state.in_(sorted(wanted.states)))
        if wanted.waiting_for:
            uploaded = frozenset({"uploaded"})
            waiting = (
                seen_by(name, uploaded, columns, postgresql=self._postgresql) for name in wanted.waiting_for
            )
            conditions.append(or_(*waiting))
        return conditions


def _within(wanted: Wanted, columns: Columns) -> Conditions:
    conditions: Conditions = []
    if wanted.since is not None:
        conditions.append(columns.last_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(columns.last_at < wanted.until)
    return conditions


def _begins(column: ColumnElement[Any], prefix: bytes) -> ColumnElement[bool]:
    return func.substr(column, 1, len(prefix), type_=LargeBinary) == literal(prefix, LargeBinary)


def _range(column: ColumnElement[Any], prefix: bytes) -> Conditions:
    """Return what makes an index give the values that begin so."""
    conditions: Conditions = [column >= literal(prefix, LargeBinary)] if prefix else []
    above = prefix.rstrip(b"\xff")
    if above:
        conditions.append(column < literal(above[:-1] + bytes([above[-1] + 1]), LargeBinary))
    return conditions


def at_paths(connection: Connection, stream: str, paths: list[bytes]) -> Sequence[Row[Any]]:
    """Return every source's file of these paths."""
    heads = sorted({path[:PATH_INDEX_BYTES] for path in paths})
    return connection.execute(
        select(files).where(
            files.c.stream_id == stream_key(stream), HEAD.in_(heads), files.c.path.in_(set(paths))
        )
    ).all()
