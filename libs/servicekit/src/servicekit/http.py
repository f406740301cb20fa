"""A small HTTP server: metrics and health at a configured address, control of a service on loopback."""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

from typing_extensions import override

from servicekit import metrics
from servicekit.exceptions import ConfigurationError, PenstockError
from servicekit.lifecycle import describe_bug

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Response:
    """What a route answers. A `str` or `bytes` body goes out as it is, anything else as JSON."""

    status: int = 200
    body: object = ""
    content_type: str | None = None

    def encoded(self) -> tuple[str, bytes]:
        """Return content type and bytes."""
        if isinstance(self.body, bytes):
            return self.content_type or "application/octet-stream", self.body
        if isinstance(self.body, str):
            return self.content_type or TEXT, self.body.encode("utf-8", "surrogateescape")
        return self.content_type or JSON, json.dumps(self.body).encode() + b"\n"


Query = dict[str, str]
Route = Callable[[Query], Response]
Routes = Mapping[tuple[str, str], Route]
"""(method, path) -> what answers it. What changes anything must be POST."""


class Health:
    """Named conditions of a service. It is ready when there is no problem and it has been started.

    Any thread may say what it knows: `health.problem("disk", "...")`, and when it is over
    `health.ok("disk")`.
    """

    def __init__(self, *names: str) -> None:
        """`names` are conditions that must first become ok: the service is not ready before."""
        self._lock = threading.Lock()
        self._problems: dict[str, str] = dict.fromkeys(names, "not started yet")
        self._checks: dict[str, Callable[[], str | None]] = {}

    def ok(self, name: str) -> None:
        """Say that nothing is wrong (any more) with this."""
        with self._lock:
            self._problems.pop(name, None)

    def problem(self, name: str, message: str) -> None:
        """Say what is wrong with this, until `ok(name)`."""
        with self._lock:
            self._problems[name] = message

    def check(self, name: str, problem: Callable[[], str | None]) -> None:
        """Ask `problem()` whenever someone wants to know: what is wrong with this, or None.

        It must answer at once, from any thread: `health.check("kafka", lambda: client_health.problem)`.
        """
        with self._lock:
            self._problems.pop(name, None)
            self._checks[name] = problem

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong now, by name."""
        with self._lock:
            told, checks = dict(self._problems), dict(self._checks)
        asked = {name: problem() for name, problem in checks.items()}
        return told | {name: text for name, text in asked.items() if text is not None}

    @property
    def ready(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def health_routes(health: Health) -> dict[tuple[str, str], Route]:
    """Routes /metrics, /healthz (200 while the process can answer), /readyz (503 and the reasons, or 200)."""

    def ready(_query: Query) -> Response:
        problems = [{"name": name, "message": text} for name, text in health.problems.items()]
        return Response(503 if problems else 200, problems)

    return {
        ("GET", "/metrics"): lambda _query: Response(200, metrics.exposition(), metrics.CONTENT_TYPE),
        ("GET", "/healthz"): lambda _query: Response(200, "ok\n"),
        ("GET", "/readyz"): ready,
    }


class HttpServer:
    """Serves `routes` at `host`:`port` (0: a free one, see `port`) in threads of its own until closed.

    On loopback it answers only requests that name this machine (Host) and come from no web page of another
    origin (Origin), be it one of this machine at another port: a page in a user's browser must not be able to
    command a service.

    Raises ConfigurationError if it cannot listen there.
    """

    def __init__(self, host: str, port: int, routes: Routes, *, name: str = "http") -> None:
        handler = type("Handler", (_Handler,), {"routes": dict(routes), "guarded": is_loopback(host)})
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen at {host}:{port} for {name}: {error.strerror or error}; "
                f"is it running already? Choose another port, or 0 for a free one"
            ) from None
        self.host = host
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name=name, daemon=True
        )
        self._thread.start()
        log.debug("%s listens at %s", name, self.url)

    @property
    def url(self) -> str:
        """Where it answers, such as http://127.0.0.1:8080."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def close(self) -> None:
        """Stop listening. Requests under way are left to their threads."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> HttpServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener at `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def refusal_on_loopback(host: str | None, origin: str | None) -> str | None:
    """Say why a listener on loopback refuses a request with these headers (Host, Origin); None: it does not.

    A page in a user's browser must not be able to command a service, or read what it knows: neither by a name
    that was made to lead to this machine, nor from another origin.
    """
    if host is not None and not is_loopback(_hostname(f"//{host}")):
        return "this address answers only requests to this machine by its own name (Host)"
    if origin is not None and (host is None or origin.lower() != f"http://{host}".lower()):
        return "requests from web pages other than its own are refused (Origin)"
    return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # On Windows it would let two processes listen at one port.
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    @override
    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's asks the DNS for our name, which can take a minute
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("a client of the HTTP server went away", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    routes: ClassVar[Routes] = {}
    guarded: ClassVar[bool] = True
    protocol_version = "HTTP/1.1"
    server_version = "penstock"
    sys_version = ""
    timeout = 30.0  # seconds that a client may take for its request line

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        # Bodies are not read (parameters are in the query); one would be taken for the next request.
        if self.headers.get("Content-Length", "0") != "0" or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
        response = self._respond(method)
        content_type, body = response.encoded()
        try:
            self.send_response(response.status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except OSError:  # the client did not wait
            self.close_connection = True

    def _respond(self, method: str) -> Response:
        if self.guarded and (refusal := refusal_on_loopback(self.headers["Host"], self.headers["Origin"])):
            return Response(403, {"error": refusal})
        url = urlsplit(self.path)
        route = self.routes.get((method, url.path))
        if route is None:
            allowed = [known for known, path in self.routes if path == url.path]
            if allowed:
                return Response(405, {"error": f"use {' or '.join(allowed)}"})
            return Response(
                404, {"error": f"nothing at {url.path}", "paths": sorted({p for _, p in self.routes})}
            )
        try:
            return route(dict(parse_qsl(url.query, keep_blank_values=True, errors="surrogateescape")))
        except PenstockError as error:
            return Response(400 if isinstance(error, ConfigurationError) else 503, {"error": str(error)})
        except Exception as error:  # one request must not end the service
            log.error("%s %s: %s", method, url.path, describe_bug(error))  # noqa: TRY400 - users see it
            log.debug("%s %s", method, url.path, exc_info=error)
            return Response(500, {"error": describe_bug(error)})

    @override
    def log_message(self, format: str, *args: object) -> None:
        log.debug("http %s " + format, self.address_string(), *args)


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
