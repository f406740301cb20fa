"""Live updates by server-sent events: what changed, at most once a second, to whoever listens.

One poller asks the database for all listeners, and only while there are any. A listener is given the newest
state when it is ready for it; what it missed in between is not kept for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from starlette.concurrency import run_in_threadpool

from penstock_registry.api.models import Overview, Problem
from penstock_registry.api.problems import bug_for_clients
from penstock_registry.exceptions import DatabaseUnavailable
from servicekit.lifecycle import describe_bug
from servicekit.logs import Limiter

log = logging.getLogger(__name__)

MOST_LISTENERS: Final = 100
_POLL_SECONDS: Final = 1.0
_KEEPALIVE_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.25
"""So often it is seen that the service stops."""
_LONGEST_SECONDS: Final = 3600.0
"""Then a listener must come again, and show that it may still listen."""
_RETRY: Final = b"retry: 2000\n\n"
_KEEPALIVE: Final = b": still here\n\n"


def framed(event: str, data: str) -> bytes:
    """Return an event as the wire has it. JSON holds no line breaks, so one line of data is all."""
    return f"event: {event}\ndata: {data}\n\n".encode()


@dataclass(slots=True)
class _Channel:
    """What the listeners to one stream (None: to all) hear."""

    listeners: int = 0
    number: int = 0
    """Of the newest event; 0: there is none yet."""
    newest: bytes = b""
    body: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, event: str, data: str, body: str) -> None:
        """Make this the newest event, unless nothing but its time is new."""
        if body == self.body:
            return
        self.number, self.newest, self.body = self.number + 1, framed(event, data), body
        self.changed.set()
        self.changed = asyncio.Event()


class Live:
    """Those who listen, and the poller that asks for them. All of it runs in one event loop."""

    def __init__(
        self,
        overview: Callable[[str | None], Overview],
        *,
        stopping: Callable[[], bool] = lambda: False,
        most_listeners: int = MOST_LISTENERS,
        poll_seconds: float = _POLL_SECONDS,
        keepalive_seconds: float = _KEEPALIVE_SECONDS,
    ) -> None:
        """`overview` is asked in a thread; `stopping` says when listeners are to be let go."""
        self._overview = overview
        self._stopping = stopping
        self._most = most_listeners
        self._poll_seconds = poll_seconds
        self._keepalive_seconds = keepalive_seconds
        self._channels: dict[str | None, _Channel] = {}
        self._poller: asyncio.Task[None] | None = None
        self._limiter = Limiter(every_seconds=60)

    @property
    def listeners(self) -> int:
        """How many listen."""
        return sum(channel.listeners for channel in self._channels.values())

    @property
    def polls(self) -> bool:
        """Whether the database is being asked."""
        return self._poller is not None and not self._poller.done()

    @property
    def full(self) -> bool:
        """Whether nobody else may listen."""
        return self.listeners >= self._most

    async def listen(self, stream: str | None) -> AsyncIterator[bytes]:
        """Yield what is to be sent to one listener, until the service stops."""
        channel = self._channels.setdefault(stream, _Channel())
        channel.listeners += 1
        if not self.polls:
            self._poller = asyncio.create_task(self._poll())
        heard, began, said = 0, time.monotonic(), time.monotonic()
        try:
            yield _RETRY
            while not self._stopping() and time.monotonic() - began < _LONGEST_SECONDS:
                if channel.number != heard:
                    heard, said = channel.number, time.monotonic()
                    yield channel.newest
                elif time.monotonic() - said >= self._keepalive_seconds:
                    said = time.monotonic()
                    yield _KEEPALIVE
                else:
                    await _wait(channel.changed, _LOOK_SECONDS)
        finally:
            channel.listeners -= 1
            if not channel.listeners:
                self._channels.pop(stream, None)

    async def _poll(self) -> None:
        while self._channels and not self._stopping():
            began = time.monotonic()
            for stream, channel in list(self._channels.items()):
                await self._ask(stream, channel)
            await asyncio.sleep(max(0.0, self._poll_seconds - (time.monotonic() - began)))

    async def _ask(self, stream: str | None, channel: _Channel) -> None:
        try:
            overview = await run_in_threadpool(self._overview, stream)
        except DatabaseUnavailable as error:
            _tell_problem(channel, 503, str(error))
        except Exception as error:
            if self._limiter.first(type(error)):
                log.error("cannot tell what is new: %s", describe_bug(error))  # noqa: TRY400
                log.debug("live updates", exc_info=error)
            _tell_problem(channel, 500, bug_for_clients(error))
        else:
            channel.tell("overview", overview.model_dump_json(), overview.model_dump_json(exclude={"at"}))


def _tell_problem(channel: _Channel, status: int, detail: str) -> None:
    said = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail).model_dump_json()
    channel.tell("problem", said, said)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
