"""The admission webhook that gives labelled pods their sidecar: what the API server asks, and what it hears.

    async with Webhook(find, installation, certificates="/certificates", host="0.0.0.0", port=8653):
        ...                                          # POST /inject, over TLS

Only pods with the label `penstock.dev/inject` are sent here. They are refused rather than made without the
sidecar that they ask for, whatever goes wrong: what they write would be lost.

Anyone who reaches the port may ask, as the API server does not say who it is: an answer tells what is in a
stream, and never what is in a Secret.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Literal, Self

from aiohttp import web

from penstock_operator import webhook_review as review
from penstock_operator.certificates import Certificates
from penstock_operator.objects import INJECT_LABEL, CannotInject, Injection, Installation, inject
from penstock_operator.resource import DirectoryStream
from penstock_operator.resource.stream import PLURAL
from penstock_operator.webhook_metrics import (
    CERTIFICATE_EXPIRY,
    CERTIFICATE_REFUSED,
    INJECTION_SECONDS,
    INJECTIONS,
)
from penstock_operator.webhook_server import CONNECTIONS, Server
from servicekit.exceptions import ConfigurationError, PenstockError
from servicekit.http import Health
from servicekit.lifecycle import describe_bug
from servicekit.logs import Limiter, fields

log = logging.getLogger(__name__)

Find = Callable[[str, str], Awaitable[DirectoryStream | None]]
"""(namespace, name) -> the stream, or None. Raises PenstockError, with the reason, if that cannot be said."""

PATH: Final = "/inject"
MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes of a question. The API server takes objects of 3 MiB, and sends a new one once."""
FIND_SECONDS: Final = 4.0
"""Time to find a stream: clearly less than the API server waits (10 s by default; 5 is what charts often
have), so that it hears our reason and not that nobody answered."""
READ_SECONDS: Final = 10.0
"""Time for a client to send its question."""

SMALL_BODY: Final = 128 * 1024
"""Bytes of a question that is read whatever else is: many times what the API server sends of a usual pod."""
LARGE_AT_ONCE: Final = 4
"""How many larger ones are in memory at once, from their first byte to their answer. Parsed, one of
`MAX_BODY` may take 20 times that; the process has 512 MiB (resources.limits in the chart's values.yaml)."""
LARGE_WAIT_SECONDS: Final = 3.0
"""How long a larger one waits for its turn, unread. Then it is refused: no pod is made for that."""
HANDSHAKE_SECONDS: Final = 5.0
"""Time for a client to begin with TLS: until it has, nobody counts it as a connection."""

