"""Which events can be stored: what no database takes is refused here, with the reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from chunkproto import InvalidRecord, UploadId
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
    ServiceHeartbeat,
    UploadReceipt,
    UploadTelemetry,
)
from servicekit.exceptions import NotOurEvent

MAX_ID_BYTES: Final = 1024
MAX_PATH_BYTES: Final = 4096
MAX_STATUS_BYTES: Final = 65_536
MAX_ADDRESSEES: Final = 1000
_INT32: Final = 2**31
_INT64: Final = 2**63
_MOST_BYTES: Final = 2**53
"""8 PiB: no file is so large, and every JSON reader knows smaller numbers exactly."""
AHEAD_SECONDS: Final = 3600.0
"""A clock may be so far ahead of the record's: what is later would outrank for good all that is true."""
_YEAR_2200: Final = 7_258_118_400.0
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


def check(event: Event, written_at: float | None = None) -> None:
    """Raise NotOurEvent, with the reason, if it says what cannot be.

    `written_at` is the time of its record; what it tells of cannot have happened long after.
    """
    _time("time", event.time)
    check_not_ahead("time", event.time, written_at)
    if isinstance(event, ServiceHeartbeat):
        _check_heartbeat(event)
        return
    if not isinstance(event, (Receipt, UploadTelemetry)):
        raise NotOurEvent(f"{event.type} is not known to this registry")
    check_topic(event.topic)
    if isinstance(event, Receipt):
        _id("destination", event.destination, needed=True)
        if len(event.topic_id) > 32:
            raise NotOurEvent("topic_id: longer than 32 characters")
        _id("topic_id", event.topic_id)
        _number("partition", event.partition, _INT32)
    if isinstance(event, RangeLost):
        _number("from_offset", event.from_offset, _INT64)
        _number("to_offset", event.to_offset, _INT64)
    elif isinstance(event, (UploadReceipt, UploadTelemetry)):
        _check_file(event)
        _check_ids(event, written_at)
        if isinstance(event, FileDelivered) and event.visible_at is not None:
            check_not_ahead("visible_at", event.visible_at, written_at)


def check_not_ahead(name: str, at: float, written_at: float | None) -> None:
    """Raise NotOurEvent if a time lies too far behind the one at which its record was written."""
    if written_at is not None and at > written_at + AHEAD_SECONDS:
        raise NotOurEvent(f"{name}: more than an hour after its record was written")


def _check_ids(event: UploadReceipt | UploadTelemetry, written_at: float | None) -> None:
    if event.upload_id or not isinstance(event, (FileRejected, FileFailed, FileDiscovered)):
        _upload_id("upload_id", event.upload_id, written_at)
    if isinstance(event, (FileUploading, FileUploaded)) and event.version:
        _upload_id("version", event.version, written_at)


def _check_file(event: UploadReceipt | UploadTelemetry) -> None:
    _id("source_id", event.source_id, needed=isinstance(event, UploadTelemetry))
    _path("path", event.path, needed=isinstance(event, UploadTelemetry))
    if event.size != -1:  # not known
        _number("size", event.size, _MOST_BYTES)
    if isinstance(event, UploadReceipt):
        _number("offset", event.offset, _INT64)
    if isinstance(event, (FileUploading, FileUploaded)):
        if len(event.to) > MAX_ADDRESSEES:
            raise NotOurEvent(f"to: more than {MAX_ADDRESSEES} destinations")
        for name in event.to:
            _id("to", name, needed=True)
    if isinstance(event, (FileDelivered, FileUploaded)) and not _DIGEST.fullmatch(event.digest):
        raise NotOurEvent("digest: not 64 hexadecimal digits")
    if isinstance(event, FileDelivered):
        if event.delivered_as is not None:
            _path("delivered_as", event.delivered_as)
        _times(closed_at=event.closed_at, visible_at=event.visible_at)
    elif isinstance(event, FileUploading):
        _number("bytes_done", event.bytes_done, _MOST_BYTES)
    elif isinstance(event, FileUploaded):
        _number("partition", event.partition, _INT32)
        _number("first_offset", event.first_offset, _INT64)
        _number("last_offset", event.last_offset, _INT64)
        _times(seconds=event.seconds)
    elif isinstance(event, (FileRejected, FileSkipped, FileFailed, FileAborted)):
        _id("reason", event.reason, needed=True)
        if not isinstance(event, FileAborted):
            _text("detail", event.detail)
        if isinstance(event, FileFailed):
            _id("destination", event.destination)


def _check_heartbeat(event: ServiceHeartbeat) -> None:
    counters = {name: value for name, value in event.__dict__.items() if name.startswith("n_")}
    check_beat(
        event.time,
        (event.program_id, event.service, event.host, event.version),
        counters.values(),
        event.status,
    )


def check_beat(at: float, texts: Iterable[str], counters: Iterable[int], status: object) -> None:
    """Raise NotOurEvent, with the reason, if a heartbeat says what cannot be."""
    _time("time", at)
    for text in texts:
        _id("an id or name", text)
    for count in counters:
        _number("a counter", count, _MOST_BYTES)
    try:
        raw = json.dumps(status, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise NotOurEvent(f"status: {error}") from None
    if len(raw) > MAX_STATUS_BYTES:
        raise NotOurEvent(f"status: longer than {MAX_STATUS_BYTES} bytes")
    if b"\\u0000" in raw:
        raise NotOurEvent("status: contains a NUL")


@lru_cache(maxsize=1024)
def check_topic(topic: str) -> None:
    """Raise NotOurEvent if no topic can have this name."""
    if not _TOPIC.fullmatch(topic):
        raise NotOurEvent("topic: no name of a topic")


def _upload_id(name: str, text: str, written_at: float | None) -> None:
    try:
        began = UploadId.parse(text).milliseconds / 1000
    except InvalidRecord:
        raise NotOurEvent(f"{name}: no UUIDv7") from None
    check_not_ahead(name, began, written_at)


def _number(name: str, value: int, limit: int) -> None:
    if not 0 <= value < limit:
        raise NotOurEvent(f"{name}: {'negative' if value < 0 else 'too large'}")


def _times(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None:
            _time(name, value)


def _time(name: str, seconds: float) -> None:
    if not 0.0 <= seconds < _YEAR_2200:  # nor NaN
        raise NotOurEvent(f"{name}: no time between 1970 and 2200")


def _id(name: str, text: str, *, needed: bool = False) -> None:
    if needed and not text:
        raise NotOurEvent(f"{name}: empty")
    if _text(name, text) > MAX_ID_BYTES:
        raise NotOurEvent(f"{name}: longer than {MAX_ID_BYTES} bytes")


def _text(name: str, text: str) -> int:
    """Return its length in bytes."""
    if "\0" in text:
        raise NotOurEvent(f"{name}: contains a NUL")
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise NotOurEvent(f"{name}: not Unicode (a lone surrogate)") from None


def _path(name: str, path: str, *, needed: bool = False) -> None:
    if needed and not path:
        raise NotOurEvent(f"{name}: empty")
    if "\0" in path:
        raise NotOurEvent(f"{name}: contains a NUL")
    try:
        size = len(path) if path.isascii() else len(path.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise NotOurEvent(f"{name}: no file can have this name (a lone surrogate)") from None
    if size > MAX_PATH_BYTES:
        raise NotOurEvent(f"{name}: longer than {MAX_PATH_BYTES} bytes")
