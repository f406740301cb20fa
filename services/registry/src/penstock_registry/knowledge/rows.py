"""The rows that events are joined into, and how they join.

They are tuples, in the order of the tables' columns: tens of thousands are made, compared and stored in a
second. None is the bottom of every column: nothing is known.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol, Self, TypeVar
from uuid import UUID


class State(StrEnum):
    """What a file has come to; docs/design/registry.md says when it is which."""

    DISCOVERED = "discovered"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    REJECTED = "rejected"
    FAILED = "failed"
    ABORTED = "aborted"


class Outcome(StrEnum):
    """What a destination answered, the weakest first: of several about one upload the strongest stands."""

    REJECTED = "rejected"
    SKIPPED = "skipped"
    DELIVERED = "delivered"


RANK: Final = {outcome.value: rank for rank, outcome in enumerate(Outcome)}


def began_ms_of(upload_id: UUID) -> int:
    """Return when an upload began, by its source's clock; milliseconds since 1970. Its UUIDv7 says so."""
    return upload_id.int >> 80


class UploadRow(NamedTuple):
    """One sending of one file."""

    id: UUID
    stream_id: int
    file_id: UUID | None
    size: int | None
    digest: bytes | None
    version_id: UUID | None
    addressed_to: tuple[str, ...] | None
    first_at: float
    last_at: float
    closed_at: float | None
    bytes_done: int
    progress_at: float | None
    uploaded_at: float | None
    seconds: float | None
    partition: int | None
    first_offset: int | None
    last_offset: int | None
    aborted_at: float | None
    abort_reason: str | None

    @property
    def key(self) -> tuple[UUID, int]:
        """What it is stored under."""
        return self.id, self.stream_id

    @property
    def began_ms(self) -> int:
        """When it began, as its id says."""
        return began_ms_of(self.id)


class ReceiptRow(NamedTuple):
    """What one destination said of one upload."""

    upload_id: UUID
    destination: str
    stream_id: int
    outcome: str
    at: float
    reason: str | None
    detail: str | None
    digest: bytes | None
    size: int | None
    delivered_as: bytes | None
    closed_at: float | None
    visible_at: float | None
    topic_id: str
    partition: int
    offset: int
    outcomes: int

    @property
    def key(self) -> tuple[UUID, int, str]:
        """What it is stored under."""
        return self.upload_id, self.stream_id, self.destination


class FileRow(NamedTuple):
    """One path of one source, as it is now. JSON's shapes are those of the table `files`."""

    id: UUID
    stream_id: int
    source_id: str
    path: bytes
    name_key: bytes
    state: str
    reason: str | None
    upload_id: UUID | None
    version_id: UUID | None
    size: int
    digest: bytes | None
    bytes_done: int
    uploaded_at: float | None
    discovered_at: float | None
    discovered_size: int | None
    failure: dict[str, Any] | None
    answers: dict[str, dict[str, Any]]
    first_at: float
    last_at: float


class _Ordered(Protocol):
    def __lt__(self, other: Self, /) -> bool: ...


T = TypeVar("T", bound=_Ordered)


def most(a: T | None, b: T | None) -> T | None:
    """Return the greater of what is known."""
    if a is None or (b is not None and a < b):
        return b
    return a


def least(a: T | None, b: T | None) -> T | None:
    """Return the smaller of what is known."""
    if a is None or (b is not None and b < a):
        return b
    return a


def join_uploads(a: UploadRow, b: UploadRow) -> UploadRow:
    """Return what two rows about the same upload say together.

    An upload is of one file, and no event of Penstock says otherwise; if another's does, `a` stands.
    """
    # Progress is when an amount was first heard of; giving up, when it first was.
    further = (b.bytes_done, -(b.progress_at or 0.0)) > (a.bytes_done, -(a.progress_at or 0.0))
    gives_up = b.aborted_at is not None and (
        a.aborted_at is None or (b.aborted_at, b.abort_reason or "") < (a.aborted_at, a.abort_reason or "")
    )
    return UploadRow(
        a.id,
        a.stream_id,
        a.file_id or b.file_id,
        most(a.size, b.size),
        most(a.digest, b.digest),
        least(a.version_id, b.version_id),
        most(a.addressed_to, b.addressed_to),
        min(a.first_at, b.first_at),
        max(a.last_at, b.last_at),
        least(a.closed_at, b.closed_at),
        b.bytes_done if further else a.bytes_done,
        b.progress_at if further else a.progress_at,
        least(a.uploaded_at, b.uploaded_at),
        most(a.seconds, b.seconds),
        most(a.partition, b.partition),
        least(a.first_offset, b.first_offset),
        most(a.last_offset, b.last_offset),
        b.aborted_at if gives_up else a.aborted_at,
        b.abort_reason if gives_up else a.abort_reason,
    )


def join_receipts(a: ReceiptRow, b: ReceiptRow) -> ReceiptRow:
    """Return what a destination's answers to one upload say together: the strongest outcome, first said.

    An answer that is repeated comes later and knows less (it no longer knows when the file became visible).
    """
    size, outcomes = most(a.size, b.size), a.outcomes | b.outcomes
    if a.outcome != b.outcome:
        stronger = a if RANK[a.outcome] > RANK[b.outcome] else b
        return stronger._replace(size=size, outcomes=outcomes)
    first = a if _said(a) <= _said(b) else b
    return first._replace(
        digest=most(a.digest, b.digest),
        size=size,
        delivered_as=most(a.delivered_as, b.delivered_as),
        closed_at=least(a.closed_at, b.closed_at),
        visible_at=least(a.visible_at, b.visible_at),
        outcomes=outcomes,
    )


def _said(receipt: ReceiptRow) -> tuple[float, str, str, str, int, int]:
    return (
        receipt.at,
        receipt.reason or "",
        receipt.detail or "",
        receipt.topic_id,
        receipt.partition,
        receipt.offset,
    )
