"""The openmsi codec: messages of OpenMSIStream's programs, both ways, byte for byte.

A message is one chunk of a file. Its value is a msgpack array of ten elements (nine, without the time of
modification, up to OpenMSIStream 1.8.6):

=======  ===========================================================================
element  meaning
=======  ===========================================================================
0        name of the file, str
1        SHA-512 of the whole file, 64 bytes
2        SHA-512 of the chunk, 64 bytes
3        where the chunk begins in the file, in bytes
4        number of the chunk, from 1
5        number of chunks of the file
6        directory of the file below the watched one, POSIX, str; empty for that itself
7        text that goes between the stem and the suffix of the name, str
8        the bytes of the chunk
9        time of modification, seconds since the Unix epoch, float; 0: unknown
=======  ===========================================================================

The key names file and chunk for people, and spreads the chunks over all partitions: nothing holds those of
one file together but what they say. All chunks but the last have one length; the size of the file is sent
nowhere, and follows from the last one.
"""

from __future__ import annotations

import hashlib
import math
import posixpath
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from chunkproto.exceptions import ForeignRecord, InvalidRecord, MalformedRecord
from chunkproto.plan import MAX_CHUNK_SIZE, MAX_FILE_SIZE

DIGEST_BYTES: Final = 64
"""SHA-512."""
FIELDS: Final = 10
FIELDS_WITHOUT_MTIME: Final = 9


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a file.

    `number` counts from 1, as on the wire; `offset` is bytes from the beginning of the file; `mtime` seconds
    since the Unix epoch, None where the source did not say it. The bytes need not be those that
    `chunk_digest` is of: see `is_intact`.
    """

    name: str
    directory: str
    append: str
    digest: bytes
    chunk_digest: bytes
    offset: int
    number: int
    count: int
    data: bytes
    mtime: float | None

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_BYTES or len(self.chunk_digest) != DIGEST_BYTES:
            raise InvalidRecord(f"SHA-512 digests have {DIGEST_BYTES} bytes")
        if not 1 <= self.number <= self.count:
            raise InvalidRecord(f"chunk {self.number} of {self.count}")
        if len(self.data) > MAX_CHUNK_SIZE or not 0 <= self.offset <= MAX_FILE_SIZE - len(self.data):
            raise InvalidRecord(f"a chunk of {len(self.data)} bytes at offset {self.offset}")
        if not self.data and self.count > 1:
            raise InvalidRecord(f"chunk {self.number} of {self.count} has no bytes")
        if self.number == 1:
            fits = self.offset == 0
        else:
            size, rest = divmod(self.offset, self.number - 1)
            is_last = self.number == self.count
            fits = not rest and (len(self.data) <= size if is_last else len(self.data) == size)
        if not fits:
            raise InvalidRecord(
                f"chunk {self.number} of {self.count} cannot have {len(self.data)} bytes "
                f"at offset {self.offset}"
            )

    @property
    def path(self) -> str:
        """Where the file belongs, relative and POSIX. Nobody has judged it: see `paths.path_problem`."""
        stem, suffix = posixpath.splitext(self.name)
        return posixpath.join(self.directory, f"{stem}{self.append}{suffix}")

    @property
    def chunk_size(self) -> int:
        """Length of every chunk of the file but the last, in bytes; of an only chunk, its own."""
        return self.offset // (self.number - 1) if self.number > 1 else len(self.data)

    @property
    def file_size(self) -> int | None:
        """Length of the whole file in bytes, which the last chunk alone knows."""
        return self.offset + len(self.data) if self.number == self.count else None

    @property
    def is_intact(self) -> bool:
        """Whether the bytes are those that were sent."""
        return hashlib.sha512(self.data).digest() == self.chunk_digest


def encode_key(chunk: Chunk) -> bytes:
    """Give the key: directory, name and number, joined by `_`; in no directory it begins with one, too.

    Raises InvalidRecord for a name that is not UTF-8.
    """
    place = "_".join([*chunk.directory.split("/"), chunk.name])
    try:
        return f"{place}_chunk_{chunk.number}_of_{chunk.count}".encode()
    except UnicodeEncodeError as error:
        raise _not_utf_8(chunk) from error


def encode(chunk: Chunk, *, with_mtime: bool = True) -> bytes:
    """Give the value. Raises InvalidRecord for a name that is not UTF-8, which no reader would take."""
    fields: list[Any] = [
        chunk.name,
        chunk.digest,
        chunk.chunk_digest,
        chunk.offset,
        chunk.number,
        chunk.count,
        chunk.directory,
        chunk.append,
        chunk.data,
    ]
    if with_mtime:
        fields.append(0.0 if chunk.mtime is None else float(chunk.mtime))
    try:
        packed: bytes = msgpack.packb(fields, use_bin_type=True)
    except UnicodeEncodeError as error:
        raise _not_utf_8(chunk) from error
    return packed


def decode(value: bytes | None) -> Chunk:
    """Read a message's value.

    Raises ForeignRecord for what is no message of OpenMSIStream's, and MalformedRecord for what begins like
    one and contradicts itself. The digests are not compared with anything here.
    """
    try:
        fields = msgpack.unpackb(value or b"", use_list=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, UnicodeDecodeError) as error:
        raise ForeignRecord("the message is no msgpack") from error
    if not isinstance(fields, tuple) or len(fields) not in (FIELDS_WITHOUT_MTIME, FIELDS):
        raise ForeignRecord(f"the message is no array of {FIELDS_WITHOUT_MTIME} or {FIELDS} elements")
    types = (str, bytes, bytes, int, int, int, str, str, bytes)
    for position, (field, kind) in enumerate(zip(fields, types, strict=False)):
        if not isinstance(field, kind) or isinstance(field, bool):
            raise MalformedRecord(f"element {position} is {type(field).__name__}, not {kind.__name__}")
    name, digest, chunk_digest, offset, number, count, directory, append, data = fields[:9]
    mtime = _mtime(fields[9]) if len(fields) == FIELDS else None
    try:
        return Chunk(name, directory, append, digest, chunk_digest, offset, number, count, data, mtime)
    except InvalidRecord as error:
        raise MalformedRecord(str(error)) from error


def _mtime(field: object) -> float | None:
    if not isinstance(field, int | float) or isinstance(field, bool) or not math.isfinite(field):
        raise MalformedRecord(f"element 9 is {field!r}, not a time")
    return float(field) or None


def _not_utf_8(chunk: Chunk) -> InvalidRecord:
    return InvalidRecord(
        f"path {chunk.path!r} is not UTF-8, and OpenMSIStream's messages carry no other names"
    )
