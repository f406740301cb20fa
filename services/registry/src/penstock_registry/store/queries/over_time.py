"""Throughput over time."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from sqlalchemy import Connection, select

from penstock_registry.api import models
from penstock_registry.exceptions import BadQuestion
from penstock_registry.store.queries.rows import Topics
from penstock_registry.store.schema import stream_key, throughput

MOST_POINTS: Final = 20_000
_MOST_STEPS: Final = 1500
DEFAULT_STEPS: Final = 60


def series(
    connection: Connection,
    topics: Topics,
    *,
    stream: str | None,
    destination: str | None,
    since: float | None,
    until: float | None,
    step: int,
    now: float,
) -> models.Throughput:
    """Return what happened in each step. Raises BadQuestion if that is too much to draw."""
    to = int((now if until is None else until) // step + 1) * step
    begin = to - DEFAULT_STEPS * step if since is None else int(since // step) * step
    if (to - begin) // step > _MOST_STEPS:
        raise BadQuestion(f"more than {_MOST_STEPS} steps: ask for a shorter time, or step=3600")
    t = throughput.c
    query = select(t.stream_id, t.destination, t.begins_at, t.files, t.bytes).where(
        t.step == step, t.begins_at >= begin, t.begins_at < to
    )
    if stream is not None:
        query = query.where(t.stream_id == stream_key(stream))
    if destination is not None:
        query = query.where(t.destination == destination)
    found = connection.execute(
        query.order_by(t.stream_id, t.destination, t.begins_at).limit(MOST_POINTS + 1)
    ).all()
    if len(found) > MOST_POINTS:
        raise BadQuestion(f"more than {MOST_POINTS} points: ask for one stream, or for a shorter time")
    points: dict[tuple[str, str], list[dict[str, int]]] = defaultdict(list)
    for key, name, begins_at, files, size in found:
        points[topics.of(key), name].append({"at": begins_at, "files": files, "bytes": size})
    return models.Throughput(
        step_seconds=step,
        since=begin,
        until=to,
        series=[
            models.Series.model_validate({"stream": stream, "destination": destination, "points": its})
            for (stream, destination), its in sorted(points.items())
        ],
    )
