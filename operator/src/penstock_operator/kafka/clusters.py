"""Clusters: one set of clients for each place and login, shared by all streams that have the same."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from penstock_operator.kafka.connection import Connection
from servicekit.exceptions import KafkaUnavailable, PenstockError, explain_kafka
from servicekit.kafka import ClientHealth, make_admin
from servicekit.topics import Topics

log = logging.getLogger(__name__)

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

REQUEST_SECONDS: Final = 10.0
"""The longest that one request may take. A broker needs milliseconds; a change of leaders takes seconds."""

AWAY_SECONDS: Final = 10.0
"""A cluster that did not answer is not asked again for so long: hundreds of streams would wait in turn."""

CALLERS: Final = 4
"""How many calls to one cluster run at once; the others of that cluster wait, and those of no other do."""


class Cluster:
    """A Kafka cluster as one login sees it. May be used from any thread; `Clusters` makes and closes it."""

    def __init__(
        self,
        connection: Connection,
        *,
        request_seconds: float = REQUEST_SECONDS,
        away_seconds: float = AWAY_SECONDS,
    ) -> None:
        self.connection = connection
        self.request_seconds = request_seconds
        self._away_seconds = away_seconds
        self.topics = Topics(connection.settings, timeout=request_seconds)
        self._health = ClientHealth("admin", connection.bootstrap_servers, log_changes=False)
        self._admin: AdminClient | None = None
        self._callers = ThreadPoolExecutor(CALLERS, thread_name_prefix="kafka-cluster")
        self._lock = threading.Lock()
        self._away: tuple[str, float] | None = None
        """What is told for as long as it is away, and until when it is not asked again."""

    def submit(
        self,
        call: Callable[_Arguments, _Result],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> Future[_Result]:
        """Call in a thread of this cluster's own (for asyncio.wrap_future): a slow one keeps no other back.

        A call that runs in such a thread must not submit another one and wait for it.
        """
        return self._callers.submit(call, *arguments, **named)

    def require_answering(self) -> None:
        """Raise KafkaUnavailable if the cluster has just failed to answer."""
        with self._lock:
            away = self._away
        if away is not None and time.monotonic() < away[1]:
            raise KafkaUnavailable(away[0])

    @contextmanager
    def answering(self) -> Iterator[None]:
        """`require_answering`, and note if the cluster does not answer within.

        As long as it is away, that is told in the words of the first time: a status stays the same.
        """
        self.require_answering()
        try:
            yield
        except KafkaUnavailable as error:
            with self._lock:
                told = str(error) if self._away is None else self._away[0]
                self._away = (told, time.monotonic() + self._away_seconds)
            self.replace_admin()
            # A new one each time: one that is kept would hold the clients of its time (see `again`).
            raise KafkaUnavailable(told) from None
        except PenstockError:
            self._answered()
            raise
        else:
            self._answered()

    def _answered(self) -> None:
        with self._lock:
            self._away = None

    def admin(self) -> tuple[AdminClient, ClientHealth]:
        """Return the client for what `topics` does not know, and its health."""
        with self._lock:
            if self._admin is None:
                self._health = ClientHealth("admin", self.connection.bootstrap_servers, log_changes=False)
                self._admin = make_admin(self.connection.settings, health=self._health)
            self._health.last_error = None
            return self._admin, self._health

    def replace_admin(self) -> None:
        """Let the next `admin()` be a new client: one whose coordinator was away never finds it again."""
        with self._lock:
            gone, self._admin = self._admin, None
        del gone  # and not within the lock: its threads have to end

    def explain(self, error: KafkaError | KafkaException, topic: str | None = None) -> PenstockError:
        """Say what an error of this cluster's means."""
        return explain_kafka(error, topic=topic, bootstrap=self.connection.bootstrap_servers)

    def close(self) -> None:
        """Let go of the clients; calls that run end within their time limits."""
        self._callers.shutdown(wait=False, cancel_futures=True)
        self.replace_admin()


UNUSED_SECONDS: Final = 300.0
"""How long clients are kept that nobody uses: longer than the time between two readings."""


@dataclass(slots=True)
class _Shared:
    cluster: Cluster
    users: int = 0
    unused_since: float = 0.0


class Clusters:
    """All clusters that streams name. May be used from any thread.

    `make` makes a cluster of a connection, `clock` gives seconds; both are there for tests.
    """

    def __init__(
        self,
        *,
        unused_seconds: float = UNUSED_SECONDS,
        make: Callable[[Connection], Cluster] = Cluster,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unused_seconds = unused_seconds
        self._make = make
        self._clock = clock
        self._shared: dict[Connection, _Shared] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._shared)

    @contextmanager
    def use(self, connection: Connection) -> Iterator[Cluster]:
        """Give the cluster for this connection, and keep it open within. No broker needs to be there yet.

        Raises ConfigurationError if the client refuses what it was given, such as a broken certificate.
        """
        with self._lock:
            shared = self._shared.get(connection)
            if shared is None:
                shared = self._shared[connection] = _Shared(self._make(connection))
                log.debug("clients for Kafka at %s made", connection.bootstrap_servers)
            shared.users += 1
        try:
            yield shared.cluster
        finally:
            with self._lock:
                shared.users -= 1
                shared.unused_since = self._clock()
            self.close_unused()

    def close_unused(self) -> None:
        """Close what nobody has used for `unused_seconds`; call it now and then."""
        with self._lock:
            before = self._clock() - self._unused_seconds
            gone = [
                connection
                for connection, shared in self._shared.items()
                if not shared.users and shared.unused_since <= before
            ]
            closed = [self._shared.pop(connection).cluster for connection in gone]
        for cluster in closed:
            log.debug("clients for Kafka at %s closed", cluster.connection.bootstrap_servers)
            cluster.close()

    def close(self) -> None:
        """Close all: the operator ends."""
        with self._lock:
            closed = [shared.cluster for shared in self._shared.values()]
            self._shared.clear()
        for cluster in closed:
            cluster.close()
