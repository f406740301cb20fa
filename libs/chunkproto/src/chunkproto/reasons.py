"""Why something was refused: one closed list, the same in code, events, metrics and docs."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a record or an upload was refused. The values are on the wire and in metrics: never renamed."""

    # The upload's bytes did not all arrive, or not as they left. Sending again mends it.
    INCOMPLETE = "incomplete"
    """A chunk is missing: a gap in the indices, or an end without its beginning."""
    DIGEST = "digest"
    """All bytes are there, and their BLAKE3 is not what the end record says."""
    EXPIRED = "expired"
    """No record of the upload for longer than the destination waits (`incomplete_after`)."""

    # The upload cannot be delivered here. Sending the same again would not help.
    MALFORMED = "malformed"
    """The records contradict docs/wire.md or one another (sizes, offsets, counts)."""
    UNSUPPORTED = "unsupported"
    """A version or record type that this build does not know."""
    FOREIGN = "foreign"
    """Not a record of ours at all."""
    UNSAFE_PATH = "unsafe-path"
    """The path would leave the destination, or meet a symbolic link or mount on the way."""
    UNPORTABLE_PATH = "unportable-path"
    """The name cannot exist on the destination's file system, or would collide with another there."""
    PATH_CONFLICT = "path-conflict"
    """A file stands where a directory is needed, or the other way round."""
    NAME_TOO_LONG = "name-too-long"
    """The destination's file system refuses the length of the name."""
    TOO_LARGE = "too-large"
    """The file is larger than the destination's `max_file_size`."""
    STALE = "stale"
    """A newer upload of the same path stands at the destination."""
    SOURCE_CONFLICT = "source-conflict"
    """The path belongs to another source at the destination."""

    @property
    def sending_again_helps(self) -> bool:
        """Whether the same file, sent under a new upload id, may well be delivered."""
        return self in _MENDED_BY_SENDING_AGAIN


_MENDED_BY_SENDING_AGAIN = frozenset({Reason.INCOMPLETE, Reason.DIGEST, Reason.EXPIRED})


class SkipReason(StrEnum):
    """Why a destination leaves a file alone without anything being wrong. On the wire: never renamed."""

    NOT_ADDRESSED = "not-addressed"
    """The upload names other destinations. Nothing is said of it to anyone."""
    FILTERED = "filtered"
    """The destination's include and exclude patterns leave it out."""
    EXISTS = "exists"
    """A file stands there, and the destination never replaces one (`on_conflict=skip`)."""
