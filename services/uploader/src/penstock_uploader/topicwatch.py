"""Are the topic and that of its receipts as they were? Asked from time to time, by a thread."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from servicekit.events import receipts_topic
from servicekit.exceptions import PenstockError
from servicekit.topics import TopicInfo, Topics

log = logging.getLogger(__name__)


class TopicWatch:
    """Describes `topic` every `interval` seconds, and gives `tell` a TopicInfo or an error.

    `tell_receipts`, if given, hears what the topic of its receipts is like, as often as that can be known.
    """

    def __init__(
        self,
        topics: Topics,
        topic: str,
        interval: float,
        tell: Callable[[TopicInfo | PenstockError], None],
        tell_receipts: Callable[[TopicInfo], None] | None = None,
    ) -> None:
        self._topics = topics
        self._topic = topic
        self._interval = interval
        self._tell = tell
        self._tell_receipts = tell_receipts
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
            if self._tell_receipts is not None:
                with contextlib.suppress(PenstockError):  # who reads it complains
                    self._tell_receipts(self._topics.describe(receipts_topic(self._topic)))
