"""What a destination commits to Kafka, so that another process can go on in the middle of a file.

Kafka stores a text of up to 4,096 bytes with each committed offset, atomically (KIP-211 names it
`metadata`; measured: 4,000 pass, 4,096 are refused). Ours is ``p1:`` and the base85 of a mark of the topic
and of fixed-size entries, so that capacity never depends on the numbers in them.

The mark is there because an offset means nothing in another topic of the same name: one that was deleted and
made again, while a process that had not noticed went on committing.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from chunkproto.exceptions import ChunkprotoError, InvalidRecord
from chunkproto.upload_id import UploadId

_PREFIX: Final = "p1:"
_ENTRY_BYTES: Final = 16 + 6 + 5
_MARK_BYTES: Final = 8
_MAX_METADATA_CHARACTERS: Final = 3900
CAPACITY: Final = ((_MAX_METADATA_CHARACTERS - len(_PREFIX)) * 4 // 5 - _MARK_BYTES) // _ENTRY_BYTES
"""How many unfinished uploads one commit can carry; the rest hold it back."""


class UnreadableCheckpoint(ChunkprotoError):
    """Commit metadata that is not ours, of a version that this build does not know, or of another topic."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An unfinished upload: the offset of its first record, and how many of its first chunks are durable."""

    upload_id: UploadId
    first_offset: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The offset to commit, and the unfinished uploads with records on both sides of it."""

    offset: int
    entries: tuple[Entry, ...] = ()

    def encode_metadata(self, topic_id: str) -> str:
        """Give the text for a commit of this offset in the topic with this id.

        Raises ValueError when there are more than `CAPACITY` entries, or one begins after the offset.
        """
        if len(self.entries) > CAPACITY or any(entry.first_offset > self.offset for entry in self.entries):
            raise ValueError(f"no commit of {self.offset} can carry these {len(self.entries)} entries")
        packed = _mark(topic_id) + b"".join(
            entry.upload_id
            + (self.offset - entry.first_offset).to_bytes(6, "big")
            + entry.chunks.to_bytes(5, "big")
            for entry in self.entries
        )
        return _PREFIX + base64.b85encode(packed).decode("ascii")

    @classmethod
    def decode(cls, offset: int, metadata: str | None, topic_id: str) -> Checkpoint:
        """Read an offset that was committed in the topic with this id, and its metadata.

        No metadata are those of an offset that somebody set by hand: no entries. Raises UnreadableCheckpoint.
        """
        if not metadata:
            return cls(offset)
        if not metadata.startswith(_PREFIX):
            raise UnreadableCheckpoint(f"commit metadata of an unknown kind: {metadata[:20]!r}")
        try:
            packed = base64.b85decode(metadata[len(_PREFIX) :])
        except ValueError as error:
            raise UnreadableCheckpoint(f"commit metadata that are not base85: {error}") from error
        if len(packed) % _ENTRY_BYTES != _MARK_BYTES:
            raise UnreadableCheckpoint(f"commit metadata of {len(packed)} bytes: they were cut")
        if packed[:_MARK_BYTES] != _mark(topic_id):
            raise UnreadableCheckpoint("the offset was committed in another topic of the same name")
        try:
            entries = tuple(
                Entry(
                    UploadId(packed[at : at + 16]),
                    offset - int.from_bytes(packed[at + 16 : at + 22], "big"),
                    int.from_bytes(packed[at + 22 : at + 27], "big"),
                )
                for at in range(_MARK_BYTES, len(packed), _ENTRY_BYTES)
            )
        except InvalidRecord as error:
            raise UnreadableCheckpoint(f"commit metadata that make no sense: {error}") from error
        if any(entry.first_offset < 0 for entry in entries):
            raise UnreadableCheckpoint("commit metadata with an entry before offset 0")
        return cls(offset, entries)


def _mark(topic_id: str) -> bytes:
    """Tell topics apart, in few bytes: the first of the BLAKE3 of the id that Kafka gave the topic."""
    return blake3(topic_id.encode()).digest(length=_MARK_BYTES)
