"""Versions that destinations asked for, or a person: they have their turn, a few at a time."""

from __future__ import annotations

from typing import Final

from penstock_uploader.discovery import Discovery
from penstock_uploader.ledger import Ledger
from penstock_uploader.transfers import Transfers

_AT_ONCE: Final = 256
_LOOK_SECONDS: Final = 0.1


class Resends:
    """Takes what is asked for from the ledger to where its file is opened."""

    def __init__(self, ledger: Ledger, transfers: Transfers, discovery: Discovery) -> None:
        self._ledger = ledger
        self._transfers = transfers
        self._discovery = discovery
        self._wanted = True
        self._looked = 0.0

    def want(self) -> None:
        """Look into the ledger: something is asked for."""
        self._wanted = True

    def step(self, now: float) -> None:
        """Let the next ones have their turn once the last ones had; `now` by the monotonic clock."""
        if not self._wanted or self._transfers.resends or now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        wanted = self._ledger.answers.resends(_AT_ONCE)
        self._wanted = bool(wanted)
        for resend in wanted:
            if resend.path not in self._transfers.active:
                self._transfers.resends[resend.path] = resend
                self._discovery.settle.closed(resend.path, now)
