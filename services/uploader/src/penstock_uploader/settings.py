"""What the uploader can be told: options, environment (`PENSTOCK_DIRECTORY`), or a file."""

from __future__ import annotations

import os
from typing import Literal, Self

from pydantic import Field, model_validator

from chunkproto.plan import DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE
from servicekit.events import EVENTS_TOPIC
from servicekit.settings import ByteSize, Seconds, ServiceSettings, StringList
from servicekit.streams import StreamTopic, refuse_as_stream

After = Literal["keep", "move", "delete"]
AfterWhen = Literal["acknowledged", "delivered"]


class UploaderSettings(ServiceSettings):
    """Settings of one uploader: one directory, one topic."""

    directory: str = Field(description="Directory whose files are sent, with all that is below it.")
    topic: StreamTopic = Field(min_length=1, max_length=249, description="Kafka topic that the files go to.")
    prefix: str = Field(
        "",
        description=(
            "Directory that all paths get on their way, such as '{host}/raw'. "
            "{host}, {user} and {pod} (the variable POD_NAME, else the host name) are filled in."
        ),
    )
    include: StringList = Field(
        default_factory=list,
        description="Send only files that match this glob: '*.raw' by name, 'run1/**' by path.",
    )
    exclude: StringList = Field(default_factory=list, description="Do not send files that match this glob.")
    existing: bool = Field(
        True,
        description=(
            "Send files that are there when the directory is watched for the first time; otherwise "
            "each of them "
            "is sent once it changes."
        ),
    )
    after: After = Field("keep", description="What becomes of a file that was sent.")
    after_when: AfterWhen = Field(
        "acknowledged",
        description=(
            "When: once Kafka has acknowledged it, or once all --after-receipt-from have delivered it."
        ),
    )
    after_receipt_from: StringList = Field(
        default_factory=list,
        description="Destination (consumer group) whose receipt 'delivered' needs; several are all needed.",
    )
    after_move_to: str | None = Field(
        None,
        description=(
            "Where --after move puts files: a directory on the same file system, outside of the watched one. "
            "By default .penstock/sent in the watched directory."
        ),
    )
    state_dir: str | None = Field(
        None,
        description="Directory of the ledger. By default .penstock/uploader in the watched directory.",
    )
    wait_for_other: bool = Field(
        False,
        description=(
            "If another uploader has the directory, wait until it ends, and go on where it was; by default "
            "that is an error. For pods of which one takes the place of the other."
        ),
    )
    source_id: str | None = Field(
        None,
        min_length=1,
        max_length=249,
        description=(
            "Name of this source, the same for ever. By default made of the machine and the directory."
        ),
    )
    chunk_size: ByteSize = Field(
        ByteSize(DEFAULT_CHUNK_SIZE),
        ge=1,
        le=MAX_CHUNK_SIZE,
        description="Bytes of a file in one record.",
    )
    max_inflight_bytes: ByteSize = Field(
        ByteSize(32 * 1024 * 1024),
        ge=1,
        description="Bytes that are sent at the most and not yet acknowledged, all files together.",
    )
    rate_limit: ByteSize | None = Field(
        None, ge=1, description="Send at most this many bytes of files in a second. By default no limit."
    )
    polling: bool | None = Field(
        None,
        description=(
            "Look for changes from time to time rather than being told of them. By default only on "
            "file systems "
            "that tell nothing (nfs, cifs, fuse, 9p and the like)."
        ),
    )
    settle_seconds: Seconds = Field(
        2.0,
        description="A file that was not seen to be closed is sent when it has not changed for this long.",
    )
    scan_interval_seconds: Seconds = Field(
        60.0, gt=0, description="Seconds between looks at the whole directory, in case an event was missed."
    )
    polling_interval_seconds: Seconds = Field(
        5.0, gt=0, description="Seconds between looks at the whole directory while polling."
    )
    topic_check_seconds: Seconds = Field(
        10.0,
        gt=0,
        description="Seconds between looks at the topic: is it the same, can it still carry files?",
    )
    max_resends: int = Field(
        5, ge=0, description="How often a version of a file is sent again to a destination that asks for it."
    )
    remember_seconds: Seconds = Field(
        90 * 24 * 3600.0,
        description=(
            "Forget a file that has been gone from the directory for this long, once it is acknowledged and "
            "all --after-receipt-from have answered. Never sooner than twice the topic's retention."
        ),
    )
    drain_seconds: Seconds = Field(
        20.0, description="How long a stop may take, to let what is on its way be acknowledged."
    )
    send_all_on_stop: bool = Field(
        False,
        description=(
            "At a stop, first send all files that are there, within --drain-seconds: for a directory that "
            "goes with the uploader, and whose writers have ended. By default what is not on its way yet "
            "waits for the next start."
        ),
    )
    control_port: int = Field(
        0,
        ge=0,
        le=65535,
        description=(
            "Loopback port for /ledger, /resend and /drained; 0 takes a free one, told in STATE_DIR/port."
        ),
    )
    events_topic: str | None = Field(EVENTS_TOPIC, description="Topic for telemetry. Empty: none is sent.")
    heartbeat_seconds: Seconds = Field(10.0, gt=0, description="Interval of heartbeats.")

    @property
    def root(self) -> str:
        """The watched directory, absolute, symbolic links resolved."""
        return os.path.realpath(self.directory)

    @property
    def state_directory(self) -> str:
        """Where the ledger is, absolute."""
        if self.state_dir is not None:
            return os.path.realpath(self.state_dir)
        return os.path.join(self.root, ".penstock", "uploader")

    @property
    def move_target(self) -> str:
        """Where `after=move` puts files, absolute."""
        if self.after_move_to is not None:
            return os.path.realpath(self.after_move_to)
        return os.path.join(self.root, ".penstock", "sent")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse_as_stream(self.topic, self.events_topic)
        if self.after_when == "delivered" and not self.after_receipt_from:
            raise ValueError(
                "--after-when delivered needs at least one --after-receipt-from: the destinations whose "
                "receipts must be there before a file is removed"
            )
        if self.after != "keep" and self.after_when != "delivered" and self.after_receipt_from:
            raise ValueError(
                f"--after {self.after} with --after-receipt-from needs --after-when delivered: as it is, "
                f"files would go as soon as Kafka has them, whoever has received them. If that is "
                f"meant, leave it out"
            )
        if self.after_move_to is not None and self.after != "move":
            raise ValueError("--after-move-to needs --after move")
        inside = os.path.join(self.root, "")
        if self.after_move_to is not None and f"{self.move_target}{os.sep}".startswith(inside):
            raise ValueError(
                "--after-move-to must be outside of the watched directory: what is moved there would "
                "be sent again"
            )
        if self.max_inflight_bytes < self.chunk_size:
            raise ValueError("--max-inflight-bytes cannot be smaller than --chunk-size")
        return self
