"""The operator: everything that runs in it, started and stopped."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from importlib.metadata import version
from typing import Any, Final

from penstock_operator.api import Api
from penstock_operator.controller import Controller
from penstock_operator.kafka import Clusters
from penstock_operator.settings import OperatorSettings
from penstock_operator.watching import Watching, handlers
from penstock_operator.webhook import Webhook
from servicekit.exceptions import PenstockError
from servicekit.http import Health, HttpServer, Response, Routes, health_routes
from servicekit.lifecycle import Deadline, StopSignal, describe_bug
from servicekit.metrics import set_build_info

log = logging.getLogger(__name__)

STOP_SECONDS: Final = 10.0
ALIVE_SECONDS: Final = 60.0
"""An event loop that did not turn for so long is not going to."""


class OperatorEnded(PenstockError):
    """A part of the operator has ended by itself: Kubernetes starts it again."""


def run(
    settings: OperatorSettings,
    stop: StopSignal,
    *,
    ready: Callable[[], None] | None = None,
    clusters: Clusters | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run an operator until `stop`. Raises PenstockErrors for what waiting does not cure.

    `ready` is called once all streams are known. `clusters` and `clock` (seconds, which only go forward) are
    there for tests, which wait neither for a Kafka that is away nor for minutes to pass.
    """
    set_build_info("operator", version("penstock-operator"))
    health = Health("streams")
    loop = _Loop(settings, health, ready, Clusters() if clusters is None else clusters, clock)
    with ExitStack() as stack:
        if settings.metrics_port is not None:
            server = HttpServer(
                settings.metrics_host, settings.metrics_port, _routes(health, loop), name="metrics"
            )
            stack.callback(server.close)
            log.info("metrics at %s/metrics", server.url)
        where = ", ".join(settings.namespaces) or "all namespaces"
        log.info("looking after DirectoryStreams in %s", where)
        loop.start(stop)
        stop.wait()
        log.info("stopping: %s", stop.reason)
        loop.close()
    if loop.failure is not None:
        raise loop.failure


def _routes(health: Health, loop: _Loop) -> Routes:
    def alive(_query: Mapping[str, str]) -> Response:
        silent = loop.silent_seconds
        if silent > ALIVE_SECONDS:
            return Response(503, f"the event loop has not turned for {silent:.0f} s\n")
        return Response(200, "ok\n")

    return {**health_routes(health), ("GET", "/healthz"): alive}


class _Loop:
    """The event loop of controller and webhook, in a thread of its own, and kopf's beside it."""

    def __init__(
        self,
        settings: OperatorSettings,
        health: Health,
        ready: Callable[[], None] | None,
        clusters: Clusters,
        clock: Callable[[], float],
    ) -> None:
        self._clusters = clusters
        self._clock = clock
        self._settings = settings
        self._health = health
        self._ready = ready
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)
        self._stop: StopSignal | None = None
        self._controller: Controller | None = None
        self._ended: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failure: PenstockError | None = None

    @property
    def silent_seconds(self) -> float:
        """Say for how long the loop has not turned; 0 before it does."""
        return 0.0 if self._controller is None else self._controller.silent_seconds

    def start(self, stop: StopSignal) -> None:
        self._stop = stop
        self._thread.start()

    def close(self) -> None:
        if self._loop is not None and self._ended is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        assert self._stop is not None
        try:
            asyncio.run(self._main())
        except PenstockError as error:
            self.failure = error
        except Exception as error:
            log.debug("the controller ended", exc_info=error)
            first: BaseException = error
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            self.failure = (
                first
                if isinstance(first, PenstockError)
                else OperatorEnded(f"the controller has ended: {describe_bug(first)}")
            )
        finally:
            self._stop.set("the controller has ended")

    async def _main(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        assert self._stop is not None
        if self._stop.is_set():
            return  # before anybody could tell us
        async with AsyncExitStack() as stack:
            stack.callback(self._clusters.close)
            api = await stack.enter_async_context(Api.connect(clock=self._clock))
            controller = self._controller = Controller(self._settings, api, self._clusters, clock=self._clock)
            self._health.check("kubernetes", lambda: api.problem)
            if self._settings.webhook_certificates is not None:
                await stack.enter_async_context(
                    Webhook(
                        controller.find,
                        self._settings.installation,
                        certificates=self._settings.webhook_certificates,
                        host=self._settings.webhook_host,
                        port=self._settings.webhook_port,
                        health=self._health,
                    )
                )
            looking = asyncio.create_task(controller.run(self._known))
            ended = asyncio.create_task(self._ended.wait())
            watching: Watching | None = None
            try:
                watching = Watching(
                    handlers(
                        stream_seen=self._hand_over(controller.stream_seen),
                        stream_gone=self._hand_over(controller.stream_gone),
                        deployment_seen=self._hand_over(controller.deployment_seen),
                        deployment_gone=self._hand_over(controller.deployment_gone),
                        listed_anew=self._hand_over(lambda _body: controller.listed_anew()),
                    ),
                    self._settings.namespaces,
                    self._watching_failed,
                )
                await asyncio.wait({looking, ended}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.cancel()
                deadline = Deadline(STOP_SECONDS / 2)
                if watching is not None:
                    await asyncio.to_thread(watching.close, deadline.remaining)
                looking.cancel()
                await asyncio.wait({looking})
            if not looking.cancelled():
                looking.result()

    def _hand_over(self, seen: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
        loop = self._loop
        assert loop is not None

        def hand_over(body: Mapping[str, Any]) -> None:
            loop.call_soon_threadsafe(seen, body)

        return hand_over

    def _known(self) -> None:
        self._health.ok("streams")
        if self._ready is not None:
            self._ready()

    def _watching_failed(self, message: str) -> None:
        self.failure = OperatorEnded(message)
        if self._stop is not None:
            self._stop.set(message)
