"""The heads of what was refused, kept for the person who wants to know why."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from typing import Final

log = logging.getLogger(__name__)

HEAD_BYTES: Final = 64 * 1024
"""What is kept of a refused record or file."""


class Quarantine:
    """A directory of at most `capacity` bytes; the oldest go first.

    For each refusal there are two files: ``<topic>-<partition>-<offset>.json`` says what and why, ``.head``
    has the first bytes. Nothing is ever refused, or held up, because this fails.
    """

    def __init__(self, directory: str, capacity: int) -> None:
        self._directory = directory
        self._capacity = capacity
        self._held: dict[str, int] = {}
        if capacity:
            with contextlib.suppress(OSError):
                found = [
                    (entry.stat().st_mtime_ns, entry.name, entry.stat().st_size)
                    for entry in os.scandir(directory)
                ]
                self._held = {name: size for _, name, size in sorted(found)}
        self._size = sum(self._held.values())

    def keep(self, topic: str, partition: int, offset: int, head: bytes | None, **why: object) -> None:
        """Keep the first bytes of what was at this place, and what is said of it."""
        if not self._capacity:
            return
        about = {"topic": topic, "partition": partition, "offset": offset, **why}
        name = f"{topic}-{partition}-{offset}"
        try:
            self._write(f"{name}.json", (json.dumps(about, default=str) + "\n").encode())
            if head:
                self._write(f"{name}.head", head[:HEAD_BYTES])
        except OSError as error:
            log.debug("quarantine: %s", error)

    def _write(self, name: str, data: bytes) -> None:
        self._size -= self._held.pop(name, 0)
        while self._held and self._size + len(data) > self._capacity:
            oldest = next(iter(self._held))
            self._size -= self._held.pop(oldest)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._directory, oldest))
        if len(data) > self._capacity:
            return
        with open(os.path.join(self._directory, name), "wb") as stream:
            stream.write(data)
        self._held[name] = len(data)
        self._size += len(data)
