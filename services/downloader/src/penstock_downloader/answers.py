"""What is said of each upload: its receipt, the counters, the log, the observer, the quarantine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from chunkproto import Description, Reason, SkipReason, UploadId
from penstock_downloader import metrics
from penstock_downloader.observer import Observer
from penstock_downloader.partition import Partition
from penstock_downloader.quarantine import Quarantine
from servicekit.events import Event, FileDelivered, FileRejected, FileSkipped, RangeLost, Receipt
from servicekit.logs import Limiter, fields
from servicekit.unreadable import UnreadableBatch

log = logging.getLogger(__name__)

_UNDECODABLE: Final = "undecodable"
"""Why records were stepped over, in metrics and the quarantine: no upload of theirs is known to refuse."""


class Sender(Protocol):
    """Sends events that must arrive: see `receipts.Receipts`."""

    def send(self, event: Event, acknowledged: Callable[[], None]) -> None:
        """Send an event; `acknowledged` is called from within `poll`."""

    def poll(self, timeout: float = 0.0) -> None:
        """Hear of acknowledgements."""

    def __len__(self) -> int:
        """How many are not acknowledged."""


class Answers:
    """Gives the answers of one destination about one topic.

    Each holds the commit at its record until the brokers have acknowledged it.
    """

    def __init__(
        self,
        receipts: Sender,
        quarantine: Quarantine,
        *,
        destination: str,
        topic: str,
        observer: Observer | None,
    ) -> None:
        self._receipts = receipts
        self._quarantine = quarantine
        self._destination = destination
        self._topic = topic
        self._observer = observer
        self._limiter = Limiter(every_seconds=3600)

    def poll(self, timeout: float = 0.0) -> None:
        """Hear which answers the brokers have acknowledged, for at most `timeout` seconds."""
        self._receipts.poll(timeout)

    def __len__(self) -> int:
        """How many answers are not acknowledged yet."""
        return len(self._receipts)

    def delivered(
        self,
        partition: Partition,
        offset: int,
        upload_id: UploadId,
        description: Description,
        digest: bytes,
        name: str,
        closed_ns: int,
        visible_at: float | None,
    ) -> None:
        """Give the receipt; `visible_at` is None when it is given again."""
        closed_at = closed_ns / 1e9 if closed_ns > 0 else None
        self._tell(
            FileDelivered,
            partition,
            offset,
            **_of_upload(offset, upload_id, description),
            time=visible_at or time.time(),
            digest=digest.hex(),
            delivered_as=None if name == description.path else name,
            closed_at=closed_at,
            visible_at=visible_at,
        )
        if visible_at is None:
            metrics.RECEIPTS_AGAIN.inc()
            return
        # The source's clock may be ahead of ours.
        seconds = visible_at - closed_at if closed_at is not None and closed_at <= visible_at else None
        metrics.FILES_DELIVERED.inc()
        metrics.BYTES_DELIVERED.inc(description.size)
        if seconds is not None:
            metrics.VISIBLE_SECONDS.observe(seconds)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("delivered", extra=fields(path=name, size=description.size, upload=upload_id))
        if self._observer is not None:
            self._observer.delivered(upload_id, description, name, seconds)

    def rejected(
        self,
        partition: Partition,
        offset: int,
        upload_id: UploadId | None,
        description: Description | None,
        reason: Reason | str,
        detail: str,
        head: bytes | None,
        *,
        again: bool = False,
    ) -> None:
        """Say that a record or an upload is refused; to its source too, if the upload is known."""
        if not again:
            metrics.REFUSED.labels(str(reason)).inc()
            path = description.path if description is not None else None
            if self._limiter.first((partition.number, offset, reason)):
                log.warning(
                    "refused: %s",
                    detail,
                    extra=fields(
                        reason=str(reason),
                        topic=self._topic,
                        partition=partition.number,
                        offset=offset,
                        **({"upload": str(upload_id)} if upload_id is not None else {}),
                        **({"path": path} if path is not None else {}),
                    ),
                )
            self._quarantine.keep(
                self._topic,
                partition.number,
                offset,
                head,
                reason=str(reason),
                detail=detail,
                upload=upload_id and str(upload_id),
                path=path,
            )
        if upload_id is None:
            return
        self._tell(
            FileRejected,
            partition,
            offset,
            **_of_upload(offset, upload_id, description),
            time=time.time(),
            reason=str(reason),
            detail=detail,
        )
        if self._observer is not None and not again:
            self._observer.rejected(upload_id, description, str(reason), detail)

    def skipped(
        self,
        partition: Partition,
        offset: int,
        upload_id: UploadId,
        description: Description,
        reason: SkipReason,
        detail: str,
        *,
        again: bool = False,
    ) -> None:
        """Say that a file is not wanted here. Of one that is addressed to others, nothing is said."""
        if not again:
            metrics.FILES_SKIPPED.labels(reason.value).inc()
        if reason is SkipReason.NOT_ADDRESSED:
            return
        self._tell(
            FileSkipped,
            partition,
            offset,
            **_of_upload(offset, upload_id, description),
            time=time.time(),
            reason=reason.value,
            detail=detail,
        )

    def range_lost(self, partition: Partition, start: int, end: int) -> None:
        """Say that records were gone before they were read."""
        metrics.RECORDS_LOST.inc(end - start)
        log.error(
            "%d records were deleted before they were read: retention was faster",
            end - start,
            extra=fields(topic=self._topic, partition=partition.number, first=start, last=end - 1),
        )
        self._tell_lost(partition, start, end)

    def unreadable(self, partition: Partition, start: int, batch: UnreadableBatch) -> None:
        """Say that records from `start` to the end of their batch cannot be unpacked, by anybody."""
        metrics.REFUSED.labels(_UNDECODABLE).inc(batch.end - start)
        detail = str(batch)
        if self._limiter.first((partition.number, batch.start, _UNDECODABLE)):
            log.error(
                "stepped over: %s",
                detail,
                extra=fields(topic=self._topic, partition=partition.number, first=start, last=batch.end - 1),
            )
        self._quarantine.keep(
            self._topic,
            partition.number,
            start,
            None,
            reason=_UNDECODABLE,
            detail=detail,
            from_offset=start,
            to_offset=batch.end,
        )
        self._tell_lost(partition, start, batch.end)

    def _tell_lost(self, partition: Partition, start: int, end: int) -> None:
        # The next record to come is held: were the commit past the gap, nobody would tell of it again.
        self._tell(RangeLost, partition, start, time=time.time(), from_offset=start, to_offset=end)

    def _tell(self, kind: type[Receipt], partition: Partition, hold_at: int, **told: Any) -> None:  # noqa: ANN401
        """Send a receipt, and hold the commit at an offset until the brokers have acknowledged it.

        It is not validated: this is done for every file, and what others have written must not end us.
        """
        event = kind.model_construct(
            destination=self._destination,
            topic=self._topic,
            topic_id=partition.topic_id,
            partition=partition.number,
            **told,
        )
        self._receipts.send(event, self._hold(partition, hold_at))

    @staticmethod
    def _hold(partition: Partition, offset: int) -> Callable[[], None]:
        partition.hold(offset)
        return lambda: partition.release(offset)


def _of_upload(offset: int, upload_id: UploadId, description: Description | None) -> dict[str, object]:
    """Give what all answers say of an upload, as far as it is known."""
    return {
        "upload_id": str(upload_id),
        "source_id": description.source if description else "",
        "path": description.path if description else "",
        "size": description.size if description else -1,
        "offset": offset,
    }
