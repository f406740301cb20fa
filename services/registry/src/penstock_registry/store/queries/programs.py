"""Programs that send heartbeats."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from sqlalchemy import Connection, select

from penstock_registry import health
from penstock_registry.api import models
from penstock_registry.store.queries import rows
from penstock_registry.store.schema import services

_MOST: Final = 1000
_ORDER: Final = ("silent", "alive", "stopped")


def all_of(connection: Connection, now: float, most: int = _MOST) -> list[models.Service]:
    """Return those that were heard of last, in an order that a heartbeat does not change.

    That is: silent ones first, those that stopped last, and by name. One that is silent because another has
    taken its place has stopped.
    """
    newest = select(services).order_by(services.c.last_at.desc(), services.c.kind, services.c.program_id)
    found = [rows.service(row, now) for row in connection.execute(newest.limit(most))]
    youngest: dict[tuple[object, ...], float] = defaultdict(float)
    for one in found:
        youngest[_role(one)] = max(youngest[_role(one)], one.first_at)
    known = [
        one.model_copy(update={"state": "stopped"})
        if one.state == "silent" and health.is_replaced(one.last_at, youngest[_role(one)])
        else one
        for one in found
    ]
    return sorted(known, key=lambda one: (_ORDER.index(one.state), one.service, one.program_id, one.kind))


def _role(program: models.Service) -> tuple[object, ...]:
    """Return what a program does: any other that does the same can take its place."""
    said = program.status
    if program.kind != "penstock" or not said.get("destination"):
        return (program.kind, program.program_id)
    return (program.kind, program.service, str(said.get("topic")), str(said["destination"]))