_MAX_NAME: Final = 253
"""What is said of names that nobody has checked yet ends here."""
_STREAM_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Webhook:
    """Answers the API server at `host`:`port` (0: a free one, see `port`) while it is entered.

    `certificates` is a directory with tls.crt and tls.key; renewed ones are used by new connections. `health`
    gets the check `webhook`: it is in trouble when the certificate has expired. A renewal that cannot be used
    is an error in the log and in the metrics, but no trouble yet: who is not ready gets no questions, and
    pods would be refused for it.

    Entering raises ConfigurationError if there is no usable certificate, or if it cannot listen there.
    """

    def __init__(
        self,
        find: Find,
        installation: Installation,
        *,
        certificates: str,
        host: str,
        port: int,
        health: Health | None = None,
        find_seconds: float = FIND_SECONDS,
        connections: int = CONNECTIONS,
    ) -> None:
        self._find = find
        self._find_seconds = find_seconds
        self._installation = installation
        self._directory = certificates
        self._host = host
        self._health = health
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._told = Limiter(every_seconds=60)
        self._connections = connections
        self._listening: asyncio.Server | None = None
        self.port = port

    async def __aenter__(self) -> Self:
        certificates = Certificates(self._directory)
        self._server = Server(self._on_request, max_body=MAX_BODY, connections=self._connections)
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                self._server,
                self._host,
                self.port,
                ssl=certificates.context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen at {self._host}:{self.port} for the webhook: {error.strerror or error}; is "
                f"an operator running here already? Choose another port (PENSTOCK_WEBHOOK_PORT)"
            ) from None
        self.port = self._listening.sockets[0].getsockname()[1]
        CERTIFICATE_EXPIRY.set_function(lambda: certificates.expires)
        CERTIFICATE_REFUSED.set_function(lambda: float(certificates.refused is not None))
        if self._health is not None:
            self._health.check("webhook", lambda: certificates.problem)
        log.info("the webhook listens", extra=fields(host=self._host, port=self.port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        CERTIFICATE_EXPIRY.set_function(lambda: math.nan)
        CERTIFICATE_REFUSED.set_function(lambda: 0.0)
        if self._listening is not None:
            self._listening.close()
            await asyncio.sleep(0)  # what has come by now is under way then
            self._server.pre_shutdown()
            await self._server.shutdown(self._find_seconds)

    async def _on_request(self, http: web.BaseRequest) -> web.Response:
        if http.path != PATH:
            return web.Response(status=404, text=f"there is only {PATH} here\n")
        if http.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST"}, text="questions are sent by POST\n")
        if http.content_length is not None and http.content_length <= SMALL_BODY:
            return await self._respond(http)
        try:
            async with asyncio.timeout(LARGE_WAIT_SECONDS):
                await self._large.acquire()
        except TimeoutError:
            if self._told.first("busy"):
                log.warning(
                    "a question of more than %d KiB was refused unread, and with it a pod: %d others were "
                    "under way for %g s; see who else than the API server connects to the webhook's port",
                    SMALL_BODY // 1024,
                    LARGE_AT_ONCE,
                    LARGE_WAIT_SECONDS,
                )
            busy = web.Response(status=503, text="too many large questions at once: try again\n")
            busy.force_close()
            return busy
        try:
            return await self._respond(http)
        finally:
            self._large.release()

    async def _respond(self, http: web.BaseRequest) -> web.Response:
        try:
            async with asyncio.timeout(READ_SECONDS):
                request = review.parse(await http.read())
        except review.NotAReview as error:
            return web.Response(status=400, text=f"{error}\n")
        except TimeoutError:
            return web.Response(status=408, text=f"the question did not come within {READ_SECONDS:g} s\n")
        except (web.RequestPayloadError, OSError):
            return web.Response(status=400, text="the question did not come whole\n")
        began = time.monotonic()
        with self._server.answering(http):
            response = web.json_response(await self._answer(request))
        INJECTION_SECONDS.observe(time.monotonic() - began)
        return response

    async def _answer(self, request: review.Request) -> dict[str, Any]:
        told = fields(
            namespace=request.namespace,
            pod=request.pod_name[:_MAX_NAME],
            stream=request.labels.get(INJECT_LABEL, "")[:_MAX_NAME],
        )
        try:
            injection = await self._injection(request)
            answer = review.allowed(request, injection.patch, injection.warnings)
        except CannotInject as error:
            log.info("refused a pod: %s", error, extra=told)
            return self._refused(request, 422, str(error))
        except PenstockError as error:
            log.info("refused a pod: %s", error, extra=told)
            return self._refused(request, 403, str(error))
        except Exception as error:  # a pod must not be made without its sidecar because of a bug
            log.error("refused a pod: %s", describe_bug(error), extra=told)  # noqa: TRY400 - one line
            log.debug("refused a pod", exc_info=error)
            reason = (
                f"something went wrong in the operator ({type(error).__name__}), which is a bug: its log "
                f"says more; please report it. Without the label the pod is made, and has no sidecar"
            )
            return self._refused(request, 403, reason, result="failed")
        if injection.patch:
            log.info("injected a sidecar", extra=told)
        INJECTIONS.labels("injected" if injection.patch else "unchanged").inc()
        return answer

    def _refused(
        self, request: review.Request, code: Literal[403, 422], reason: str, *, result: str = "refused"
    ) -> dict[str, Any]:
        INJECTIONS.labels(result).inc()
        name = request.labels.get(INJECT_LABEL, "")[:_MAX_NAME]
        lines = "; ".join(reason.splitlines())
        message = f"no sidecar of DirectoryStream {request.namespace}/{name} for this pod: {lines}"
        # It holds names that nobody has checked yet, and ends in terminals.
        printable = "".join(sign if sign.isprintable() else "?" for sign in message)
        return review.refused(request, code, printable)

    async def _injection(self, request: review.Request) -> Injection:
        """Say what to do to a pod. Raises PenstockError, with the reason, if it has to be refused."""
        name = request.labels.get(INJECT_LABEL)
        if request.pod is None or name is None or not request.makes_a_pod:
            return Injection()
        # Labels are not checked yet when webhooks are asked, and names become parts of URLs.
        if not (_STREAM_NAME.fullmatch(name) and _NAMESPACE.fullmatch(request.namespace)):
            raise PenstockError(
                f"the label {INJECT_LABEL} has to be the name of a DirectoryStream in the pod's namespace: "
                f"kubectl get {PLURAL} -n {request.namespace} lists them"
            )
        try:
            async with asyncio.timeout(self._find_seconds):
                stream = await self._find(request.namespace, name)
        except TimeoutError:
            raise PenstockError(
                f"it could not be looked up within {self._find_seconds:g} s: try again; if that stays so, "
                f"see the operator's log"
            ) from None
        if stream is None:
            raise PenstockError(
                f"there is no such DirectoryStream: make it, correct the label {INJECT_LABEL} (kubectl get "
                f"{PLURAL} -n {request.namespace} lists those that there are), or take the label off"
            )
        return inject(request.pod, stream, self._installation)
