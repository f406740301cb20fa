"""What a file has come to: a function of what was said of it, its newest uploads and its answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

from penstock_registry.knowledge.facts import FileFact, failure_key, failure_of
from penstock_registry.knowledge.rows import (
    FileRow,
    Outcome,
    ReceiptRow,
    State,
    UploadRow,
    began_ms_of,
    least,
    most,
)
from penstock_registry.store.schema import name_key

NEWEST_UPLOADS: Final = 32
"""So many of a file's uploads decide. A version is sent again a few times; older versions don't matter."""


def new_file(fact: FileFact) -> FileRow:
    """Return the row of a file of which nothing else is known. It has no state yet."""
    return FileRow(
        id=fact.id,
        stream_id=fact.stream_id,
        source_id=fact.source_id,
        path=fact.path,
        name_key=name_key(fact.path),
        state="",
        reason=None,
        upload_id=None,
        version_id=None,
        size=0,
        digest=None,
        bytes_done=0,
        uploaded_at=None,
        discovered_at=None,
        discovered_size=None,
        failure=None,
        answers={},
        first_at=fact.first_at,
        last_at=fact.last_at,
    )


def with_fact(file: FileRow, fact: FileFact) -> FileRow:
    """Return the row with what was said of the file itself."""
    discovered, failure = fact.discovered, file.failure
    if discovered is not None and file.discovered_at is not None:
        discovered = max(discovered, (file.discovered_at, file.discovered_size or 0))
    if fact.failure is not None and (failure is None or failure_key(failure) < fact.failure):
        failure = failure_of(fact.failure)
    return file._replace(
        discovered_at=file.discovered_at if discovered is None else discovered[0],
        discovered_size=file.discovered_size if discovered is None else discovered[1],
        failure=failure,
        first_at=min(file.first_at, fact.first_at),
        last_at=max(file.last_at, fact.last_at),
    )


def with_answer(file: FileRow, receipt: ReceiptRow) -> FileRow:
    """Return the row with this answer, if the destination has not answered a younger upload."""
    upload_id = str(receipt.upload_id)
    known = file.answers.get(receipt.destination)
    if known is not None and known["upload_id"] > upload_id:
        return file
    answer = {
        "upload_id": upload_id,
        "outcome": receipt.outcome,
        "reason": receipt.reason,
        "detail": receipt.detail,
        "digest": receipt.digest and receipt.digest.hex(),
        "at": receipt.at,
    }
    return file if answer == known else file._replace(answers={**file.answers, receipt.destination: answer})


def with_state(file: FileRow, uploads: Sequence[UploadRow]) -> FileRow:
    """Return the row with all that follows from the rest: `uploads` are the file's, the newest first."""
    uploads = uploads[:NEWEST_UPLOADS]
    failed_size = file.failure["size"] if file.failure else 0
    if not uploads:
        size = failed_size if file.discovered_size is None else file.discovered_size
        state, reason = state_of(file, uploads)
        return file._replace(state=state.value, reason=reason, size=size)
    newest = uploads[0]
    version = version_of(uploads)
    size_known: int | None = newest.size
    digest: bytes | None = newest.digest
    uploaded_at: float | None = None
    for upload in uploads:
        if upload.id < version:
            break
        size_known = upload.size if size_known is None else size_known
        digest = upload.digest if digest is None else digest
        uploaded_at = least(uploaded_at, upload.uploaded_at)
    file = file._replace(
        upload_id=newest.id,
        version_id=version,
        size=most(size_known, 0) or 0,
        digest=digest,
        bytes_done=newest.bytes_done,
        uploaded_at=uploaded_at,
    )
    state, reason = state_of(file, uploads)
    return file._replace(state=state.value, reason=reason)


def version_of(uploads: Sequence[UploadRow]) -> UUID:
    """Return which version the newest upload is of.

    Where telemetry was lost that would say so, the uploads before it with the same digest are of its version.
    """
    newest = uploads[0]
    if newest.version_id is not None:
        return newest.version_id
    first = newest
    if newest.digest is not None:
        for upload in uploads:
            if upload.digest is not None and upload.digest != newest.digest:
                break
            if upload.digest is not None:
                first = upload
                if upload.version_id is not None:
                    return upload.version_id
    return first.id


def current_answers(file: FileRow) -> dict[str, dict[str, Any]]:
    """Return the answers to what the source has now, by destination."""
    if not file.answers or file.version_id is None:
        return {}
    version = str(file.version_id)
    return {name: answer for name, answer in file.answers.items() if answer["upload_id"] >= version}


