"""How long a database is waited for, and how a wait is given up.

A server that hangs keeps none of its own limits, and a network that drops packets tells nobody. So we look at
the clock ourselves while an answer is awaited; a connection that is given up is closed, since what would come
from it then belongs to no question.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from typing_extensions import override

LOCK_SECONDS: Final = 10.0
"""So long one writer waits for another."""
READING_SECONDS: Final = 20.0
WRITING_SECONDS: Final = 60.0
"""So long one statement may take."""
_SLOW_SECONDS: Final = 10.0
"""What takes longer is said."""
LATE_SECONDS: Final = 5.0
"""The server is the first to give up, as long as it lives: it says why."""
_STOP_SECONDS: Final = 2.0
"""A stop lets what is under way end, for so long."""
_LOOK_SECONDS: Final = 0.1

T = TypeVar("T")


class GivenUp(psycopg.OperationalError):
    """An answer did not come in time, or nobody wants it any more."""


class Patience:
    """The patience of one program with its database. Any thread may ask."""

    def __init__(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Ask `stopping`, while something waits, whether the program has been told to stop."""
        self._stopping = stopping
        self._stop_began: float | None = None
        self._numbers = itertools.count()
        self._under_way: dict[int, tuple[float, str]] = {}
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        """Whether a stop has waited for long enough."""
        if not self._stopping():
            return False
        if self._stop_began is None:
            self._stop_began = time.monotonic()
        return time.monotonic() - self._stop_began > _STOP_SECONDS

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Note that this is under way."""
        number = next(self._numbers)
        with self._lock:
            self._under_way[number] = (time.monotonic(), what)
        try:
            yield
        finally:
            with self._lock:
                del self._under_way[number]

    @property
    def problem(self) -> str | None:
        """What takes too long just now; None: nothing."""
        with self._lock:
            began, what = min(self._under_way.values(), default=(float("inf"), ""))
        seconds = time.monotonic() - began
        if seconds < _SLOW_SECONDS:
            return None
        return (
            f"the database has not ended {what} for {seconds:.0f} s: it hangs or is slow, or another "
            "registry that hangs has locked it"
        )


class PatientConnection(psycopg.Connection[Any]):
    """A connection to PostgreSQL that does not wait for ever."""

    patience: Patience | None = None
    seconds: float = READING_SECONDS + LATE_SECONDS
    """So long the server may say nothing."""

    @override
    def wait(self, gen: PQGen[T], interval: float = _LOOK_SECONDS, timeout: float | None = None) -> T:
        # All that is sent and received comes through here.
        return super().wait(self._bounded(gen, time.monotonic()), min(interval, _LOOK_SECONDS), timeout)

    def _bounded(self, gen: PQGen[T], began: float) -> PQGen[T]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready:
                    self._look(began)
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result

    def _look(self, began: float) -> None:
        if self.patience is not None and self.patience.is_over:
            self.close()
            raise GivenUp("given up: the registry stops")
        if time.monotonic() - began > self.seconds:
            self.close()
            raise GivenUp(f"it has said nothing for {self.seconds:.0f} s")
