"""What a committed offset and its metadata say of a partition. Pure.

It is read as a downloader would read it on assignment (`penstock_downloader.partition.plan_start`): the lag
is what a replica that started now would have to read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from chunkproto.checkpoint import Checkpoint, UnreadableCheckpoint
from penstock_operator.reading import Partition
from servicekit.topics import LogRange

_OURS: Final = re.compile(r"p\d+:")
_KNOWN: Final = "p1:"


class NewerCheckpoint(Exception):
    """A downloader newer than this operator has written it: what it says is not known."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed for one partition."""

    offset: int
    metadata: str | None = None


def partition_of(committed: Committed | None, log_range: LogRange, topic_id: str) -> Partition:
    """Say where the group stands in a partition of the topic with this id. Raises NewerCheckpoint.

    An offset of another topic of the same name counts as none; so does one beyond the end, and then nothing
    is known of unfinished uploads either. Metadata of other programs say nothing: someone set the offset.
    """
    nothing = Partition(log_range.start, log_range.end)
    if committed is None or committed.offset > log_range.end:
        return nothing
    metadata = committed.metadata
    unfinished = 0
    try:
        unfinished = len(Checkpoint.decode(committed.offset, metadata, topic_id).entries)
    except UnreadableCheckpoint as error:
        if metadata is not None and _OURS.match(metadata):
            if not metadata.startswith(_KNOWN):
                raise NewerCheckpoint(str(error)) from None
            return nothing
    return Partition(log_range.start, log_range.end, committed.offset, unfinished)
