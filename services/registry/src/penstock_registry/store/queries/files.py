"""Lists of files: by time, by path, or those that a search finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import (
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
    select,
    tuple_,
)

from penstock_registry.api import models
from penstock_registry.store.queries import cursors, rows
from penstock_registry.store.queries.answers import seen_by
from penstock_registry.store.queries.cursors import Key
from penstock_registry.store.queries.walking import WALK, Columns, Conditions, Leg, follow
from penstock_registry.store.schema import PATH_INDEX_BYTES, files, name_key, stream_key

Order = Literal["recent", "path"]

_FIRST_ID: Final = UUID(int=0)
_BY_PATH, _BY_NAME = 0, 1

# As in the index: literals, for a parameter would not match it.
HEAD: Final = func.substr(
    files.c.path, literal_column("1"), literal_column(str(PATH_INDEX_BYTES)), type_=LargeBinary
).label("head")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files are asked for. What is None or empty does not matter."""

    stream: str | None = None
    source: str | None = None
    states: frozenset[str] = frozenset()
    destination: str | None = None
    path_prefix: bytes = b""
    search: str = ""
    since: float | None = None
    until: float | None = None
    order: Order | None = None

    @property
    def mark(self) -> str:
        """What tells its cursors from those of another one."""
        return cursors.mark(
            self.stream, self.source, tuple(sorted(self.states)), self.destination, self.path_prefix,
            self.search, self.since, self.until, self.order,
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
        legs = listing.searched(sorted(topics), after)
    elif wanted.by_path:
        legs = listing.by_path(sorted(topics), after)
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
        branches = [select(files).where(*bounds)]
        walks_states = bool(wanted.states) and wanted.destination is None
        if walks_states:
            branches = [branches[0].where(files.c.state == state) for state in sorted(wanted.states)]

        def fits(columns: Columns) -> Conditions:
            conditions = self._common(columns, states=not walks_states)
            if wanted.path_prefix:
                conditions.append(_begins(columns.path, wanted.path_prefix))
            return conditions

        yield Leg((), (), branches, key, ("last_at", "id"), fits, descending=True)

    def by_path(self, streams: list[int], after: Key | None) -> Iterator[Leg]:
        """Walk by path, stream after stream."""
        yield from self._along_paths(_BY_PATH, streams, after, self._wanted.path_prefix)

    def searched(self, streams: list[int], after: Key | None) -> Iterator[Leg]:
        """Walk what begins with the words by its path, then what begins with them by its name."""
        sought, prefix = self._wanted.search.encode("utf-8", "surrogateescape"), self._wanted.path_prefix
        if sought.startswith(prefix) or prefix.startswith(sought):
            yield from self._along_paths(_BY_PATH, streams, after, max(sought, prefix, key=len))
        if b"/" not in sought:
            yield from self._along_names(streams, after, sought)

    def _along_paths(self, phase: int, streams: list[int], after: Key | None, prefix: bytes) -> Iterator[Leg]:
        def fits(columns: Columns) -> Conditions:
            conditions = [*self._common(columns), *_within(self._wanted, columns)]
            if len(prefix) > PATH_INDEX_BYTES:
                conditions.append(_begins(columns.path, prefix))
            return conditions

        bounds = _range(HEAD.element, prefix[:PATH_INDEX_BYTES])
        query = select(files, HEAD).where(*bounds)
        yield from self._legs(phase, streams, after, query, HEAD.element, "head", fits)

    def _along_names(self, streams: list[int], after: Key | None, sought: bytes) -> Iterator[Leg]:
        def fits(columns: Columns) -> Conditions:
            conditions = [*self._common(columns), *_within(self._wanted, columns)]
            conditions.append(~_begins(columns.path, sought))  # found by its path
            if self._wanted.path_prefix:
                conditions.append(_begins(columns.path, self._wanted.path_prefix))
            return conditions

        query = select(files).where(*_range(files.c.name_key, name_key(sought)))
        yield from self._legs(_BY_NAME, streams, after, query, files.c.name_key, "name_key", fits)

    def _legs(
        self,
        phase: int,
        streams: list[int],
        after: Key | None,
        query: Select[Any],
        column: ColumnElement[Any],
        name: str,
        fits: Callable[[Columns], Conditions],
    ) -> Iterator[Leg]:
        if self._wanted.stream is not None:
            streams = [stream_key(self._wanted.stream)]
        for stream in streams:
            if after is not None and (phase, stream) < after[:2]:
                continue
            branch = query.where(files.c.stream_id == stream)
            if after is not None and (phase, stream) == after[:2]:
                last, last_id = after[2:]
                place = tuple_(literal(last, LargeBinary), literal(last_id, Uuid))
                branch = branch.where(tuple_(column, files.c.id) > place)
            yield Leg((phase, stream), (b"", _FIRST_ID), [branch], (column, files.c.id), (name, "id"), fits)

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
            files.c.stream_id == stream_key(stream), HEAD.element.in_(heads), files.c.path.in_(set(paths))
        )
    ).all()
