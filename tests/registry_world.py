"""Events of a small world, for tests of what is then known."""

from __future__ import annotations

import uuid
from typing import Any

from penstock_registry.store.batch import Batch
from penstock_registry.store.store import Store
from servicekit.events import (
    Event,
    FileAborted,
    FileDelivered,
    FileDiscovered,
    FileFailed,
    FileRejected,
    FileSkipped,
    FileUploaded,
    FileUploading,
    RangeLost,
    ServiceHeartbeat,
)

NOW = 1_800_000_030.0
DIGEST = "ab" * 32


def upload_id(at: float, number: int = 0) -> str:
    """An id of an upload that began then: a UUIDv7."""
    return str(uuid.UUID(int=(int(at * 1000) << 80) | (7 << 76) | (2 << 62) | number))


class World:
    """Says what happens to files. `ago` is in seconds before NOW."""

    def __init__(self, *, topic: str = "raw", source: str = "microscope") -> None:
        self.topic = topic
        self.source = source
        self.events: list[Event] = []
        self._number = 0

    def _about(self, path: str, size: int) -> dict[str, Any]:
        return {"source_id": self.source, "path": path, "size": size, "topic": self.topic}

    def discovered(self, path: str, *, ago: float = 60.0, size: int = 1000) -> None:
        self.events.append(FileDiscovered(time=NOW - ago, **self._about(path, size)))

    def uploading(self, path: str, done: int, *, ago: float = 60.0, size: int = 1000) -> str:
        self._number += 1
        upload = upload_id(NOW - ago, self._number)
        self.events.append(
            FileUploading(time=NOW - ago, upload_id=upload, bytes_done=done, **self._about(path, size))
        )
        return upload

    def uploaded(
        self, path: str, *, ago: float = 60.0, size: int = 1000, digest: str = DIGEST, **more: Any
    ) -> str:
        self._number += 1
        upload = upload_id(NOW - ago, self._number)
        self.events.append(
            FileUploaded(
                time=NOW - ago + 1,
                upload_id=upload,
                digest=digest,
                partition=3,
                first_offset=10,
                last_offset=12,
                seconds=1.0,
                **self._about(path, size),
                **more,
            )
        )
        return upload

    def aborted(self, path: str, upload: str, reason: str, *, ago: float = 50.0, size: int = 1000) -> None:
        self.events.append(
            FileAborted(time=NOW - ago, upload_id=upload, reason=reason, **self._about(path, size))
        )

    def failed(self, path: str, reason: str, *, ago: float = 50.0, size: int = 1000, **more: Any) -> None:
        self.events.append(FileFailed(time=NOW - ago, reason=reason, **self._about(path, size), **more))

    def _answer(self, destination: str, ago: float) -> dict[str, Any]:
        return {"time": NOW - ago, "destination": destination, "topic_id": "T", "partition": 3, "offset": 12}

    def delivered(
        self,
        path: str,
        upload: str,
        *,
        to: str = "archive",
        ago: float = 50.0,
        size: int = 1000,
        digest: str = DIGEST,
        **more: Any,
    ) -> None:
        self.events.append(
            FileDelivered(
                upload_id=upload, digest=digest, **self._about(path, size), **self._answer(to, ago), **more
            )
        )

    def rejected(
        self, path: str, upload: str, reason: str, *, to: str = "archive", ago: float = 50.0, detail: str = ""
    ) -> None:
        self.events.append(
            FileRejected(
                upload_id=upload,
                reason=reason,
                detail=detail,
                **self._about(path, 1000),
                **self._answer(to, ago),
            )
        )

    def skipped(self, path: str, upload: str, reason: str, *, to: str = "archive", ago: float = 50.0) -> None:
        self.events.append(
            FileSkipped(upload_id=upload, reason=reason, **self._about(path, 1000), **self._answer(to, ago))
        )

    def lost(self, begin: int, end: int, *, to: str = "archive", ago: float = 50.0) -> None:
        self.events.append(
            RangeLost(
                time=NOW - ago,
                destination=to,
                topic=self.topic,
                topic_id="T",
                partition=3,
                from_offset=begin,
                to_offset=end,
            )
        )

    def heartbeat(self, program: str, *, ago: float = 5.0, **more: Any) -> None:
        self.events.append(
            ServiceHeartbeat(
                time=NOW - ago,
                **{"program_id": program, "service": "uploader", "host": "lab-pc", "version": "0.1", **more},
            )
        )

    def happen(self, store: Store) -> None:
        """Let the registry learn all of it."""
        store.learn(Batch(events=self.events, beats=[], asides=[], positions={}))
        self.events = []
