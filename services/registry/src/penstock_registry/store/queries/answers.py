"""Asking what a destination has said of a file, in SQL: `files.answers` is a JSON object by destination."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Text, Uuid, and_, cast, func, or_, select, type_coerce

from penstock_registry.store.queries.walking import Columns

OUTCOMES = frozenset({"delivered", "skipped", "rejected"})


def seen_by(
    destination: str, states: frozenset[str], columns: Columns, *, postgresql: bool
) -> ColumnElement[bool]:
    """Return what holds of the files that one destination sees in one of these states.

    delivered, skipped, rejected: that is its current answer; uploaded: Kafka has the file, and the
    destination has no current answer; any other: the file's own state. No states: it has a current answer.
    """
    said = _by_name if postgresql else _by_walking
    outcome, upload = (
        said(columns.answers, destination, "outcome"),
        said(columns.answers, destination, "upload_id"),
    )
    uuid = cast(upload, Uuid) if postgresql else type_coerce(func.replace(upload, "-", ""), Uuid)
    answered = and_(outcome.is_not(None), or_(columns.version_id.is_(None), uuid >= columns.version_id))
    if not states:
        return answered
    ways: list[ColumnElement[bool]] = []
    if outcomes := sorted(states & OUTCOMES):
        ways.append(and_(answered, outcome.in_(outcomes)))
    if "uploaded" in states:
        in_kafka = or_(columns.uploaded_at.is_not(None), columns.state.in_(sorted(OUTCOMES)))
        ways.append(and_(in_kafka, ~answered))
    if others := sorted(states - OUTCOMES - {"uploaded"}):
        ways.append(columns.state.in_(others))
    return or_(*ways)


def _by_name(answers: ColumnElement[Any], destination: str, field: str) -> ColumnElement[Any]:
    return answers.op("->", return_type=answers.type)(destination).op("->>", return_type=Text())(field)


def _by_walking(answers: ColumnElement[Any], destination: str, field: str) -> ColumnElement[Any]:
    # Not by a JSON path: one cannot be written for every name that a destination may have.
    each: FromClause = func.json_each(answers).table_valued("key", "value")
    value = func.json_extract(each.c.value, f"$.{field}", type_=Text())
    return select(value).select_from(each).where(each.c.key == destination).scalar_subquery()
