"""Putting uploads together again: the state of one partition, as a function of its records.

Records of one upload are in order on one partition, but after a restart of either side some of them come
again. `Assembly.feed` takes each record with its offset and says what to do with it; doing it, on disk, is
the caller's. The caller also keeps away from here what it knows to be delivered (the delivered log).

What makes an unfinished upload survive a restart of its destination is `Checkpoint`: the offset to commit,
and, for each upload that this offset would otherwise cut in two, how much of it is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from chunkproto.checkpoint import CAPACITY, Checkpoint, Entry
from chunkproto.reasons import Reason, SkipReason
from chunkproto.records import Abort, Chunk, Description, End, Record, Whole
from chunkproto.upload_id import UploadId


@dataclass(slots=True, eq=False)
class Upload:
    """An upload of which some records have come, but not yet its end.

    Offsets are Kafka's; `next_index` and `next_byte` say which chunk comes next and where it belongs in the
    file. `next_byte` is None after a restart, until that chunk itself says it.
    """

    upload_id: UploadId
    first_offset: int
    description: Description | None
    next_index: int = 0
    next_byte: int | None = 0
    refused: Reason | SkipReason | None = None
    complete: bool = False
    last_seen: float = 0.0
    durable_index: int = 0
    _undurable_from: int | None = field(default=None, repr=False)
    _syncing_index: int | None = field(default=None, repr=False)
    _written_since: int | None = field(default=None, repr=False)

    def wrote(self, offset: int) -> None:
        """Note that the record at `offset` was written to the partial, not yet durably."""
        if self._undurable_from is None:
            self._undurable_from = offset
        if self._written_since is None:
            self._written_since = offset

    def begin_sync(self) -> None:
        """Note that what is written now is about to be made durable."""
        self._syncing_index = self.next_index
        self._written_since = None

    def finish_sync(self) -> None:
        """Note that what was written when the sync began is durable."""
        if self._syncing_index is not None:
            self.durable_index = self._syncing_index
            self._undurable_from = self._written_since
            self._syncing_index = None

    @property
    def is_dirty(self) -> bool:
        """Whether something was written that a sync would make durable."""
        return self._undurable_from is not None

    @property
    def holds(self) -> int | None:
        """The offset that a commit must not pass for this upload's sake, or None."""
        return None if self.refused else self._undurable_from


@dataclass(frozen=True, slots=True)
class Write:
    """Write the record's value into the upload's partial at `position` bytes."""

    upload: Upload
    position: int


@dataclass(frozen=True, slots=True)
class Complete:
    """All bytes of the upload are in its partial: verify them against `end`, and deliver."""

    upload: Upload
    end: End


@dataclass(frozen=True, slots=True)
class Deliver:
    """The record's value is the whole file: verify it against `whole`, and deliver."""

    whole: Whole


@dataclass(frozen=True, slots=True)
class Refuse:
    """Drop the partial, if there is one, and reject the upload.

    `description` is None when no record of the upload that has come carries it. An upload that is refused
    early is refused once more at its end, for only then is it certain that its description is known.
    """

    upload_id: UploadId
    reason: Reason
    description: Description | None
    detail: str


@dataclass(frozen=True, slots=True)
class Skip:
    """The upload has come to its end, and is not wanted here; nothing of it was written."""

    upload_id: UploadId
    reason: SkipReason
    description: Description
    detail: str


