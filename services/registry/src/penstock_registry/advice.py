"""What a reason means, what happens by itself, and what a person can do: pure.

The words are for whoever sees a red line in the page or in `penstock status` and has never read our code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from chunkproto import Reason, SkipReason


@dataclass(frozen=True, slots=True)
class Advice:
    """One reason, explained in whole sentences."""

    meaning: str
    """What has happened."""
    itself: str
    """What Penstock does about it without being asked."""
    person: str
    """What a person can do."""

    def __str__(self) -> str:
        return " ".join(part for part in (self.meaning, self.itself, self.person) if part)


_SENT_AGAIN: Final = "The uploader sends it again by itself, a few times."
_NOT_AGAIN: Final = "It is not sent again by itself: sending the same file once more would not help."
_TRIED_AGAIN: Final = "The uploader tries again by itself, less and less often (every 5 minutes at least)."
_LOOKED_AT_AGAIN: Final = "It is not tried again before the file changes or the uploader starts anew."
_RESEND: Final = (
    "`penstock resend PATH`, on the machine of its source, sends the file once more, to all destinations"
)

_BY_REASON: Final[Mapping[str, Advice]] = MappingProxyType(
    {
        Reason.INCOMPLETE: Advice(
            "Some of its records did not reach the destination.",
            _SENT_AGAIN,
            "Should it happen often, see whether the topic's retention is too short.",
        ),
        Reason.DIGEST: Advice(
            "The bytes that arrived are not the bytes that the source read: their BLAKE3 differ.",
            _SENT_AGAIN,
            "Should it happen twice, suspect a disk or the memory of the machines on both ends.",
        ),
        Reason.EXPIRED: Advice(
            "The source began to send it and was not heard of again for longer than the destination waits.",
            _SENT_AGAIN,
            "See whether the uploader runs; if pauses are normal, give the downloader a larger "
            "--incomplete-after-seconds.",
        ),
        Reason.MALFORMED: Advice(
            "Its records contradict the wire format or one another.",
            _NOT_AGAIN,
            "Find out which program wrote them: a producer that is not ours, or a version with a defect.",
        ),
        Reason.UNSUPPORTED: Advice(
            "Its records are of a version that this destination does not know.",
            _NOT_AGAIN,
            f"Update the downloader there; then {_RESEND}.",
        ),
        Reason.FOREIGN: Advice(
            "A record in the topic is none of Penstock's.",
            "It was put into the destination's quarantine, and the line went on.",
            "Find out who else writes to this topic, and give that program another one.",
        ),
        Reason.UNSAFE_PATH: Advice(
            "Its path would leave the destination, or a symbolic link or mount is in its way there.",
            _NOT_AGAIN,
            f"Rename the file; or remove the link at the destination, then {_RESEND}.",
        ),
        Reason.UNPORTABLE_PATH: Advice(
            "Its name cannot exist on the destination's file system, or differs there from another one's "
            "only by case or Unicode form.",
            _NOT_AGAIN,
            "Rename the file at the source.",
        ),
        Reason.PATH_CONFLICT: Advice(
            "At the destination a file stands where a directory is needed, or the other way round.",
            _NOT_AGAIN,
            f"Move away what stands there; then {_RESEND}.",
        ),
        Reason.NAME_TOO_LONG: Advice(
            "Its name is longer than the destination's file system allows.",
            _NOT_AGAIN,
            "Rename the file at the source, or give the uploader a shorter --prefix.",
        ),
        Reason.TOO_LARGE: Advice(
            "It is larger than the destination accepts.",
            _NOT_AGAIN,
            f"Give the destination's downloader a larger --max-file-size, such as 10GiB; then {_RESEND}.",
        ),
        Reason.STALE: Advice(
            "A newer version of the same file stands at the destination already.",
            _NOT_AGAIN,
            "Nothing needs to be done, unless two sources write the same path: then give each uploader a "
            "--prefix of its own.",
        ),
        Reason.SOURCE_CONFLICT: Advice(
            "At the destination this path belongs to another source.",
            _NOT_AGAIN,
            "Give each uploader a --prefix of its own, or let the downloader replace files of others "
            "(--source-conflict replace).",
        ),
        SkipReason.NOT_ADDRESSED: Advice(
            "It was sent to other destinations only.",
            "Nothing is missing.",
            f"If this one should have it too, {_RESEND}.",
        ),
        SkipReason.FILTERED: Advice(
            "The destination's include and exclude patterns leave it out.",
            "It counts as done, and never frees the source's file.",
            f"If it should be there, change the downloader's --include and --exclude; then {_RESEND}.",
        ),
        SkipReason.EXISTS: Advice(
            "A file stands under this name at the destination, which never replaces one "
            "(--on-conflict skip).",
            "It counts as done, and never frees the source's file.",
            f"If the new one should be there, move the old one away; then {_RESEND}.",
        ),
        "range-lost": Advice(
            "Records were removed from the topic before this destination had read them.",
            "What the uploader still has of the files concerned it sends again by itself.",
            "Raise the topic's retention (retention.ms, retention.bytes), or run the downloader more often.",
        ),
        "unsendable": Advice(
            "It cannot be sent as it is: its name is not allowed on the wire, or the topic would not keep it "
            "long enough.",
            _LOOKED_AT_AGAIN,
            "Rename the file, or raise the topic's retention; the detail says which.",
        ),
        "unreadable": Advice(
            "The uploader cannot read it.",
            _TRIED_AGAIN,
            "Let the uploader's user read the file, and see whether the disk is sound.",
        ),
        "too-slow": Advice(
            "Sending it took so long that the topic's retention could have removed its beginning.",
            _TRIED_AGAIN,
            "Raise the topic's retention.ms, or give the uploader a larger --rate-limit.",
        ),
        "source-gone": Advice(
            "A destination asked for it again, but the source has it no more.",
            "It cannot be sent again.",
            "Put the file back into the watched directory if there is a copy; it is sent as any new one.",
        ),
        "changed": Advice(
            "The file changed while it was read; what was sent of it is dropped.",
            "It is sent again by itself as soon as it rests.",
            "Nothing needs to be done. If it never rests, give the uploader larger --settle-seconds.",
        ),
        "vanished": Advice(
            "The file was removed or renamed while it was read; what was sent of it is dropped.",
            "Under its new name it is sent as a new file.",
            "Nothing needs to be done, if that was intended.",
        ),
        "superseded": Advice(
            "Another upload of the same file took the place of this one.",
            "The newer one is on its way.",
            "Nothing needs to be done.",
        ),
    }
)

KNOWN: Final = frozenset(_BY_REASON)
"""Reasons that have an advice of their own."""

_UNKNOWN: Final = Advice(
    "The reason is one that this version of the registry does not know.",
    "",
    "The detail says more, if there is any; a newer registry may explain it.",
)


def about(reason: str | None) -> str | None:
    """Return what to tell a person about this reason: a few sentences; None if there is none."""
    return str(_BY_REASON.get(reason, _UNKNOWN)) if reason else None
