"""What is known of one assigned partition: where to begin, what is under way, what may be committed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from chunkproto import UploadId
from chunkproto.assembly import Assembly, Judge
from chunkproto.checkpoint import Checkpoint, Entry, UnreadableCheckpoint
from penstock_downloader.delivery import Tenure

_OURS = re.compile(r"p\d+:")


@dataclass(frozen=True, slots=True)
class Start:
    """Where an assignment begins, and with what.

    `offset` is the first record to read; `committed` what Kafka has, None if nothing; records below `below`
    are known but for those of `replayed` uploads; `lost` the range of offsets that retention took unread.
    """

    offset: int
    below: int
    committed: Checkpoint | None
    resumed: tuple[Entry, ...] = ()
    replayed: tuple[UploadId, ...] = ()
    lost: tuple[int, int] | None = None
    remark: str = ""


def plan_start(
    committed: int | None,
    metadata: str | None,
    log_start: int,
    log_end: int,
    topic_id: str,
    *,
    is_delivered: Callable[[UploadId], bool],
    has_partial: Callable[[UploadId], bool],
) -> Start:
    """Decide where to begin. Pure.

    - No offset committed: from the log start; what lay below it is history.
    - An offset beyond the log's end: the log is another one (the topic was made again) or was cut (unclean
      leader election). From its start: the delivered log keeps everything from being delivered twice.
    - Metadata of a topic of the same name that is gone, or that a newer version of ours wrote: also from the
      log start, for which uploads are unfinished is not known, and their sources may be gone
      (`after=delete`); reading more is the only safe way. Metadata of some other program: someone set this
      offset, and meant it.
    - Else from the committed offset, or from the first record of the oldest unfinished upload that is not on
      this volume.
    """
    if committed is None:
        return Start(log_start, log_start, None)
    if committed > log_end:
        return Start(
            log_start,
            log_start,
            None,
            remark=f"offset {committed} is committed, but the log ends at {log_end}: read from its start",
        )
    checkpoint = Checkpoint(committed)
    remark = ""
    try:
        checkpoint = Checkpoint.decode(committed, metadata, topic_id)
    except UnreadableCheckpoint as error:
        if metadata is not None and _OURS.match(metadata):
            return Start(log_start, log_start, None, remark=f"{error}; read from the log start")
        remark = f"{error}; taken for an offset that somebody set"
    lost = (committed, log_start) if committed < log_start else None
    entries = tuple(entry for entry in checkpoint.entries if not is_delivered(entry.upload_id))
    resumed = tuple(entry for entry in entries if has_partial(entry.upload_id))
    replayed = tuple(entry for entry in entries if entry not in resumed)
    offset = max(log_start, min([committed, *(entry.first_offset for entry in replayed)]))
    return Start(
        offset,
        committed,
        checkpoint,
        resumed,
        tuple(entry.upload_id for entry in replayed),
        lost,
        remark,
    )


@dataclass(slots=True, eq=False)
class Partition:
    """One partition, from its assignment to its end here."""

    number: int
    topic_id: str
    tenure: Tenure
    assembly: Assembly
    position: int
    committed: Checkpoint | None = None
    """What Kafka has acknowledged, or had at the assignment."""
    at_end: bool = False
    """Whether it has been read to its end, as of the last record that was there."""
    pending: set[UploadId] = field(default_factory=set)
    """Uploads that are being delivered."""
    rejected: set[UploadId] = field(default_factory=set)
    """Uploads that were refused, with all that there is to say, before their end."""
    restarting: str = ""
    """Why it must be read again from its checkpoint; empty if it need not."""
    _holds: dict[int, int] = field(default_factory=dict)

    @classmethod
    def begin(
        cls, number: int, topic_id: str, tenure: Tenure, start: Start, judge: Judge, now: float
    ) -> Partition:
        """Begin where `start` says."""
        assembly = Assembly(
            judge, committed=start.below, resumed=start.resumed, replayed=start.replayed, now=now
        )
        return cls(number, topic_id, tenure, assembly, start.offset, start.committed)

    def hold(self, offset: int) -> None:
        """Let no commit pass this offset until it is released as often as it was held."""
        self._holds[offset] = self._holds.get(offset, 0) + 1

    def release(self, offset: int) -> None:
        """Take a hold back."""
        left = self._holds.get(offset, 0) - 1
        if left > 0:
            self._holds[offset] = left
        else:
            self._holds.pop(offset, None)

    @property
    def is_settled(self) -> bool:
        """Whether nothing that was read waits for delivery or for the acknowledgement of a receipt."""
        return not self.pending and not self._holds

    def renewed_checkpoint(self) -> Checkpoint | None:
        """Give what may be committed, new or not; what is committed already if that is further.

        None only while there is neither.
        """
        if self.restarting or self.tenure.is_over:
            return self.committed
        found = self.assembly.checkpoint(self.position, self._holds)
        if self.committed is not None and found.offset < self.committed.offset:
            return self.committed
        return found

    def checkpoint(self) -> Checkpoint | None:
        """Give what may be committed, None if that is nothing new."""
        found = self.assembly.checkpoint(self.position, self._holds)
        if self.committed is None:
            return found
        if found.offset < self.committed.offset or found == self.committed:
            return None
        return found
