"""What a record says: an event, a heartbeat, or nothing that we understand. Pure.

Who may say what follows from the topic: receipts count only on the receipts topic of the stream that they
name, telemetry only on the events topic. So whoever may write telemetry cannot forge a receipt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from penstock_registry import openmsi
from penstock_registry.knowledge import check, check_not_ahead
from penstock_registry.store.batch import Beat
from servicekit.events import Event, Receipt, decode, receipts_topic
from servicekit.exceptions import NotOurEvent

HEAD_BYTES: Final = 1024
"""So much is kept of a record that was not understood."""
REASON_CHARACTERS: Final = 300
"""So much is kept of why: it may quote what somebody wrote."""


class TopicKind(StrEnum):
    """What is said on a topic."""

    RECEIPTS = "receipts"
    EVENTS = "events"
    OPENMSI = "openmsi"


class KnownTopics:
    """Which topics are read, and what each of them may say.

    `streams` are globs of the topics of streams (none: all), `events` is the topic with telemetry,
    `heartbeats` are OpenMSIStream's.
    """

    def __init__(
        self, *, streams: Iterable[str] = (), events: str | None = None, heartbeats: Iterable[str] = ()
    ) -> None:
        self._kinds = dict.fromkeys(heartbeats, TopicKind.OPENMSI)
        if events:
            self._kinds[events] = TopicKind.EVENTS
        self._receipts = [_pattern_of(receipts_topic(glob)) for glob in streams or ["*"]]

    @property
    def patterns(self) -> list[str]:
        """What to subscribe to: regular expressions all, since a topic may come later."""
        return [*self._receipts, *map(_pattern_of, sorted(self._kinds))]

    def kind_of(self, topic: str) -> TopicKind:
        """Return what is said on a topic that one of the patterns matches."""
        return self._kinds.get(topic, TopicKind.RECEIPTS)

    def understand(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        is_of_file: bool = False,
        written_at: float | None = None,
    ) -> Event | Beat:
        """Return what a record says. Raises NotOurEvent, with the reason, if it says nothing.

        `is_of_file` says that the record has the header of those that carry files; `written_at` is its
        timestamp, None if it has none.
        """
        if is_of_file:
            raise NotOurEvent("a record of a file: what is in files counts as nothing that anybody says")
        if not value:
            raise NotOurEvent("an empty record")
        kind = self.kind_of(topic)
        if kind is TopicKind.OPENMSI:
            beat = openmsi.decode(topic, key, value)
            check_not_ahead("time", beat.at, written_at)
            return beat
        event = decode(value)
        if isinstance(event, Receipt):
            if kind is not TopicKind.RECEIPTS:
                raise NotOurEvent(f"{event.type} counts only on the topic with the receipts of its stream")
            if receipts_topic(event.topic) != topic:
                raise NotOurEvent(f"{event.type} of another stream: {event.topic!r}")
        elif kind is not TopicKind.EVENTS:
            raise NotOurEvent(f"{event.type} counts only on the topic with telemetry")
        check(event, written_at)
        return event


def reason_of(problem: Exception) -> str:
    """Return why a record was not understood, in one bounded line that any database can keep."""
    line = " ".join(str(problem).split())
    safe = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line
    )
    return safe if len(safe) <= REASON_CHARACTERS else safe[: REASON_CHARACTERS - 1] + "…"


def _pattern_of(glob: str) -> str:
    """Return the regular expression of a glob, in the dialect that all builds of librdkafka know."""
    body = re.sub(r"[*?.]", lambda found: {"*": ".*", "?": ".", ".": r"\."}[found[0]], glob)
    return f"^{body}$"
