"""Events that services tell each other: CloudEvents 1.0, structured JSON, one to a record.

Receipts (topic `<topic>.receipts`, acknowledged, never dropped) are what delivery is proved by; telemetry
(topic `penstock.events`) may be dropped. Every event is a frozen model; `encode` makes the record, `decode`
gives the model back.

A path may hold bytes that are not UTF-8 (as surrogates, see PEP 383). Its JSON then carries `path` for
people, with replacement characters, and `path_base64`, which is exact.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from confluent_kafka import KafkaError, KafkaException, Message
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import override

from chunkproto import Reason
from servicekit import metrics
from servicekit.exceptions import NotOurEvent, PenstockError, explain_kafka
from servicekit.kafka import make_producer
from servicekit.logs import Limiter
from servicekit.settings import ServiceSettings

log = logging.getLogger(__name__)

EVENTS_TOPIC = "penstock.events"


def receipts_topic(topic: str) -> str:
    """Return the name of the topic with the receipts of what was sent through `topic`."""
    return f"{topic}.receipts"


class Event(BaseModel):
    """What all events have. `time` is when it happened, in seconds since 1970 (UTC)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    paths: ClassVar[tuple[str, ...]] = ()
    """Names of the fields that hold paths."""

    time: Annotated[float, AfterValidator(lambda seconds: round(seconds, 6))]
    """To the microsecond, which is what survives in the JSON."""

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

    destination: str
    topic: str
    topic_id: str
    partition: int

    @property
    @override
    def source(self) -> str:
        return f"penstock:destination/{self.destination}"


class UploadReceipt(Receipt):
    """What a destination did with one upload."""

    paths: ClassVar[tuple[str, ...]] = ("path",)

    upload_id: str
    """UUID, as text."""
    source_id: str
    path: str
    size: int
    offset: int
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
    """The receipt: this upload, with this digest, is visible and durable at this destination."""

    type = "dev.penstock.file.delivered"
    paths: ClassVar[tuple[str, ...]] = ("path", "delivered_as")

    digest: str
    """BLAKE3 of the whole file, hexadecimal: what `b3sum` prints."""
    delivered_as: str | None = None
    """The name it got at the destination, where that is not `path`."""
    closed_at: float | None = None
    """When the source saw the file complete, in seconds since 1970."""
    visible_at: float | None = None
    """When it became visible at the destination, in seconds since 1970."""


class FileRejected(UploadReceipt):
    """This upload will not be delivered here.

    `upload_id`, `source_id` and `path` are empty if not even they are known.
    """

    type = "dev.penstock.file.rejected"

    upload_id: str = ""
    source_id: str = ""
    path: str = ""
    size: int = -1
    reason: str
    """One word, such as `digest`: a `chunkproto.Reason`, or one that a newer destination knows."""
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
    """This destination does not want the file (a filter): final, but no proof that it is anywhere."""

    type = "dev.penstock.file.skipped"

    reason: str
    detail: str = ""


class RangeLost(Receipt):
    """Records of this partition were gone before they were read: offsets `from_offset` <= x < `to_offset`."""

    type = "dev.penstock.range.lost"

    from_offset: int
    to_offset: int

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

    upload_id: str
    """UUID, as text; empty as long as there is none."""
    source_id: str
    path: str
    size: int
    topic: str

    @property
    @override
    def id(self) -> str:
        path = self.path if _is_utf8(self.path) else self.path.encode("utf-8", "surrogateescape").hex()
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
    """A source has seen a file that it will send."""

    type = "dev.penstock.file.discovered"

    upload_id: str = ""


class FileUploading(UploadTelemetry):
    """How far an upload is."""

    type = "dev.penstock.file.uploading"

    bytes_done: int
    """Bytes of the file that Kafka has acknowledged."""
    version: str = ""
    """Id of the first upload of the same content; empty: this one is."""
    to: tuple[str, ...] = ()
    """Destinations that it is for; empty: all."""


class FileUploaded(UploadTelemetry):
    """All of an upload is acknowledged by Kafka, its end included."""

    type = "dev.penstock.file.uploaded"

    digest: str
    partition: int
    first_offset: int
    last_offset: int
    seconds: float | None = None
    """From the first record produced to the end acknowledged."""
    version: str = ""
    """Id of the first upload of the same content; empty: this one is."""
    to: tuple[str, ...] = ()
    """Destinations that it is for; empty: all."""


class FileAborted(UploadTelemetry):
    """An upload is given up on the wire: nobody delivers it. The file may be sent again."""

    type = "dev.penstock.file.aborted"

    reason: str
    """One word, such as `changed`, `vanished` or `superseded`."""


class FileFailed(UploadTelemetry):
    """A source cannot send a file, or gives a destination up."""

    type = "dev.penstock.file.failed"

    upload_id: str = ""
    destination: str = ""
    """Which one is given up; empty: the file goes to none."""
    reason: str
    """One word, such as `unreadable`, or why the destination has refused the file."""
    detail: str = ""
    """One line for people."""


