"""Events that services tell each other: CloudEvents 1.0, structured JSON, one to a record.

Receipts (topic `<topic>.receipts`, acknowledged, never dropped) are what delivery is proved by; telemetry
(topic `penstock.events`) may be dropped. `encode` makes the record of an event, `decode` gives the event
back. docs/events.md is written from the models, by `python -m servicekit.events.page`.
"""

from servicekit.events.coding import decode, encode
from servicekit.events.heartbeats import COUNTERS, Heartbeats
from servicekit.events.models import (
    EVENTS_TOPIC,
    RECEIPTS,
    TELEMETRY,
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
    receipts_topic,
)
from servicekit.events.telemetry import Telemetry

__all__ = [
    "COUNTERS",
    "EVENTS_TOPIC",
    "RECEIPTS",
    "TELEMETRY",
    "Event",
    "FileAborted",
    "FileDelivered",
    "FileDiscovered",
    "FileFailed",
    "FileRejected",
    "FileSkipped",
    "FileUploaded",
    "FileUploading",
    "Heartbeats",
    "RangeLost",
    "Receipt",
    "ServiceHeartbeat",
    "Telemetry",
    "UploadReceipt",
    "UploadTelemetry",
    "decode",
    "encode",
    "receipts_topic",
]
