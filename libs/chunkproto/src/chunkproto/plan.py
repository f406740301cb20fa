"""How a file is cut into chunks, and which partition carries it."""

from dataclasses import dataclass

from blake3 import blake3

from chunkproto.exceptions import InvalidRecord

DEFAULT_CHUNK_SIZE = 512 * 1024
"""Bytes. Measured: larger chunks gain nothing, and stay under Kafka's default 1 MiB `max.message.bytes`."""

MAX_CHUNK_SIZE = 64 * 1024 * 1024
"""Bytes. A chunk is held in memory, at both ends, several times over."""

MAX_FILE_SIZE = (1 << 53) - 1
"""Bytes. Larger files are not sent: they are holes, and readers of JSON take larger numbers for others."""


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """The chunks of a file of `size` bytes: all `chunk_size` bytes long, but the last, which has the rest.

    An empty file is one chunk of no bytes.
    """

    size: int
    chunk_size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise InvalidRecord(f"a file's size cannot be {self.size}")
        if not 1 <= self.chunk_size <= MAX_CHUNK_SIZE:
            raise InvalidRecord(f"a chunk size is from 1 to {MAX_CHUNK_SIZE} bytes, not {self.chunk_size}")

    @property
    def count(self) -> int:
        """The number of chunks, at least 1."""
        return max(1, -(-self.size // self.chunk_size))

    @property
    def is_single(self) -> bool:
        """Whether the whole file travels in one record."""
        return self.size <= self.chunk_size

    def offset(self, index: int) -> int:
        """Where chunk `index` (from 0) begins in the file, in bytes."""
        return index * self.chunk_size

    def length(self, index: int) -> int:
        """How many bytes chunk `index` (from 0) has."""
        return min(self.chunk_size, self.size - index * self.chunk_size)


def partition_for(path: bytes, partitions: int) -> int:
    """Give the partition of a path that has none yet: the first 8 bytes of its BLAKE3, big-endian, modulo."""
    return int.from_bytes(blake3(path).digest(length=8), "big") % partitions
