"""How a program that runs the uploader in itself, such as the command line, is told what happens."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Told of each file, in the uploader's thread: every method must return at once.

    Paths are relative to the watched directory.
    """

    def discovered(self, path: str, size: int) -> None:
        """Take note: a file is new or changed, and rests."""

    def started(self, path: str, size: int) -> None:
        """Take note: its first record is on its way."""

    def progress(self, path: str, bytes_acknowledged: int, size: int) -> None:
        """Take note: Kafka has this much of it."""

    def acknowledged(self, path: str, size: int, seconds: float) -> None:
        """Take note: Kafka has all of it, this long after it was seen at rest."""

    def delivered(self, path: str, destination: str) -> None:
        """Take note: a destination has given its receipt."""

    def failed(self, path: str, reason: str) -> None:
        """Take note: it cannot be sent, or a destination has refused it for good."""
