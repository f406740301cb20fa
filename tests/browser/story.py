"""What happens to files, told as the events that tell it."""

import itertools
import time
import uuid

from blake3 import blake3
from tests.browser.registry import Registry

from servicekit.events import (
    FileAborted,
    FileDelivered,
    FileDiscovered,
    FileFailed,
    FileRejected,
    FileUploaded,
    FileUploading,
)

TOPIC = "microscope-3"
_numbers = itertools.count(1)


class Upload:
    """One sending of a file. Each method is one thing that happens to it, `at` a time (or now)."""

    def __init__(
        self,
        registry: Registry,
        path: str,
        size: int = 2 << 20,
        *,
        at: float | None = None,
        topic: str = TOPIC,
        source_id: str = "scope-3.lab",
        version: "Upload | None" = None,
        to: tuple[str, ...] = (),
    ) -> None:
        self._registry = registry
        self.began_at = at or time.time()
        self.number = next(_numbers)
        random = uuid.uuid4().int
        self.id = str(
            uuid.UUID(int=int(self.began_at * 1000) << 80 | 7 << 76 | 2 << 62 | random & ((1 << 62) - 1))
        )
        self.version = self.id if version is None else version.version
        self.closed_at: float = self.began_at - 0.5 if version is None else version.closed_at
        self.digest = blake3(self.version.encode()).hexdigest()
        self.path = path
        self._file = {"source_id": source_id, "path": path, "size": size, "topic": topic}
        self._to = to
        self.bytes_done, self.progress_at = 0, self.began_at
        self.size = size

    def discovered(self, *, at: float | None = None) -> "Upload":
        self._registry.learn(FileDiscovered(time=at or self.began_at - 0.3, **self._file))
        return self

    def progress(self, bytes_done: int = 0, *, at: float | None = None) -> "Upload":
        self.bytes_done, self.progress_at = bytes_done, at or time.time()
        self._registry.learn(
            FileUploading(
                time=self.progress_at,
                upload_id=self.id,
                bytes_done=bytes_done,
                version=self.version,
                to=self._to,
                **self._file,
            )
        )
        return self

    def advance(self, bytes_per_second: float) -> "Upload":
        """Go on at this speed since the last progress."""
        now = time.time()
        return self.progress(int(self.bytes_done + bytes_per_second * (now - self.progress_at)), at=now)

    def uploaded(self, *, at: float | None = None) -> "Upload":
        at = at or time.time()
        self._registry.learn(
            FileUploaded(
                time=at,
                upload_id=self.id,
                digest=self.digest,
                partition=0,
                first_offset=self.number * 100,
                last_offset=self.number * 100 + 8,
                seconds=max(0.0, at - self.began_at),
                version=self.version,
                to=self._to,
                **self._file,
            )
        )
        return self

    def delivered(self, destination: str = "archive", *, at: float | None = None) -> "Upload":
        at = at or time.time()
        self._registry.learn(
            FileDelivered(
                time=at,
                digest=self.digest,
                closed_at=self.closed_at,
                visible_at=at,
                **self._answer(destination),
            )
        )
        return self

    def rejected(
        self,
        destination: str = "archive",
        reason: str = "digest",
        detail: str = "",
        *,
        at: float | None = None,
    ) -> "Upload":
        self._registry.learn(
            FileRejected(time=at or time.time(), reason=reason, detail=detail, **self._answer(destination))
        )
        return self

    def aborted(self, reason: str = "changed", *, at: float | None = None) -> "Upload":
        self._registry.learn(
            FileAborted(time=at or time.time(), upload_id=self.id, reason=reason, **self._file)
        )
        return self

    def failed(self, reason: str, detail: str = "", *, at: float | None = None) -> "Upload":
        self._registry.learn(
            FileFailed(time=at or time.time(), upload_id=self.id, reason=reason, detail=detail, **self._file)
        )
        return self

    def _answer(self, destination: str) -> dict[str, object]:
        return {
            **self._file,
            "upload_id": self.id,
            "destination": destination,
            "topic_id": "aGVsbG8gd29ybGQhISEhIQ",
            "partition": 0,
            "offset": self.number * 100 + 8,
        }


def delivered(registry: Registry, path: str, *, at: float | None = None, **about: object) -> Upload:
    """Let a file go all the way."""
    at = at or time.time()
    upload = Upload(registry, path, at=at - 2, **about)
    return upload.discovered().progress(0, at=at - 1.9).uploaded(at=at - 1).delivered(at=at)
