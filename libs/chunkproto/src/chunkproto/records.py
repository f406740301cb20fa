"""The records that make up an upload: values, checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chunkproto.exceptions import InvalidRecord
from chunkproto.plan import ChunkPlan
from chunkproto.upload_id import UploadId

DIGEST_BYTES: Final = 32
"""BLAKE3's default output, what `b3sum` prints."""
MAX_METADATA_BYTES: Final = 8 * 1024
"""UTF-8 bytes of all keys and values of the user's metadata together."""
MAX_NAME_BYTES: Final = 249
"""UTF-8 bytes of a source or destination id: as long as a Kafka topic's name may be."""
MAX_DESTINATIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Description:
    """What the source says of a file.

    `path` should be relative and POSIX: `chunkproto.paths.path_problem` judges it. Nothing unsafe is
    encoded, but what is decoded may be anything, for a receiver must be able to say which it refused.
    `size` and `chunk_size` are bytes; `mtime_ns` is nanoseconds since the Unix epoch; `mode` the nine
    permission bits, None where the source has none; `source` the persistent id of the sending directory;
    `to` the destinations meant, none: all; `metadata` the user's own.
    """

    path: str
    size: int
    chunk_size: int
    mtime_ns: int
    mode: int | None
    source: str
    to: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        ChunkPlan(self.size, self.chunk_size)
        if self.size >= 1 << 63:
            raise InvalidRecord(f"size {self.size} does not fit in 63 bits")
        if not -(1 << 63) <= self.mtime_ns < 1 << 63:
            raise InvalidRecord(f"mtime_ns {self.mtime_ns} does not fit in 64 bits")
        if self.mode is not None and not 0 <= self.mode <= 0o777:
            raise InvalidRecord(f"mode {self.mode:o} is more than nine permission bits")
        for name in (self.source, *self.to):
            if not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
                raise InvalidRecord(
                    f"the source or destination id {name!r} is not of 1 to {MAX_NAME_BYTES} bytes"
                )
        if len(self.to) > MAX_DESTINATIONS:
            raise InvalidRecord(
                f"an upload names at most {MAX_DESTINATIONS} destinations, not {len(self.to)}"
            )
        if (
            sum(len(key.encode()) + len(value.encode()) for key, value in self.metadata.items())
            > MAX_METADATA_BYTES
        ):
            raise InvalidRecord(f"the metadata of {self.path!r} is larger than {MAX_METADATA_BYTES} bytes")

    @property
    def plan(self) -> ChunkPlan:
        """How the file is cut."""
        return ChunkPlan(self.size, self.chunk_size)

    def is_for(self, destination: str) -> bool:
        """Whether the destination of this id is meant."""
        return not self.to or destination in self.to


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file; its bytes are the Kafka message's value.

    `index` counts from 0; `offset` is where the bytes belong in the file; `again` marks a record that was
    sent, or may have been, before its uploader restarted. The first chunk carries the description.
    """

    upload_id: UploadId
    index: int
    offset: int
    description: Description | None = None
    again: bool = False

    def __post_init__(self) -> None:
        if (self.index == 0) != (self.description is not None):
            raise InvalidRecord("the first chunk, and no other, carries the description")
        if (
            not 0 <= self.index < 1 << 40
            or not 0 <= self.offset < 1 << 63
            or (self.index == 0) != (self.offset == 0)
        ):
            raise InvalidRecord(f"chunk {self.index} cannot be at offset {self.offset}")
        if self.description is not None and self.description.plan.is_single:
            raise InvalidRecord(f"{self.description.path!r} fits in one chunk, and must travel as one record")


@dataclass(frozen=True, slots=True)
class End:
    """All chunks of an upload were acknowledged; this is what they make.

    `digest` is the BLAKE3 of the whole file. `closed_ns` is when the source saw the file at rest, in
    nanoseconds since the Unix epoch.
    """

    upload_id: UploadId
    description: Description
    digest: bytes
    chunks: int
    closed_ns: int
    again: bool = False

    def __post_init__(self) -> None:
        _check_digest(self.digest)
        if self.chunks != self.description.plan.count:
            raise InvalidRecord(
                f"{self.description.size} bytes make {self.description.plan.count} chunks, not {self.chunks}"
            )
        if self.description.plan.is_single:
            raise InvalidRecord(f"{self.description.path!r} fits in one chunk, and must travel as one record")


@dataclass(frozen=True, slots=True)
class Whole:
    """A file that fits in one chunk: description, bytes (the message's value) and digest in one record."""

    upload_id: UploadId
    description: Description
    digest: bytes
    closed_ns: int
    again: bool = False

    def __post_init__(self) -> None:
        _check_digest(self.digest)
        if not self.description.plan.is_single:
            raise InvalidRecord(
                f"{self.description.path!r} does not fit in one chunk of {self.description.chunk_size} bytes"
            )


@dataclass(frozen=True, slots=True)
class Abort:
    """The source gave this upload up: it changed, it vanished, or it must begin again."""

    upload_id: UploadId
    path: str
    source: str
    why: str
    again: bool = False


Record = Chunk | End | Whole | Abort


def _check_digest(digest: bytes) -> None:
    if len(digest) != DIGEST_BYTES:
        raise InvalidRecord(f"a digest has {DIGEST_BYTES} bytes, not {len(digest)}")


__all__ = [
    "DIGEST_BYTES",
    "MAX_DESTINATIONS",
    "MAX_METADATA_BYTES",
    "MAX_NAME_BYTES",
    "Abort",
    "Chunk",
    "Description",
    "End",
    "Record",
    "Whole",
]
