"""Something that answers as a registry does, on loopback: what it is told to say, and what it was asked."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Stub:
    """`routes` maps a path (without the query) to a reply, or to what makes one of what was asked."""

    routes: dict[str, Reply | Callable[[Asked], Reply]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> "Stub":
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                asked = Asked(self.command, self.path, dict(self.headers), self.rfile.read(length))
                stub.asked.append(asked)
                reply = stub.routes.get(self.path.split("?")[0], problem(404, f"nothing at {self.path}"))
                status, headers, body = reply(asked) if callable(reply) else reply
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - http.server's

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def tell(self, path: str, answer: object) -> None:
        self.routes[f"/api/v1{path}"] = says(answer)


def says(answer: object, status: int = 200) -> Reply:
    return status, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def problem(status: int, detail: str, title: str = "No") -> Reply:
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return status, {"Content-Type": "application/problem+json"}, json.dumps(content).encode()


OVERVIEW = {
    "at": 1_800_000_000.0,
    "streams": [],
    "failures": [],
    "failures_total": 0,
    "in_flight": [],
    "services": [],
    "lost": [],
    "problems_total": 0,
}
