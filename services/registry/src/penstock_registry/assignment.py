"""Where reading begins in a partition: pure."""

from __future__ import annotations

from dataclasses import dataclass

from penstock_registry.store.batch import Position
from servicekit.topics import LogRange


@dataclass(frozen=True, slots=True)
class Start:
    """Where to read a partition from, and what cannot be read any more."""

    offset: int
    missed: int = 0
    """Records that were deleted before they were read."""


def where_to_start(known: Position | None, topic_id: str, log: LogRange) -> Start:
    """Return where to go on, knowing how far the partition was read, and its log as it is now.

    A topic that was made again, or whose log has lost its end (an unclean election), is read from its start:
    to learn something twice changes nothing.
    """
    if known is None or known.topic_id != topic_id or known.next_offset > log.end:
        return Start(log.start)
    return Start(max(known.next_offset, log.start), max(0, log.start - known.next_offset))
