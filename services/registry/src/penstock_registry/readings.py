"""What records said, and how that is learned, whatever it is."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from penstock_registry import metrics
from penstock_registry.records import TopicKind, reason_of
from penstock_registry.store.batch import Aside, Batch, Beat, Position
from servicekit.events import Event
from servicekit.exceptions import NotOurEvent
from servicekit.logs import Limiter

log = logging.getLogger(__name__)
_limiter = Limiter(every_seconds=60)

Place = tuple[str, int]
"""A partition: topic and number."""


class Learner(Protocol):
    """What reading needs of the store."""

    def positions(self) -> dict[Place, Position]:
        """Return how far each partition was read. Raises DatabaseUnavailable."""
        ...

    def learn(self, batch: Batch) -> None:
        """Take a batch and its positions, in one transaction. Raises DatabaseUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """One record: where it was, and what it said."""

    kind: TopicKind
    place: Place
    topic_id: str
    offset: int
    at: float
    """When it was written, by its own timestamp."""
    head: bytes
    said: Event | Beat | Aside | None = None


def put_aside(reading: Reading, problem: Exception) -> Reading:
    """Return the reading of a record that says nothing: it is kept aside, counted and logged."""
    topic, number = reading.place
    reason = reason_of(problem)
    metrics.ASIDE.labels(reading.kind).inc()
    if _limiter.first(topic):
        log.warning("%s, partition %d, offset %d is kept aside: %s", topic, number, reading.offset, reason)
    aside = Aside(
        topic=topic,
        partition=number,
        offset=reading.offset,
        at=reading.at,
        reason=reason,
        head=reading.head,
    )
    return replace(reading, said=aside)


def learn(store: Learner, readings: Sequence[Reading]) -> None:
    """Let the store learn; where it cannot hold a value, find the record and put that one aside.

    Raises DatabaseUnavailable: what was not learned by then is to be read again.
    """
    try:
        store.learn(_batch_of(readings))
    except (StatementError, ValueError, TypeError, OverflowError) as error:
        if not _is_about_a_value(error):
            raise
        if len(readings) > 1:
            middle = len(readings) // 2
            learn(store, readings[:middle])
            learn(store, readings[middle:])
            return
        [bad] = readings
        if isinstance(bad.said, Aside):
            raise  # in our own words, which any database can hold
        said = getattr(error, "orig", None) or error
        problem = NotOurEvent(f"the database cannot hold it: {type(said).__name__}: {said}")
        store.learn(_batch_of([put_aside(bad, problem)]))


def _batch_of(readings: Iterable[Reading]) -> Batch:
    batch = Batch()
    for reading in readings:
        if isinstance(reading.said, Aside):
            batch.asides.append(reading.said)
        elif isinstance(reading.said, Beat):
            batch.beats.append(reading.said)
        elif reading.said is not None:
            batch.events.append(reading.said)
        batch.positions[reading.place] = Position(reading.topic_id, reading.offset + 1)
    return batch


def _is_about_a_value(error: Exception) -> bool:
    """Whether the database, or its driver, refused a value: not a statement, and not for being away."""
    return isinstance(error, DataError | IntegrityError) or not isinstance(error, DBAPIError)
