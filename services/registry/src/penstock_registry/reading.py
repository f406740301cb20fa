"""Kafka into the store, and how that goes on after anything.

What was read, and how far, is the store's, in one transaction. So there is one way to go on after every
trouble (a database that is away, a topic that was made again, a lost client, a crash): leave the group, and
begin again where the store says. What is read twice by that changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Final

from penstock_registry import metrics
from penstock_registry.exceptions import DatabaseUnavailable
from penstock_registry.membership import BeginAgain, Membership
from penstock_registry.readings import Learner
from penstock_registry.records import KnownTopics
from penstock_registry.settings import RegistrySettings
from penstock_registry.store.batch import Batch
from servicekit.exceptions import ConfigurationError, PenstockError
from servicekit.http import Health
from servicekit.kafka import wait_for_broker
from servicekit.lifecycle import StopSignal
from servicekit.logs import Limiter
from servicekit.topics import Topics

log = logging.getLogger(__name__)

_ADMIN_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 1.0
_FIRST_DELAY_SECONDS: Final = 0.2
_LONGEST_WAIT_SECONDS: Final = 5.0
_TRUSTED_AFTER_SECONDS: Final = 15.0
"""A database that answers, but takes nothing (its disk is full), is asked less and less often."""
_LONGEST_STOP_SECONDS: Final = 3.0
"""A database that hangs must not hold up a stop: what it did not take is read again."""


class Reader:
    """Reads all that services say into the store, in a thread of its own, until told to stop."""

    def __init__(self, settings: RegistrySettings, store: Learner, health: Health) -> None:
        self._settings = settings
        self._store = store
        self._health = health
        self._known = KnownTopics(
            streams=settings.streams,
            events=settings.events_topic,
            heartbeats=settings.openmsi_heartbeat_topics,
        )
        self._limiter = Limiter(every_seconds=60)
        self._delay = _FIRST_DELAY_SECONDS
        self._database_back_at = float("-inf")
        self._stop = StopSignal()
        self._service_stop: StopSignal | None = None
        self._thread = threading.Thread(target=self._run, name="reading", daemon=True)
        self.failure: BaseException | None = None
        """Why it has ended though nobody asked it to."""

    def start(self, stop: StopSignal) -> None:
        """Read in the background. `stop` is set if that must end by itself, see `failure`."""
        self._service_stop = stop
        self._thread.start()

    def stop(self) -> None:
        """End reading. What is being learned is learned to its end, if the database answers."""
        self._stop.set("told to")
        if self._thread.ident is not None:
            self._thread.join(_LONGEST_STOP_SECONDS)

    def _run(self) -> None:
        try:
            self._read_for_ever()
        except Exception as error:  # noqa: BLE001 - whoever started the thread raises it
            self.failure = error
            if self._service_stop is not None:
                self._service_stop.set("reading has ended")

    def _read_for_ever(self) -> None:
        self._health.problem(
            "kafka", f"no Kafka broker has answered yet at {self._settings.bootstrap_servers}"
        )
        if not wait_for_broker(self._settings, self._stop):
            return
        topics = Topics(self._settings, timeout=_ADMIN_SECONDS)
        while not self._stop.is_set():
            try:
                with contextlib.closing(
                    Membership(self._settings, self._known, self._store, topics, self._health)
                ) as membership:
                    while not self._stop.is_set():
                        membership.turn()
            except DatabaseUnavailable as error:
                self._wait_for_database(error)
            except ConfigurationError:
                raise  # waiting does not cure it
            except BeginAgain as reason:
                log.info("reading begins again: %s", reason)
            except PenstockError as error:
                self._health.problem("reading", str(error))
                if self._limiter.first(str(error)):
                    log.warning("reading begins again: %s", error)
                self._stop.wait(_AGAIN_SECONDS)
            metrics.behind.cannot_read()

    def _wait_for_database(self, error: DatabaseUnavailable) -> None:
        """Wait until the database answers: said once, seen in readiness; Kafka keeps what is not learned."""
        self._health.problem("database", str(error))
        began = time.monotonic()
        if began - self._database_back_at > _TRUSTED_AFTER_SECONDS:
            self._limiter.forget("database")
            self._delay = _FIRST_DELAY_SECONDS
        if is_new := self._limiter.first("database"):
            log.warning("%s; waiting for it", error)
        while not self._stop.wait(self._delay):
            self._delay = min(2 * self._delay, _LONGEST_WAIT_SECONDS)
            try:
                self._store.learn(Batch())  # which waits for the writers' lock, as what failed did
            except DatabaseUnavailable as still:
                self._health.problem("database", str(still))
            else:
                break
        self._database_back_at = time.monotonic()
        self._health.ok("database")
        if is_new and not self._stop.is_set():
            log.info("the database answers again, after %.0f s", self._database_back_at - began)