@dataclass(frozen=True, slots=True)
class Discard:
    """The source gave the upload up: drop the partial."""

    upload_id: UploadId


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing to do: the record is known, or belongs to an upload that was refused."""


Step = Write | Complete | Deliver | Refuse | Skip | Discard | Ignore
_IGNORE = Ignore()

Judge = Callable[[Description], tuple[Reason | SkipReason, str] | None]
"""What a destination thinks of a description: None, or a reason to refuse or skip it, with detail."""


class Assembly:
    """The unfinished uploads of one partition.

    `resumed` are the uploads that a checkpoint says are partly durable here; `replayed` those that begin
    again at their first record, before `committed`, because their partial is not here. Every other record
    before `committed` has been dealt with.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        committed: int = 0,
        resumed: Iterable[Entry] = (),
        replayed: Iterable[UploadId] = (),
        now: float = 0.0,
    ) -> None:
        self._judge = judge
        self._committed = committed
        self._replayed = frozenset(replayed)
        self._uploads = {
            entry.upload_id: Upload(
                entry.upload_id,
                entry.first_offset,
                None,
                next_index=entry.chunks,
                next_byte=None,
                durable_index=entry.chunks,
                last_seen=now,
            )
            for entry in resumed
        }

    def __iter__(self) -> Iterator[Upload]:
        return iter(self._uploads.values())

    def __len__(self) -> int:
        return len(self._uploads)

    def get(self, upload_id: UploadId) -> Upload | None:
        """Give the unfinished upload of this id."""
        return self._uploads.get(upload_id)

    def forget(self, upload_id: UploadId) -> None:
        """Drop what is known of an upload: it was delivered, discarded or expired."""
        self._uploads.pop(upload_id, None)

    def feed(self, offset: int, record: Record, length: int, now: float) -> Step:
        """Take the record at `offset`, whose value has `length` bytes; `now` is any steady clock, in seconds.

        The state moves on as if the caller does what the step says. After `Complete` the upload stays, for
        the checkpoint's sake, until the caller has delivered it and forgets it; the caller passes the
        offset of its end to `checkpoint` as a hold until then.
        """
        upload = self._uploads.get(record.upload_id)
        if offset < self._committed and upload is None and record.upload_id not in self._replayed:
            return _IGNORE
        if upload is not None:
            if upload.complete:
                return _IGNORE
            upload.last_seen = now
        match record:
            case Chunk():
                return self._chunk(offset, record, length, upload, now)
            case Whole():
                if verdict := self._judge(record.description):
                    return _conclude(record, *verdict)
                return Deliver(record)
            case End():
                return self._end(record, upload)
            case Abort():
                if upload is None:
                    return _IGNORE
                self.forget(record.upload_id)
                return Discard(record.upload_id)

    def _chunk(self, offset: int, chunk: Chunk, length: int, upload: Upload | None, now: float) -> Step:
        if upload is None:
            upload = Upload(chunk.upload_id, offset, chunk.description, last_seen=now)
            self._uploads[chunk.upload_id] = upload
            if chunk.description is None:
                # Its beginning was lost before we came. The end will say whose it was.
                upload.refused = Reason.INCOMPLETE
                return _IGNORE
            if verdict := self._judge(chunk.description):
                if isinstance(verdict[0], SkipReason):
                    upload.refused = verdict[0]
                    return _IGNORE
                return self._refuse(upload, verdict[0], verdict[1])
        if upload.refused:
            return _IGNORE
        if chunk.description is not None:
            upload.description = chunk.description
        if chunk.index < upload.next_index:
            return _IGNORE
        if chunk.index > upload.next_index:
            missing = f"chunk {upload.next_index} is missing before chunk {chunk.index}"
            return self._refuse(upload, Reason.INCOMPLETE, missing)
        if problem := _misplaced(chunk, length, upload):
            return self._refuse(upload, Reason.MALFORMED, problem)
        upload.wrote(offset)
        upload.next_index = chunk.index + 1
        upload.next_byte = chunk.offset + length
        return Write(upload, chunk.offset)

    def _end(self, end: End, upload: Upload | None) -> Step:
        if upload is None:
            return _conclude(end, *(self._judge(end.description) or _NOTHING_ARRIVED))
        if verdict := self._judge(end.description) or _mismatch(end, upload):
            self.forget(end.upload_id)
            return _conclude(end, *verdict)
        upload.description = end.description
        upload.complete = True
        return Complete(upload, end)

    def _refuse(self, upload: Upload, reason: Reason, detail: str) -> Refuse:
        upload.refused = reason
        return Refuse(upload.upload_id, reason, upload.description, detail)

    def expire(self, before: float) -> list[Refuse]:
        """Give up the uploads of which nothing has come since `before`.

        Only sound once the partition has been read to its end: what is unread may hold their records.
        """
        stale = [
            upload for upload in self._uploads.values() if upload.last_seen < before and not upload.complete
        ]
        for upload in stale:
            self.forget(upload.upload_id)
        # What was refused for good was said then; to say "expired" of it would ask for it again.
        return [
            Refuse(upload.upload_id, Reason.EXPIRED, upload.description, "no record of it for too long")
            for upload in stale
            if upload.refused in (None, Reason.INCOMPLETE)
        ]

    def checkpoint(self, position: int, holds: Iterable[int] = ()) -> Checkpoint:
        """Give the furthest offset that may be committed, and the entries that make it safe.

        `position` is the offset after the last record fed. `holds` are further offsets that must not be
        passed: records whose delivery has not been made durable and receipted.
        """
        live = [upload for upload in self._uploads.values() if not upload.refused]
        limit = min([position, *holds, *(hold for upload in live if (hold := upload.holds) is not None)])
        cut = sorted(
            (upload for upload in live if upload.first_offset < limit and upload.durable_index),
            key=lambda upload: upload.first_offset,
        )
        if len(cut) > CAPACITY:
            # The youngest go without an entry, so the commit waits at the oldest of those.
            limit = cut[CAPACITY].first_offset
            cut = cut[:CAPACITY]
        entries = tuple(Entry(upload.upload_id, upload.first_offset, upload.durable_index) for upload in cut)
        return Checkpoint(limit, entries)


_NOTHING_ARRIVED = Reason.INCOMPLETE, "none of its chunks arrived"


def _conclude(record: End | Whole, reason: Reason | SkipReason, detail: str) -> Refuse | Skip:
    if isinstance(reason, SkipReason):
        return Skip(record.upload_id, reason, record.description, detail)
    return Refuse(record.upload_id, reason, record.description, detail)


def _mismatch(end: End, upload: Upload) -> tuple[Reason | SkipReason, str] | None:
    """Say what keeps an upload from being what its end says."""
    if upload.refused:
        return upload.refused, "an earlier record of it was refused"
    if upload.next_index != end.chunks:
        return Reason.INCOMPLETE, f"{upload.next_index} of {end.chunks} chunks arrived"
    if upload.next_byte is not None and upload.next_byte != end.description.size:
        return Reason.MALFORMED, f"{upload.next_byte} bytes arrived, not {end.description.size}"
    if upload.description is not None and upload.description != end.description:
        return Reason.MALFORMED, "the end describes another file than the beginning"
    return None


def _misplaced(chunk: Chunk, length: int, upload: Upload) -> str | None:
    if upload.next_byte is not None and chunk.offset != upload.next_byte:
        return f"chunk {chunk.index} says offset {chunk.offset}, but {upload.next_byte} bytes precede it"
    if upload.description is not None:
        plan = upload.description.plan
        if chunk.index >= plan.count:
            return f"chunk {chunk.index} of a file of {plan.count} chunks"
        if length != plan.length(chunk.index):
            return f"chunk {chunk.index} has {length} bytes, not {plan.length(chunk.index)}"
    return None
