"""What follows when a transfer has gone well, or has not."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from chunkproto import UploadId
from penstock_uploader import metrics
from penstock_uploader.answerbook import SOURCE_GONE, Answer, Outcome, Resend
from penstock_uploader.answers import Effect
from penstock_uploader.discovery import Discovery
from penstock_uploader.ledger import Ledger, stored
from penstock_uploader.removal import Removals
from penstock_uploader.reporting import Reporting
from penstock_uploader.transfer import GivenUp, Transfer
from penstock_uploader.troubles import Troubles

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Once:
    """What became of the files that were to be sent once."""

    acknowledged: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Reason by path."""

    @property
    def complete(self) -> bool:
        """Whether everything was acknowledged."""
        return not self.failed


class Outcomes:
    """Told how transfers go, and what destinations say of them; sees that everyone concerned hears of it."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        discovery: Discovery,
        troubles: Troubles,
        removals: Removals,
        reporting: Reporting,
        once: Once | None,
    ) -> None:
        """`once`: what is not sent now is not tried again, but noted there."""
        self._ledger = ledger
        self._discovery = discovery
        self._troubles = troubles
        self._removals = removals
        self._reporting = reporting
        self._once = once

    def began(self, transfer: Transfer) -> None:
        """Take note: an upload has begun."""
        self._reporting.began(transfer)

    def progressed(self, transfer: Transfer) -> None:
        """Take note: more of an upload is acknowledged."""
        self._reporting.progressed(transfer)

    def acknowledged(self, transfer: Transfer) -> None:
        """Take note: all of an upload is acknowledged."""
        path = transfer.path
        self._troubles.over(path)
        if self._once is not None:
            self._once.acknowledged += 1
        self._reporting.acknowledged(transfer)
        self._removals.acknowledged(
            transfer.version or transfer.sent[0], path, stored(transfer.fingerprint), transfer.whole_digest
        )
        self._discovery.finished(path)

    def aborted(self, transfer: Transfer, reason: GivenUp) -> None:
        """Take note: an upload of several records is given up."""
        self._reporting.aborted(transfer, reason)

    def unchanged(self, path: str) -> None:
        """Take note: there was nothing to send."""
        self._reporting.unchanged(path)
        metrics.FILES_UNCHANGED.inc()
        self._troubles.over(path)
        self._discovery.finished(path)

    def retry(self, path: str, seconds: float) -> None:
        """Look at a path again later."""
        self._discovery.retry(path, seconds)

    def gone(self, path: str, resend: Resend | None) -> None:
        """Take note: there is no file at a path any more."""
        was_in_trouble = self._troubles.over(path)
        self._discovery.finished(path)
        if self._once is not None:
            self._once.failed[path] = "there is no such file"
        if resend is None:
            self._reporting.vanished(path, certainly=was_in_trouble)
            return
        log.error("%s should be sent again, but is gone", path)
        answers = self._ledger.answers.of(resend.version)
        with self._ledger.answers.applying():
            for name in resend.to:
                known = answers.get(name)
                resends = known.resends if known else 0
                answer = Answer(name, Outcome.FAILED, SOURCE_GONE, known.upload if known else None, resends)
                self._ledger.answers.put(resend.version, answer, time.time_ns() // 1_000_000)
        why = "it should be sent again, but is gone"
        self._reporting.failed(path, SOURCE_GONE, why)
        for name in resend.to:
            self._reporting.tell_failed(
                path, SOURCE_GONE, why, self._size_of(resend.version), resend.version, name
            )

    def trouble(self, path: str, reason: str, message: str, *, permanent: bool, wanted: bool) -> None:
        """Take note: a file cannot be sent. It is tried again later, unless that is hopeless.

        `wanted`: it certainly had to be sent; else it may be one that was sent and only looks different.
        """
        trouble, is_news = self._troubles.note(path, reason, message, permanent=permanent)
        if is_news:
            log.error("%s cannot be sent: %s", path, message)
            self._reporting.failed(path, reason, message)
        if wanted or self._reporting.is_waited_for(path):
            # Each time: before each try, the file is told to be discovered.
            size = trouble.fingerprint.size if trouble.fingerprint else 0
            self._reporting.tell_failed(path, reason, message, size)
        if self._once is not None:
            self._once.failed[path] = message
        elif not permanent:
            self._discovery.retry(path, trouble.retry_seconds)

    def answered(self, effect: Effect) -> None:
        """Take note: a destination has said something new of a version."""
        answer, path = effect.answer, effect.path
        if answer.outcome is Outcome.AGAIN:
            log.warning("%s asks for %s again: %s", answer.destination, path, answer.reason)
        elif answer.outcome is Outcome.FAILED:
            log.error("%s has rejected %s: %s", answer.destination, path, answer.reason)
            reason = answer.reason or "rejected"
            self._reporting.failed(path, reason, f"{answer.destination}: {answer.reason}")
            times = "once" if answer.resends == 1 else f"{answer.resends} times"
            again = (
                f"It was sent again {times}, in vain."
                if answer.resends
                else "It is not sent again by itself."
            )
            upload = answer.upload or effect.version
            self._reporting.tell_failed(
                path, reason, again, self._size_of(upload), upload, answer.destination
            )
        elif answer.outcome is Outcome.DELIVERED:
            self._reporting.delivered(path, answer.destination)
            self._removals.delivered(effect.version)

    def _size_of(self, upload_id: UploadId) -> int:
        upload = self._ledger.upload(upload_id)
        return 0 if upload is None else upload.fingerprint.size
