"""What can be wrong with a record.

::

    ChunkprotoError
    ├── InvalidRecord          a value that may not travel (raised on encoding, and by constructors)
    └── UndecodableRecord      bytes from the topic that are not a record of ours
        ├── ForeignRecord      no `penstock` header: some other program's message
        ├── UnsupportedRecord  a version or type that this build does not know
        └── MalformedRecord    our header, but it breaks the specification

Every `UndecodableRecord` carries the `Reason` under which it is counted and reported.
"""

from chunkproto.reasons import Reason


class ChunkprotoError(Exception):
    """The root of this library's errors."""


class InvalidRecord(ChunkprotoError, ValueError):
    """A record that must not be sent: its message says which field, and what is allowed."""


class UndecodableRecord(ChunkprotoError):
    """A Kafka message that is not a record this build can use."""

    reason: Reason


class ForeignRecord(UndecodableRecord):
    """Another program's message."""

    reason = Reason.FOREIGN


class UnsupportedRecord(UndecodableRecord):
    """A version or record type that this build does not know; it is refused, never guessed."""

    reason = Reason.UNSUPPORTED


class MalformedRecord(UndecodableRecord):
    """A `penstock` header that breaks docs/wire.md."""

    reason = Reason.MALFORMED
