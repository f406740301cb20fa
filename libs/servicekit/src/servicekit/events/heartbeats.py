"""Heartbeats: that a service is alive, what it does, and that it stops."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from servicekit.events.models import ServiceHeartbeat
from servicekit.events.telemetry import Telemetry

COUNTERS: Final = (
    "n_messages_read",
    "n_bytes_read",
    "n_messages_processed",
    "n_bytes_processed",
    "n_messages_produced",
    "n_bytes_produced",
)

_SHORTEST_SECONDS: Final = 1.0
"""Between two heartbeats, however the problems change."""


class Heartbeats:
    """The heartbeats of one service, as telemetry: nothing here waits.

    `totals` gives what the service has done so far, by the names of the counters (a missing one is 0); what
    was done before this was made is not told. `about` is what the status always says, such as the topic.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        program_id: str,
        service: str,
        version: str,
        interval_seconds: float,
        totals: Callable[[], Mapping[str, int]],
        about: Mapping[str, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._telemetry = telemetry
        self._program_id = program_id[:512]
        self._service = service
        self._version = version
        self._interval = interval_seconds
        self._totals = totals
        self._about = dict(about)
        self._host = socket.gethostname()
        self._told = dict(totals())
        self._clock = clock
        self._next = float("-inf")
        self._last = float("-inf")
        self._problems: dict[str, str] = {}

    def is_due(self, problems: Mapping[str, str]) -> bool:
        """Whether it is time for the next one: the first is due at once, others by the interval.

        When the problems are others than those that were told last, it is due as soon as the last one is a
        second old: nobody should read for a whole interval of what is over.
        """
        now = self._clock()
        if now >= self._next:
            return True
        return now - self._last >= _SHORTEST_SECONDS and dict(problems) != self._problems

    def beat(self, status: Mapping[str, Any]) -> None:
        """Tell that the service runs, and what it has done since the last one."""
        self._last = self._clock()
        self._next = self._last + self._interval
        self._problems = dict(status.get("problems", {}))
        self._tell({"state": "running", **status})

    def stopped(self) -> None:
        """Tell that the service has ended because it should: its last heartbeat."""
        self._tell({"state": "stopped", "problems": {}})

    def _tell(self, status: Mapping[str, Any]) -> None:
        now = dict(self._totals())
        since = {name: max(0, now.get(name, 0) - self._told.get(name, 0)) for name in COUNTERS}
        self._told = now
        self._telemetry.publish(
            ServiceHeartbeat(
                time=time.time(),
                program_id=self._program_id,
                service=self._service,
                host=self._host,
                version=self._version,
                status={**self._about, "interval_seconds": self._interval, **status},
                **since,
            )
        )