class ServiceHeartbeat(Event):
    """A service is alive, and what it has done since its last heartbeat (OpenMSIStream's counters)."""

    type = "dev.penstock.service.heartbeat"

    program_id: str
    service: str
    host: str
    version: str
    n_messages_read: int = 0
    n_bytes_read: int = 0
    n_messages_processed: int = 0
    n_bytes_processed: int = 0
    n_messages_produced: int = 0
    n_bytes_produced: int = 0
    status: Mapping[str, Any] = Field(default_factory=dict)
    """What else the service wants to be seen: problems, lag, files in flight."""

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
_BY_TYPE: dict[str, type[Event]] = {event.type: event for event in RECEIPTS + TELEMETRY}

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def encode(event: Event) -> tuple[bytes, bytes]:
    """Return key and value of the record that carries the event."""
    # Not model_dump(): this way it takes half the time, and a downloader does it for every file.
    data = {name: value for name, value in event.__dict__.items() if value is not None}
    del data["time"]
    for name in event.paths:
        path = data.get(name)
        if path is not None and not _is_utf8(path):
            raw = path.encode("utf-8", "surrogateescape")
            data[name] = raw.decode("utf-8", "replace")
            data[f"{name}_base64"] = base64.b64encode(raw).decode("ascii")
    envelope = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": datetime.fromtimestamp(event.time, UTC).isoformat(),
        "datacontenttype": "application/json",
    }
    subject = event.subject
    if subject is not None:
        envelope["subject"] = subject
    envelope["data"] = data  # type: ignore[assignment]
    return event.key.encode("utf-8", "surrogateescape"), _to_json(envelope).encode()


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode(value: bytes | None) -> Event:
    """Return the event in a record's value.

    Fields that we do not know are ignored: newer versions may add some. Raises NotOurEvent, with the
    reason, for anything else.
    """
    try:
        envelope = json.loads(value or b"")
    except ValueError:
        raise NotOurEvent("not JSON") from None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("data"), dict):
        raise NotOurEvent("not a CloudEvent in structured JSON with an object as data")
    if envelope.get("specversion") != "1.0":
        raise NotOurEvent(f"CloudEvents version {envelope.get('specversion')!r}, not '1.0'")
    kind = _BY_TYPE.get(str(envelope.get("type")))
    if kind is None:
        raise NotOurEvent(f"unknown event type {envelope.get('type')!r}")
    data = dict(envelope["data"])
    try:
        data["time"] = datetime.fromisoformat(str(envelope.get("time"))).timestamp()
        for name in kind.paths:
            exact = data.pop(f"{name}_base64", None)
            if exact is not None:
                data[name] = base64.b64decode(exact, validate=True).decode("utf-8", "surrogateescape")
        return kind(**data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotOurEvent(f"{kind.type}: {where}: {first['msg']}") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise NotOurEvent(f"{kind.type}: {error}") from None


class Telemetry:
    """Publishes telemetry without ever holding up who calls it: what cannot be sent is dropped.

    Drops are counted, in `dropped` and in `penstock_events_dropped_total`. A topic that is missing, or may
    not be written, is logged once. `topic` None publishes nothing at all.
    """

    def __init__(self, settings: ServiceSettings, *, topic: str | None = EVENTS_TOPIC) -> None:
        self._topic = topic
        self.dropped = 0
        """Events dropped so far."""
        self._limiter = Limiter()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        if topic is None:
            return
        self._producer = make_producer(
            settings,
            enable_idempotence=False,
            enable_gapless_guarantee=False,
            acks="1",
            message_timeout_ms=30_000,  # older than this, telemetry is history
            topic_metadata_propagation_max_ms=5_000,  # so long a missing topic may still come
            queue_buffering_max_kbytes=4096,
            queue_buffering_max_messages=10_000,
            linger_ms=200,
            compression_type="lz4",
        )
        self._thread = threading.Thread(target=self._poll, name="telemetry", daemon=True)
        self._thread.start()

    def publish(self, event: Event) -> None:
        """Hand over an event. Returns at once, whatever happens to it."""
        if self._topic is None:
            return
        if self._closed.is_set():
            self._drop(event.type)
            return
        key, value = encode(event)
        try:
            self._producer.produce(self._topic, value, key, on_delivery=_Report(self, event.type))
        except (BufferError, KafkaException):
            self._drop(event.type)

    def close(self, timeout: float = 1.0) -> None:
        """Give what is queued `timeout` seconds to go; drop the rest."""
        if self._topic is None or self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        if self._producer.flush(timeout):
            self._producer.purge()
            self._producer.flush(0)

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.2)

    def _drop(self, kind: str) -> None:
        with self._lock:
            self.dropped += 1
        metrics.EVENTS_DROPPED.labels(kind).inc()

    def _failed(self, kind: str, error: KafkaError) -> None:
        self._drop(kind)
        if error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):  # noqa: SLF001
            return  # we are closing, and nobody knew what to do with it
        explained: PenstockError = explain_kafka(error, topic=self._topic)
        if self._limiter.first(type(explained)):
            log.info("no telemetry: %s", explained)


class _Report:
    """The delivery report of one event."""

    __slots__ = ("_kind", "_telemetry")

    def __init__(self, telemetry: Telemetry, kind: str) -> None:
        self._telemetry = telemetry
        self._kind = kind

    def __call__(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            metrics.EVENTS_PUBLISHED.labels(self._kind).inc()
        else:
            self._telemetry._failed(self._kind, error)  # noqa: SLF001 - a part of it
