"""What is known of each stream at a glance, in a few statements however many streams there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, Float, Row, Select, case, cast, func, select

from penstock_registry import health
from penstock_registry.api import models
from penstock_registry.knowledge.sums import MOST
from penstock_registry.store.schema import (
    IN_KAFKA,
    counts,
    lost_ranges,
    stream_key,
    streams,
    throughput,
    totals,
)

MINUTES: Final = 60
RATE_SECONDS: Final = 60
_RATE_STEP: Final = 10
_OUTCOMES: Final = ("delivered", "skipped", "rejected")
_NOTHING: Final = models.Amount()


@dataclass(slots=True)
class _Facts:
    """What the tables say of one stream."""

    counted: dict[str, dict[str, models.Amount]] = field(default_factory=lambda: defaultdict(dict))
    """By destination ('': all files by state), by state."""
    answered_at: dict[str, float] = field(default_factory=dict)
    """When each destination last answered ('': when Kafka last had all of an upload)."""
    lost_at: dict[str, float] = field(default_factory=dict)
    recent: dict[str, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    """By destination ('': uploads): begin, files, bytes of this minute and the one before."""
    minutes: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Begin, files uploaded, bytes uploaded, bytes delivered; in order."""


def all_of(
    connection: Connection, now: float, services: Iterable[models.Service], topic: str | None = None
) -> list[models.Stream]:
    """Return all streams, or the one of this topic, in the order of their topics."""
    key = None if topic is None else stream_key(topic)
    known = connection.execute(_only(select(streams), streams.c.id, key).order_by(streams.c.topic)).all()
    facts = _facts(connection, now, key)
    programs = list(services)
    return [_stream(row, facts[row.id], programs, now) for row in known]


def _only(query: Select[Any], column: ColumnElement[int], key: int | None) -> Select[Any]:
    return query if key is None else query.where(column == key)


def _facts(connection: Connection, now: float, key: int | None) -> Mapping[int, _Facts]:
    facts: dict[int, _Facts] = defaultdict(_Facts)
    for stream, destination, state, files, size in connection.execute(
        _only(select(counts), counts.c.stream_id, key).where(counts.c.files > 0)
    ):
        facts[stream].counted[destination][state] = models.Amount(files=files, bytes=size)
    answered = _only(
        select(totals.c.stream_id, totals.c.destination, func.max(totals.c.last_at)).group_by(
            totals.c.stream_id, totals.c.destination
        ),
        totals.c.stream_id,
        key,
    )
    for stream, destination, at in connection.execute(answered):
        facts[stream].answered_at[destination] = at
    lost = _only(
        select(lost_ranges.c.stream_id, lost_ranges.c.destination, func.max(lost_ranges.c.at))
        .where(lost_ranges.c.at >= now - health.LOST_SECONDS)
        .group_by(lost_ranges.c.stream_id, lost_ranges.c.destination),
        lost_ranges.c.stream_id,
        key,
    )
    for stream, destination, at in connection.execute(lost):
        facts[stream].lost_at[destination] = at
    _read_throughput(connection, now, key, facts)
    return facts


def _read_throughput(connection: Connection, now: float, key: int | None, facts: dict[int, _Facts]) -> None:
    minute = _minute(now)
    t = throughput.c
    recent = select(t.stream_id, t.destination, t.begins_at, t.files, t.bytes).where(
        t.step == 60, t.begins_at >= minute - 60, t.begins_at <= minute
    )
    for stream, destination, begins_at, files, size in connection.execute(_only(recent, t.stream_id, key)):
        facts[stream].recent[destination].append((begins_at, files, size))
    uploads = t.destination == ""
    picture = (
        select(
            t.stream_id,
            t.begins_at,
            _sum_of(case((uploads, t.files), else_=0)),
            _sum_of(case((uploads, t.bytes), else_=0)),
            _sum_of(case((uploads, 0), else_=t.bytes)),
        )
        .where(t.step == 60, t.begins_at > minute - 60 * MINUTES, t.begins_at <= minute)
        .group_by(t.stream_id, t.begins_at)
        .order_by(t.stream_id, t.begins_at)
    )
    for stream, *minute_of_it in connection.execute(_only(picture, t.stream_id, key)):
        facts[stream].minutes.append(tuple(minute_of_it))


def _sum_of(amounts: ColumnElement[int]) -> ColumnElement[int]:
    # As floats: SQLite's sum of integers can overflow, PostgreSQL's has digits that take long to read.
    total = func.sum(cast(amounts, Float))
    return cast(case((total > MOST, MOST), else_=total), BigInteger)


def _minute(now: float) -> int:
    return int(now) // 60 * 60


