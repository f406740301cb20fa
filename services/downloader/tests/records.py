"""Uploads as records, for tests."""

import itertools
from dataclasses import dataclass

from blake3 import blake3

from chunkproto import Chunk, Description, End, Record, UploadId, Whole, next_upload_id

MTIME_NS = 1_700_000_000_123_456_789
_random = itertools.count(1)
_last: UploadId | None = None


def new_id() -> UploadId:
    """Give an id that is greater than the one before."""
    global _last
    _last = next_upload_id(1_700_000_000_000, next(_random), _last)
    return _last


def content(size: int, seed: int = 0) -> bytes:
    return bytes((seed * 37 + at * 7 + at // 256) % 251 for at in range(size))


@dataclass(frozen=True)
class File:
    path: str
    data: bytes
    upload_id: UploadId
    chunk_size: int = 16
    source: str = "source"
    to: tuple[str, ...] = ()
    mode: int | None = 0o640
    digest: bytes = b""

    @property
    def description(self) -> Description:
        return Description(
            self.path, len(self.data), self.chunk_size, MTIME_NS, self.mode, self.source, self.to
        )

    def records(self) -> list[tuple[Record, bytes]]:
        """All records of the upload with their values."""
        description = self.description
        digest = self.digest or blake3(self.data).digest()
        plan = description.plan
        if plan.is_single:
            return [(Whole(self.upload_id, description, digest, MTIME_NS), self.data)]
        chunks: list[tuple[Record, bytes]] = [
            (
                Chunk(self.upload_id, at, plan.offset(at), description if at == 0 else None),
                self.data[plan.offset(at) :][: plan.length(at)],
            )
            for at in range(plan.count)
        ]
        return [*chunks, (End(self.upload_id, description, digest, plan.count, MTIME_NS), b"")]


def file(path: str, size: int = 40, **given) -> File:
    """Give a file with an upload id of its own."""
    return File(
        path, content(size, given.pop("seed", size)), given.pop("upload_id", None) or new_id(), **given
    )
