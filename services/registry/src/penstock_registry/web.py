"""The web server around the API and the page: uvicorn, in a thread of its own."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Final

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from penstock_registry.api.guard import API
from penstock_registry.api.problems import problem
from servicekit.exceptions import ConfigurationError

log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 2
"""So long a stop waits for requests under way. Live updates (server-sent events) never end by themselves."""
_LONGEST_STOP_SECONDS: Final = 5.0


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there (port 0: a free one). Raises ConfigurationError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # on Windows it would let two processes listen at one port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen at {host}:{port} for the page and the API: {error.strerror or error}; "
            f"{_way_out(error)}"
        ) from None
    return listener


def _way_out(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return (
            "--host is an address of this machine: 127.0.0.1 for this machine alone, 0.0.0.0 for all of its "
            "addresses"
        )
    if error.errno == errno.EACCES:
        return "choose a port above 1023 (--port), or 0 for a free one"
    return "is a registry running already? Choose another port (--port), or 0 for a free one"


def address(host: str, port: int) -> str:
    """Return the page's address as others can use it: all addresses of this machine have its name."""
    try:
        is_any = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        is_any = False
    name = socket.gethostname() if is_any else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


class Gate:
    """An application whose API says why it cannot answer yet (503), until it is opened.

    The page is there from the start: it shows to people what the API says.
    """

    def __init__(self, app: ASGIApp, reason: str) -> None:
        self._app = app
        self.reason: str | None = reason
        """What it says; None: it is open."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI has it."""
        reason = self.reason
        if reason is None or scope["type"] != "http" or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
        else:
            await problem(503, reason, {"Retry-After": "1"})(scope, receive, send)


class WebServer:
    """Serves an ASGI application at a socket that listens already, until closed.

    `ended` is called if it ends though nobody has closed it.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket, host: str, ended: Callable[[], None]) -> None:
        self.url = address(host, listener.getsockname()[1])
        self._listener = listener
        self._ended = ended
        self._closing = False
        self.failed = False
        """Whether it has ended though nobody has closed it."""
        # Its notices of every start and stop are ours to give.
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        logging.getLogger("uvicorn.error").addFilter(_unexpected)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering; requests under way have a moment to end."""
        self._closing = True
        self._server.should_exit = True
        self._thread.join(_LONGEST_STOP_SECONDS)
        self._server.force_exit = True
        self._thread.join(1.0)

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except SystemExit:  # how uvicorn says that the application did not start; it has logged why
            log.debug("the web server did not start")
        finally:
            self._listener.close()
            if not self._closing:
                self.failed = True
                self._ended()


def _unexpected(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's says something that nobody asked for."""
    return "timeout graceful shutdown exceeded" not in record.getMessage()
