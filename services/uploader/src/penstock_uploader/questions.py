"""What can be asked of a running uploader: answered in the service's thread."""

from __future__ import annotations

import time
from typing import Any, Final

from penstock_uploader.description import describe_file
from penstock_uploader.discovery import Discovery
from penstock_uploader.ledger import Ledger
from penstock_uploader.resends import Resends
from penstock_uploader.schedule import Schedule
from penstock_uploader.settings import UploaderSettings
from penstock_uploader.transfers import Transfers
from penstock_uploader.troubles import Troubles
from penstock_uploader.watch import Watch

_LISTED: Final = 100
"""Of what is missing or failed, at most this many are named."""


class Questions:
    """Answers what `control.py` is asked."""

    def __init__(
        self,
        settings: UploaderSettings,
        *,
        source_id: str,
        ledger: Ledger,
        watch: Watch,
        discovery: Discovery,
        schedule: Schedule,
        transfers: Transfers,
        troubles: Troubles,
        resends: Resends,
    ) -> None:
        self._topic = settings.topic
        self._source_id = source_id
        self._ledger = ledger
        self._watch = watch
        self._discovery = discovery
        self._schedule = schedule
        self._transfers = transfers
        self._troubles = troubles
        self._resends = resends
        self.receipts_required = tuple(settings.after_receipt_from)
        """The destinations that the settings name."""
        self.scan_done = 0
        """The ticket of the last scan of everything that has ended."""

    def ledger_page(self, after: int, limit: int) -> dict[str, Any]:
        """Give files of the ledger by id."""
        page = self._ledger.page(after, limit)
        return {
            "source_id": self._source_id,
            "topic": self._topic,
            "files": [
                describe_file(file, upload, self._ledger.answers.of(upload.version) if upload else {})
                for file, upload in page
            ],
            "next": page[-1][0].id if len(page) == limit else None,
            "problems": [
                {"path": path, "reason": trouble.reason, "message": trouble.message}
                for path, trouble in self._troubles.listed(_LISTED)
            ],
        }

    def resend(self, path: str) -> bool:
        """Have the version of a file that stands sent again, to all."""
        self._resends.want()
        return self._ledger.answers.ask_again(path, time.time_ns() // 1_000_000)

    def resend_unreceipted(self) -> int:
        """Have all that lacks a receipt sent again."""
        self._resends.want()
        with self._ledger.answers.applying():
            return self._ledger.answers.ask_again_unreceipted(
                self.receipts_required, time.time_ns() // 1_000_000, "asked"
            )

    def begin_drain(self) -> int:
        """Have everything looked at once more, without waiting for writers that are done; gives a ticket."""
        self._discovery.settle.hurry(time.monotonic())
        return self._watch.request_scan()

    def not_drained(self, ticket: int, receipts_from: list[str]) -> dict[str, Any]:
        """Give what is missing, by what it waits for; empty if nothing is."""
        if self.scan_done < ticket:
            return {"waiting": {"scan": []}}
        waiting: dict[str, list[str]] = {}
        settling = self._discovery.settle.paths()
        if settling:
            if not len(self._troubles):  # what is in trouble has a backoff of another kind
                self._discovery.settle.hurry(time.monotonic())
            waiting["settling"] = settling[:_LISTED]
        if len(self._schedule):
            waiting["queued"] = list(self._schedule)[:_LISTED]
        if self._transfers.active:
            waiting["sending"] = list(self._transfers.active)[:_LISTED]
        if self._watch.has_news or self._transfers.resends:
            waiting["discovering"] = list(self._transfers.resends)[:_LISTED]
        failed = {path: trouble.message for path, trouble in self._troubles.listed(_LISTED)}
        undelivered: dict[str, str] = {}
        final = True
        for path, why, is_final in self._ledger.answers.undelivered(receipts_from, _LISTED):
            undelivered[path] = why
            final = final and is_final
        missing: dict[str, Any] = {}
        if waiting:
            missing["waiting"] = waiting
        if failed:
            missing["failed"] = failed
        if undelivered:
            missing["undelivered"] = undelivered
        if missing and not waiting and final and self._troubles.all_permanent:
            missing["hopeless"] = True
        return missing
