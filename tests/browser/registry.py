"""A registry without Kafka: a real store with real events, the real application, a real web server."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock_registry.api.app import create_app
from penstock_registry.knowledge import check
from penstock_registry.store.batch import Aside, Batch, Beat
from penstock_registry.store.store import Store
from penstock_registry.web import WebServer, listen
from servicekit.events import Event, ServiceHeartbeat

HOST = "127.0.0.1"


class Registry:
    """With a `token` it behaves as one that others can reach: it wants a login."""

    def __init__(self, directory: Path, *, token: str | None = None) -> None:
        self.store = Store(f"sqlite:///{directory / 'registry.db'}")
        self.store.migrate()
        self._token = token
        self._port = 0
        self._stopping = threading.Event()
        self._held: list[Event] | None = None
        self._server: WebServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}/"

    def start(self) -> None:
        """Serve; at the same address as before."""
        self._stopping.clear()
        app = create_app(
            self.store.engine,
            token=self._token,
            loopback=self._token is None,
            stopping=self._stopping.is_set,
        )
        listener = listen(HOST, self._port)
        self._port = listener.getsockname()[1]
        self._server = WebServer(app, listener, HOST, lambda: None)

    def stop(self) -> None:
        """Answer no more, and let go of who listens."""
        self._stopping.set()
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        self.stop()
        self.store.close()

    def learn(self, *events: Event, asides: Iterable[Aside] = ()) -> None:
        """Take in what services say."""
        for event in events:
            check(event)
        if self._held is not None:
            self._held.extend(events)
            return
        self.store.learn(
            Batch(
                events=[event for event in events if not isinstance(event, ServiceHeartbeat)],
                beats=[Beat.of(event) for event in events if isinstance(event, ServiceHeartbeat)],
                asides=list(asides),
            )
        )

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Take in all that is said meanwhile in one batch, at the end."""
        self._held = []
        yield
        held, self._held = self._held, None
        self.learn(*held)

    def heartbeat(
        self, service: str, host: str, *, at: float | None = None, program: str = "", **status: object
    ) -> None:
        """Let a service be heard of."""
        self.learn(
            ServiceHeartbeat(
                time=at or time.time(),
                program_id=program or f"{service}/{host}",
                service=service,
                host=host,
                version="0.1.0",
                n_messages_read=1200,
                n_bytes_read=88 << 20,
                n_messages_processed=1200,
                n_bytes_processed=88 << 20,
                status=dict(status),
            )
        )
