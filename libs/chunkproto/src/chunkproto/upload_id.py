"""Upload ids: UUIDv7 (RFC 9562, section 5.7) that only grow within a source."""

from __future__ import annotations

from typing import Final, Self
from uuid import UUID

from chunkproto.exceptions import InvalidRecord

_RANDOM_BITS: Final = 74
_RANDOM_MASK: Final = (1 << _RANDOM_BITS) - 1


class UploadId(bytes):
    """The identity of one sending of one file: the 16 bytes of a UUIDv7.

    Ids compare as bytes; of two ids of one source, the greater one names the later upload.
    `str()` gives the usual hyphenated text.
    """

    __slots__ = ()

    def __new__(cls, raw: bytes) -> Self:
        """Take the 16 bytes `raw`; raises InvalidRecord when they are not a UUIDv7."""
        if len(raw) != 16 or raw[6] >> 4 != 7 or raw[8] >> 6 != 2:
            raise InvalidRecord(
                f"an upload id is the 16 bytes of a UUIDv7, not {bytes(raw).hex() or 'nothing'}"
            )
        return super().__new__(cls, raw)

    def __str__(self) -> str:
        return str(UUID(bytes=bytes(self)))

    def __repr__(self) -> str:
        return f"UploadId({self})"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the hyphenated text form; raises InvalidRecord."""
        try:
            return cls(UUID(text).bytes)
        except ValueError as error:
            raise InvalidRecord(f"not an upload id: {text!r}") from error

    @property
    def milliseconds(self) -> int:
        """When the upload began: milliseconds since the Unix epoch, by the source's clock."""
        return int.from_bytes(self[:6], "big")


def next_upload_id(now_ms: int, random: int, after: UploadId | None) -> UploadId:
    """Make the id that follows `after`, however the clock has moved.

    `now_ms` is milliseconds since the Unix epoch, `random` at least 74 random bits. The result is greater
    than `after`: when the clock stands still or goes back, the earlier id's random part counts on (RFC
    9562, section 6.2, method 2), and its overflow carries into the milliseconds.
    """
    value = now_ms << _RANDOM_BITS | random & _RANDOM_MASK
    if after is not None:
        value = max(value, _payload(after) + 1 + (random & 0xFFFF))
    milliseconds, tail = value >> _RANDOM_BITS, value & _RANDOM_MASK
    high, low = tail >> 62, tail & ((1 << 62) - 1)
    number = milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    return UploadId(number.to_bytes(16, "big"))


def _payload(upload_id: UploadId) -> int:
    """All bits of an id but version and variant, in order: 48 of milliseconds, 74 of randomness."""
    number = int.from_bytes(upload_id, "big")
    return (number >> 80) << _RANDOM_BITS | (number >> 64 & 0xFFF) << 62 | number & ((1 << 62) - 1)
