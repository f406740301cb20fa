"""Which topics can be the topic of a stream."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from servicekit.events.models import EVENTS_TOPIC, receipts_topic

_RECEIPTS_SUFFIX = receipts_topic("")


def refuse_as_stream(topic: str, events_topic: str | None = EVENTS_TOPIC) -> str:
    """Return the topic. Raises ValueError if it is there for what is said of files.

    A file that fits in one record is that record's value: on such a topic, whoever may send files could say
    that any of them has arrived.
    """
    if topic.endswith(_RECEIPTS_SUFFIX):
        raise ValueError(f"names ending with {_RECEIPTS_SUFFIX} are kept for receipts: choose another topic")
    if topic in (EVENTS_TOPIC, events_topic):
        raise ValueError(f"{topic} is kept for telemetry: choose another topic")
    return topic


StreamTopic = Annotated[str, AfterValidator(refuse_as_stream)]
"""The name of a topic that files go to."""
