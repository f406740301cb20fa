"""From a batch to rows: what is there is read, joined with what the batch says, and written where it changed.

One writer at a time, within one transaction: so each sum changes by exactly the difference of what its rows
contribute before and after.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, and_, delete, not_, or_, select

from penstock_registry.knowledge import (
    NEWEST_UPLOADS,
    Facts,
    FileRow,
    ReceiptRow,
    Sums,
    UploadRow,
    in_counts,
    in_throughput,
    in_totals,
    join_receipts,
    join_uploads,
    new_file,
    with_answer,
    with_fact,
    with_state,
)
from penstock_registry.knowledge.sums import CountKey, StepKey
from penstock_registry.store import upserts
from penstock_registry.store.batch import Aside, Batch, Beat, Position
from penstock_registry.store.heartbeats import learn_beats
from penstock_registry.store.schema import (
    counts,
    files,
    lost_ranges,
    positions,
    problems,
    receipts,
    streams,
    throughput,
    totals,
    uploads,
)
from penstock_registry.store.upserts import among, ids_parameter, upsert
from servicekit.events import Event, ServiceHeartbeat

__all__ = ["Aside", "Batch", "Beat", "Position", "learn"]

KEPT_PROBLEMS: Final = 1000
MINUTES_KEPT_SECONDS: Final = 2 * 86_400
"""So far back `throughput` has steps of 60 s; forgetting leaves an hour more."""

UploadKey = tuple[UUID, int]
ReceiptKey = tuple[UUID, int, str]


def learn(connection: Connection, batch: Batch, *, now: float, retention_seconds: float) -> int:
    """Learn a batch, in the transaction of `connection`, which only one writer has at a time.

    Return how many events were older than what is remembered, and so were ignored.
    """
    horizon = now - retention_seconds
    known = [event for event in batch.events if event.time >= horizon]
    beats = [beat for beat in batch.beats if beat.at >= horizon]
    ignored = len(batch.events) - len(known) + len(batch.beats) - len(beats)
    told: list[Event] = []
    for event in known:
        if isinstance(event, ServiceHeartbeat):
            beats.append(Beat.of(event))
        else:
            told.append(event)
    if told:
        _Learning(connection, Facts(told)).run(now)
    if beats:
        learn_beats(connection, beats)
    _learn_asides(connection, batch.asides)
    if batch.positions:
        rows = [(*place, at.topic_id, at.next_offset) for place, at in sorted(batch.positions.items())]
        upsert(connection, positions, rows, upserts.furthest)
    return ignored


class _Learning:
    """What one batch changes."""

    def __init__(self, connection: Connection, facts: Facts) -> None:
        self._connection = connection
        self._facts = facts
        self._counts: Sums[CountKey] = Sums()
        self._totals: Sums[CountKey] = Sums()
        self._throughput: Sums[StepKey] = Sums()
        # What stands after the batch, where it touches it.
        self._uploads: dict[UploadKey, UploadRow] = {}
        self._receipts: dict[ReceiptKey, ReceiptRow] = {}

    def run(self, now: float) -> None:
        facts, connection = self._facts, self._connection
        changed_uploads = self._join_uploads()
        changed_receipts = self._join_receipts()
        changed_files = self._settle_files()
        rows = [(key, *row) for key, row in sorted(facts.streams.items())]
        upsert(connection, streams, rows, upserts.widened)
        upsert(connection, uploads, changed_uploads, upserts.replaced)
        upsert(connection, receipts, changed_receipts, upserts.replaced)
        upsert(connection, files, changed_files, upserts.replaced)
        lost = [(*key, *row) for key, row in sorted(facts.lost.items())]
        upsert(connection, lost_ranges, lost, upserts.earliest)
        change_counts(connection, self._counts)
        self._change_totals()
        self._change_throughput(now - MINUTES_KEPT_SECONDS)

    def _join_uploads(self) -> list[UploadRow]:
        said = self._facts.uploads
        known = {row.key: row for row in load_uploads(self._connection, {key[0] for key in said})}
        changed = []
        for key, row in said.items():
            old = known.get(key)
            new = row if old is None else join_uploads(old, row)
            self._uploads[key] = new
            if new != old:
                changed.append(new)
                self._account(old, new)
        return changed

    def _join_receipts(self) -> list[ReceiptRow]:
        # All answers to what is touched: the file of an upload may become known after its answers were.
        rows = load_receipts(self._connection, {key[0] for key in self._facts.uploads})
        self._receipts = {row.key: row for row in rows}
        changed = []
        for key, row in self._facts.receipts.items():
            old = self._receipts.get(key)
            new = row if old is None else join_receipts(old, row)
            self._receipts[key] = new
            if new != old:
                changed.append(new)
                self._account(old, new)
        return changed

    def _account(self, old: UploadRow | ReceiptRow | None, new: UploadRow | ReceiptRow) -> None:
        self._totals.add(in_totals(new))
        self._throughput.add(in_throughput(new))
        if old is not None:
            self._totals.add(in_totals(old), -1)
            self._throughput.add(in_throughput(old), -1)

    def _settle_files(self) -> list[FileRow]:
        touched: dict[UUID, list[UploadRow]] = {file_id: [] for file_id in self._facts.files}
        for upload in self._uploads.values():
            if upload.file_id is not None:
                touched.setdefault(upload.file_id, []).append(upload)
        answers: dict[UploadKey, list[ReceiptRow]] = {}
        for receipt in self._receipts.values():
            answers.setdefault((receipt.upload_id, receipt.stream_id), []).append(receipt)
        before = {row.id: row for row in load_files(self._connection, touched)}
        others = load_newest_uploads(self._connection, before, {key[0] for key in self._uploads})
        changed = []
        for file_id, its_uploads in touched.items():
            old, fact = before.get(file_id), self._facts.files.get(file_id)
            if old is not None:
                new = old
            elif fact is not None:
                new = new_file(fact)
            else:
                continue  # forgotten; what is said of it now is not what brings it back
            if fact is not None:
                new = with_fact(new, fact)
            for upload in its_uploads:
                if upload.first_at < new.first_at or upload.last_at > new.last_at:
                    new = new._replace(
                        first_at=min(new.first_at, upload.first_at), last_at=max(new.last_at, upload.last_at)
                    )
                for receipt in answers.get(upload.key, ()):
                    new = with_answer(new, receipt)
            all_uploads = {upload.id: upload for upload in others.get(file_id, ())}
            all_uploads.update((upload.id, upload) for upload in its_uploads)
            new = with_state(new, sorted(all_uploads.values(), key=lambda row: row.id.int, reverse=True))
            if new != old:
                changed.append(new)
                self._counts.add(in_counts(new))
                if old is not None:
                    self._counts.add(in_counts(old), -1)
        return changed

    def _change_totals(self) -> None:
        changes = {key: (files, size) for key, files, size in self._totals.changes()}
        rows = [
            (*key, *changes.get(key, (0, 0)), self._facts.heard.get(key, 0.0))
            for key in sorted(changes.keys() | self._facts.heard.keys())
        ]
        upsert(self._connection, totals, rows, upserts.later_total)

    def _change_throughput(self, minutes_since: float) -> None:
        rows = [
            (*key, files, size)
            for key, files, size in self._throughput.changes()
            if key[2] >= 3600 or key[3] >= minutes_since
        ]
        upsert(self._connection, throughput, rows, upserts.added)
        emptied = [row[:4] for row in rows if row[4] < 0]
        for stream, destination, step, begins_at in emptied:
            self._connection.execute(
                delete(throughput).where(
                    throughput.c.stream_id == stream,
                    throughput.c.destination == destination,
                    throughput.c.step == step,
                    throughput.c.begins_at == begins_at,
                    throughput.c.files == 0,
                )
            )


def change_counts(connection: Connection, sums: Sums[CountKey]) -> None:
    """Change `counts` by differences; what becomes zero goes."""
    rows = [(*key, files, size) for key, files, size in sums.changes()]
    upsert(connection, counts, rows, upserts.added)
    if any(row[3] < 0 for row in rows):
        connection.execute(delete(counts).where(counts.c.files == 0))


def load_uploads(connection: Connection, ids: Collection[UUID]) -> Iterable[UploadRow]:
    """Yield the uploads with these ids, of whatever stream."""
    if not ids:
        return []
    found = connection.execute(
        select(*uploads.c).where(among(connection, uploads.c.id)),
        {"ids": ids_parameter(connection, ids)},
    )
    return [_upload(row) for row in found.all()]


def load_newest_uploads(
    connection: Connection, ids: Collection[UUID], besides: Collection[UUID] = ()
) -> dict[UUID, list[UploadRow]]:
    """Return the newest uploads of these files, without those that are known: `besides`."""
    if not ids:
        return {}
    newest = uploads.alias()
    its_newest = (
        select(newest.c.id)
        .where(newest.c.file_id == uploads.c.file_id)
        .order_by(newest.c.id.desc())
        .limit(NEWEST_UPLOADS)
        .correlate(uploads)
    )
    found: dict[UUID, list[UploadRow]] = {}
    of_files = among(connection, uploads.c.file_id)
    others = not_(among(connection, uploads.c.id, "besides"))
    for row in connection.execute(
        select(*uploads.c).where(of_files, others, uploads.c.id.in_(its_newest)),
        {
            "ids": ids_parameter(connection, ids),
            "besides": ids_parameter(connection, besides),
        },
    ).all():
        upload = _upload(row)
        if upload.file_id is not None:
            found.setdefault(upload.file_id, []).append(upload)
    return found


def load_receipts(connection: Connection, ids: Collection[UUID]) -> Iterable[ReceiptRow]:
    """Return what was answered to the uploads with these ids."""
    if not ids:
        return []
    found = connection.execute(
        select(*receipts.c).where(among(connection, receipts.c.upload_id)),
        {"ids": ids_parameter(connection, ids)},
    )
    return [ReceiptRow._make(row) for row in found.all()]


def load_files(connection: Connection, ids: Collection[UUID]) -> Iterable[FileRow]:
    """Return the files with these ids."""
    if not ids:
        return []
    found = connection.execute(
        select(*files.c).where(among(connection, files.c.id)), {"ids": ids_parameter(connection, ids)}
    )
    return [FileRow._make(row) for row in found.all()]


def _upload(row: Row[Any]) -> UploadRow:
    upload = UploadRow._make(row)
    if upload.addressed_to is None:
        return upload
    return upload._replace(addressed_to=tuple(upload.addressed_to))


def _learn_asides(connection: Connection, asides: Collection[Aside]) -> None:
    """Keep records aside, the newest thousand."""
    if not asides:
        return
    rows = {(a.topic, a.partition, a.offset): (a.at, a.reason, a.head) for a in asides}
    upsert(connection, problems, [(*key, *row) for key, row in sorted(rows.items())], None)
    order = (problems.c.at, problems.c.topic, problems.c.partition, problems.c.offset)
    last = connection.execute(
        select(*order).order_by(*(part.desc() for part in order)).offset(KEPT_PROBLEMS - 1).limit(1)
    ).first()
    if last is not None:
        older = [
            and_(*(part == value for part, value in zip(order[:n], last, strict=False)), order[n] < last[n])
            for n in range(len(order))
        ]
        connection.execute(delete(problems).where(or_(*older)))
