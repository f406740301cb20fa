"""Is the topic still the same, and can it still carry files? Asked from time to time, by a thread."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from servicekit.exceptions import ConfigurationError, PenstockError
from servicekit.topics import TopicInfo, Topics

log = logging.getLogger(__name__)


class TopicWatch:
    """Describes `topic` every `interval` seconds, and gives `tell` a TopicInfo or an error."""

    def __init__(
        self, topics: Topics, topic: str, interval: float, tell: Callable[[TopicInfo | PenstockError], None]
    ) -> None:
        self._topics = topics
        self._topic = topic
        self._interval = interval
        self._tell = tell
        self._stop = threading.Event()
        self._now = threading.Event()
        self._thread = threading.Thread(target=self._run, name="topic", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def ask_now(self) -> None:
        """Ask without waiting for the next time: something has happened to the producer."""
        self._now.set()

    def stop(self) -> None:
        """End. A question under way is not waited for."""
        self._stop.set()
        self._now.set()

    def _run(self) -> None:
        while True:
            self._now.wait(self._interval)
            self._now.clear()
            if self._stop.is_set():
                return
            try:
                found: TopicInfo | PenstockError = self._topics.describe(self._topic)
            except PenstockError as error:
                found = error
            if not self._stop.is_set():
                self._tell(found)


def say_topic(directory: str, info: TopicInfo, cluster_id: str | None) -> None:
    """Note in the watched directory where its files go: a downloader can refuse to be the way back."""
    told = {"topic": info.name, "topic_id": info.topic_id, "cluster_id": cluster_id}
    path = os.path.join(directory, ".penstock", "uploader", "topic")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as stream:
            json.dump(told, stream)
        os.replace(path + ".new", path)
    except OSError as error:
        log.debug("%s cannot be written (%s)", path, error.strerror)


def refuse_circle(directory: str, info: TopicInfo) -> None:
    """Raise ConfigurationError if the topic's files are delivered into the directory: they would go round."""
    try:
        with open(os.path.join(directory, ".penstock", "downloader", "topic"), encoding="utf-8") as stream:
            told: Any = json.load(stream)
    except (OSError, ValueError):
        return
    for topic in told if isinstance(told, list) else [told]:
        if isinstance(topic, dict) and topic.get("topic_id") == info.topic_id:
            raise ConfigurationError(
                f"{directory!r} is a destination of topic {info.name!r}: files would go round for "
                f"ever; watch "
                "another directory, or use another topic"
            )
