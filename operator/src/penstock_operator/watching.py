"""kopf watches, the controller acts: every change of a DirectoryStream or of a Deployment is handed over.

kopf has a thread and an event loop of its own: when it ends, it cancels every task that it finds in its loop.
It writes nothing into objects: there are no handlers that it would have to remember the progress of.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, repeat
from typing import Any, Final

import kopf

from penstock_operator.objects import STREAM_LABEL
from penstock_operator.resource import GROUP, PLURAL, VERSION

log = logging.getLogger(__name__)

Object = Mapping[str, Any]
Seen = Callable[[Object], None]

_QUIET: Final = ("kopf", "aiohttp", "httpx", "httpx2", "httpcore", "httpcore2")

PAUSES: Final = (1.0, 1.0, 2.0, 3.0, 5.0)
"""After how long kopf asks again what failed; at the last pace for ever. Kopf itself begins anew as often."""
STEADY_SECONDS: Final = 60.0
"""After so long without one, a failure is the first one again."""

_GUARDS: Final = ("running", "orchestration")
"""What of kopf says that one of its tasks has failed, each of which should never end. It goes on without."""


class WatchFailed(Exception):
    """kopf has lost one of its tasks."""


class _Pauses:
    """PAUSES without an end: kopf would end at one, and its watching with it."""

    def __iter__(self) -> Iterator[float]:
        return chain(PAUSES, repeat(PAUSES[-1]))


def _is_news(record: logging.LogRecord) -> bool:
    """Whether something that kopf's client says is told by nobody else: that it may not watch.

    That the API server is away or fails is told once, by `Api`; kopf tells it for each watch and try.
    """
    said = record.getMessage()
    return not said.startswith("Request attempt") or "Forbidden" in said


def handlers(
    *,
    stream_seen: Seen,
    stream_gone: Seen,
    deployment_seen: Seen,
    deployment_gone: Seen,
    listed_anew: Seen,
) -> kopf.OperatorRegistry:
    """Give kopf's registry of what is watched; each is told an object as the API server has it.

    `listed_anew` is called with each object of a list: a watch begins with one, and again when it was cut
    for too long. Then nobody tells of what has gone meanwhile.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**known: Any) -> Any:  # noqa: ANN401 - kopf's own
        return kopf.login_with_service_account(**known) or kopf.login_with_kubeconfig(**known)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def stream(event: Any, **_: Any) -> None:  # noqa: ANN401
        (stream_gone if event["type"] == "DELETED" else stream_seen)(event["object"])
        if event["type"] is None:
            listed_anew(event["object"])

    @kopf.on.event("apps", "v1", "deployments", labels={STREAM_LABEL: kopf.PRESENT}, registry=registry)
    async def deployment(event: Any, **_: Any) -> None:  # noqa: ANN401
        (deployment_gone if event["type"] == "DELETED" else deployment_seen)(event["object"])
        if event["type"] is None:
            listed_anew(event["object"])

    return registry


def settings() -> kopf.OperatorSettings:
    """Give kopf's settings: what we use of it, and nothing that asks for rights which we do not have."""
    found = kopf.OperatorSettings()
    found.process.ultimate_exiting_timeout = None  # it kills the process
    found.posting.enabled = False
    found.peering.standalone = True
    found.scanning.disabled = True
    found.watching.label_selectors["deployments.v1.apps"] = STREAM_LABEL
    found.watching.server_timeout = 300
    found.networking.request_timeout = 30
    found.networking.error_backoffs = _Pauses()
    return found


class Watching:
    """Runs kopf in a thread until closed. `failed` is called if it ends by itself, again and again."""

    def __init__(
        self, registry: kopf.OperatorRegistry, namespaces: list[str], failed: Callable[[str], None]
    ) -> None:
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)
        for name in ("kopf._cogs.clients.watching", "kopf._core.reactor.observation"):
            logging.getLogger(name).addFilter(_is_news)
        # It would warn that signals are not its own here.
        logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
        self._registry = registry
        self._namespaces = namespaces
        self._failed = failed
        self._stop = self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                asyncio.run(self._watch())
                said = "it ended by itself"
            except (Exception, asyncio.CancelledError) as error:
                log.debug("kopf ended", exc_info=error)
                said = str(error) or type(error).__name__
            if self._stop.is_set():
                return
            failures = 1 if time.monotonic() - began > STEADY_SECONDS else failures + 1
            if failures > len(PAUSES):
                self._failed(f"watching Kubernetes has failed {failures} times; the last time: {said}")
                return
            pause = PAUSES[failures - 1]
            log.warning("watching Kubernetes has failed: %s; beginning anew in %g s", said, pause)
            self._stop.wait(pause)

    async def _watch(self) -> None:
        """Run kopf until it ends. It would go on without a watch that has failed, and nobody would watch."""
        loop, failed = asyncio.get_running_loop(), asyncio.Event()

        def tell(record: logging.LogRecord) -> bool:
            if record.levelno >= logging.ERROR:
                said.append(record.getMessage())
                loop.call_soon(failed.set)
            return False

        said: list[str] = []
        # Of its own: a thread waits for it, and the loop's end for that thread.
        stopping = self._stopping = threading.Event()
        if self._stop.is_set():
            return
        running = asyncio.create_task(
            kopf.operator(
                registry=self._registry,
                settings=settings(),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=stopping,
            )
        )
        failing = asyncio.create_task(failed.wait())
        loggers = [logging.getLogger(f"kopf._core.reactor.{name}") for name in _GUARDS]
        for logger in loggers:
            logger.addFilter(tell)
        try:
            await asyncio.wait({running, failing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for logger in loggers:
                logger.removeFilter(tell)
            stopping.set()
            failing.cancel()
            running.cancel()
        if said and not self._stop.is_set():
            raise WatchFailed(said[0])
        await running

    def close(self, timeout: float) -> None:
        """End it, and wait for that, at most `timeout` seconds."""
        self._stop.set()
        self._stopping.set()
        self._thread.join(timeout)
