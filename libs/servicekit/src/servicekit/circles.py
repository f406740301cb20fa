"""A directory that is source and destination of one topic: its files would go round for ever.

Each side notes its topics in the directory, in `.penstock/uploader/topic` and `.penstock/downloader/topic`,
and reads the other's note. A note is a JSON list of objects with `topic` and `topic_id`.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Literal

from servicekit.exceptions import ConfigurationError
from servicekit.topics import TopicInfo

log = logging.getLogger(__name__)

Part = Literal["uploader", "downloader"]

_DOES: dict[Part, str] = {
    "uploader": "its files are sent to topic {topic!r}",
    "downloader": "files of topic {topic!r} are delivered into it",
}


def note_topic(directory: str, part: Part, topic: TopicInfo) -> None:
    """Note that `part` uses the directory for this topic, beside others that it uses it for.

    A directory that cannot be written is left alone: the note is for others' sake.
    """
    path = _note(directory, part)
    others = [name for name in _noted(path) if name[0] != topic.name]
    told = [
        {"topic": name, "topic_id": topic_id} for name, topic_id in [*others, (topic.name, topic.topic_id)]
    ]
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as stream:
            json.dump(told, stream)
        os.replace(stream.name, path)
    except OSError as error:
        log.debug("%s cannot be written (%s)", path, error.strerror)


def refuse_circle(directory: str, part: Part, topic: TopicInfo) -> None:
    """Raise ConfigurationError if `part` may not use the directory for this topic: the other part does."""
    other: Part = "downloader" if part == "uploader" else "uploader"
    path = _note(directory, other)
    if any(topic_id == topic.topic_id for _, topic_id in _noted(path)):
        raise ConfigurationError(
            f"{directory!r}: {_DOES[other].format(topic=topic.name)}, and would go round for ever; use "
            f"another directory or another topic (or remove {path!r}, if that is no longer so)"
        )


def _note(directory: str, part: Part) -> str:
    return os.path.join(directory, ".penstock", part, "topic")


def _noted(path: str) -> list[tuple[str, str]]:
    """Give names and ids of the topics in a note; none where there is no note that can be read."""
    try:
        with open(path, encoding="utf-8") as stream:
            told = json.load(stream)
        return [(str(topic["topic"]), str(topic["topic_id"])) for topic in told]
    except (OSError, ValueError, TypeError, KeyError):
        return []
