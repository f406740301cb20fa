"""How what happens is seen: metrics, telemetry and heartbeats, the log, and a program's observer."""

from __future__ import annotations

import logging
import socket
import time
from importlib.metadata import version
from typing import Any, Final

from penstock_uploader import metrics
from penstock_uploader.naming import wire_path
from penstock_uploader.observer import Observer
from penstock_uploader.settings import UploaderSettings
from penstock_uploader.transfer import Transfer
from servicekit.events import FileDiscovered, FileUploaded, FileUploading, ServiceHeartbeat, Telemetry
from servicekit.logs import fields

log = logging.getLogger(__name__)

SERVICE: Final = "uploader"
_HEARTBEAT_SECONDS: Final = 10.0
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
    ) -> None:
        self._topic = settings.topic
        self._source_id = source_id
        self._prefix = prefix
        self._observer = observer
        self._telemetry = telemetry if settings.events_topic else None
        self._told: dict[str, float] = {}
        self._beat = time.monotonic()
        self._messages = 0
        self._bytes = 0

    def discovered(self, path: str, size: int) -> None:
        """Take note: a file is new or changed, and rests."""
        metrics.FILES_DISCOVERED.inc()
        if self._observer is not None:
            self._observer.discovered(path, size)
        if self._telemetry is not None:
            self._telemetry.publish(
                FileDiscovered(
                    time=time.time(),
                    source_id=self._source_id,
                    path=wire_path(self._prefix, path),
                    size=size,
                    topic=self._topic,
                )
            )

    def began(self, transfer: Transfer) -> None:
        """Take note: an upload has begun."""
        if transfer.version != transfer.upload_id:
            metrics.FILES_RESENT.inc()
        if self._observer is not None:
            self._observer.started(transfer.path, transfer.plan.size)

    def progressed(self, transfer: Transfer) -> None:
        """Take note: more of an upload is acknowledged. Only uploads of several chunks have progress."""
        done = min(transfer.plan.size, transfer.acked * transfer.plan.chunk_size)
        if self._observer is not None:
            self._observer.progress(transfer.path, done, transfer.plan.size)
        if self._telemetry is not None and self._may_tell_of(transfer.path):
            self._telemetry.publish(
                FileUploading(
                    time=time.time(),
                    upload_id=str(transfer.upload_id),
                    source_id=self._source_id,
                    path=wire_path(self._prefix, transfer.path),
                    size=transfer.plan.size,
                    topic=self._topic,
                    bytes_done=done,
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
                    upload_id=str(transfer.upload_id),
                    source_id=self._source_id,
                    path=wire_path(self._prefix, path),
                    size=size,
                    topic=self._topic,
                    digest=transfer.whole_digest.hex(),
                    partition=transfer.partition,
                    first_offset=transfer.first_offset,
                    last_offset=transfer.last_offset,
                    seconds=time.monotonic() - transfer.began,
                )
            )

    def delivered(self, path: str, destination: str) -> None:
        """Take note: a destination has given its receipt."""
        if self._observer is not None:
            self._observer.delivered(path, destination)

    def failed(self, path: str, reason: str, message: str) -> None:
        """Take note: a file cannot be sent, or a destination has refused it for good."""
        metrics.ERRORS.labels(reason).inc()
        if self._observer is not None:
            self._observer.failed(path, message)

    def beat(self, problems: dict[str, str]) -> None:
        """Send a heartbeat if it is time: what was done since the last one."""
        now = time.monotonic()
        if self._telemetry is None or now - self._beat < _HEARTBEAT_SECONDS:
            return
        self._beat = now
        messages, self._messages = self._messages, 0
        size, self._bytes = self._bytes, 0
        status: dict[str, Any] = {"problems": problems}
        self._telemetry.publish(
            ServiceHeartbeat(
                time=time.time(),
                program_id=self._source_id,
                service=SERVICE,
                host=socket.gethostname(),
                version=version("penstock-uploader"),
                n_bytes_read=size,
                n_messages_processed=messages,
                n_bytes_processed=size,
                n_messages_produced=messages,
                n_bytes_produced=size,
                status=status,
            )
        )

    def _may_tell_of(self, path: str) -> bool:
        now = time.monotonic()
        if now - self._told.get(path, 0.0) < _PROGRESS_SECONDS:
            return False
        if len(self._told) > _MAX_PROGRESS:
            self._told.clear()
        self._told[path] = now
        return True
