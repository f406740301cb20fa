"""What a destination commits to Kafka, so that another process can go on in the middle of a file.

Kafka stores a text of up to 4,096 bytes with each committed offset, atomically (KIP-211 names it
`metadata`; measured: 4,000 pass, 4,096 are refused). Ours is ``p1:`` and the base85 of fixed-size entries,
so that capacity never depends on the numbers in them.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from chunkproto.exceptions import ChunkprotoError, InvalidRecord
from chunkproto.upload_id import UploadId

_PREFIX: Final = "p1:"
_ENTRY_BYTES: Final = 16 + 6 + 5
_MAX_METADATA_CHARACTERS: Final = 3900
CAPACITY: Final = (_MAX_METADATA_CHARACTERS - len(_PREFIX)) * 4 // 5 // _ENTRY_BYTES
"""How many unfinished uploads one commit can carry; the rest hold it back."""


class UnreadableCheckpoint(ChunkprotoError):
    """Commit metadata that is not ours, or of a version that this build does not know."""


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

    def encode_metadata(self) -> str:
        """Give the text for the offset commit; empty when there are no entries.

        Raises ValueError when there are more than `CAPACITY` entries, or one begins after the offset.
        """
        if len(self.entries) > CAPACITY:
            raise ValueError(f"{len(self.entries)} entries; a commit carries {CAPACITY}")
        if not self.entries:
            return ""
        packed = b"".join(
            entry.upload_id
            + (self.offset - entry.first_offset).to_bytes(6, "big")
            + entry.chunks.to_bytes(5, "big")
            for entry in self.entries
        )
        return _PREFIX + base64.b85encode(packed).decode("ascii")

    @classmethod
    def decode(cls, offset: int, metadata: str | None) -> Checkpoint:
        """Read a committed offset and its metadata; raises UnreadableCheckpoint."""
        if not metadata:
            return cls(offset)
        if not metadata.startswith(_PREFIX):
            raise UnreadableCheckpoint(f"commit metadata of an unknown kind: {metadata[:20]!r}")
        try:
            packed = base64.b85decode(metadata[len(_PREFIX) :])
            pieces = [packed[at : at + _ENTRY_BYTES] for at in range(0, len(packed), _ENTRY_BYTES)]
            entries = tuple(
                Entry(
                    UploadId(piece[:16]),
                    offset - int.from_bytes(piece[16:22], "big"),
                    int.from_bytes(piece[22:27], "big"),
                )
                for piece in pieces
                if len(piece) == _ENTRY_BYTES or _broken()
            )
        except (ValueError, InvalidRecord) as error:
            raise UnreadableCheckpoint(f"commit metadata that cannot be read: {error}") from error
        if any(entry.first_offset < 0 for entry in entries):
            raise UnreadableCheckpoint("commit metadata with an entry before offset 0")
        return cls(offset, entries)


def _broken() -> bool:
    raise ValueError("cut short")
