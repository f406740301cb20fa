"""Taking records in: each is decoded, put where it belongs, and written or handed to delivery."""

from __future__ import annotations

from typing import Final

from confluent_kafka import Message

from chunkproto import Description, End, Reason, Record, SkipReason, UndecodableRecord, UploadId, Whole
from chunkproto.assembly import Complete, Deliver, Discard, Refuse, Skip, Step, Upload, Write
from chunkproto.native import decode
from chunkproto.paths import path_problem, portability_problem
from penstock_downloader import metrics
from penstock_downloader.answers import Answers
from penstock_downloader.deliveredlog import Entry, Kind
from penstock_downloader.delivery import Delivery, DeliveryThread
from penstock_downloader.exceptions import PartialLost, SinkUnavailable
from penstock_downloader.observer import Observer
from penstock_downloader.partials import Partials
from penstock_downloader.partition import Partition
from penstock_downloader.quarantine import HEAD_BYTES
from penstock_downloader.settings import DownloaderSettings
from servicekit.globs import PathFilter
from servicekit.settings import approximately

PER_FILE_BYTES: Final = 2048
"""What a file that waits for delivery costs beside its bytes, roughly."""


_SKIPS: Final = frozenset(SkipReason)


class Intake:
    """Takes records, in the order of their offsets in each partition."""

    def __init__(
        self,
        settings: DownloaderSettings,
        destination: str,
        partials: Partials,
        delivery: DeliveryThread,
        answers: Answers,
        observer: Observer | None,
    ) -> None:
        self._destination = destination
        self._wants = PathFilter(settings.include, settings.exclude).wants
        self._max_file_size = settings.max_file_size
        self._portable_names = settings.requires_portable_names
        self._partials = partials
        self._delivery = delivery
        self._answers = answers
        self._observer = observer
        self.held_bytes = 0
        """Bytes of files that wait for delivery in memory."""
        self.unsynced_bytes = 0
        """Bytes written to partials since the caller last set this to 0."""
        self._stuck: tuple[Partition, int, Write, bytes] | None = None

    def judge(self, description: Description) -> tuple[Reason | SkipReason, str] | None:
        """Say what this destination thinks of a file, from its description alone."""
        if not description.is_for(self._destination):
            return SkipReason.NOT_ADDRESSED, "it is addressed to others"
        if problem := path_problem(description.path):
            return Reason.UNSAFE_PATH, f"path {description.path[:200]!r}: {problem}"
        if self._portable_names and (problem := portability_problem(description.path)):
            return Reason.UNPORTABLE_PATH, problem
        if not self._wants(description.path):
            return SkipReason.FILTERED, "the include and exclude globs leave it out"
        if self._max_file_size is not None and description.size > self._max_file_size:
            return Reason.TOO_LARGE, _too_large(description.size, self._max_file_size)
        return None

    @property
    def is_stuck(self) -> bool:
        """Whether a record could not be written. Nothing more may be taken until `retry` succeeds."""
        return self._stuck is not None

    def is_stuck_at(self, upload_id: UploadId) -> bool:
        """Whether the record that could not be written is of this upload."""
        return self._stuck is not None and self._stuck[2].upload.upload_id == upload_id

    def retry(self) -> None:
        """Write the record that could not be written; raises SinkUnavailable while it still cannot."""
        if self._stuck is not None:
            partition, offset, step, value = self._stuck
            if not partition.tenure.is_over:
                self._write(partition, offset, step, value)
            self._stuck = None

    def take(self, partition: Partition, offset: int, message: Message, now: float) -> None:
        """Take the record after the last one. Raises SinkUnavailable, and is stuck then."""
        value = message.value() or b""
        partition.position = offset + 1
        partition.at_end = False
        metrics.MESSAGES_READ.inc()
        metrics.BYTES_READ.inc(len(value))
        try:
            record = decode(message.headers(), value)  # type: ignore[arg-type]  # a list, as consumed
        except UndecodableRecord as error:
            self._answers.rejected(
                partition, offset, None, None, error.reason, str(error), value[:HEAD_BYTES] or message.key()
            )
            return
        delivered_log = partition.tenure.delivered_log
        if record.again or offset <= delivered_log.last_offset:
            entry = delivered_log.find(record.upload_id)
            if entry is not None:
                self._answer_again(partition, offset, record, entry)
                return
        if record.upload_id in partition.pending:
            return
        self._do(partition, offset, record, partition.assembly.feed(offset, record, len(value), now), value)

    def _do(self, partition: Partition, offset: int, record: Record, step: Step, value: bytes) -> None:
        match step:
            case Write():
                self._write(partition, offset, step, value)
            case Deliver(whole):
                self._deliver_whole(partition, offset, whole, value)
            case Complete(upload, end):
                self._complete(partition, offset, upload, end)
            case Refuse():
                self.refuse(partition, offset, step, value if isinstance(record, Whole) else None)
            case Skip(upload_id, reason, description, detail):
                self._answers.skipped(partition, offset, upload_id, description, reason, detail)
            case Discard(upload_id):
                self._partials.discard(upload_id)

    def refuse(self, partition: Partition, offset: int, step: Refuse, value: bytes | None = None) -> None:
        """Drop an upload's partial and say why, once."""
        if step.upload_id in partition.rejected:
            partition.rejected.discard(step.upload_id)  # that was its end
            return
        if step.description is not None and partition.assembly.get(step.upload_id) is not None:
            partition.rejected.add(step.upload_id)
        head = value[:HEAD_BYTES] if value is not None else self._partials.head(step.upload_id, HEAD_BYTES)
        self._partials.discard(step.upload_id)
        self._answers.rejected(
            partition, offset, step.upload_id, step.description, step.reason, step.detail, head
        )

    def _write(self, partition: Partition, offset: int, step: Write, value: bytes) -> None:
        upload = step.upload
        try:
            self._partials.write(upload.upload_id, step.position, value, resumed=upload.description is None)
        except SinkUnavailable:
            self._stuck = (partition, offset, step, value)
            raise
        except PartialLost as lost:
            self._partials.discard(upload.upload_id)
            partition.restarting = str(lost)
            return
        self.unsynced_bytes += len(value)
        metrics.MESSAGES_PROCESSED.inc()
        metrics.BYTES_PROCESSED.inc(len(value))
        if self._observer is not None:
            if step.position == 0 and upload.description is not None:
                self._observer.started(upload.upload_id, upload.description)
            self._observer.progress(upload.upload_id, step.position + len(value))

    def _deliver_whole(self, partition: Partition, offset: int, whole: Whole, value: bytes) -> None:
        self._submit(
            partition,
            Delivery(
                partition.tenure,
                whole.upload_id,
                offset,
                whole.description,
                whole.digest,
                whole.closed_ns,
                value=value,
                size=len(value) + PER_FILE_BYTES,
            ),
        )
        metrics.MESSAGES_PROCESSED.inc()
        metrics.BYTES_PROCESSED.inc(len(value))

    def _complete(self, partition: Partition, offset: int, upload: Upload, end: End) -> None:
        self._submit(
            partition,
            Delivery(
                partition.tenure,
                upload.upload_id,
                offset,
                end.description,
                end.digest,
                end.closed_ns,
                partial=self._partials.take(upload.upload_id),
                size=PER_FILE_BYTES,
            ),
        )
        metrics.MESSAGES_PROCESSED.inc()

    def _submit(self, partition: Partition, delivery: Delivery) -> None:
        partition.hold(delivery.offset)
        partition.pending.add(delivery.upload_id)
        self.held_bytes += delivery.size
        self._delivery.submit(delivery)

    def _answer_again(self, partition: Partition, offset: int, record: Record, entry: Entry) -> None:
        """Answer a record of an upload that is in the delivered log: nothing is written for it again."""
        if not isinstance(record, Whole | End):
            return
        description = record.description
        if entry.kind is Kind.DELIVERED:
            self._answers.delivered(
                partition,
                offset,
                record.upload_id,
                description,
                entry.digest,
                entry.name,
                record.closed_ns,
                None,
            )
        elif entry.name in _SKIPS:
            self._answers.skipped(
                partition, offset, record.upload_id, description, SkipReason(entry.name), "", again=True
            )
        else:
            self._answers.rejected(
                partition, offset, record.upload_id, description, entry.name, "", None, again=True
            )


__all__ = ["Intake"]


def _too_large(size: int, limit: int) -> str:
    shown, most = approximately(size), approximately(limit)
    if shown == most:
        shown, most = f"{size} bytes", f"{int(limit)}"
    return f"the file has {shown}, and this destination takes {most} at most (--max-file-size)"
