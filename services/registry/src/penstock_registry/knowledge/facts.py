"""What events say, each as the rows that would hold it if nothing else were known."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from blake3 import blake3

from penstock_registry.knowledge.rows import (
    Outcome,
    ReceiptRow,
    UploadRow,
    join_receipts,
    join_uploads,
    most,
)
from penstock_registry.store.schema import file_key, stream_key
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
    Receipt,
    UploadReceipt,
    UploadTelemetry,
)

MAX_DETAIL_BYTES: Final = 8192
OUTCOME_BITS: Final = {Outcome.DELIVERED.value: 1, Outcome.SKIPPED.value: 2, Outcome.REJECTED.value: 4}

Failure: TypeAlias = tuple[float, str, str, str, str, int]
"""When, upload id or '', destination or '', reason, detail, size: what a source cannot do."""
_FAILURE: Final = ("at", "upload_id", "destination", "reason", "detail", "size")

stream_key_of = lru_cache(maxsize=4096)(stream_key)


class FileFact(NamedTuple):
    """What was said of a file itself, not of one of its uploads."""

    id: UUID
    stream_id: int
    source_id: str
    path: bytes
    discovered: tuple[float, int] | None
    """When, and how large it was."""
    failure: Failure | None
    first_at: float
    last_at: float

    def join(self, other: FileFact) -> FileFact:
        """Return what both say."""
        return self._replace(
            discovered=most(self.discovered, other.discovered),
            failure=most(self.failure, other.failure),
            first_at=min(self.first_at, other.first_at),
            last_at=max(self.last_at, other.last_at),
        )


class Facts:
    """What a batch of events says, joined."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.streams: dict[int, tuple[str, float, float]] = {}
        """Topic, first and last time."""
        self.uploads: dict[tuple[UUID, int], UploadRow] = {}
        self.receipts: dict[tuple[UUID, int, str], ReceiptRow] = {}
        self.files: dict[UUID, FileFact] = {}
        self.lost: dict[tuple[str, int, int, int, str], tuple[int, float]] = {}
        """Stream and time of each lost range."""
        self.heard: dict[tuple[int, str, str], float] = {}
        """When each (stream, destination, outcome) was last heard of; destination '', outcome 'uploaded'."""
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take one more event, which `check` has let pass."""
        if isinstance(event, UploadReceipt):
            self._add_receipt(event)
        elif isinstance(event, UploadTelemetry):
            self._add_telemetry(event)
        elif isinstance(event, RangeLost):
            self._add_lost(event)

    def _add_stream(self, topic: str, at: float) -> int:
        stream = stream_key_of(topic)
        known = self.streams.get(stream)
        if known is None:
            self.streams[stream] = (topic, at, at)
        elif at < known[1] or at > known[2]:
            self.streams[stream] = (topic, min(at, known[1]), max(at, known[2]))
        return stream

    def _add_receipt(self, event: UploadReceipt) -> None:
        stream = self._add_stream(event.topic, event.time)
        upload_id = UUID(event.upload_id) if event.upload_id else _unnamed(event)
        size = event.size if event.size >= 0 else None
        digest: bytes | None = None
        closed_at: float | None = None
        reason: str | None = None
        detail: str | None = None
        delivered_as: bytes | None = None
        visible_at: float | None = None
        if isinstance(event, FileDelivered):
            outcome = Outcome.DELIVERED.value
            digest, closed_at, visible_at = bytes.fromhex(event.digest), event.closed_at, event.visible_at
            if event.delivered_as is not None:
                delivered_as = event.delivered_as.encode("utf-8", "surrogateescape")
        elif isinstance(event, (FileRejected, FileSkipped)):
            outcome = (Outcome.REJECTED if isinstance(event, FileRejected) else Outcome.SKIPPED).value
            reason, detail = event.reason, shortened(event.detail)
        else:
            return
        file_id = self._file_of(stream, event.topic, event.source_id, event.path, event.time)
        arrived = size is not None and outcome == Outcome.DELIVERED.value
        self._add_upload(
            UploadRow(
                upload_id,
                stream,
                file_id,
                size,
                digest,
                None,
                None,
                event.time,
                event.time,
                closed_at,
                size or 0 if arrived else 0,
                event.time if arrived else None,
                None,
                None,
                None,
                None,
                None,
                None,
                None,
            )
        )
        receipt = ReceiptRow(
            upload_id,
            event.destination,
            stream,
            outcome,
            event.time,
            reason,
            detail,
            digest,
            size,
            delivered_as,
            closed_at,
            visible_at,
            event.topic_id,
            event.partition,
            event.offset,
            OUTCOME_BITS[outcome],
        )
        known = self.receipts.get(receipt.key)
        self.receipts[receipt.key] = receipt if known is None else join_receipts(known, receipt)
        self._hear(stream, event.destination, outcome, event.time)

    def _add_telemetry(self, event: UploadTelemetry) -> None:
        stream = self._add_stream(event.topic, event.time)
        discovered: tuple[float, int] | None = None
        failure: Failure | None = None
        if isinstance(event, FileDiscovered):
            discovered = (event.time, max(event.size, 0))
        elif isinstance(event, FileFailed):
            failure = (
                event.time,
                str(UUID(event.upload_id)) if event.upload_id else "",
                event.destination,
                event.reason,
                shortened(event.detail),
                max(event.size, 0),
            )
        file_id = self._file_of(
            stream, event.topic, event.source_id, event.path, event.time, discovered, failure
        )
        if event.upload_id and discovered is None:
            self._add_upload(self._upload_of(event, stream, file_id))
        if isinstance(event, FileUploaded):
            self._hear(stream, "", "uploaded", event.time)

    def _upload_of(self, event: UploadTelemetry, stream: int, file_id: UUID | None) -> UploadRow:
        size = event.size if event.size >= 0 else None
        upload_id = UUID(event.upload_id)
        version: UUID | None = None
        addressed_to: tuple[str, ...] | None = None
        digest: bytes | None = None
        done = 0
        uploaded_at: float | None = None
        seconds: float | None = None
        partition: int | None = None
        first: int | None = None
        last: int | None = None
        aborted_at: float | None = None
        abort_reason: str | None = None
        if isinstance(event, (FileUploading, FileUploaded)):
            version = min(UUID(event.version), upload_id) if event.version else upload_id
            addressed_to = tuple(sorted(set(event.to)))
        if isinstance(event, FileUploading):
            done = event.bytes_done
        elif isinstance(event, FileUploaded):
            digest, done, uploaded_at = bytes.fromhex(event.digest), size or 0, event.time
            seconds, partition = event.seconds, event.partition
            first, last = event.first_offset, event.last_offset
        elif isinstance(event, FileAborted):
            aborted_at, abort_reason = event.time, event.reason
        progress_at = event.time if version is not None else None
        return UploadRow(
            upload_id,
            stream,
            file_id,
            size,
            digest,
            version,
            addressed_to,
            event.time,
            event.time,
            None,
            done,
            progress_at,
            uploaded_at,
            seconds,
            partition,
            first,
            last,
            aborted_at,
            abort_reason,
        )

    def _add_upload(self, upload: UploadRow) -> None:
        key = (upload.id, upload.stream_id)
        known = self.uploads.get(key)
        self.uploads[key] = upload if known is None else join_uploads(known, upload)

    def _file_of(
        self,
        stream: int,
        topic: str,
        source_id: str,
        path: str,
        at: float,
        discovered: tuple[float, int] | None = None,
        failure: Failure | None = None,
    ) -> UUID | None:
        if not source_id or not path:
            return None
        raw = path.encode("utf-8", "surrogateescape")
        key = file_key(topic, source_id, raw)
        fact = FileFact(key, stream, source_id, raw, discovered, failure, at, at)
        known = self.files.get(key)
        self.files[key] = fact if known is None else known.join(fact)
        return key

    def _add_lost(self, event: RangeLost) -> None:
        stream = self._add_stream(event.topic, event.time)
        key = (event.topic_id, event.partition, event.from_offset, event.to_offset, event.destination)
        known = self.lost.get(key)
        self.lost[key] = (stream, event.time) if known is None else min(known, (stream, event.time))

    def _hear(self, stream: int, destination: str, outcome: str, at: float) -> None:
        key = (stream, destination, outcome)
        self.heard[key] = max(at, self.heard.get(key, 0.0))


def failure_of(failure: Failure) -> dict[str, Any]:
    """Return a failure as the table `files` holds it."""
    return dict(zip(_FAILURE, failure, strict=True))


def failure_key(failure: dict[str, Any]) -> Failure:
    """Return a failure from the table `files`; the greater one stands."""
    at, upload_id, destination, reason, detail, size = (failure[name] for name in _FAILURE)
    return at, upload_id, destination, reason, detail, size


def shortened(text: str) -> str:
    """Return the beginning of a text for people, if it is too long to be stored."""
    raw = text.encode()
    return text if len(raw) <= MAX_DETAIL_BYTES else raw[:MAX_DETAIL_BYTES].decode("utf-8", "ignore")


def _unnamed(event: Receipt) -> UUID:
    """Return an id for what was refused without being understood: that of the record it was in.

    It is below all real ones: nothing that is known of an upload is less true for it.
    """
    record = f"{event.topic_id}/{event.partition}/{getattr(event, 'offset', -1)}"
    number = int.from_bytes(blake3(record.encode()).digest(16), "big")
    tail = number & (1 << 80) - 1 & ~(0xF << 76 | 0x3 << 62)
    return UUID(int=tail | 0x8 << 76 | 0x2 << 62)  # version 8: of our own making
