"""How what happens is seen: metrics, telemetry and heartbeats, the log, and a program's observer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from chunkproto import UploadId
from penstock_uploader import metrics
from penstock_uploader.answerbook import EVERYONE
from penstock_uploader.naming import wire_path
from penstock_uploader.observer import Observer
from penstock_uploader.settings import UploaderSettings
from penstock_uploader.transfer import GivenUp, Transfer
from servicekit.events import (
    FileAborted,
    FileDiscovered,
    FileFailed,
    FileUploaded,
    FileUploading,
    Heartbeats,
    Telemetry,
)
from servicekit.logs import fields

log = logging.getLogger(__name__)

SERVICE: Final = "uploader"
_PROGRESS_SECONDS: Final = 1.0
_MAX_PROGRESS: Final = 1000
"""Of so many files it is remembered when their progress was last told."""


class Reporting:
    """Tells those who look on. Nothing here waits, and nothing depends on it."""

    def __init__(
        self,
        settings: UploaderSettings,
        *,
        source_id: str,
        prefix: str,
        observer: Observer | None,
        telemetry: Telemetry,
        once: bool,
    ) -> None:
        """`once`: files are sent once, perhaps beside an uploader that watches the same directory."""
        self._topic = settings.topic
        self._source_id = source_id
        self._prefix = prefix
        self._observer = observer
        self._telemetry = telemetry if settings.events_topic else None
        self._waited_for: dict[str, int] = {}
        """Sizes of files that were told to be discovered, and of which nothing was told since."""
        self._told: dict[str, float] = {}
        self._messages = 0
        self._bytes = 0
        self._heartbeats = Heartbeats(
            telemetry,
            program_id=f"{source_id}/upload" if once else source_id,
            service=SERVICE,
            version=version("penstock-uploader"),
            interval_seconds=settings.heartbeat_seconds,
            totals=self._totals,
            about={"topic": settings.topic, "source_id": source_id, "directory": settings.root},
        )

    def discovered(self, path: str, size: int, *, is_news: bool) -> None:
        """Take note: a file rests and has its turn soon; unless `is_news` it may be one that was sent."""
        metrics.FILES_DISCOVERED.inc()
        if self._observer is not None:
            self._observer.discovered(path, size)
        if self._telemetry is not None and is_news and self._waited_for.get(path) != size:
            self._waited_for[path] = size
            self._telemetry.publish(FileDiscovered(time=time.time(), **self._file(path, size)))

    def is_waited_for(self, path: str) -> bool:
        """Whether a file was told to be discovered, and nothing was told of it since."""
        return path in self._waited_for

    def began(self, transfer: Transfer) -> None:
        """Take note: an upload has begun."""
        self._waited_for.pop(transfer.path, None)
        if transfer.version != transfer.upload_id:
            metrics.FILES_RESENT.inc()
        if self._observer is not None:
            self._observer.started(transfer.path, transfer.plan.size)
        if not transfer.plan.is_single:
            self._may_tell_of(transfer.path)
            self._tell_progress(transfer, _bytes_done(transfer))

    def progressed(self, transfer: Transfer) -> None:
        """Take note: more of an upload is acknowledged. Only uploads of several chunks have progress."""
        done = _bytes_done(transfer)
        if self._observer is not None:
            self._observer.progress(transfer.path, done, transfer.plan.size)
        if self._may_tell_of(transfer.path):
            self._tell_progress(transfer, done)

    def _tell_progress(self, transfer: Transfer, done: int) -> None:
        if self._telemetry is not None:
            self._telemetry.publish(
                FileUploading(
                    time=time.time(),
                    **self._upload(transfer),
                    bytes_done=done,
                    version=_version(transfer),
                    to=transfer.to,
                )
            )

    def acknowledged(self, transfer: Transfer) -> None:
        """Take note: all of an upload is acknowledged."""
        now = time.time()
        seconds = max(0.0, now - transfer.closed_ns / 1e9)
        path, size = transfer.path, transfer.plan.size
        records = transfer.plan.count + (0 if transfer.plan.is_single else 1)
        self._messages += records
        self._bytes += size
        metrics.FILES_ACKNOWLEDGED.inc()
        metrics.BYTES_READ.inc(size)
        metrics.BYTES_PRODUCED.inc(size)
        metrics.MESSAGES_PRODUCED.inc(records)
        metrics.SECONDS_TO_ACKNOWLEDGED.observe(seconds)
        if log.isEnabledFor(logging.INFO):
            log.info("sent %s", path, extra=fields(size=size, chunks=transfer.plan.count, seconds=seconds))
        if self._observer is not None:
            self._observer.acknowledged(path, size, seconds)
        if self._telemetry is not None:
            self._telemetry.publish(
                FileUploaded(
                    time=now,
                    **self._upload(transfer),
                    digest=transfer.whole_digest.hex(),
                    partition=transfer.partition,
                    first_offset=transfer.first_offset,
                    last_offset=transfer.last_offset,
                    seconds=time.monotonic() - transfer.began,
                    version=_version(transfer),
                    to=transfer.to,
                )
            )

    def aborted(self, transfer: Transfer, reason: GivenUp) -> None:
        """Take note: an upload of several records is given up."""
        if self._telemetry is not None:
            self._telemetry.publish(
                FileAborted(time=time.time(), **self._upload(transfer), reason=reason.value)
            )

    def unchanged(self, path: str) -> None:
        """Take note: there was nothing to send."""
        self._waited_for.pop(path, None)

    def vanished(self, path: str, *, certainly: bool) -> None:
        """Take note: a file is gone. That is told if others wait for it: always, if `certainly`."""
        waited_for = self._waited_for.get(path)
        if waited_for is not None or certainly:
            self.tell_failed(path, "vanished", "it was gone before it was sent", waited_for or 0)

    def delivered(self, path: str, destination: str) -> None:
        """Take note: a destination has given its receipt."""
        if self._observer is not None:
            self._observer.delivered(path, destination)

    def failed(self, path: str, reason: str, message: str) -> None:
        """Take note: a file cannot be sent, or a destination has refused it for good."""
        metrics.ERRORS.labels(reason).inc()
        if self._observer is not None:
            self._observer.failed(path, message)

    def tell_failed(
        self,
        path: str,
        reason: str,
        detail: str,
        size: int,
        upload: UploadId | None = None,
        destination: str = EVERYONE,
    ) -> None:
        """Tell that a file cannot be sent, or that a destination is given up."""
        self._waited_for.pop(path, None)
        if self._telemetry is not None:
            file = self._file(path, size) | ({} if upload is None else {"upload_id": str(upload)})
            self._telemetry.publish(
                FileFailed(
                    time=time.time(), **file, destination=destination[:249], reason=reason, detail=detail
                )
            )

    # Heartbeats

    def beat_is_due(self, problems: Mapping[str, str]) -> bool:
        """Whether it is time for a heartbeat, with these problems."""
        return self._heartbeats.is_due(problems)

    def beat(self, status: dict[str, Any]) -> None:
        """Send a heartbeat: what was done since the last one, and this."""
        self._heartbeats.beat(status)

    def stopped(self) -> None:
        """Send the last heartbeat."""
        self._heartbeats.stopped()

    def _totals(self) -> dict[str, int]:
        return {
            "n_bytes_read": self._bytes,
            "n_messages_processed": self._messages,
            "n_bytes_processed": self._bytes,
            "n_messages_produced": self._messages,
            "n_bytes_produced": self._bytes,
        }

    # What events have in common

    def _file(self, path: str, size: int) -> dict[str, Any]:
        return {
            "source_id": self._source_id,
            "path": wire_path(self._prefix, path),
            "size": size,
            "topic": self._topic,
        }

    def _upload(self, transfer: Transfer) -> dict[str, Any]:
        return self._file(transfer.path, transfer.plan.size) | {"upload_id": str(transfer.upload_id)}

    def _may_tell_of(self, path: str) -> bool:
        now = time.monotonic()
        if now - self._told.get(path, 0.0) < _PROGRESS_SECONDS:
            return False
        if len(self._told) > _MAX_PROGRESS:
            self._told.clear()
        self._told[path] = now
        return True


def _bytes_done(transfer: Transfer) -> int:
    return min(transfer.plan.size, transfer.acked * transfer.plan.chunk_size)


def _version(transfer: Transfer) -> str:
    """Give the first upload of the same content, if this is a later one."""
    return "" if transfer.version in (None, transfer.upload_id) else str(transfer.version)
