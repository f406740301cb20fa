"""The tables.

All of them but `positions`, `problems` and `heartbeats` are a function of the set of events that were
learned: neither the order of the events, nor how often each one came, nor a crash in between changes them.
Therefore keys are computed from what they name (`stream_key`, `file_key`), never taken from a sequence.

Times are seconds since 1970 (UTC), sizes are bytes, digests the 32 bytes of a BLAKE3. A path is bytes, as
file systems have it: it need not be UTF-8, compares bytewise in every database, and means nothing to SQL.
"""

from __future__ import annotations

import uuid
from typing import Final

from blake3 import blake3
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from servicekit.events import COUNTERS

PATH_INDEX_BYTES: Final = 256
"""Of each path so much is in the index: PostgreSQL refuses rows above 2704 bytes there, paths have 4096."""
NAME_KEY_BYTES: Final = 128
"""Of each file's name so much can be searched for."""
IN_KAFKA: Final = "in-kafka"
"""In `counts`, beside the states of destination '': files whose current version is in Kafka, answered or not.
A destination's lag is these minus all that it has answered."""

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def stream_key(topic: str) -> int:
    """Return the key of a stream: 63 bits of its topic's BLAKE3."""
    return int.from_bytes(blake3(topic.encode()).digest(8), "big") >> 1


def file_key(topic: str, source_id: str, path: bytes) -> uuid.UUID:
    """Return the key of a file: one path of one source of one stream."""
    parts = (topic.encode(), source_id.encode(), path)
    named = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return uuid.UUID(bytes=blake3(named).digest(16))


def name_key(path: bytes) -> bytes:
    """Return what a file is searched by: the beginning of its name, without regard to case."""
    name = path.rsplit(b"/", 1)[-1].decode("utf-8", "surrogateescape").casefold()
    return name.encode("utf-8", "surrogateescape")[:NAME_KEY_BYTES]


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

streams = Table(
    "streams",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("topic", String(249), nullable=False, unique=True),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("stream_id", BigInteger, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("path", LargeBinary, nullable=False),
    Column("name_key", LargeBinary(NAME_KEY_BYTES), nullable=False),
    # One of `penstock_registry.knowledge.State`; the rest of this group is of the newest upload, if any.
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("upload_id", Uuid),
    # The first upload of the same content: answers to this one and younger ones are about what is there now.
    Column("version_id", Uuid),
    Column("size", BigInteger, nullable=False),
    Column("digest", LargeBinary(32)),
    Column("bytes_done", BigInteger, nullable=False),
    # When Kafka first had all of this version.
    Column("uploaded_at", Double),
    Column("discovered_at", Double),
    Column("discovered_size", BigInteger),
    # What the source says that it cannot do: {"at", "upload_id", "destination", "reason", "detail", "size"}.
    Column("failure", Json),
    # The last word of each destination: {name: {"upload_id", "outcome", "reason", "detail", "digest", "at"}}.
    Column("answers", Json, nullable=False),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
)
Index("ix_files_stream_recent", files.c.stream_id, files.c.last_at, files.c.id)
Index("ix_files_stream_state_recent", files.c.stream_id, files.c.state, files.c.last_at, files.c.id)
Index("ix_files_state_recent", files.c.state, files.c.last_at, files.c.id)
Index("ix_files_recent", files.c.last_at, files.c.id)
Index("ix_files_stream_path", files.c.stream_id, func.substr(files.c.path, 1, PATH_INDEX_BYTES), files.c.id)
Index("ix_files_stream_name", files.c.stream_id, files.c.name_key, files.c.id)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("stream_id", BigInteger, nullable=False),
    # Null as long as only answers without source and path were heard.
    Column("file_id", Uuid),
    Column("size", BigInteger),
    Column("digest", LargeBinary(32)),
    Column("version_id", Uuid),
    # Destinations that it is for; empty: all.
    Column("addressed_to", Json),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("closed_at", Double),
    Column("bytes_done", BigInteger, nullable=False),
    Column("progress_at", Double),
    Column("uploaded_at", Double),
    Column("seconds", Double),
    Column("partition", Integer),
    Column("first_offset", BigInteger),
    Column("last_offset", BigInteger),
    Column("aborted_at", Double),
    Column("abort_reason", Text),
    # With the stream: whoever may speak for one stream cannot speak of another's uploads.
    PrimaryKeyConstraint("id", "stream_id"),
)
Index("ix_uploads_file_id", uploads.c.file_id, uploads.c.id)
Index("ix_uploads_last_at", uploads.c.last_at)

