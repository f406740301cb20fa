"""What services tell each other: every event is a frozen model, strict about types and bounds.

The texts here are what docs/events.md and the JSON Schemas say of events and fields: see `page.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from typing_extensions import override

from chunkproto import Reason

EVENTS_TOPIC = "penstock.events"

MAX_TIME: Final = 253_402_300_799.0
"""The last second of the year 9999, which is as far as times in text go."""
_MAX_STATUS_DEPTH: Final = 16


def receipts_topic(topic: str) -> str:
    """Return the name of the topic with the receipts of what was sent through `topic`."""
    return f"{topic}.receipts"


def _plain(value: Any, depth: int = 0) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Return the value; raises ValueError if JSON readers may not take it."""
    if depth > _MAX_STATUS_DEPTH:
        raise ValueError(f"nested more than {_MAX_STATUS_DEPTH} deep")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise ValueError("names must be text")  # noqa: TRY004 - pydantic's contract
            _plain(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _plain(inner, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("numbers must be finite")
    elif not isinstance(value, str | int | float | None):
        raise ValueError(f"{type(value).__name__} is nothing that JSON has")
    return value


Count = Annotated[int, Field(ge=0, lt=1 << 63)]
PartitionNumber = Annotated[int, Field(ge=0, lt=1 << 31)]
Instant = Annotated[float, Field(ge=0, le=MAX_TIME, allow_inf_nan=False)]
"""Seconds since 1970 (UTC)."""
_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
UploadIdText = Annotated[str, Field(pattern=f"^{_UUID}$")]
MaybeUploadIdText = Annotated[str, Field(pattern=f"^({_UUID})?$")]
DigestText = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
TopicName = Annotated[str, Field(min_length=1, max_length=249)]
Destinations = Annotated[tuple[str, ...], Field(strict=False)]  # JSON has lists, no tuples
Status = Annotated[Mapping[str, Any], AfterValidator(_plain)]


class Event(BaseModel):
    """What all events have."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, use_attribute_docstrings=True)

    type: ClassVar[str]
    paths: ClassVar[tuple[str, ...]] = ()
    """Names of the fields that hold paths."""

    time: Annotated[Instant, AfterValidator(lambda seconds: round(seconds, 6))]
    """When it happened, in seconds since 1970 (UTC); to the microsecond, which is what survives as text."""

    @property
    def id(self) -> str:
        """CloudEvents' id: the same for every replay of the same event."""
        raise NotImplementedError

    @property
    def source(self) -> str:
        """CloudEvents' source: which part of Penstock tells it."""
        raise NotImplementedError

    @property
    def subject(self) -> str | None:
        """CloudEvents' subject: what it is about; the upload, in most cases."""
        return None

    @property
    def key(self) -> str:
        """The record's key: events with the same key stay in order."""
        raise NotImplementedError


class Receipt(Event):
    """Said by a destination about what it read at (topic, partition, offset)."""

    destination: Annotated[str, Field(min_length=1, max_length=249)]
    """The destination's id, which is that of its consumer group."""
    topic: TopicName
    """The stream's topic."""
    topic_id: Annotated[str, Field(max_length=32)]
    """Kafka's id of the topic: another one when it was deleted and made again."""
    partition: PartitionNumber
    """Of the topic."""

    @property
    @override
    def source(self) -> str:
        return f"penstock:destination/{self.destination}"


class UploadReceipt(Receipt):
    """What a destination did with one upload."""

    paths: ClassVar[tuple[str, ...]] = ("path",)

    upload_id: UploadIdText
    """The upload: a UUID, version 7."""
    source_id: str
    """The source that has sent it."""
    path: str
    """The file's path on the wire."""
    size: Count
    """Bytes of the file."""
    offset: Count
    """Of the upload's record that decided it: its end, as a rule."""

    @property
    @override
    def id(self) -> str:
        return f"{self.upload_id}/{self.destination}/{self.type}"

    @property
    @override
    def subject(self) -> str | None:
        return self.upload_id or None

    @property
    @override
    def key(self) -> str:
        return self.source_id


class FileDelivered(UploadReceipt):
    """The receipt: this upload, with this digest, is visible under its name and durable at this destination.

    It is the only event that ever frees a source file for deletion.
    """

    type = "dev.penstock.file.delivered"
    paths: ClassVar[tuple[str, ...]] = ("path", "delivered_as")

    digest: DigestText
    """BLAKE3 of the whole file, hexadecimal: what `b3sum` prints."""
    delivered_as: str | None = None
    """The name it got at the destination, where that is not `path`."""
    closed_at: Instant | None = None
    """When the source saw the file complete, in seconds since 1970; missing if that is not known."""
    visible_at: Instant | None = None
    """When it became visible at the destination, in seconds since 1970; missing when the receipt is given
    again."""


class FileRejected(UploadReceipt):
    """This upload will not be delivered here."""

    type = "dev.penstock.file.rejected"

    upload_id: MaybeUploadIdText = ""
    """The upload: a UUID, version 7; empty if not even that is known."""
    source_id: str = ""
    """The source that has sent it; empty if it is not known."""
    path: str = ""
    """The file's path on the wire; empty if it is not known."""
    size: Annotated[int, Field(ge=-1, lt=1 << 63)] = -1
    """Bytes of the file; -1 if that is not known."""
    reason: str
    """One word, such as `digest`: [wire.md](wire.md) lists them; newer destinations may know more."""
    detail: str = ""
    """One line for people."""

    @property
    def asks_again(self) -> bool:
        """Whether sending the same file once more may well deliver it."""
        return self.reason in _MENDED_BY_SENDING_AGAIN

    @property
    @override
    def id(self) -> str:
        what = self.upload_id or f"{self.topic_id}/{self.partition}/{self.offset}"
        return f"{what}/{self.destination}/{self.type}/{self.reason}"


class FileSkipped(UploadReceipt):
    """This destination does not want the file: final, but no proof that it is anywhere."""

    type = "dev.penstock.file.skipped"

    reason: str
    """One word: `filtered`, or `exists`."""
    detail: str = ""
    """One line for people."""


class RangeLost(Receipt):
    """Records of a partition were gone before they were read, or nobody can unpack them.

    Their offsets: `from_offset` <= x < `to_offset`.
    """

    type = "dev.penstock.range.lost"

    from_offset: Count
    """The first offset that is lost."""
    to_offset: Count
    """The first one after it that is not."""

    @property
    @override
    def id(self) -> str:
        return f"{self.topic_id}/{self.partition}/{self.from_offset}-{self.to_offset}/{self.destination}"

    @property
    @override
    def subject(self) -> str | None:
        return f"{self.topic}/{self.partition}"

    @property
    @override
    def key(self) -> str:
        return self.destination


class UploadTelemetry(Event):
    """Where a source is with one file."""

    paths: ClassVar[tuple[str, ...]] = ("path",)

    upload_id: UploadIdText
    """The upload: a UUID, version 7."""
    source_id: str
    """The source that sends the file."""
    path: str
    """The file's path on the wire."""
    size: Count
    """Bytes of the file."""
    topic: TopicName
    """The stream's topic."""

    @property
    @override
    def id(self) -> str:
        path = self.path if is_utf8(self.path) else self.path.encode("utf-8", "surrogateescape").hex()
        return f"{self.upload_id or path}/{self.type}/{self.time!r}"

    @property
    @override
    def source(self) -> str:
        return f"penstock:source/{self.source_id}"

    @property
    @override
    def subject(self) -> str | None:
        return self.upload_id or None

    @property
    @override
    def key(self) -> str:
        return self.source_id


class FileDiscovered(UploadTelemetry):
    """A source has seen a new or changed file, which rests and waits for its turn."""

    type = "dev.penstock.file.discovered"

    upload_id: MaybeUploadIdText = ""
    """Empty: there is no upload yet."""


class FileUploading(UploadTelemetry):
    """How far an upload of several records is: when it begins, and about once a second."""

    type = "dev.penstock.file.uploading"

    bytes_done: Count
    """Bytes of the file that Kafka has acknowledged."""
    version: MaybeUploadIdText = ""
    """The first upload of the same content, if this is a later one; empty: this one is."""
    to: Destinations = ()
    """Destinations that it is for; empty: all."""


class FileUploaded(UploadTelemetry):
    """All of an upload is acknowledged by Kafka, its end included."""

    type = "dev.penstock.file.uploaded"

    digest: DigestText
    """BLAKE3 of the whole file, hexadecimal: what `b3sum` prints."""
    partition: PartitionNumber
    """Of the topic."""
    first_offset: Count
    """Of the upload's first record."""
    last_offset: Count
    """Of the upload's last record."""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """From the first record produced to the end acknowledged."""
    version: MaybeUploadIdText = ""
    """The first upload of the same content, if this is a later one; empty: this one is."""
    to: Destinations = ()
    """Destinations that it is for; empty: all."""


class FileAborted(UploadTelemetry):
    """An upload is given up on the wire: nobody delivers it. Its file is looked at again."""

    type = "dev.penstock.file.aborted"

    reason: str
    """One word: `changed`, `vanished` or `unreadable` is the file; sending it was `too-slow` for the topic's
    retention; `superseded`: another upload begins in its place, after a restart or with another producer."""


class FileFailed(UploadTelemetry):
    """A source cannot send a file as things are, or gives a destination up."""

    type = "dev.penstock.file.failed"

    upload_id: MaybeUploadIdText = ""
    """The upload that a destination has refused, or that is to be made again; else empty."""
    destination: Annotated[str, Field(max_length=249)] = ""
    """Which one is given up; empty: the file goes to none."""
    reason: str
    """One word. `unsendable`: no such name can travel, or the topic would not keep it long enough;
    `unreadable`; `too-slow`: sending it took too long for the topic's retention; `vanished`: it was gone
    before it was sent; `source-gone`: it should be sent again, but is not there any more. Of a destination:
    the reason of its last rejection, or `range-lost`."""
    detail: str = ""
    """One line for people."""


class ServiceHeartbeat(Event):
    """A service is alive, and what it has done since its last heartbeat.

    The counters are OpenMSIStream's.
    """

    type = "dev.penstock.service.heartbeat"

    program_id: Annotated[str, Field(min_length=1, max_length=512)]
    """Which one: the same after a restart. An uploader's is its source id (with `/upload` for
    `penstock upload`), a downloader's `<destination>/<host name>` (with a number for a second one on the same
    host)."""
    service: str
    """`uploader` or `downloader`."""
    host: str
    """Its host name."""
    version: str
    """Its version."""
    n_messages_read: Count = 0
    """Records read."""
    n_bytes_read: Count = 0
    """Bytes read, of records or of files."""
    n_messages_processed: Count = 0
    """Records dealt with."""
    n_bytes_processed: Count = 0
    """Bytes dealt with."""
    n_messages_produced: Count = 0
    """Records acknowledged by Kafka."""
    n_bytes_produced: Count = 0
    """Bytes of files acknowledged by Kafka."""
    status: Status = Field(default_factory=dict)
    """What else it wants to be seen: `state` (`running`; `stopped` in its last heartbeat),
    `interval_seconds` (until its next one), `problems` (text by name), `topic`; of an uploader `source_id`,
    `directory`, `files_in_flight`, `files_waiting`, `files_failed`; of a downloader `destination`,
    `directory`, `partitions`."""

    @property
    @override
    def id(self) -> str:
        return f"{self.program_id}/{self.type}/{self.time!r}"

    @property
    @override
    def source(self) -> str:
        return f"penstock:{self.service}/{self.program_id}"

    @property
    @override
    def key(self) -> str:
        return self.program_id


_MENDED_BY_SENDING_AGAIN = frozenset(reason.value for reason in Reason if reason.sending_again_helps)

RECEIPTS: tuple[type[Event], ...] = (FileDelivered, FileRejected, FileSkipped, RangeLost)
TELEMETRY: tuple[type[Event], ...] = (
    FileDiscovered,
    FileUploading,
    FileUploaded,
    FileAborted,
    FileFailed,
    ServiceHeartbeat,
)


def is_utf8(text: str) -> bool:
    """Whether the text is free of surrogates: a path of a file system may hold any bytes."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
