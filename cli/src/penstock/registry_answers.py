"""What a registry answers, as far as commands need it.

The contract is `penstock_registry.api.models`; an instrument's machine has no need of that distribution. What
a newer registry adds is ignored.
"""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class Said(BaseModel):
    """What all of them have."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Named(Said):
    """What may have a path."""

    path: str | None = None
    path_base64: str | None = None

    @property
    def name(self) -> str:
        """The exact path, as os functions take it; empty if there is none."""
        if self.path_base64 is not None:
            return base64.b64decode(self.path_base64).decode("utf-8", "surrogateescape")
        return self.path or ""


class Amount(Said):
    """Files and their bytes."""

    files: int = 0
    bytes: int = 0


class Rate(Said):
    """By second, in the last minute."""

    files_per_second: float = 0.0
    bytes_per_second: float = 0.0


class Destination(Said):
    """One destination of a stream."""

    name: str
    delivered: Amount = Amount()
    rejected: Amount = Amount()
    skipped: Amount = Amount()
    lag: Amount = Amount()
    rate: Rate = Rate()


class Stream(Said):
    """One stream at a glance."""

    topic: str
    health: str
    problems: list[str] = []
    files: dict[str, Amount] = {}
    uploaded: Rate = Rate()
    delivered: Rate = Rate()
    destinations: list[Destination] = []


class Answer(Said):
    """The last word of one destination about one file."""

    destination: str
    outcome: str
    current: bool
    upload_id: UUID
    digest: str | None = None
    reason: str | None = None
    detail: str | None = None
    at: float


class KnownFile(Named):
    """One path of one source, as it is now."""

    id: UUID
    stream: str
    source: str
    size: int
    state: str
    reason: str | None = None
    detail: str | None = None
    advice: str | None = None
    failed_for: str | None = None
    """Whom the source failed to send it to; empty: it can send it to nobody."""
    by: str | None = None
    """Which destination the state, its reason and the advice are about; None: none in particular."""
    waiting_for: list[str] = []
    """Destinations that have not answered what the source has now."""
    bytes_done: int = 0
    digest: str | None = None
    upload_id: UUID | None = None
    version_id: UUID | None = None
    discovered_at: float | None = None
    uploaded_at: float | None = None
    last_at: float
    answers: list[Answer] = []


class Receipt(Said):
    """What one destination said of one upload."""

    destination: str
    outcome: str
    advice: str | None = None


class Upload(Named):
    """One sending of one file."""

    id: UUID
    version_id: UUID | None = None
    to: list[str] = []
    aborted_at: float | None = None
    abort_reason: str | None = None
    receipts: list[Receipt] = []


class FileDetail(KnownFile):
    """One file with its uploads, the newest first."""

    uploads: list[Upload] = []


class Files(Said):
    """A page of files."""

    items: list[KnownFile]
    next: str | None = None


class Service(Said):
    """A program that sends heartbeats."""

    kind: str
    program_id: str
    service: str
    host: str
    version: str
    state: str
    problems: list[str] = []
    last_at: float
    status: dict[str, Any] = {}
    """What its last heartbeat said: of Penstock's programs what they read and write."""


class Services(Said):
    """All programs that send heartbeats."""

    items: list[Service]


class LostRange(Said):
    """Records that were gone before a destination had read them."""

    stream: str
    destination: str
    partition: int
    from_offset: int
    to_offset: int
    at: float


class Overview(Said):
    """All of it at a glance."""

    at: float
    streams: list[Stream]
    failures: list[KnownFile]
    failures_total: int
    in_flight: list[KnownFile]
    services: list[Service]
    lost: list[LostRange]
    problems_total: int


def as_wanted(path: str) -> dict[str, Any]:
    """Return a path as a question names it: by `path_base64` where it is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raw = path.encode("utf-8", "surrogateescape")
        return {"path_base64": base64.b64encode(raw).decode("ascii")}
    return {"path": path}
