"""One file, one upload with its whole history, and the receipts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, select, tuple_

from penstock_registry.api import models
from penstock_registry.store.queries import history, rows
from penstock_registry.store.schema import files, receipts, uploads

MOST_UPLOADS: Final = 100
"""Of one file."""
_MOST_RECEIPTS: Final = 1000


def file_detail(connection: Connection, file_id: UUID, topics: rows.Topics) -> models.FileDetail | None:
    """Return a file with its newest uploads; None if there is no such file."""
    file = connection.execute(select(files).where(files.c.id == file_id)).one_or_none()
    if file is None:
        return None
    sent = connection.execute(
        select(uploads)
        .where(uploads.c.file_id == file_id)
        .order_by(uploads.c.file_id.desc(), uploads.c.id.desc())
        .limit(MOST_UPLOADS)
    ).all()
    return models.FileDetail(
        **rows.file_fields(file, topics), uploads=_uploads(connection, sent, file, topics)
    )


def upload(connection: Connection, upload_id: UUID, topics: rows.Topics) -> models.Upload | None:
    """Return an upload with its history; None if there is no such upload.

    Should two streams speak of the same id, which no uploader does, the one that did so first is meant.
    """
    found = select(uploads).where(uploads.c.id == upload_id).order_by(uploads.c.first_at, uploads.c.stream_id)
    row = connection.execute(found.limit(1)).one_or_none()
    if row is None:
        return None
    file = None
    sent: Sequence[Row[Any]] = [row]
    if row.file_id is not None:
        file = connection.execute(select(files).where(files.c.id == row.file_id)).one_or_none()
        # What is newer than it tells what was sent again.
        sent = connection.execute(
            select(uploads)
            .where(uploads.c.file_id == row.file_id, uploads.c.id >= row.id)
            .order_by(uploads.c.file_id, uploads.c.id)
            .limit(MOST_UPLOADS)
        ).all()
    return next(found for found in _uploads(connection, sent, file, topics) if found.id == upload_id)


def _uploads(
    connection: Connection, sent: Sequence[Row[Any]], file: Row[Any] | None, topics: rows.Topics
) -> list[models.Upload]:
    ids = [(row.id, row.stream_id) for row in sent]
    said = connection.execute(
        select(receipts)
        .where(tuple_(receipts.c.upload_id, receipts.c.stream_id).in_(ids))
        .order_by(receipts.c.at, receipts.c.destination)
        .limit(_MOST_RECEIPTS)
    ).all()
    source, path = (None, None) if file is None else (file.source_id, file.path)
    return [
        history.upload(
            row,
            topics,
            file,
            receipts=[rows.receipt(r, topics, source, path) for r in said if r.upload_id == row.id],
            resends=_resends(row, sent),
        )
        for row in sent
    ]


def _resends(row: Row[Any], sent: Iterable[Row[Any]]) -> list[Row[Any]]:
    """Return the uploads that sent the same version again, after this one."""
    version = row.version_id or row.id
    return sorted(
        (other for other in sent if other.id > row.id and other.version_id == version),
        key=lambda other: other.id,
    )
