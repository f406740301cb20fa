"""The registry: everything that runs in it, started and stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from typing import Final

from prometheus_client import REGISTRY

from penstock_registry import metrics
from penstock_registry.access import access_token, make_state_directory
from penstock_registry.api.app import create_app
from penstock_registry.database_file import check_database_file
from penstock_registry.exceptions import DatabaseUnavailable, WebServerEnded
from penstock_registry.known_metrics import KnownMetrics
from penstock_registry.reading import Reader
from penstock_registry.settings import RegistrySettings
from penstock_registry.store.store import Store
from penstock_registry.web import Gate, WebServer, listen
from servicekit.exceptions import PenstockError
from servicekit.http import Health, HttpServer, health_routes
from servicekit.lifecycle import StopSignal, describe_bug
from servicekit.logs import Limiter
from servicekit.metrics import set_build_info

log = logging.getLogger(__name__)

_FORGET_EVERY_SECONDS: Final = 600.0
_LONGEST_WAIT_SECONDS: Final = 5.0


def run(
    settings: RegistrySettings,
    stop: StopSignal,
    *,
    answers_at: Callable[[str], None] | None = None,
    health: Health | None = None,
) -> None:
    """Run a registry until `stop`. Raises PenstockErrors for what waiting does not cure.

    `answers_at` is told the address of the page once that answers: when the database does, or when it has to
    be waited for.
    """
    set_build_info("registry", version("penstock-registry"))
    health = health or Health("database", "kafka")
    token = access_token(settings)
    if settings.database is None or not settings.database.get_secret_value():
        make_state_directory(settings)
    check_database_file(settings)
    with ExitStack() as stack:
        listener = listen(settings.host, settings.port)
        stack.callback(listener.close)
        if settings.metrics_port is not None:
            server = HttpServer(
                settings.metrics_host, settings.metrics_port, health_routes(health), name="metrics"
            )
            stack.callback(server.close)
            log.info("metrics at %s/metrics", server.url)
        store = stack.enter_context(
            Store(
                settings.database_url,
                retention_seconds=settings.retention_seconds,
                max_bytes=None if settings.max_database_size is None else int(settings.max_database_size),
                stopping=stop.is_set,
            )
        )
        health.check("database", lambda: store.problem)
        health.problem("database", "not started yet")
        known_metrics = KnownMetrics(store.engine)
        REGISTRY.register(known_metrics)
        stack.callback(REGISTRY.unregister, known_metrics)
        app = create_app(store.engine, token=token, loopback=settings.is_loopback, stopping=stop.is_set)
        gate = Gate(app, "the registry is starting")
        web = WebServer(gate, listener, settings.host, lambda: stop.set("the web server has ended"))
        stack.callback(web.close)
        told = _Told(web.url, answers_at)
        if not _migrate(store, health, gate, told, stop):
            return
        told.once()
        log.info("what is known is kept in %s", settings.shown_database)
        forgetting = _Forgetting(store)
        stack.callback(forgetting.stop)
        reader = Reader(settings, store, health)
        stack.callback(reader.stop)
        forgetting.start()
        reader.start(stop)
        stop.wait()
        log.info("stopping: %s", stop.reason)
    if web.failed:
        raise WebServerEnded("the web server has ended by itself; the log says why: start the registry again")
    if reader.failure is not None:
        raise reader.failure


class _Told:
    """Whether the address of the page was told: once."""

    def __init__(self, url: str, answers_at: Callable[[str], None] | None) -> None:
        self._url = url
        self._answers_at = answers_at
        self._is_told = False

    def once(self) -> None:
        """Tell it, if it was not told before."""
        if self._is_told:
            return
        self._is_told = True
        log.info("the registry answers at %s", self._url)
        if self._answers_at is not None:
            self._answers_at(self._url)


def _migrate(store: Store, health: Health, gate: Gate, told: _Told, stop: StopSignal) -> bool:
    """Bring the tables up to date, waiting for the database visibly; False if told to stop first."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    delay, began, waited = 0.2, time.monotonic(), False
    while not stop.is_set():
        try:
            store.migrate()
        except DatabaseUnavailable as error:
            health.problem("database", str(error))
            gate.reason = str(error)
            told.once()
            if not waited:
                log.warning("%s; waiting for it", error)
            waited = True
            stop.wait(delay)
            delay = min(2 * delay, _LONGEST_WAIT_SECONDS)
        else:
            health.ok("database")
            gate.reason = None
            if waited:
                log.info("the database answers, after %.0f s", time.monotonic() - began)
            return True
    return False


class _Forgetting:
    """Forgets from time to time what is too old, in a thread of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._limiter = Limiter(every_seconds=3600)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forgetting", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_LONGEST_WAIT_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(_FORGET_EVERY_SECONDS):
            try:
                forgotten = self._store.forget()
            except PenstockError as error:
                log.debug("nothing was forgotten: %s", error)
            except Exception as error:  # noqa: BLE001 - the next time may be better, and nothing waits for it
                if self._limiter.first(type(error)):
                    log.error("nothing was forgotten: %s", describe_bug(error))  # noqa: TRY400
            else:
                metrics.FORGOTTEN.inc(forgotten.files)
