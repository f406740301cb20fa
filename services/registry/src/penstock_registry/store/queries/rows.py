"""Rows of the tables, as the API shows them: pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row

from penstock_registry import advice, health
from penstock_registry.api import models
from penstock_registry.knowledge import FileRow, Outcome, failed_for, rejected_by
from servicekit.events import COUNTERS

_ANSWERED: Final = frozenset(outcome.value for outcome in Outcome)
"""States that a file has only by an answer: Kafka has it, though that may not have been heard."""


@dataclass(frozen=True, slots=True)
class Topics:
    """What is known of streams, by their keys."""

    names: Mapping[int, str]
    destinations: Mapping[int, Sequence[str]]
    """Those that have ever answered, in order."""

    def of(self, stream_id: int) -> str:
        """Return the topic of a stream."""
        return self.names.get(stream_id, "")


def shown(path: bytes) -> tuple[str, str | None]:
    """Return a path as text, and exactly, in base64, if the text is not exact."""
    try:
        return path.decode(), None
    except UnicodeDecodeError:
        return path.decode("utf-8", "replace"), base64.b64encode(path).decode("ascii")


def digest(raw: bytes | None) -> str | None:
    """Return a digest as `b3sum` prints it."""
    return None if raw is None else raw.hex()


def is_current(answered: UUID, version: UUID | None) -> bool:
    """Whether an answer to this upload is about the version that the source has now."""
    return version is None or answered >= version


def file_fields(row: Row[Any], topics: Topics) -> dict[str, Any]:
    """Return the fields of a `models.File`."""
    path, path_base64 = shown(row.path)
    answers = [answer(name, said, row.version_id) for name, said in sorted(row.answers.items())]
    given_up_for, by = _refusals(row)
    return {
        "id": row.id,
        "stream": topics.of(row.stream_id),
        "source": row.source_id,
        "path": path,
        "path_base64": path_base64,
        "size": row.size,
        "state": row.state,
        "reason": row.reason,
        "detail": _detail(row, by, answers),
        "advice": advice.about(row.reason),
        "by": by,
        "failed_for": given_up_for,
        "waiting_for": _waiting_for(row, topics, given_up_for, answers),
        "bytes_done": row.bytes_done,
        "digest": digest(row.digest),
        "upload_id": row.upload_id,
        "version_id": row.version_id,
        "discovered_at": row.discovered_at,
        "uploaded_at": row.uploaded_at,
        "first_at": row.first_at,
        "last_at": row.last_at,
        "answers": answers,
    }


def file(row: Row[Any], topics: Topics) -> models.File:
    """Return a file."""
    return models.File(**file_fields(row, topics))


def _refusals(row: Row[Any]) -> tuple[str | None, str | None]:
    """Return which destination the source has given up, and which one the reason is of."""
    if row.failure is None and row.state != "rejected":
        return None, None
    known = FileRow(*(getattr(row, name) for name in FileRow._fields))
    return failed_for(known), rejected_by(known) if row.state == "rejected" else None


def _waiting_for(
    row: Row[Any], topics: Topics, given_up_for: str | None, answers: list[models.Answer]
) -> list[str]:
    """Return who has not answered yet, while Kafka has all of the file."""
    if row.uploaded_at is None and row.state not in _ANSWERED:
        return []
    done = {answer.destination for answer in answers if answer.current} | {given_up_for}
    return [name for name in topics.destinations.get(row.stream_id, ()) if name not in done]


def _detail(row: Row[Any], by: str | None, answers: list[models.Answer]) -> str | None:
    """Return the reason in a sentence: the destination's own words before what the source says of them."""
    said = [a.detail for a in answers if a.current and a.outcome == "rejected" and a.destination == by]
    if said and said[0]:
        return said[0]
    told = row.failure if row.state in {"failed", "rejected"} else None
    is_told = told and (row.state == "failed" or told.get("destination") == by)
    return (told.get("detail") or None) if told and is_told else None


def answer(destination: str, said: Mapping[str, Any], version: UUID | None) -> models.Answer:
    """Return the last word of a destination, from a file's `answers`."""
    upload = UUID(said["upload_id"])
    return models.Answer(
        destination=destination,
        outcome=said["outcome"],
        current=is_current(upload, version),
        upload_id=upload,
        digest=said.get("digest"),
        reason=said.get("reason"),
        detail=said.get("detail"),
        at=said["at"],
    )


def receipt(row: Row[Any], topics: Topics, source: str | None, path: bytes | None) -> models.Receipt:
    """Return a receipt, with what is known of its upload's file."""
    text, exact = (None, None) if path is None else shown(path)
    given, given_exact = (None, None) if row.delivered_as is None else shown(row.delivered_as)
    return models.Receipt(
        upload_id=row.upload_id,
        stream=topics.of(row.stream_id),
        destination=row.destination,
        outcome=row.outcome,
        at=row.at,
        source=source,
        path=text,
        path_base64=exact,
        size=row.size,
        digest=digest(row.digest),
        delivered_as=given,
        delivered_as_base64=given_exact,
        reason=row.reason,
        detail=row.detail,
        advice=advice.about(row.reason),
        closed_at=row.closed_at,
        visible_at=row.visible_at,
        topic_id=row.topic_id,
        partition=row.partition,
        offset=row.offset,
    )


def service(row: Row[Any], now: float) -> models.Service:
    """Return a program, alive or not."""
    status = dict(row.status)
    told = status.get("problems")
    problems = [f"{name}: {text}" for name, text in sorted(told.items())] if isinstance(told, dict) else []
    return models.Service(
        kind=row.kind,
        program_id=row.program_id,
        service=row.service,
        host=row.host,
        version=row.version,
        state=health.service_state(
            row.kind,
            last_at=row.last_at,
            interval_seconds=row.interval_seconds,
            stopped=row.stopped,
            now=now,
        ),
        problems=problems,
        first_at=row.first_at,
        last_at=row.last_at,
        interval_seconds=row.interval_seconds,
        totals={name: getattr(row, name) for name in COUNTERS},
        status=status,
    )


def lost_range(row: Row[Any], topics: Topics) -> models.LostRange:
    """Return a lost range."""
    return models.LostRange(
        stream=topics.of(row.stream_id),
        destination=row.destination,
        topic_id=row.topic_id,
        partition=row.partition,
        from_offset=row.from_offset,
        to_offset=row.to_offset,
        at=row.at,
    )