def state_of(file: FileRow, uploads: Sequence[UploadRow]) -> tuple[State, str | None]:
    """Return the state, and its reason if it needs one."""
    newest = uploads[0] if uploads else None
    given_up_for = failed_for(file)
    if given_up_for == "":
        assert file.failure is not None
        return State.FAILED, file.failure["reason"]
    if newest is None:
        return State.DISCOVERED, None
    discovered_ms = -1 if file.discovered_at is None else _ms(file.discovered_at)
    answers = current_answers(file)
    is_aborted = newest.aborted_at is not None and discovered_ms <= _ms(newest.aborted_at)
    is_discovered = (
        not is_aborted and discovered_ms > newest.began_ms and not _was_sent_since(file, uploads, answers)
    )
    newest_id = str(newest.id)
    said = {answer["outcome"] for answer in answers.values() if answer["upload_id"] == newest_id}
    if not is_discovered and is_under_way(newest, said):
        return State.UPLOADING, None
    if given_up_for is not None:
        assert file.failure is not None
        return State.REJECTED, file.failure["reason"]
    rejection = _standing_rejection(answers, uploads)
    if rejection is not None:
        return State.REJECTED, rejection["reason"]
    if is_aborted:
        return State.ABORTED, newest.abort_reason
    if is_discovered:
        return State.DISCOVERED, None
    outcomes = {answer["outcome"] for answer in answers.values()}
    if Outcome.DELIVERED.value in outcomes:
        return State.DELIVERED, None
    if outcomes == {Outcome.SKIPPED.value}:
        return State.SKIPPED, max((a["at"], a["reason"]) for a in answers.values())[1]
    return State.UPLOADED, None


def failed_for(file: FileRow) -> str | None:
    """Return which destination the source has given up; empty: all of them; None: none.

    What happened later at the source, or that the destination has the file after all, takes it back.
    """
    failure = file.failure
    if failure is None:
        return None
    discovered_ms = -1 if file.discovered_at is None else _ms(file.discovered_at)
    began_ms = -1 if file.upload_id is None else began_ms_of(file.upload_id)
    if _ms(failure["at"]) < max(discovered_ms, began_ms):
        return None
    destination: str = failure["destination"] or ""
    if destination:
        answer = current_answers(file).get(destination)
        is_delivered = answer is not None and answer["outcome"] == Outcome.DELIVERED.value
        is_of_before = bool(failure["upload_id"]) and failure["upload_id"] < str(file.version_id or "")
        if is_delivered or is_of_before:
            return None
    return destination


def rejected_by(file: FileRow) -> str | None:
    """Return which destination the reason of a rejected file is of."""
    if given_up_for := failed_for(file):
        return given_up_for
    rejections = [
        (answer["at"], name)
        for name, answer in current_answers(file).items()
        if answer["outcome"] == Outcome.REJECTED.value and answer["reason"] == file.reason
    ]
    return max(rejections)[1] if rejections else None


def is_under_way(upload: UploadRow, said: Collection[str]) -> bool:
    """Whether an upload is not all in Kafka, as far as is known; `said` are the outcomes that it has.

    A destination that refuses or skips a file says so at its first record, and the others still get the rest.
    But telemetry may be lost, or not read at all: without any progress heard, answers are all there is.
    """
    if upload.uploaded_at is not None or upload.aborted_at is not None or Outcome.DELIVERED.value in said:
        return False
    is_sending = upload.progress_at is not None and (upload.size is None or upload.bytes_done < upload.size)
    return is_sending or not said


def _was_sent_since(file: FileRow, uploads: Sequence[UploadRow], answers: dict[str, dict[str, Any]]) -> bool:
    """Whether what was discovered last was all in Kafka, or delivered, later than that.

    A clock that was set back between a discovery and its upload makes it look as if the upload came first.
    """
    if file.discovered_at is None:
        return False
    same = {str(upload.id): upload for upload in uploads if upload.size == file.discovered_size}
    ends = [upload.uploaded_at for upload in same.values()]
    ends += [
        answer["at"]
        for answer in answers.values()
        if answer["outcome"] == Outcome.DELIVERED.value and answer["upload_id"] in same
    ]
    return any(end is not None and end > file.discovered_at for end in ends)


def _standing_rejection(
    answers: dict[str, dict[str, Any]], uploads: Sequence[UploadRow]
) -> dict[str, Any] | None:
    """Return the last rejection that no upload on its way there may mend."""
    standing: list[tuple[float, str, dict[str, Any]]] = []
    for destination, answer in answers.items():
        if answer["outcome"] == Outcome.REJECTED.value and not any(
            str(upload.id) > answer["upload_id"]
            and (not upload.addressed_to or destination in upload.addressed_to)
            for upload in uploads
        ):
            standing.append((answer["at"], destination, answer))
    return max(standing, key=lambda found: found[:2])[2] if standing else None


def _ms(seconds: float) -> int:
    """Upload ids know milliseconds."""
    return int(seconds * 1000)
