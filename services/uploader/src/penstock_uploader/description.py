"""What the ledger knows of a file, for people and programs."""

from __future__ import annotations

import base64
from typing import Any

from penstock_uploader.answerbook import EVERYONE, Answer, Outcome
from penstock_uploader.ledger import KnownFile, Upload


def describe_file(file: KnownFile, upload: Upload | None, answers: dict[str, Answer]) -> dict[str, Any]:
    """Give what the ledger knows of a file as JSON: `state` sums it up in a word."""
    described: dict[str, Any] = {"path": file.path, "state": state_of(file, upload, answers)}
    if any("\ud800" <= character <= "\udfff" for character in file.path):
        raw = file.path.encode("utf-8", "surrogateescape")
        described["path"] = raw.decode("utf-8", "replace")
        described["path_base64"] = base64.b64encode(raw).decode("ascii")
    if upload is not None:
        described |= {
            "size": upload.fingerprint.size,
            "mtime_ns": upload.fingerprint.mtime_ns,
            "upload_id": str(upload.id),
            "digest": upload.digest.hex() if upload.digest else None,
            "partition": upload.partition,
            "first_offset": upload.first_offset,
            "last_offset": upload.last_offset,
            "chunks_acknowledged": upload.chunks,
        }
    elif file.fingerprint is not None:
        described |= {"size": file.fingerprint.size, "mtime_ns": file.fingerprint.mtime_ns}
    described["destinations"] = {
        name: {"outcome": answer.word, "reason": answer.reason, "resends": answer.resends}
        for name, answer in answers.items()
        if name != EVERYONE
    }
    return described


def state_of(file: KnownFile, upload: Upload | None, answers: dict[str, Answer]) -> str:
    """Sum up a file in a word.

    `existing` (it was there before us), `sending`, `acknowledged`, `resending`, `failed` (it cannot be
    sent again), `rejected` (a destination was given up), `delivered` (somewhere, and nowhere anything else).
    """
    if upload is None:
        return "existing" if file.version is None and file.fingerprint is not None else "new"
    outcomes = {answer.outcome for answer in answers.values()}
    if Outcome.FAILED in outcomes:
        words = {answer.word for answer in answers.values()}
        return "failed" if "failed" in words else "rejected"
    if outcomes & {Outcome.AGAIN, Outcome.RESENT} and not (
        outcomes & {Outcome.DELIVERED}
        and all(
            answer.destination == EVERYONE or answer.outcome in (Outcome.DELIVERED, Outcome.SKIPPED)
            for answer in answers.values()
        )
    ):
        return "resending"
    if file.version is None or upload.version != file.version or upload.state != "acknowledged":
        return "sending"
    return "delivered" if Outcome.DELIVERED in outcomes else "acknowledged"
