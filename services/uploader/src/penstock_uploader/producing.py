"""The records of an upload: made, counted, and handed to the producer."""

from __future__ import annotations

import time
from typing import Final

from chunkproto import Abort, Chunk, End, Whole
from penstock_uploader.sending import RECORD_COST, STRIDE_BYTES, STRIDE_SECONDS, Kind, Report, Sending
from penstock_uploader.transfer import Transfer
from servicekit.faults import crash_point, declare

_POINTS: Final = ("first", "chunk", "whole", "end", "abort")
declare(*(f"uploader.produce.{name}.{when}" for name in _POINTS for when in ("before", "after")))


def produce_whole(sending: Sending, transfer: Transfer, data: bytes) -> None:
    """Produce a file of one chunk; raises ProducerLost, as all here do."""
    upload_id, description = transfer.sent
    record = Whole(upload_id, description, transfer.whole_digest, transfer.closed_ns, transfer.again)
    _produce(sending, "whole", transfer, record, data, Kind.WHOLE, 1)


def produce_chunk(sending: Sending, transfer: Transfer, index: int, data: bytes) -> None:
    """Produce one of several chunks; a report is asked for now and then."""
    upload_id, description = transfer.sent
    plan = transfer.plan
    record = Chunk(upload_id, index, plan.offset(index), description if index == 0 else None, transfer.again)
    transfer.unreported += len(data) + RECORD_COST
    if index == 0:
        _produce(sending, "first", transfer, record, data, Kind.CHUNK, 1)
    elif (
        index == plan.count - 1
        or transfer.unreported >= STRIDE_BYTES
        or time.monotonic() - transfer.report_asked >= STRIDE_SECONDS
    ):
        _produce(sending, "chunk", transfer, record, data, Kind.CHUNK, index + 1)
    else:
        sending.in_flight += len(data) + RECORD_COST
        sending.produce(record, transfer.key, data, transfer.partition, None)


def produce_end(sending: Sending, transfer: Transfer) -> None:
    """Produce the end: all chunks are acknowledged."""
    upload_id, description = transfer.sent
    count = transfer.plan.count
    record = End(upload_id, description, transfer.whole_digest, count, transfer.closed_ns, transfer.again)
    _produce(sending, "end", transfer, record, None, Kind.END, count)


def produce_abort(sending: Sending, transfer: Transfer, why: str) -> None:
    """Say on the wire that the upload is given up."""
    upload_id, description = transfer.sent
    record = Abort(upload_id, description.path, description.source, why, transfer.again)
    _produce(sending, "abort", transfer, record, None, Kind.ABORT, 0)


def _produce(
    sending: Sending,
    name: str,
    transfer: Transfer,
    record: Chunk | Whole | End | Abort,
    data: bytes | None,
    kind: Kind,
    chunks: int,
) -> None:
    cost = (len(data) if data else 0) + RECORD_COST
    sending.in_flight += cost
    # What came before without a report is acknowledged with this one (a chunk has counted itself).
    cost = transfer.unreported if kind is Kind.CHUNK else cost + transfer.unreported
    transfer.unreported = 0
    transfer.report_asked = time.monotonic()
    crash_point(f"uploader.produce.{name}.before")
    report = Report(transfer, kind, chunks, cost, sending)
    sending.produce(record, transfer.key, data, transfer.partition, report)
    crash_point(f"uploader.produce.{name}.after")