def _stream(row: Row[Any], facts: _Facts, programs: list[models.Service], now: float) -> models.Stream:
    by_state = facts.counted.get("", {})
    in_kafka = by_state.pop(IN_KAFKA, _NOTHING)
    names = sorted(({*facts.counted, *facts.answered_at, *facts.lost_at}) - {""})
    destinations = [_destination(name, facts, in_kafka, now) for name in names]
    uploads = [begins_at for begins_at, files, _, _ in facts.minutes if files]
    its_programs = [program for program in programs if _serves(program, row.topic, names)]
    silent = [_known_as(program) for program in its_programs if program.state == "silent"]
    state, problems = health.stream_health(
        health.StreamFacts(
            topic=row.topic,
            last_at=row.last_at,
            failed=by_state.get("failed", _NOTHING).files,
            rejected=by_state.get("rejected", _NOTHING).files,
            destinations=[
                health.DestinationFacts(
                    name=destination.name,
                    lag_files=destination.lag.files,
                    last_at=destination.last_at,
                    waiting_since=health.waiting_since(uploads, destination.last_at),
                    lost_at=facts.lost_at.get(destination.name),
                    rejected=destination.rejected.files,
                    downloaders=[one.state for one in its_programs if _fills(one, destination.name)],
                )
                for destination in destinations
            ],
            silent=silent,
        ),
        now,
    )
    rates = [destination.rate for destination in destinations]
    return models.Stream(
        topic=row.topic,
        health=state,
        problems=problems,
        files=by_state,
        uploaded=_rate(facts, "", now),
        delivered=models.Rate(
            files_per_second=sum(rate.files_per_second for rate in rates),
            bytes_per_second=sum(rate.bytes_per_second for rate in rates),
        ),
        destinations=destinations,
        bytes_by_minute=_picture(facts.minutes, now),
        first_at=row.first_at,
        last_at=row.last_at,
    )


def _destination(name: str, facts: _Facts, in_kafka: models.Amount, now: float) -> models.Destination:
    answered = {outcome: facts.counted.get(name, {}).get(outcome, _NOTHING) for outcome in _OUTCOMES}
    done = _sum(answered.values())
    return models.Destination(
        name=name,
        delivered=answered["delivered"],
        rejected=answered["rejected"],
        skipped=answered["skipped"],
        lag=models.Amount(
            files=max(0, in_kafka.files - done.files), bytes=max(0, in_kafka.bytes - done.bytes)
        ),
        rate=_rate(facts, name, now),
        last_at=facts.answered_at.get(name),
    )


def _sum(amounts: Iterable[models.Amount]) -> models.Amount:
    files = size = 0
    for amount in amounts:
        files, size = files + amount.files, size + amount.bytes
    return models.Amount(files=files, bytes=size)


def _rate(facts: _Facts, name: str, now: float) -> models.Rate:
    """Return what happened in the last 60 s, by second; nothing, if nothing was heard of for so long.

    Minutes are all that is kept: of the one before, that part counts which is not over 60 s ago, as if it had
    happened evenly. The window moves in steps, for numbers that people can read.
    """
    minute = _minute(now)
    last_at = facts.answered_at.get(name)
    if last_at is not None and now - last_at >= RATE_SECONDS:
        return models.Rate()
    over = int(now - minute) // _RATE_STEP * _RATE_STEP
    files = size = 0.0
    for begins_at, some_files, some_bytes in facts.recent.get(name, ()):
        part = 1.0 if begins_at == minute else 1 - over / RATE_SECONDS
        files, size = files + part * some_files, size + part * some_bytes
    return models.Rate(files_per_second=files / RATE_SECONDS, bytes_per_second=size / RATE_SECONDS)


def _picture(minutes: list[tuple[int, int, int, int]], now: float) -> list[int]:
    any_delivered = any(delivered for *_, delivered in minutes)
    picture = [0] * MINUTES
    first = _minute(now) - 60 * (MINUTES - 1)
    for begins_at, _, uploaded, delivered in minutes:
        picture[(begins_at - first) // 60] = delivered if any_delivered else uploaded
    return picture


def _known_as(service: models.Service) -> str:
    return f"{service.service} {service.program_id}"


def _serves(service: models.Service, topic: str, destinations: Iterable[str]) -> bool:
    """Whether a program works for this stream: it says so, or its id is of one of the destinations."""
    said = service.status.get("topic")
    if said is not None:
        return bool(said == topic)
    return service.program_id.rsplit("/", 1)[0] in destinations


def _fills(service: models.Service, destination: str) -> bool:
    """Whether a program is a downloader of this destination."""
    if service.kind != "penstock" or service.service != "downloader":
        return False
    return bool(service.status.get("destination", service.program_id.rsplit("/", 1)[0]) == destination)
