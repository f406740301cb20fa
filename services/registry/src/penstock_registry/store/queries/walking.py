"""Walking along an index with a filter, so far and no further.

A page looks at a bounded number of rows, whatever is asked for. The last row that was looked at is where the
next page goes on, whether that row fitted or not: so a page may be short, and following the cursors meets
each row once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    and_,
    func,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from penstock_registry.store.queries.cursors import Key

Columns: TypeAlias = ReadOnlyColumnCollection[str, Any]
"""Of a table, or of a subquery that selects all of it."""
Conditions: TypeAlias = list[ColumnElement[bool]]

WALK: Final = 2000
"""So many rows of an index are looked at for one page, at most."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One way along one index."""

    place: Key
    """What its cursors begin with."""
    start: Key
    """With what they go on, before its first row."""
    branches: Callable[[int], Sequence[Select[Any]]]
    """The first so many rows, in order; those of several branches are merged."""
    key: Sequence[str]
    """The names of the columns that make the order; together they are unique."""
    fits: Callable[[Columns], Conditions]
    """What must hold of a row besides, given the columns of `branches`."""
    descending: bool = False


def follow(
    connection: Connection, legs: Iterable[Leg], limit: int, most: int = WALK
) -> tuple[list[Row[Any]], Key | None]:
    """Return at most `limit` rows that fit, and the key to go on after; None: there are no more."""
    found: list[Row[Any]] = []
    after: Key | None = None
    for leg in legs:
        if after is not None and (len(found) == limit or most <= 0):
            return found, after
        after = (*leg.place, *leg.start)
        rows = connection.execute(_statement(leg, limit - len(found), most)).all()
        for row in rows:
            if row.fits and len(found) == limit:
                return found, after
            after = (*leg.place, *(getattr(row, name) for name in leg.key))
            if row.fits:
                found.append(row)
        walked = rows[-1].walked if rows else 0
        if walked >= most:
            return found, after
        most -= walked
    return found, None


def _statement(leg: Leg, wanted: int, most: int) -> Select[Any]:
    """Select so many rows that fit, one more, and in any case the last one that was looked at."""
    if not leg.fits(leg.branches(most)[0].subquery().c):
        most = min(most, wanted + 1)
    branches = [branch.subquery() for branch in leg.branches(most)]
    looked_at = branches[0]
    if len(branches) > 1:
        merged = union_all(*(select(branch) for branch in branches)).subquery()
        looked_at = select(merged).order_by(*_ordered(leg, merged)).limit(most).subquery()
    numbered = select(
        looked_at,
        and_(true(), *leg.fits(looked_at.c)).label("fits"),
        func.row_number().over(order_by=_ordered(leg, looked_at)).label("nth"),
        func.count().over().label("walked"),
    ).subquery()
    return (
        select(numbered)
        .where(or_(numbered.c.fits, numbered.c.nth == numbered.c.walked))
        .order_by(numbered.c.nth)
        .limit(wanted + 1)
    )


def _ordered(leg: Leg, rows: FromClause) -> list[ColumnElement[Any]]:
    return [rows.c[name].desc() if leg.descending else rows.c[name].asc() for name in leg.key]
