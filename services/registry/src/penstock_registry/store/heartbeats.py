"""What programs say of themselves, summed: each heartbeat once, in whatever order they come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Connection, select, tuple_

from penstock_registry.store import upserts
from penstock_registry.store.batch import Beat
from penstock_registry.store.schema import heartbeats, services
from penstock_registry.store.upserts import upsert
from servicekit.events import COUNTERS

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
    new = {
        key: fresh
        for key, ats in sorted(by_program.items())
        if (fresh := _fresh(connection, key, ats, programs.get(key)))
    }
    counted = [(*key, beat.at, *beat.counters) for key, fresh in new.items() for beat in fresh]
    upsert(connection, heartbeats, counted, None)
    changed = []
    for key, fresh in new.items():
        row = _summed(programs.get(key), key, fresh)
        row["interval_seconds"] = _interval(connection, key, row["status"])
        changed.append(tuple(row.values()))
    upsert(connection, services, changed, upserts.replaced)


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
    for beat in fresh:
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


def _interval(connection: Connection, key: tuple[str, str], status: Mapping[str, Any]) -> float | None:
    """Return how often a program sends heartbeats, in seconds; None as long as nobody can know.

    Ours say it. Of the others it is the longer of their last two intervals: one around a restart is short.
    """
    told = status.get("interval_seconds")
    if isinstance(told, int | float) and not isinstance(told, bool) and told > 0:
        return float(told)
    its = (heartbeats.c.kind == key[0]) & (heartbeats.c.program_id == key[1])
    last = select(heartbeats.c.at).where(its).order_by(heartbeats.c.at.desc()).limit(3)
    ats = connection.scalars(last).all()
    return max((later - earlier for later, earlier in pairwise(ats)), default=None)


def _order(beat: Beat) -> tuple[Any, ...]:
    """Which of two heartbeats of the same moment stands."""
    status = json.dumps(beat.status, sort_keys=True, default=dict)
    return beat.counters, beat.stopped, beat.service, beat.host, beat.version, status
