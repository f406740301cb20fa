"""What a downloader can be told."""

from __future__ import annotations

import sys
from typing import Literal, Self

from pydantic import Field, model_validator

from servicekit.settings import ByteSize, Seconds, ServiceSettings, StringList
from servicekit.streams import StreamTopic, refuse_as_stream

OnConflict = Literal["replace", "keep-both", "skip"]
SourceConflict = Literal["refuse", "replace"]

DAY = 86_400.0


class DownloaderSettings(ServiceSettings):
    """The options of `penstock download`, and the environment of `penstock-downloader`."""

    topic: StreamTopic = Field(min_length=1, max_length=249, description="Topic to read files from.")
    directory: str = Field(min_length=1, description="Directory to deliver files into; it has to exist.")
    group: str | None = Field(
        None,
        min_length=1,
        max_length=249,
        description=(
            "Id of this destination, and its consumer group. Made once by default, and kept in "
            "DIRECTORY/.penstock/id: each directory gets all files."
        ),
    )
    include: StringList = Field(
        default_factory=list,
        description="Deliver only files that match this glob: '*.raw' by name, 'run1/**' by path.",
    )
    exclude: StringList = Field(
        default_factory=list, description="Do not deliver files that match this glob."
    )
    on_conflict: OnConflict = Field(
        "replace",
        description=(
            "When a file stands at the path already: replace it (by a newer version only), keep both (the "
            "new one as 'name (2)'), or skip the new one."
        ),
    )
    source_conflict: SourceConflict = Field(
        "refuse",
        description="When the file at the path came from another source: refuse the new one, or replace.",
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        "classic",
        description="Kafka's rebalance protocol: classic (cooperative-sticky) or consumer (KIP-848).",
    )
    until_idle: Seconds | None = Field(
        None,
        description="End with exit code 0 once there has been nothing to do for so many seconds.",
    )
    max_file_size: ByteSize | None = Field(
        None, ge=0, description="Refuse larger files, at their first record. By default any size is taken."
    )
    incomplete_after_seconds: Seconds = Field(
        3 * DAY,
        gt=0,
        description=(
            "Give an unfinished upload up when nothing of it has come for so long; its source is told. Three "
            "days by default: a weekend without the source's machine costs nothing."
        ),
    )
    commit_interval_seconds: Seconds = Field(
        5.0, gt=0, description="Make partial files durable and commit at least this often."
    )
    commit_bytes: ByteSize = Field(
        ByteSize(256 * 1024 * 1024),
        gt=0,
        description="Make partial files durable and commit after this many bytes, if that is sooner.",
    )
    revoke_timeout_seconds: Seconds = Field(
        20.0,
        gt=0,
        description="How long a rebalance waits for deliveries under way; the next owner does the rest.",
    )
    drain_timeout_seconds: Seconds = Field(
        20.0, gt=0, description="How long a stop waits for deliveries under way."
    )
    quarantine_bytes: ByteSize = Field(
        ByteSize(64 * 1024 * 1024),
        ge=0,
        description="Room for the heads of refused records and files, oldest out first; 0 keeps none.",
    )
    portable_names: bool | None = Field(
        None,
        description=(
            "Refuse names that Windows or macOS cannot have, or take for one another. By default on those "
            "systems only."
        ),
    )
    events_topic: str | None = Field(
        "penstock.events", description="Topic for telemetry (heartbeats); nothing waits for it. Empty: none."
    )
    heartbeat_seconds: Seconds = Field(10.0, gt=0, description="Interval of heartbeats.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse_as_stream(self.topic, self.events_topic)
        return self

    @property
    def requires_portable_names(self) -> bool:
        """Whether names are judged by what Windows and macOS can hold."""
        return sys.platform in ("win32", "darwin") if self.portable_names is None else self.portable_names
