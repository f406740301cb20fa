"""When a file is ready to be sent. Pure: told what was seen and when, it says what to look at next.

A file that was seen to be closed (or moved in) is ready at once; one that was only seen (by a scan, or
because the file system tells no more) when its size and times have not changed for a while. A path of which
versions were sent lately waits longer each time, so that a program that opens, appends and closes for every
line is not sent once per line, and one that never stops is sent now and then all the same.

Times are seconds of any steady clock.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import Final

from servicekit.filesystem import Fingerprint

MEMORY_SECONDS: Final = 3600.0
"""Versions and aborts longer ago than this count no more."""
MAX_BACKOFF_SECONDS: Final = 900.0
"""A file that never rests is still sent this often."""


def backoff_seconds(recent: int) -> float:
    """Say how long to wait after so many versions within an hour: 1, 2, 4 ... s, 15 min at most."""
    return 0.0 if recent <= 0 else min(MAX_BACKOFF_SECONDS, 2.0 ** min(recent - 1, 20))


@dataclass(slots=True)
class _Waiting:
    ready_at: float
    not_before: float
    closed: bool
    seen: Fingerprint | None
    ticket: int


@dataclass(frozen=True, slots=True)
class Due:
    """A path whose time has come; if `unless_changed` is set, only if it still looks like this."""

    path: str
    unless_changed: Fingerprint | None


class Settle:
    """The paths that something was seen of, and that are not yet ready."""

    def __init__(self, settle_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self._waiting: dict[str, _Waiting] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._tickets = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, path: str) -> bool:
        return path in self._waiting

    def closed(self, path: str, now: float, not_before: float = 0.0) -> None:
        """Note that a writer has closed the file, or that it was moved here complete."""
        known = self._waiting.get(path)
        if known is not None:
            not_before = max(not_before, known.not_before)
            if known.closed:
                return
        self._wait(path, _Waiting(max(now, not_before), not_before, True, None, next(self._tickets)))

    def seen(
        self,
        path: str,
        fingerprint: Fingerprint,
        now: float,
        *,
        quiet_seconds: float = 0.0,
        not_before: float = 0.0,
    ) -> None:
        """Note that the file looks like this; by its own times it has been so for `quiet_seconds`."""
        known = self._waiting.get(path)
        if known is not None:
            if known.closed or known.seen == fingerprint:
                return
            not_before = max(not_before, known.not_before)
            quiet_seconds = 0.0
        ready_at = max(now + self._settle_seconds - max(0.0, quiet_seconds), not_before, now)
        self._wait(path, _Waiting(ready_at, not_before, False, fingerprint, next(self._tickets)))

    def retry(self, path: str, at: float) -> None:
        """Look at the path again at this time, if nothing new was seen of it by then."""
        if path not in self._waiting:
            self._wait(path, _Waiting(at, at, True, None, next(self._tickets)))

    def forget(self, path: str) -> None:
        """Drop what is known of the path."""
        self._waiting.pop(path, None)

    def hurry(self, now: float) -> None:
        """Let all files that are closed be ready: somebody says that their writers are done."""
        for path, waiting in list(self._waiting.items()):
            if waiting.closed and waiting.ready_at > now:
                self._wait(path, _Waiting(now, 0.0, True, None, next(self._tickets)))

    def due(self, now: float, limit: int) -> list[Due]:
        """Take out at most `limit` paths whose time has come."""
        found: list[Due] = []
        while self._heap and self._heap[0][0] <= now and len(found) < limit:
            _, ticket, path = heapq.heappop(self._heap)
            waiting = self._waiting.get(path)
            if waiting is not None and waiting.ticket == ticket:
                del self._waiting[path]
                found.append(Due(path, waiting.seen))
        return found

    def next_due(self) -> float | None:
        """When `due` will next give something; None if nothing waits."""
        while self._heap:
            at, ticket, path = self._heap[0]
            waiting = self._waiting.get(path)
            if waiting is not None and waiting.ticket == ticket:
                return at
            heapq.heappop(self._heap)
        return None

    def paths(self) -> list[str]:
        """Give the paths that wait."""
        return list(self._waiting)

    def _wait(self, path: str, waiting: _Waiting) -> None:
        self._waiting[path] = waiting
        heapq.heappush(self._heap, (waiting.ready_at, waiting.ticket, path))
