"""Heartbeats: that a service is alive, what it does, and that it stops."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
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


class Heartbeats:
    """The heartbeats of one service, as telemetry: nothing here waits.

    `about` is what its status always says, such as its topic. Totals are counted from the service's start, by
    the names of the counters; those that are missing are 0.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        program_id: str,
        service: str,
        version: str,
        interval_seconds: float,
        about: Mapping[str, Any],
    ) -> None:
        self._telemetry = telemetry
        self._program_id = program_id
        self._service = service
        self._version = version
        self._interval = interval_seconds
        self._about = dict(about)
        self._host = socket.gethostname()
        self._told = dict.fromkeys(COUNTERS, 0)
        self._next = 0.0

    def is_due(self) -> bool:
        """Whether it is time for the next one; the first is due at once."""
        return time.monotonic() >= self._next

    def beat(self, totals: Mapping[str, int], status: Mapping[str, Any]) -> None:
        """Tell that the service runs, and what it has done since the last one."""
        self._next = time.monotonic() + self._interval
        self._tell(totals, {"state": "running", **status})

    def stopped(self, totals: Mapping[str, int]) -> None:
        """Tell that the service stops because it was told to: the last heartbeat."""
        self._tell(totals, {"state": "stopped", "problems": {}})

    def _tell(self, totals: Mapping[str, int], status: Mapping[str, Any]) -> None:
        now = {name: int(totals.get(name, 0)) for name in COUNTERS}
        since = {name: max(0, now[name] - self._told[name]) for name in COUNTERS}
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
