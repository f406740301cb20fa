"""What the registry's tables hold, and what they should hold: a second, simple way to the same rows."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Engine, select

from penstock_registry.knowledge import (
    Facts,
    ReceiptRow,
    UploadRow,
    in_counts,
    in_throughput,
    in_totals,
    new_file,
    with_answer,
    with_fact,
    with_state,
)
from penstock_registry.store.schema import metadata
from servicekit.events import Event

DERIVED = ("streams", "files", "uploads", "receipts", "lost_ranges", "counts", "throughput", "totals")
"""The tables that are a function of the set of events."""

Tables = dict[str, list[tuple[Any, ...]]]


def tables_of(engine: Engine, names: Iterable[str] = (*DERIVED, "services")) -> Tables:
    """Return the rows of the tables, in an order of their own."""
    with engine.connect() as connection:
        return {
            name: _ordered(tuple(row) for row in connection.execute(select(*metadata.tables[name].c)))
            for name in names
        }


def tables_from(events: Iterable[Event]) -> Tables:
    """Return what the tables hold once these events are learned: no batches, no differences, no database."""
    facts = Facts(events)
    answers: dict[Any, list[ReceiptRow]] = {}
    for receipt in facts.receipts.values():
        answers.setdefault((receipt.upload_id, receipt.stream_id), []).append(receipt)
    by_file: dict[Any, list[UploadRow]] = {}
    for upload in facts.uploads.values():
        by_file.setdefault(upload.file_id, []).append(upload)
    files = []
    for fact in facts.files.values():
        file = with_fact(new_file(fact), fact)
        its_uploads = sorted(by_file.get(fact.id, []), key=lambda row: row.id.int, reverse=True)
        for upload in its_uploads:
            file = file._replace(
                first_at=min(file.first_at, upload.first_at), last_at=max(file.last_at, upload.last_at)
            )
            for receipt in answers.get(upload.key, ()):
                file = with_answer(file, receipt)
        files.append(with_state(file, its_uploads))
    rows = [*facts.uploads.values(), *facts.receipts.values()]
    totals = _summed(part for row in rows for part in in_totals(row))
    return {
        "streams": _ordered((key, *row) for key, row in facts.streams.items()),
        "files": _ordered(tuple(row) for row in files),
        "uploads": _ordered(_stored(row) for row in facts.uploads.values()),
        "receipts": _ordered(tuple(row) for row in facts.receipts.values()),
        "lost_ranges": _ordered((*key, *row) for key, row in facts.lost.items()),
        "counts": _ordered(_summed(part for file in files for part in in_counts(file))),
        "throughput": _ordered(_summed(part for row in rows for part in in_throughput(row))),
        "totals": _ordered((*row, facts.heard[row[:3]]) for row in totals),
    }


def _stored(upload: UploadRow) -> tuple[Any, ...]:
    to = upload.addressed_to
    return tuple(value if value is not to or to is None else list(to) for value in upload)


def _summed(parts: Iterable[tuple[tuple[Any, ...], int]]) -> list[tuple[Any, ...]]:
    files: Counter[tuple[Any, ...]] = Counter()
    sizes: Counter[tuple[Any, ...]] = Counter()
    for key, size in parts:
        files[key] += 1
        sizes[key] += size
    return [(*key, files[key], sizes[key]) for key in files]


def _ordered(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=lambda row: repr(row[:6]))
