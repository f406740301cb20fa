"""What the API answers: the contract of /api/v1.

Times are seconds since 1970 (UTC), sizes bytes, digests BLAKE3 in hexadecimal. A path that is not valid UTF-8
is shown with replacement characters, and stands exactly in `<field>_base64` beside it.
"""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

FileState = Literal[
    "discovered", "uploading", "uploaded", "delivered", "skipped", "rejected", "failed", "aborted"
]
Outcome = Literal["delivered", "skipped", "rejected"]


class Model(BaseModel):
    """What all of them have."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Amount(Model):
    """Files and their bytes."""

    files: int = 0
    bytes: int = 0


class Rate(Model):
    """What happened in the last 60 seconds, by second; it moves every 10 seconds, and ends at zero."""

    files_per_second: float = 0.0
    bytes_per_second: float = 0.0


class Destination(Model):
    """One destination of a stream."""

    name: str
    delivered: Amount = Amount()
    rejected: Amount = Amount()
    skipped: Amount = Amount()
    lag: Amount = Field(Amount(), description="What Kafka has and this destination has not answered yet.")
    rate: Rate = Rate()
    last_at: float | None = Field(None, description="Of its last answer.")


class Stream(Model):
    """One stream at a glance."""

    topic: str
    health: Literal["ok", "idle", "warning", "failing"]
    problems: list[str] = Field([], description="Why it is not ok, and what to do: one line each.")
    files: dict[FileState, Amount] = Field({}, description="Files by state.")
    uploaded: Rate = Rate()
    delivered: Rate = Rate()
    destinations: list[Destination] = []
    bytes_by_minute: list[int] = Field(
        [], description="Delivered (uploaded, where nothing is) in each of the last 60 minutes, oldest first."
    )
    first_at: float
    last_at: float


class Answer(Model):
    """The last word of one destination about one file."""

    destination: str
    outcome: Outcome
    current: bool = Field(description="Whether it is about the version that the source has now.")
    upload_id: UUID
    digest: str | None = None
    reason: str | None = None
    detail: str | None = None
    at: float


class File(Model):
    """One path of one source, as it is now."""

    id: UUID
    stream: str
    source: str
    path: str
    path_base64: str | None = None
    size: int
    state: FileState
    reason: str | None = Field(None, description="One word, where the state needs a reason.")
    detail: str | None = Field(None, description="The reason in a sentence.")
    advice: str | None = Field(None, description="What a person can do about it, and what happens by itself.")
    by: str | None = Field(
        None, description="Destination that rejected it, whose reason this is; null: it is the source's."
    )
    failed_for: str | None = Field(
        None,
        description=(
            "Destination that the source has given up for what it has now; empty: it cannot send the file to "
            "anybody; null: nothing is given up."
        ),
    )
    waiting_for: list[str] = Field(
        [],
        description=(
            "Destinations of its stream (those that have ever answered there) that have not answered yet, "
            "while Kafka has all of it; empty before."
        ),
    )
    bytes_done: int = Field(description="Bytes that Kafka has acknowledged.")
    digest: str | None = None
    upload_id: UUID | None = Field(None, description="The newest upload of it.")
    version_id: UUID | None = Field(None, description="The first upload of the same content.")
    discovered_at: float | None = None
    uploaded_at: float | None = None
    first_at: float
    last_at: float
    answers: list[Answer] = []


class Receipt(Model):
    """What one destination said of one upload."""

    upload_id: UUID
    stream: str
    destination: str
    outcome: Outcome
    at: float
    source: str | None = None
    path: str | None = None
    path_base64: str | None = None
    size: int | None = None
    digest: str | None = None
    delivered_as: str | None = None
    delivered_as_base64: str | None = None
    reason: str | None = None
    detail: str | None = None
    advice: str | None = None
    closed_at: float | None = None
    visible_at: float | None = None
    topic_id: str
    partition: int
    offset: int


class Step(Model):
    """One thing that happened to an upload."""

    at: float
    what: Literal[
        "discovered", "closed", "begun", "uploaded", "aborted", "failed", "delivered", "skipped", "rejected",
        "resent",
    ]  # fmt: skip
    text: str = Field(description="One line for people.")
    destination: str | None = None
    upload_id: UUID | None = Field(None, description="Of the other upload, for `resent`.")


class Upload(Model):
    """One sending of one file, with its whole history."""

    id: UUID
    stream: str
    state: FileState
    file_id: UUID | None = None
    source: str | None = None
    path: str | None = None
    path_base64: str | None = None
    size: int | None = None
    digest: str | None = None
    version_id: UUID | None = None
    to: list[str] = Field([], description="Destinations that it is for; empty: all.")
    bytes_done: int
    closed_at: float | None = None
    first_at: float
    last_at: float
    uploaded_at: float | None = None
    seconds: float | None = None
    partition: int | None = None
    first_offset: int | None = None
    last_offset: int | None = None
    aborted_at: float | None = None
    abort_reason: str | None = None
    receipts: list[Receipt] = []
    history: list[Step] = []


class FileDetail(File):
    """One file with its uploads, the newest first (at most 100)."""

    uploads: list[Upload] = []


class Service(Model):
    """A program that sends heartbeats."""

    kind: Literal["penstock", "openmsi"]
    program_id: str
    service: str
    host: str
    version: str
    state: Literal["alive", "silent", "stopped"]
    problems: list[str] = []
    first_at: float
    last_at: float
    interval_seconds: float | None = None
    totals: dict[str, int] = Field({}, description="Sums of its heartbeats' counters, such as n_bytes_read.")
    status: dict[str, Any] = {}


class LostRange(Model):
    """Records that were gone before a destination had read them: `from_offset` <= x < `to_offset`."""

    stream: str
    destination: str
    topic_id: str
    partition: int
    from_offset: int
    to_offset: int
    at: float


class Aside(Model):
    """A record on an events topic that is no event, kept aside."""

    topic: str
    partition: int
    offset: int
    at: float
    reason: str
    head_base64: str = Field(description="Its first bytes.")


class Point(Model):
    """One step of a series."""

    at: int = Field(description="When it begins.")
    files: int
    bytes: int


class Series(Model):
    """What one destination received (or, with destination "", what Kafka acknowledged), over time."""

    stream: str
    destination: str
    points: list[Point]


class Throughput(Model):
    """Totals over time. Steps in which nothing happened have no point."""

    step_seconds: int
    since: int
    until: int
    series: list[Series]


class Overview(Model):
    """All of it at a glance: what the page and `penstock status` show first."""

    at: float
    streams: list[Stream]
    failures: list[File] = Field(description="The newest 20 that are rejected or failed.")
    failures_total: int
    in_flight: list[File] = Field(
        description=(
            "The newest 50 that are on their way to somebody: uploading, or in Kafka while a destination has "
            "not answered yet (`waiting_for`), though others may have."
        )
    )
    services: list[Service]
    lost: list[LostRange] = Field(description="The newest 20 of the last day.")
    problems_total: int = Field(description="Records that were no events, kept aside.")


class Files(Model):
    """A page of files."""

    items: list[File]
    next: str | None = Field(
        None, description="Cursor of the next page; a page may be short or empty though there is a next one."
    )


class Receipts(Model):
    """A page of receipts."""

    items: list[Receipt]
    next: str | None = None


class Streams(Model):
    """All streams."""

    items: list[Stream]


class Services(Model):
    """All programs that send heartbeats."""

    items: list[Service]


class LostRanges(Model):
    """The newest 1000 lost ranges."""

    items: list[LostRange]


class Asides(Model):
    """The newest 1000 records that are no events."""

    items: list[Aside]


class WantedPath(Model):
    """A path to look up; one that is not UTF-8 by `path_base64`."""

    path: str | None = None
    path_base64: str | None = None


class Lookup(Model):
    """Which files to look up. Without `source` every source's file of that path is given."""

    stream: str
    source: str | None = None
    paths: list[WantedPath] = Field(max_length=1000)

    @field_validator("stream", "source")
    @classmethod
    def _unicode(cls, given: str | None) -> str | None:
        if given is not None and any("\ud800" <= character <= "\udfff" for character in given):
            raise ValueError("not Unicode (a lone surrogate)")
        return given


class Problem(Model):
    """An error, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
