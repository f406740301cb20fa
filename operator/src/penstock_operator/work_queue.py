"""Which streams have to be worked on."""

from __future__ import annotations

import asyncio

from penstock_operator.tracked import Key


class WorkQueue:
    """Streams that have to be worked on: each once, and by one worker at a time."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._later: dict[Key, asyncio.TimerHandle] = {}

    def put(self, key: Key) -> None:
        """Let it be worked on; once more, if it is just now."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def put_later(self, key: Key, seconds: float) -> None:
        """Let it be worked on in a while at the latest: of several times the first one counts."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, seconds)
        handle = self._later.get(key)
        if handle is not None:
            if handle.when() <= due:
                return
            handle.cancel()
        self._later[key] = loop.call_at(due, self._in_time, key)

    def _in_time(self, key: Key) -> None:
        self._later.pop(key, None)
        self.put(key)

    def forget(self, key: Key) -> None:
        """Do not work on it later."""
        handle = self._later.pop(key, None)
        if handle is not None:
            handle.cancel()

    async def get(self) -> Key:
        """Wait for the next; call `done` with it after."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """Say that it was worked on."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.put(key)
