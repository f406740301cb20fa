"""What is to be said of one file at one destination. Pure: from what is here and what the registry knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from penstock.display import reason
from penstock.registry_answers import Answer, FileDetail, KnownFile, Upload


class Verdict(StrEnum):
    """What can be said. In this order people want to know."""

    REJECTED = "rejected"
    """The destination has refused it, and it is not being sent again."""
    UNREADABLE = "unreadable"
    """We cannot read it here, so nothing can be proved."""
    NEVER_LEFT = "never_left"
    """Kafka does not have it."""
    CHANGED = "changed"
    """What arrived, or is on its way, is another version than what is here now."""
    CHANGING = "changing"
    """It changed while it was read here."""
    SKIPPED = "skipped"
    """The destination does not want it, by a filter or because it has a file of that name."""
    ON_ITS_WAY = "on_its_way"
    """These bytes are not there yet, and need nobody to bring them there."""
    ARRIVED = "arrived"
    """The destination's last word is a receipt for exactly these bytes."""

    @property
    def text(self) -> str:
        """The words for people."""
        return self.value.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Here:
    """A file as it is here: its path on the wire, and the BLAKE3 of its bytes, hexadecimal."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict, and why: one line for people."""

    verdict: Verdict
    why: str = ""
    advice: str | None = None
    answer: Answer | None = None
    """The word of the destination that it rests on."""


def judge(
    here: Here,
    known: Sequence[KnownFile],
    destination: str | None,
    histories: Mapping[UUID, FileDetail],
    source: str | None = None,
) -> Finding:
    """Say what became of a file at a destination; None: no destination has ever answered.

    What other destinations rejected or skipped, and what the source gave up for them, changes nothing; that
    they have it only tells that Kafka has it, too. `known` are the files of this path, of all sources; it is
    `source` that is asked about, or None: nobody knows which. `histories` has those of `wants_history`.
    """
    receipts = [
        (answer, file)
        for file in known
        for answer in file.answers
        if answer.destination == destination and answer.outcome == "delivered"
    ]
    # Of several sources the last one to be delivered is what stands at the destination.
    newest, its_file = max(receipts, key=lambda one: one[0].at, default=(None, None))
    if newest is not None and its_file is not None and newest.digest == here.digest:
        sending = _sending(its_file, destination, histories.get(its_file.id))
        if _stands(newest, its_file, sending):
            return Finding(Verdict.ARRIVED, answer=newest)
    known = [file for file in known if source is None or file.source == source]
    if not known:
        return Finding(Verdict.NEVER_LEFT, "the registry has never heard of it")
    # Which of several sources is meant nobody may know: one with our bytes, or else the last one heard of.
    file = max(known, key=lambda file: (here.digest in _in_kafka(file), file.last_at))
    history = histories.get(file.id)
    answer = next((answer for answer in file.answers if answer.destination == destination), None)
    sending = _sending(file, destination, history)
    if answer is not None and answer.current:
        return _answered(here, file, sending, answer, history)
    return _unanswered(here, file, sending, answer, history)


def _stands(receipt: Answer, file: KnownFile, sending: _Sending) -> bool:
    """Whether what was receipted is not about to be replaced by other bytes, as far as anyone has heard."""
    return receipt.current or file.digest == receipt.digest or sending is _Sending.ABORTED


def wants_history(file: KnownFile) -> bool:
    """Whether its uploads have to be known: what was done about a rejection, or for whom it was given up."""
    return bool(file.failed_for) or any(
        answer.outcome == "rejected" and answer.current for answer in file.answers
    )


class _Sending(StrEnum):
    """How far the source is with what it has now, whatever destinations say of it."""

    SEEN = "seen"
    UPLOADING = "uploading"
    FAILED = "failed"
    ABORTED = "aborted"
    DONE = "done"


def _sending(file: KnownFile, destination: str | None, history: FileDetail | None) -> _Sending:
    """Return what the state says of the source; where it is about a destination, what stands behind it."""
    match file.state:
        case "discovered":
            return _Sending.SEEN
        case "uploading":
            return _Sending.UPLOADING
        case "aborted":
            return _Sending.ABORTED
        case "failed" if not file.failed_for or file.failed_for == destination:
            return _Sending.FAILED
    newest = next(iter(history.uploads), None) if history is not None else None
    if newest is not None and newest.aborted_at is not None:
        return _Sending.ABORTED
    if _seen_again(file):
        return _Sending.SEEN
    if file.uploaded_at is None and file.bytes_done < file.size:
        return _Sending.UPLOADING
    return _Sending.DONE


def _seen_again(file: KnownFile) -> bool:
    """Whether the source saw a change after its newest upload had begun: upload ids begin with their time."""
    if file.discovered_at is None or file.upload_id is None:
        return False
    return int(file.discovered_at * 1000) > file.upload_id.int >> 80


