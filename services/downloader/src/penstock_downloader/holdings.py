"""The partitions that are ours: how each begins, what becomes of what was read from it, and how it ends."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection, Iterator

from chunkproto import Reason, SkipReason
from penstock_downloader import metrics
from penstock_downloader.answers import Answers
from penstock_downloader.commits import Commits, Committer
from penstock_downloader.deliveredlog import DeliveredLog
from penstock_downloader.delivery import (
    Abandoned,
    Delivered,
    DeliveryThread,
    Lost,
    NotDelivered,
    Outcome,
    Tenure,
)
from penstock_downloader.exceptions import SinkUnavailable
from penstock_downloader.identity import Destination
from penstock_downloader.intake import Intake
from penstock_downloader.partials import Partials
from penstock_downloader.partition import Partition, plan_start
from penstock_downloader.recovery import finish_deliveries
from penstock_downloader.sink import FileSystemSink
from servicekit.lifecycle import Deadline
from servicekit.logs import fields
from servicekit.topics import LogRange

log = logging.getLogger(__name__)


class Holdings:
    """The assigned partitions of one consumer, by number. For the poll thread."""

    def __init__(
        self,
        destination: Destination,
        partials: Partials,
        sink: FileSystemSink,
        delivery: DeliveryThread,
        intake: Intake,
        answers: Answers,
        commits: Commits,
        wake: threading.Event,
    ) -> None:
        """`sink` is for finishing what the last owner of a partition did not: not the delivery thread's."""
        self._destination = destination
        self._partials = partials
        self._sink = sink
        self._delivery = delivery
        self._intake = intake
        self._answers = answers
        self._commits = commits
        self._wake = wake
        self._by_number: dict[int, Partition] = {}

    def __iter__(self) -> Iterator[Partition]:
        return iter(list(self._by_number.values()))

    def __len__(self) -> int:
        return len(self._by_number)

    def get(self, number: int) -> Partition | None:
        """Give a partition if it is ours."""
        return self._by_number.get(number)

    @property
    def numbers(self) -> list[int]:
        """Which partitions are ours."""
        return sorted(self._by_number)

    @property
    def are_settled(self) -> bool:
        """Whether nothing that was read waits for its delivery or for the acknowledgement of its receipt."""
        return all(partition.is_settled for partition in self._by_number.values())

    def open(
        self, number: int, topic_id: str, committed: int | None, metadata: str | None, log_range: LogRange
    ) -> int:
        """Take a partition over, and give the offset to read from.

        First what its last owner logged as delivered gets its name. Raises SinkUnavailable (nothing is taken
        over then), OSError when the delivered log cannot be read.
        """
        directory = os.path.join(self._destination.delivered, topic_id, str(number))
        delivered_log = DeliveredLog(directory)
        tenure = Tenure(number, delivered_log, log_range.start)
        try:
            present = set(os.listdir(self._destination.partials))
            finish_deliveries(self._sink, tenure, self._partials, present)
        except OSError as error:
            delivered_log.close()
            raise SinkUnavailable(error) from error
        except SinkUnavailable:
            delivered_log.close()
            raise
        start = plan_start(
            committed,
            metadata,
            log_range.start,
            log_range.end,
            topic_id,
            is_delivered=lambda upload_id: delivered_log.find(upload_id) is not None,
            has_partial=lambda upload_id: str(upload_id) in present,
        )
        partition = Partition.begin(number, topic_id, tenure, start, self._intake.judge, time.monotonic())
        for upload in partition.assembly:  # else assignments that follow each other would keep it for ever
            upload.last_seen -= self._partials.idle_seconds(upload.upload_id)
        self._by_number[number] = partition
        metrics.PARTITIONS.set(len(self._by_number))
        log.info(
            "partition %d: from offset %d",
            number,
            start.offset,
            extra=fields(resumed=len(start.resumed), replayed=len(start.replayed)),
        )
        if start.remark:
            log.warning("partition %d: %s", number, start.remark)
        if start.lost is not None:
            self._answers.range_lost(partition, *start.lost)
        return start.offset

    def take_outcomes(self) -> bool:
        """Answer for what was delivered since the last call; whether there was anything."""
        outcomes = self._delivery.outcomes()
        for outcome in outcomes:
            self._take_outcome(outcome)
        return bool(outcomes)

    def _take_outcome(self, outcome: Outcome) -> None:
        delivery = outcome.delivery
        self._intake.held_bytes -= delivery.size
        partition = self._by_number.get(delivery.tenure.number)
        if partition is None or partition.tenure is not delivery.tenure:
            return  # whoever has the partition now reads these records again, and answers
        upload_id, offset, description = delivery.upload_id, delivery.offset, delivery.description
        partition.pending.discard(upload_id)
        match outcome:
            case Delivered(_, name, visible_at):
                self._answers.delivered(
                    partition,
                    offset,
                    upload_id,
                    description,
                    delivery.digest,
                    name,
                    delivery.closed_ns,
                    visible_at,
                )
            case NotDelivered(_, SkipReason() as reason, detail, _):
                self._answers.skipped(partition, offset, upload_id, description, reason, detail)
            case NotDelivered(_, Reason() as reason, detail, head):
                self._answers.rejected(partition, offset, upload_id, description, reason, detail, head)
            case Lost(_, detail):
                partition.restarting = partition.restarting or detail
                return
            case Abandoned():
                return  # and the commit stays before it
        partition.assembly.forget(upload_id)
        partition.release(offset)

    def hand_over(self, committer: Committer, numbers: Collection[int], deadline: Deadline) -> None:
        """Finish what is under way in these partitions, make it durable, commit, and let go of them."""
        ours = [partition for partition in self if partition.number in numbers]
        while not all(one.is_settled for one in ours) and not deadline.passed:
            if self._delivery.failure is not None:
                break
            took = self.take_outcomes()
            self._answers.poll(0.0 if took else deadline.bound(0.01))
            if not took:
                self._wake.wait(deadline.bound(0.01))
                self._wake.clear()
        if ours:
            self._commits.flush(committer, [one for one in ours if not one.restarting], deadline)
        self.abandon(numbers)

    def abandon(self, numbers: Collection[int]) -> None:
        """Let go of partitions at once. Nothing more is delivered or committed for them."""
        for number in numbers:
            partition = self._by_number.pop(number, None)
            if partition is None:
                continue
            partition.tenure.is_over = True
            self._delivery.retire(partition.tenure)
            for upload in partition.assembly:
                self._partials.close(upload.upload_id)
        metrics.PARTITIONS.set(len(self._by_number))

    def to_restart(self) -> list[Partition]:
        """Give the partitions that have to be read again, once the delivery thread has let go of them."""
        found = []
        for partition in self._by_number.values():
            if partition.restarting:
                partition.tenure.is_over = True
                if not partition.pending:
                    found.append(partition)
        return found


__all__ = ["Holdings"]
