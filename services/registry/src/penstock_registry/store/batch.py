"""What the reader hands over: a batch of what records said, and how far they were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from servicekit.events import COUNTERS, Event, ServiceHeartbeat


@dataclass(frozen=True, slots=True)
class Position:
    """How far a partition was read: the next record's offset, of the topic with this id."""

    topic_id: str
    next_offset: int


@dataclass(frozen=True, slots=True)
class Aside:
    """A record that is no event, kept aside for people: where it is, why, and its first bytes."""

    topic: str
    partition: int
    offset: int
    at: float
    reason: str
    head: bytes


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat. `counters` are as `COUNTERS` names them: what was done since the one before."""

    kind: str
    """"penstock" or "openmsi"."""
    program_id: str
    service: str
    host: str
    version: str
    at: float
    counters: tuple[int, ...]
    status: Mapping[str, Any]
    stopped: bool

    @classmethod
    def of(cls, event: ServiceHeartbeat) -> Self:
        """Take one of ours."""
        return cls(
            kind="penstock",
            program_id=event.program_id,
            service=event.service,
            host=event.host,
            version=event.version,
            at=event.time,
            counters=tuple(getattr(event, name) for name in COUNTERS),
            status=event.status,
            stopped=event.status.get("state") == "stopped",
        )


@dataclass(slots=True)
class Batch:
    """What one transaction learns: events that `knowledge.check` has let pass, and what came with them."""

    events: list[Event] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)
    asides: list[Aside] = field(default_factory=list)
    positions: dict[tuple[str, int], Position] = field(default_factory=dict)
    """By topic and partition."""
