"""What follows from what the topic is like now: go on, go on elsewhere, or stop."""

from __future__ import annotations

import logging
import time

from chunkproto.native import RECORD_OVERHEAD_BYTES
from penstock_uploader.discovery import Discovery
from penstock_uploader.ledger import Ledger
from penstock_uploader.planning import Planner, TopicLimits
from penstock_uploader.removal import Removals
from penstock_uploader.resends import Resends
from penstock_uploader.settings import UploaderSettings
from penstock_uploader.transfers import Transfers
from penstock_uploader.troubles import Troubles
from servicekit.circles import note_topic, refuse_circle
from servicekit.exceptions import ConfigurationError, KafkaUnavailable, PenstockError, TopicRefused
from servicekit.http import Health
from servicekit.logs import Limiter
from servicekit.topics import TopicInfo, check_topic_can_carry

log = logging.getLogger(__name__)


def adopt_topic(settings: UploaderSettings, ledger: Ledger, topic: TopicInfo, *, once: bool) -> None:
    """Note which topic files go to: in the ledger, and for downloaders where the state is kept."""
    now_ms = time.time_ns() // 1_000_000
    again = ledger.adopt_topic(topic.topic_id, settings.after_receipt_from, now_ms)
    if again:
        log.warning("topic %s is a new one: %d files without receipt are sent again", topic.name, again)
    if not once and settings.state_dir is None:
        note_topic(settings.root, "uploader", topic)


class TopicFollower:
    """Told from time to time what the topic is like. In the service's thread."""

    def __init__(
        self,
        settings: UploaderSettings,
        *,
        health: Health,
        ledger: Ledger,
        planner: Planner,
        transfers: Transfers,
        troubles: Troubles,
        discovery: Discovery,
        resends: Resends,
        removals: Removals,
        once: bool,
    ) -> None:
        self._settings = settings
        self._health = health
        self._ledger = ledger
        self._planner = planner
        self._transfers = transfers
        self._troubles = troubles
        self._discovery = discovery
        self._resends = resends
        self._removals = removals
        self._once = once
        self._limiter = Limiter(every_seconds=60)
        self.refused: str | None = None
        """Why nothing may be sent at the moment."""

    def described(self, found: TopicInfo | PenstockError) -> bool:
        """Take what the topic is like now; whether it is another one, and with it the producer."""
        if isinstance(found, PenstockError):
            if not isinstance(found, KafkaUnavailable):
                self._health.problem("topic", str(found))
                if self._limiter.first("topic"):
                    log.warning("%s", found)
            return False
        self._judge(found)
        limits, before = TopicLimits.of(found), self._planner.limits
        is_another = limits.topic_id != before.topic_id
        if is_another:
            log.warning("topic %s was deleted and made again", found.name)
            self._transfers.forget_all()
            adopt_topic(self._settings, self._ledger, found, once=self._once)
            self._resends.want()
        elif limits.partitions > before.partitions and not self._transfers.sending.knows_partitions(
            limits.partitions
        ):
            limits.partitions = before.partitions  # next time
        if limits != before:
            self._planner.limits = limits
            for path in self._troubles.forgive():
                self._discovery.retry(path, 0.0)
        return is_another

    def _judge(self, topic: TopicInfo) -> None:
        """Say what is wrong with the topic, if anything; send and remove nothing as long as it is.

        Raises what is wrong, if files are sent once: nobody would wait for the topic to be mended.
        """
        problems = [
            problem.message
            for problem in check_topic_can_carry(
                topic, int(self._settings.chunk_size), overhead=RECORD_OVERHEAD_BYTES
            )
            if problem.refused
        ]
        if problems and self._once:
            raise TopicRefused("; ".join(problems))
        try:
            refuse_circle(self._settings.root, "uploader", topic)
        except ConfigurationError as circle:
            if self._once:
                raise
            problems.append(str(circle))
        was_refused = self.refused is not None
        self.refused = "; ".join(problems) or None
        self._transfers.holds_ends = self.refused is not None
        self._removals.hold(held=self.refused is not None)
        if self.refused is None:
            self._health.ok("topic")
            if was_refused:
                log.info("topic %s can carry files again", topic.name)
            return
        self._health.problem("topic", f"nothing is sent: {self.refused}")
        if self._limiter.first(self.refused):
            log.error("nothing is sent: %s", self.refused)
