"""The webhook's connections: so many at most, whoever makes them. aiohttp itself takes any number."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import RequestHandler
from typing_extensions import override

from servicekit.logs import Limiter

log = logging.getLogger(__name__)

CONNECTIONS: Final = 128
"""Connections at once. With TLS and what waits unread, one may take 1 MB; the API server has as many as
questions under way, and one of those is a matter of milliseconds."""
UNREAD: Final = 64 * 1024
"""Bytes that wait at a connection, about, until somebody reads them; the others stay in the kernels."""


class Server(web.Server):
    """Serves `answer` to at most `connections` at once; bodies may have `max_body` bytes.

    One more takes the place of that which has waited for the longest time without a whole question: the API
    server sends its own at once. One where something was answered before, and is kept for the next question,
    goes only if there are no others; while it is answered (`answering`) it is safe. If all of them are, the
    new connection is closed.
    """

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        max_body: int,
        connections: int = CONNECTIONS,
        unread: int = UNREAD,
    ) -> None:
        def request(
            message: RawRequestMessage,
            payload: StreamReader,
            protocol: RequestHandler,
            writer: AbstractStreamWriter,
            task: asyncio.Task[None],
        ) -> web.BaseRequest:
            loop = asyncio.get_running_loop()
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=max_body)

        super().__init__(
            answer,
            request_factory=request,
            # Who has gone is answered no more: a question that waits would be kept for nobody.
            handler_cancellation=True,
            access_log=None,
            # The API server does not compress what it sends, and what is small may hold what is not.
            auto_decompress=False,
            read_bufsize=unread,
        )
        self._most = connections
        self._new: dict[RequestHandler, asyncio.Transport] = {}
        """Nothing was answered there yet; the oldest first."""
        self._kept: dict[RequestHandler, asyncio.Transport] = {}
        """Something was, and the next question has not come; those first that it was the longest ago for."""
        self._answering: dict[RequestHandler, asyncio.Transport] = {}
        self._told = Limiter(every_seconds=60)

    @contextlib.contextmanager
    def answering(self, request: web.BaseRequest) -> Iterator[None]:
        """Keep the connection of this request within: it was sent whole."""
        protocol = request.protocol
        transport = self._new.pop(protocol, None) or self._kept.pop(protocol, None)
        if transport is not None:
            self._answering[protocol] = transport
        try:
            yield
        finally:
            transport = self._answering.pop(protocol, None)
            if transport is not None:
                self._kept[protocol] = transport

    @override
    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._new) + len(self._kept) + len(self._answering) >= self._most:
            if self._told.first("full"):
                log.warning(
                    "the webhook has %d connections: for a new one, one that waits for the longest time "
                    "is closed; see who else than the API server connects to its port",
                    self._most,
                )
            waiting = self._new or self._kept
            if not waiting:
                transport.abort()
                return
            waiting.pop(next(iter(waiting))).abort()
        self._new[handler] = transport

    @override
    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        for connections in (self._new, self._kept, self._answering):
            connections.pop(handler, None)
        super().connection_lost(handler, exc)
