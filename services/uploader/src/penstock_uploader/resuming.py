"""After a restart: going on with the uploads that an earlier run did not bring to an end."""

from __future__ import annotations

import logging

from blake3 import blake3

from penstock_uploader.ledger import Ledger, State, Upload, stored
from penstock_uploader.planning import Planner
from penstock_uploader.producing import produce_end, produce_whole
from penstock_uploader.reading import open_beneath
from penstock_uploader.schedule import Schedule
from penstock_uploader.sending import ProducerLost
from penstock_uploader.transfer import Changed, GivenUp, Transfer
from penstock_uploader.transfers import Listener, Transfers

log = logging.getLogger(__name__)


class Resuming:
    """Gives unfinished uploads back to the transfers, if their files are as they were."""

    def __init__(
        self,
        root: str,
        *,
        ledger: Ledger,
        planner: Planner,
        schedule: Schedule,
        transfers: Transfers,
        listener: Listener,
    ) -> None:
        self._root = root
        self._ledger = ledger
        self._planner = planner
        self._schedule = schedule
        self._transfers = transfers
        self._listener = listener

    def resume(self) -> None:
        """Go on with them all, or say on the wire that they are given up; raises ProducerLost at the end.

        What could not be produced is then among the active ones, which another producer takes over.
        """
        lost: ProducerLost | None = None
        for upload in self._ledger.unfinished():
            if upload.path in self._transfers.active:
                continue
            transfer = self._planner.resumed(upload)
            try:
                why_not = self._go_on(upload, transfer)
                if why_not is not None:
                    self._transfers.begin_again(transfer, *why_not)
            except ProducerLost as error:
                lost = error
        if lost is not None:
            raise lost

    def _go_on(self, upload: Upload, transfer: Transfer) -> tuple[str, GivenUp] | None:
        """Go on with an upload if that is possible; else say why not, in a few words and in one."""
        if upload.state is State.ABORTING:
            return "given up before a restart", GivenUp.SUPERSEDED
        if upload.state is State.ENDING:
            transfer.acked = transfer.plan.count
            self._transfers.active[upload.path] = transfer
            produce_end(self._transfers.sending, transfer)
            return None
        try:
            opened = open_beneath(self._root, upload.path)
        except OSError:
            return "its file is gone", GivenUp.VANISHED
        transfer.fd = opened.fd
        if stored(opened.fingerprint) != upload.fingerprint:
            return "its file was changed", GivenUp.CHANGED
        transfer.fingerprint = opened.fingerprint
        if transfer.plan.is_single:
            return self._send_whole(transfer)
        if self._planner.age_problem(upload.began_ms) or not self._schedule.takes_turns(transfer.plan.size):
            return "it began too long ago", GivenUp.TOO_SLOW
        log.info("%s: going on at chunk %d of %d", upload.path, upload.chunks + 1, transfer.plan.count)
        transfer.produce_from = transfer.acked = upload.chunks
        self._transfers.active[upload.path] = transfer
        self._schedule.add(upload.path, transfer.plan.size)
        self._listener.began(transfer)
        return None

    def _send_whole(self, transfer: Transfer) -> tuple[str, GivenUp] | None:
        try:
            data = transfer.read(transfer.plan.size, 0)
            untouched = transfer.is_untouched()
        except (OSError, Changed):
            untouched = False
        if not untouched or blake3(data).digest() != transfer.digest:
            return "its file was changed", GivenUp.CHANGED
        transfer.close()
        self._transfers.active[transfer.path] = transfer
        self._listener.began(transfer)
        produce_whole(self._transfers.sending, transfer, data)
        return None
