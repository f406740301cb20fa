"""What is to be said of one file at one destination. Pure: from what is here and what the registry knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from penstock.registry_answers import Answer, FileDetail, KnownFile


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
    here: Here, known: Sequence[KnownFile], destination: str | None, histories: Mapping[UUID, FileDetail]
) -> Finding:
    """Say what became of a file at a destination; None: no destination has ever answered.

    `known` are the files of this path, of one source or of several. `histories` has those of `wants_history`.
    """
    if not known:
        return Finding(Verdict.NEVER_LEFT, "the registry has never heard of it")
    receipts = [
        answer
        for file in known
        for answer in file.answers
        if answer.destination == destination and answer.outcome == "delivered"
    ]
    # Of several sources the last one to be delivered is what stands at the destination.
    newest = max(receipts, key=lambda answer: answer.at, default=None)
    if newest is not None and newest.digest == here.digest:
        return Finding(Verdict.ARRIVED, answer=newest)
    # Which of several sources is meant nobody has said: one with our bytes, or else the last one heard of.
    file = max(known, key=lambda file: (here.digest in _in_kafka(file), file.last_at))
    answer = next((answer for answer in file.answers if answer.destination == destination), None)
    if answer is not None and answer.current:
        return _answered(here, file, answer, histories.get(file.id))
    return _unanswered(here, file, answer)


def wants_history(file: KnownFile) -> bool:
    """Whether its uploads have to be known: what was done about a rejection."""
    return any(answer.outcome == "rejected" and answer.current for answer in file.answers)


def _in_kafka(file: KnownFile) -> set[str]:
    """Return the digests of the current version, as far as it is known to be in Kafka."""
    digests = {answer.digest for answer in file.answers if answer.current}
    if file.uploaded_at is not None:
        digests.add(file.digest)
    return {digest for digest in digests if digest is not None}


def _answered(here: Here, file: KnownFile, answer: Answer, history: FileDetail | None) -> Finding:
    """Judge by a destination's word about the version that the source sent last."""
    if answer.outcome == "rejected":
        return _rejected(file, answer, history)
    if file.state == "discovered":
        return Finding(Verdict.ON_ITS_WAY, "its change was seen, and it waits for its turn", answer=answer)
    if answer.outcome == "skipped" and file.digest in (here.digest, None):
        why = _reason(answer.reason, answer.detail) or "the destination does not want it"
        return Finding(Verdict.SKIPPED, why, answer=answer)
    if answer.digest == here.digest:
        why = "it arrived, and then another source's file of the same path"
    else:
        why = "another version of it arrived; it has changed here since"
    return Finding(Verdict.CHANGED, why, answer=answer)


def _unanswered(here: Here, file: KnownFile, older: Answer | None) -> Finding:
    """Judge a file whose newest version the destination has not answered."""
    if file.state == "discovered":
        return Finding(Verdict.ON_ITS_WAY, "it was seen, and waits for its turn", answer=older)
    if file.state == "uploading":
        share = f"{min(99, file.bytes_done * 100 // file.size)} %" if file.size else "begun"
        return Finding(Verdict.ON_ITS_WAY, f"uploading, {share}", answer=older)
    in_kafka = _in_kafka(file)
    if here.digest in in_kafka:
        return Finding(Verdict.ON_ITS_WAY, "Kafka has it; the destination has not answered yet", answer=older)
    if file.state in ("failed", "aborted") and file.uploaded_at is None:
        trouble = _reason(file.reason, file.detail) or file.state
        if file.state == "aborted":
            trouble = f"its upload was given up ({trouble})"
        if older is None or older.outcome != "delivered":
            return Finding(Verdict.NEVER_LEFT, trouble, file.advice, older)
        return Finding(
            Verdict.CHANGED, f"an earlier version arrived; this one: {trouble}", file.advice, older
        )
    if in_kafka:
        return Finding(
            Verdict.CHANGED, "another version of it is on its way; it has changed here since", answer=older
        )
    return Finding(Verdict.NEVER_LEFT, "the registry has not heard that Kafka has it", file.advice, older)


def _rejected(file: KnownFile, answer: Answer, history: FileDetail | None) -> Finding:
    refused = _reason(answer.reason, answer.detail) or "no reason given"
    uploads = history.uploads if history is not None else []
    addressed = [upload for upload in uploads if not upload.to or answer.destination in upload.to]
    later = [upload for upload in addressed if upload.id > answer.upload_id]
    if any(upload.aborted_at is None for upload in later):
        return Finding(Verdict.ON_ITS_WAY, f"refused ({refused}) and being sent again", answer=answer)
    version = next((upload.version_id for upload in uploads if upload.id == answer.upload_id), None)
    again = sum(
        1
        for upload in addressed
        if version is not None and upload.version_id == version and version < upload.id <= answer.upload_id
    )
    times = "once" if again == 1 else f"{again} times"
    if later:
        done = f"sent again, and given up on the way ({later[0].abort_reason or 'aborted'})"
    elif file.state == "failed":
        done = f"sent again {times}, then given up" if again else "given up by the uploader"
    else:
        done = f"sent again {times}, in vain" if again else "not sent again"
    # The file's advice is about its newest trouble, which may be another destination's.
    advice = file.advice if file.reason in (None, answer.reason) else None
    return Finding(Verdict.REJECTED, f"{refused}; {done}", advice, answer)


def _reason(word: str | None, sentence: str | None) -> str:
    return ": ".join(part for part in (word, sentence) if part)