def _in_kafka(file: KnownFile) -> set[str]:
    """Return the digests of the current version, as far as it is known to be in Kafka."""
    digests = {answer.digest for answer in file.answers if answer.current and answer.outcome == "delivered"}
    if file.uploaded_at is not None:
        digests.add(file.digest)
    return {digest for digest in digests if digest is not None}


def _answered(
    here: Here, file: KnownFile, sending: _Sending, answer: Answer, history: FileDetail | None
) -> Finding:
    """Judge by a destination's word about the version that the source sent last."""
    if answer.outcome == "rejected":
        return _rejected(file, answer, history)
    if sending is _Sending.SEEN:
        return Finding(Verdict.ON_ITS_WAY, "its change was seen, and it waits for its turn", answer=answer)
    if answer.outcome == "skipped" and file.digest in (here.digest, None):
        why = reason(answer.reason, answer.detail) or "the destination does not want it"
        return Finding(Verdict.SKIPPED, why, answer=answer)
    if answer.digest == here.digest:
        why = "it arrived, and then another source's file of the same path"
    else:
        why = "another version of it arrived; it has changed here since"
    return Finding(Verdict.CHANGED, why, answer=answer)


def _unanswered(
    here: Here, file: KnownFile, sending: _Sending, older: Answer | None, history: FileDetail | None
) -> Finding:
    """Judge a file whose newest version the destination has not answered."""
    in_kafka = _in_kafka(file)
    if here.digest in in_kafka:
        return Finding(Verdict.ON_ITS_WAY, "Kafka has it; the destination has not answered yet", answer=older)
    if sending is _Sending.SEEN:
        return Finding(Verdict.ON_ITS_WAY, "it was seen, and waits for its turn", answer=older)
    if sending is _Sending.UPLOADING:
        share = f"{min(99, file.bytes_done * 100 // file.size)} %" if file.size else "begun"
        return Finding(Verdict.ON_ITS_WAY, f"uploading, {share}", answer=older)
    if sending in (_Sending.FAILED, _Sending.ABORTED) and file.uploaded_at is None:
        if sending is _Sending.FAILED:
            said = reason(file.reason, file.detail)
            trouble = f"the source failed to send it ({said})" if said else "the source failed to send it"
        else:
            said = _abort_reason(file, history)
            trouble = f"its upload was given up ({said})" if said else "its upload was given up"
        advice = file.advice if sending.value == file.state else None
        if older is None or older.outcome != "delivered":
            return Finding(Verdict.NEVER_LEFT, trouble, advice, older)
        return Finding(Verdict.CHANGED, f"an earlier version arrived; this one: {trouble}", advice, older)
    if in_kafka:
        return Finding(
            Verdict.CHANGED, "another version of it is on its way; it has changed here since", answer=older
        )
    return Finding(Verdict.NEVER_LEFT, "the registry has not heard that Kafka has it", answer=older)


def _rejected(file: KnownFile, answer: Answer, history: FileDetail | None) -> Finding:
    refused = reason(answer.reason, answer.detail) or "no reason given"
    uploads = history.uploads if history is not None else []
    addressed = [upload for upload in uploads if not upload.to or answer.destination in upload.to]
    later = [upload for upload in addressed if upload.id > answer.upload_id]
    if any(upload.aborted_at is None for upload in later):
        return Finding(Verdict.ON_ITS_WAY, f"rejected ({refused}) and being sent again", answer=answer)
    version = next((upload.version_id for upload in uploads if upload.id == answer.upload_id), None)
    again = sum(
        1
        for upload in addressed
        if version is not None and upload.version_id == version and version < upload.id <= answer.upload_id
    )
    times = "once" if again == 1 else f"{again} times"
    if later:
        done = f"sent again, and given up on the way ({later[0].abort_reason or 'aborted'})"
    else:
        done = f"sent again {times}, in vain" if again else "not sent again"
    return Finding(Verdict.REJECTED, f"{refused}; {done}", _advice(file, answer, uploads), answer)


def _advice(file: KnownFile, answer: Answer, uploads: Sequence[Upload]) -> str | None:
    """Return what to do about a rejection. The file's own advice may be about another destination's."""
    for upload in uploads:
        for receipt in upload.receipts:
            if (upload.id, receipt.destination) == (answer.upload_id, answer.destination):
                return receipt.advice
    is_of_this = file.by in (None, answer.destination) and file.reason in (None, answer.reason)
    return file.advice if is_of_this else None


def _abort_reason(file: KnownFile, history: FileDetail | None) -> str:
    if file.state == "aborted":
        return reason(file.reason, file.detail)
    return (history.uploads[0].abort_reason or "") if history is not None and history.uploads else ""
