"""What programs say of themselves, summed: each heartbeat once, in whatever order they come."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, select, tuple_

from penstock_registry.knowledge.rows import least
from penstock_registry.store import upserts
from penstock_registry.store.batch import Beat
from penstock_registry.store.schema import COUNTERS, heartbeats, services
from penstock_registry.store.upserts import upsert

REMEMBERED_SECONDS: Final = 86_400.0
"""Heartbeats are told from their repetitions for so long; what is older than this is taken for counted."""
_LARGEST: Final = 2**63 - 1


def learn_beats(connection: Connection, beats: Iterable[Beat]) -> None:
    """Add heartbeats to their programs' sums."""
    by_program: dict[tuple[str, str], dict[float, Beat]] = {}
    for beat in beats:
        ats = by_program.setdefault((beat.kind, beat.program_id), {})
        known = ats.get(beat.at)
        if known is None or _order(known) < _order(beat):
            ats[beat.at] = beat
    rows = connection.execute(
        select(*services.c).where(tuple_(services.c.kind, services.c.program_id).in_(list(by_program)))
    )
    programs = {(row.kind, row.program_id): row._asdict() for row in rows}
    changed: list[upserts.Row] = []
    counted: list[upserts.Row] = []
    for key, ats in sorted(by_program.items()):
        program = programs.get(key)
        fresh = _fresh(connection, key, ats, program)
        if fresh:
            changed.append(tuple(_summed(program, key, fresh).values()))
            counted += [(*key, beat.at, *beat.counters) for beat in fresh]
    upsert(connection, services, changed, upserts.replaced)
    upsert(connection, heartbeats, counted, None)


def _fresh(
    connection: Connection, key: tuple[str, str], ats: dict[float, Beat], program: dict[str, Any] | None
) -> list[Beat]:
    """Return the heartbeats that are in no sum yet, in order of time."""
    newest = max(ats) if program is None else max(*ats, program["last_at"])
    possible = [beat for at, beat in sorted(ats.items()) if at >= newest - REMEMBERED_SECONDS]
    old = [beat.at for beat in possible if program is not None and beat.at <= program["last_at"]]
    if not old:
        return possible
    its = (heartbeats.c.kind == key[0]) & (heartbeats.c.program_id == key[1])
    known = set(
        connection.scalars(
            select(heartbeats.c.at).where(its, heartbeats.c.at >= min(old), heartbeats.c.at <= max(old))
        )
    )
    return [beat for beat in possible if beat.at not in known]


def _summed(program: dict[str, Any] | None, key: tuple[str, str], fresh: list[Beat]) -> dict[str, Any]:
    newest = fresh[-1]
    row: dict[str, Any] = program or {
        **dict(zip(("kind", "program_id"), key, strict=True)),
        "service": "",
        "host": "",
        "version": "",
        "first_at": newest.at,
        "last_at": -1.0,
        "interval_seconds": None,
        "stopped": False,
        "status": {},
        **dict.fromkeys(COUNTERS, 0),
    }
    # Intervals are between heartbeats that follow each other; one that came late is not waited for.
    last = row["last_at"] if program else None
    for beat in fresh:
        if last is not None and beat.at > last:
            row["interval_seconds"] = least(row["interval_seconds"], beat.at - last)
        last = beat.at if last is None else max(last, beat.at)
        for name, count in zip(COUNTERS, beat.counters, strict=True):
            row[name] = min(row[name] + count, _LARGEST)
    if newest.at > row["last_at"]:
        row |= {
            "service": newest.service,
            "host": newest.host,
            "version": newest.version,
            "stopped": newest.stopped,
            "status": dict(newest.status),
        }
    row["first_at"] = min(row["first_at"], fresh[0].at)
    row["last_at"] = max(row["last_at"], newest.at)
    return row


def _order(beat: Beat) -> tuple[Any, ...]:
    """Which of two heartbeats of the same moment stands."""
    status = json.dumps(beat.status, sort_keys=True, default=dict)
    return beat.counters, beat.stopped, beat.service, beat.host, beat.version, status
