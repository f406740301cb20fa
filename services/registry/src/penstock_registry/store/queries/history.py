"""The life of one upload, from the closing of the file to the last answer: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row

from penstock_registry.api import models
from penstock_registry.knowledge import UploadRow, is_under_way
from penstock_registry.store.queries.rows import Topics, digest, shown

_ORDER: Final = (
    "closed", "discovered", "begun", "uploaded", "aborted", "failed", "skipped", "rejected", "delivered",
    "resent",
)  # fmt: skip
"""What comes first of things that happened in one moment."""
_MOMENT_SECONDS: Final = 0.01
"""Clocks of file systems and ids are no finer: what lies so close together happened in one moment."""


def upload(
    row: Row[Any],
    topics: Topics,
    file: Row[Any] | None,
    *,
    receipts: list[models.Receipt],
    resends: Sequence[Row[Any]],
) -> models.Upload:
    """Return an upload with its receipts and history; `resends` are later uploads of the same version."""
    path, path_base64 = (None, None) if file is None else shown(file.path)
    return models.Upload(
        id=row.id,
        stream=topics.of(row.stream_id),
        state=_state(row, receipts),
        file_id=row.file_id,
        source=None if file is None else file.source_id,
        path=path,
        path_base64=path_base64,
        size=row.size,
        digest=digest(row.digest),
        version_id=row.version_id,
        to=list(row.addressed_to or ()),
        bytes_done=row.bytes_done,
        closed_at=row.closed_at,
        first_at=row.first_at,
        last_at=row.last_at,
        uploaded_at=row.uploaded_at,
        seconds=row.seconds,
        partition=row.partition,
        first_offset=row.first_offset,
        last_offset=row.last_offset,
        aborted_at=row.aborted_at,
        abort_reason=row.abort_reason,
        receipts=receipts,
        history=_in_order(_steps(row, file, receipts, resends)),
    )


def _in_order(steps: Iterable[models.Step]) -> list[models.Step]:
    moments: list[list[models.Step]] = []
    for step in sorted(steps, key=lambda step: step.at):
        if moments and step.at - moments[-1][0].at <= _MOMENT_SECONDS:
            moments[-1].append(step)
        else:
            moments.append([step])
    return [step for moment in moments for step in sorted(moment, key=lambda step: _ORDER.index(step.what))]


def _state(row: Row[Any], receipts: Iterable[models.Receipt]) -> models.FileState:
    outcomes = {receipt.outcome for receipt in receipts}
    if is_under_way(UploadRow(*tuple(row)), outcomes):
        return "uploading"
    if "rejected" in outcomes:
        return "rejected"
    if "delivered" in outcomes:
        return "delivered"
    if outcomes:
        return "skipped"
    return "uploaded" if row.aborted_at is None else "aborted"


def begun_at(upload_id: UUID, otherwise: float) -> float:
    """Return when an upload began, by its source's clock: a UUIDv7 says so."""
    return (upload_id.int >> 80) / 1000 if upload_id.version == 7 else otherwise


def _steps(
    row: Row[Any], file: Row[Any] | None, receipts: list[models.Receipt], resends: Iterable[Row[Any]]
) -> Iterator[models.Step]:
    begun = begun_at(row.id, row.first_at)
    if row.closed_at is not None:
        yield models.Step(at=row.closed_at, what="closed", text="The file was complete at its source")
    if file is not None and file.discovered_at is not None and file.upload_id == row.id:
        yield models.Step(at=file.discovered_at, what="discovered", text="The uploader saw the file")
    to = f" to {', '.join(row.addressed_to)} only" if row.addressed_to else ""
    yield models.Step(at=begun, what="begun", text=f"The uploader began to send it{to}")
    if row.uploaded_at is not None:
        yield models.Step(at=row.uploaded_at, what="uploaded", text=_uploaded(row))
    if row.aborted_at is not None:
        why = f": {row.abort_reason}" if row.abort_reason else ""
        yield models.Step(at=row.aborted_at, what="aborted", text=f"The uploader gave this upload up{why}")
    failure = None if file is None else file.failure
    if failure and failure["upload_id"] == str(row.id):
        yield models.Step(
            at=failure["at"],
            what="failed",
            text=_given_up(failure),
            destination=failure["destination"] or None,
        )
    for receipt in receipts:
        yield models.Step(
            at=receipt.at, what=receipt.outcome, text=_answered(receipt), destination=receipt.destination
        )
    for resend in resends:
        to = f" to {', '.join(resend.addressed_to)}" if resend.addressed_to else ""
        yield models.Step(
            at=begun_at(resend.id, resend.first_at),
            what="resent",
            text=f"The same content was sent again{to}",
            upload_id=resend.id,
        )


def _given_up(failure: Mapping[str, Any]) -> str:
    why = failure["reason"] + (f": {failure['detail']}" if failure["detail"] else "")
    if failure["destination"]:
        return f"The source has given {failure['destination']} up ({why})"
    return f"The source cannot send it ({why})"


def _uploaded(row: Row[Any]) -> str:
    where = ""
    if row.partition is not None and row.first_offset is not None:
        where = f" (partition {row.partition}, offsets {row.first_offset} to {row.last_offset})"
    return f"Kafka had acknowledged all of it{where}"


def _answered(receipt: models.Receipt) -> str:
    why = receipt.detail or receipt.reason or ""
    if receipt.outcome == "delivered":
        renamed = f" as {receipt.delivered_as}" if receipt.delivered_as else ""
        return f"{receipt.destination} has it, complete and durable{renamed}"
    did = "did not want it" if receipt.outcome == "skipped" else "rejected it"
    return f"{receipt.destination} {did}: {why}" if why else f"{receipt.destination} {did}"