receipts = Table(
    "receipts",
    metadata,
    Column("upload_id", Uuid, nullable=False),
    Column("destination", Text, nullable=False),
    Column("stream_id", BigInteger, nullable=False),
    # delivered, skipped or rejected; where several were said of one upload, the first of these stands.
    Column("outcome", String(16), nullable=False),
    Column("at", Double, nullable=False),
    Column("reason", Text),
    Column("detail", Text),
    Column("digest", LargeBinary(32)),
    Column("size", BigInteger),
    Column("delivered_as", LargeBinary),
    Column("closed_at", Double),
    Column("visible_at", Double),
    Column("topic_id", String(32), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    # All outcomes that were ever said of it, as bits (`OUTCOME_BITS`): `totals` counts each of them.
    Column("outcomes", SmallInteger, nullable=False, default=0),
    PrimaryKeyConstraint("upload_id", "stream_id", "destination"),
)
Index(
    "ix_receipts_stream_recent",
    receipts.c.stream_id,
    receipts.c.at,
    receipts.c.upload_id,
    receipts.c.destination,
)
Index("ix_receipts_at", receipts.c.at)

lost_ranges = Table(
    "lost_ranges",
    metadata,
    Column("topic_id", String(32), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("from_offset", BigInteger, nullable=False),
    Column("to_offset", BigInteger, nullable=False),
    Column("destination", Text, nullable=False),
    Column("stream_id", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    PrimaryKeyConstraint("topic_id", "partition", "from_offset", "to_offset", "destination"),
)

# What the files are now, counted. destination '': files by state, and IN_KAFKA; else the files whose current
# answer of that destination is `state` (an outcome). Changed by the difference of a file's row before and
# after, so always what counting the rows would give; what is zero has no row.
counts = Table(
    "counts",
    metadata,
    Column("stream_id", BigInteger, nullable=False),
    Column("destination", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    PrimaryKeyConstraint("stream_id", "destination", "state"),
)

# What happened, by time. destination '': uploads acknowledged by Kafka; else files delivered there. Each step
# (60 s, 3600 s) is kept for as long as pictures of it are drawn.
throughput = Table(
    "throughput",
    metadata,
    Column("stream_id", BigInteger, nullable=False),
    Column("destination", Text, nullable=False),
    Column("step", Integer, nullable=False),
    Column("begins_at", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    PrimaryKeyConstraint("stream_id", "destination", "step", "begins_at"),
)
Index("ix_throughput_step", throughput.c.step, throughput.c.begins_at)

# Sums that never go down, for Prometheus: of uploads ('': outcome uploaded) and of receipts by outcome.
totals = Table(
    "totals",
    metadata,
    Column("stream_id", BigInteger, nullable=False),
    Column("destination", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("last_at", Double, nullable=False),
    PrimaryKeyConstraint("stream_id", "destination", "outcome"),
)

# Programs that send heartbeats, with the sums of their counters.
services = Table(
    "services",
    metadata,
    # "penstock" or "openmsi": whose format its heartbeats have.
    Column("kind", String(16), nullable=False),
    Column("program_id", Text, nullable=False),
    # uploader, downloader; for openmsi the topic of its heartbeats.
    Column("service", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("interval_seconds", Double),
    Column("stopped", Boolean, nullable=False),
    Column("status", Json, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in COUNTERS),
    PrimaryKeyConstraint("kind", "program_id"),
)

# Which heartbeats the sums hold: those of the program's last day. Older ones are ignored.
heartbeats = Table(
    "heartbeats",
    metadata,
    Column("kind", String(16), nullable=False),
    Column("program_id", Text, nullable=False),
    Column("at", Double, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in COUNTERS),
    PrimaryKeyConstraint("kind", "program_id", "at"),
)

# Records that are no events, kept aside for people; the newest thousand.
problems = Table(
    "problems",
    metadata,
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("head", LargeBinary, nullable=False),
    PrimaryKeyConstraint("topic", "partition", "offset"),
)

# How far each topic was read: in the transaction that learned what was read.
positions = Table(
    "positions",
    metadata,
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("topic_id", String(32), nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("topic", "partition"),
)
