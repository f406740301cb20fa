"""What destinations answer: reading it, and deciding what follows from it.

The decisions are functions of values; the ledger applies them, and the position up to which answers were
read, in one transaction. Only answers to uploads of ours count, and a lost range of the topic that ours
went to.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from chunkproto import InvalidRecord, UploadId
from chunkproto.native import HEADER
from penstock_uploader.answerbook import FINAL, Answer, Outcome
from penstock_uploader.ledger import Ledger, Upload
from servicekit.events import Event, FileDelivered, FileRejected, FileSkipped, RangeLost, decode
from servicekit.exceptions import NotOurEvent, PenstockError, explain_kafka
from servicekit.kafka import ClientHealth, has_header, make_consumer
from servicekit.lifecycle import StopSignal
from servicekit.logs import Limiter
from servicekit.settings import ServiceSettings
from servicekit.topics import TopicInfo
from servicekit.unreadable import UnreadableBatches

log = logging.getLogger(__name__)

_BATCH: Final = 512


def after_delivery(event: FileDelivered, digest: bytes | None, known: Answer | None) -> Answer | None:
    """Say what a receipt changes: the new state of that destination, or None.

    `digest` is of the upload that the receipt names; `known` what that destination said before.
    """
    if digest is None or event.digest != digest.hex():
        return None
    if known is not None and known.outcome is Outcome.DELIVERED:
        return None
    resends = known.resends if known else 0
    return Answer(event.destination, Outcome.DELIVERED, None, UploadId.parse(event.upload_id), resends)


def after_skip(event: FileSkipped, known: Answer | None) -> Answer | None:
    """Say what it changes that a destination does not want the file."""
    if known is not None and known.outcome in FINAL:
        return None
    resends = known.resends if known else 0
    return Answer(event.destination, Outcome.SKIPPED, event.reason, UploadId.parse(event.upload_id), resends)


def after_rejection(event: FileRejected, known: Answer | None, max_resends: int) -> Answer | None:
    """Say what a rejection changes: the file goes there again, or failed there; None: nothing new.

    Each upload counts once: a rejection of the same one again, or of an older one, is an echo.
    """
    upload = UploadId.parse(event.upload_id)
    if known is not None and (known.outcome in FINAL or (known.upload is not None and upload < known.upload)):
        return None
    if known is not None and known.upload == upload and known.outcome is not Outcome.RESENT:
        return None
    resends = known.resends if known else 0
    return _again(event.destination, event.reason, event.asks_again, upload, resends, max_resends)


def after_loss(destination: str, upload: UploadId, known: Answer | None, max_resends: int) -> Answer | None:
    """Say what it changes that records of an upload were gone before a destination had read them."""
    if known is not None and (
        known.outcome in FINAL
        or known.outcome is Outcome.AGAIN
        or (known.upload is not None and upload < known.upload)
        or (known.upload == upload and known.outcome is not Outcome.RESENT)
    ):
        return None
    resends = known.resends if known else 0
    return _again(destination, "range-lost", True, upload, resends, max_resends)


def _again(
    destination: str, reason: str, helps: bool, upload: UploadId, resends: int, max_resends: int
) -> Answer:
    if helps and resends < max_resends:
        return Answer(destination, Outcome.AGAIN, reason, upload, resends + 1)
    return Answer(destination, Outcome.FAILED, reason, upload, resends)


@dataclass(slots=True)
class Answers:
    """Some answers, and where to read on after them: next offsets by partition."""

    events: list[Event] = field(default_factory=list)
    positions: dict[int, int] = field(default_factory=dict)


class AnswersReader:
    """Reads the receipts topic, from where the ledger says, in a thread of its own.

    It has no group: each source keeps its own position.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        topic: TopicInfo,
        source_id: str,
        positions: Mapping[int, int],
        wake: Callable[[], None],
    ) -> None:
        self.topic = topic
        self.health = ClientHealth("answers", settings.bootstrap_servers)
        # A destination that has lost an upload's beginning may know its id and not whose it is.
        self._our_keys = (source_id.encode("utf-8", "surrogateescape"), b"", None)
        self._source_id = source_id
        self._wake = wake
        self._ready: queue.Queue[Answers] = queue.Queue(maxsize=4)
        self._stopping = False
        self._positions = dict(positions)
        self._partitions = self._wanted_partitions = topic.partitions
        self._limiter = Limiter(every_seconds=600)
        self._settings = settings
        self._group = f"penstock-uploader-{source_id}"[:249]
        self._unreadable = UnreadableBatches(settings, self._group)
        self._consumer = self._connect()
        self._assign()
        self._thread = threading.Thread(target=self._read_for_ever, name="answers", daemon=True)

    def _connect(self) -> Consumer:
        return make_consumer(
            self._settings,
            self._group,
            "classic",
            health=self.health,
            # Receipts are small: this much of them is plenty.
            queued_max_messages_kbytes=4096,
            fetch_max_bytes=1024 * 1024,
            max_partition_fetch_bytes=1024 * 1024,
        )

    def start(self) -> None:
        """Read on, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End reading."""
        self._stopping = True
        if self._thread.ident is not None:
            self._thread.join()
        self._unreadable.close()
        self._consumer.close()

    def described(self, topic: TopicInfo) -> None:
        """Take what the topic is like now: partitions that were added are read, too. From any thread."""
        self._wanted_partitions = topic.partitions

    def take(self) -> Answers | None:
        """Take the next answers, if there are any."""
        try:
            return self._ready.get_nowait()
        except queue.Empty:
            return None

    @property
    def has_news(self) -> bool:
        """Whether there is something to take."""
        return not self._ready.empty()

    def read_to(
        self, ends: Mapping[int, int], starts: Mapping[int, int], stop: StopSignal
    ) -> Iterator[Answers]:
        """Yield answers up to these next offsets, by partition. Before `start` only."""
        open_partitions = {number for number, end in ends.items() if end > starts.get(number, 0)}
        while open_partitions and not stop.is_set():
            answers = self._poll()
            for number, position in answers.positions.items():
                if position >= ends.get(number, 0):
                    open_partitions.discard(number)
            if answers.positions:
                yield answers

    def _read_for_ever(self) -> None:
        while not self._stopping:
            self._read_added_partitions()
            answers = self._poll()
            if not answers.positions:
                continue
            while not self._stopping:
                with contextlib.suppress(queue.Full):
                    self._ready.put(answers, timeout=0.2)
                    self._wake()
                    break

    def _read_added_partitions(self) -> None:
        wanted = self._wanted_partitions
        if wanted <= self._partitions:
            return
        try:
            # So that the client has heard of them: until then it would complain of what it does not know.
            known = self._consumer.list_topics(self.topic.name, 5.0).topics[self.topic.name].partitions
        except (KafkaException, KeyError):
            return
        if len(known) >= wanted:
            log.info("%s has %d partitions now: reading them all", self.topic.name, wanted)
            self._partitions = wanted
            self._assign()

    def _assign(self) -> None:
        """Read all partitions, each from where it was read to."""
        self._consumer.assign(
            [
                TopicPartition(self.topic.name, number, self._positions.get(number, OFFSET_BEGINNING))
                for number in range(self._partitions)
            ]
        )

    def _poll(self) -> Answers:
        answers = Answers()
        if self.health.fatal is not None:
            self._consumer.close()
            self.health.replaced()
            self._consumer = self._connect()
            self._assign()
        try:
            messages = self._consumer.consume(_BATCH, 0.2)
        except KafkaException as error:
            self._complain(explain_kafka(error, topic=self.topic.name))
            return answers
        for message in messages:
            trouble = message.error()
            if trouble is not None:
                if trouble.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                    continue  # librdkafka looks for a coordinator though we commit nothing
                if self._unreadable.met(self._consumer, message):
                    continue
                self._complain(explain_kafka(trouble, topic=self.topic.name))
                continue
            number, offset, value = message.partition(), message.offset(), message.value()
            if number is None or offset is None:
                continue
            answers.positions[number] = self._positions[number] = offset + 1
            if has_header(message, HEADER):
                continue  # what is in files is no answer, whatever it looks like
            if message.key() not in self._our_keys and (
                value is None or RangeLost.type.encode() not in value
            ):
                continue
            try:
                answers.events.append(decode(value if isinstance(value, bytes) else None))
            except NotOurEvent as problem:
                if self._limiter.first("foreign"):
                    log.warning(
                        "%s, partition %d, offset %d is no answer: %s",
                        self.topic.name,
                        number,
                        offset,
                        problem,
                    )
        for batch in self._unreadable.passed(self._consumer):
            answers.positions[batch.place[1]] = self._positions[batch.place[1]] = batch.end
            if self._limiter.first("unreadable"):
                log.warning("%s, partition %d is read on behind what is no answer: %s", *batch.place, batch)
        return answers

    def _complain(self, error: PenstockError) -> None:
        if self._limiter.first(type(error)):
            log.warning("answers cannot be read: %s", error)


def upload_id_of(event: Event, source_id: str) -> UploadId | None:
    """Give the upload that an answer is about; None if it is certainly no upload of this source."""
    if not isinstance(event, FileDelivered | FileRejected | FileSkipped):
        return None
    if event.source_id not in (source_id, ""):
        return None
    try:
        return UploadId.parse(event.upload_id)
    except InvalidRecord:
        return None


@dataclass(frozen=True, slots=True)
class Effect:
    """What an answer has changed: a destination's outcome for the version of a file that stands."""

    path: str
    version: UploadId
    answer: Answer


def apply_answers(
    ledger: Ledger,
    answers: Answers,
    *,
    source_id: str,
    receipts_topic_id: str,
    max_resends: int,
    now_ms: int,
) -> list[Effect]:
    """Write to the ledger what follows from answers, and how far they were read, in one transaction."""
    effects: list[Effect] = []
    with ledger.answers.applying():
        for event in answers.events:
            for upload, decided in _decisions(ledger, event, source_id, max_resends):
                if decided is not None:
                    ledger.answers.put(upload.version, decided, now_ms)
                    effects.append(Effect(upload.path, upload.version, decided))
        for partition, position in answers.positions.items():
            ledger.answers.put_position(receipts_topic_id, partition, position)
    return effects


def _decisions(
    ledger: Ledger, event: Event, source_id: str, max_resends: int
) -> Iterator[tuple[Upload, Answer | None]]:
    if isinstance(event, RangeLost):
        lost = ledger.lost_uploads(event.topic_id, event.partition, event.from_offset, event.to_offset)
        for upload in lost:
            if not upload.to or event.destination in upload.to:
                known = ledger.answers.of(upload.version).get(event.destination)
                yield upload, after_loss(event.destination, upload.id, known, max_resends)
        return
    upload_id = upload_id_of(event, source_id)
    found = None if upload_id is None else ledger.upload(upload_id)
    if found is None:
        return
    known = ledger.answers.of(found.version).get(getattr(event, "destination", ""))
    if isinstance(event, FileDelivered):
        yield found, after_delivery(event, found.digest, known)
    elif isinstance(event, FileSkipped):
        yield found, after_skip(event, known)
    elif isinstance(event, FileRejected):
        yield found, after_rejection(event, known, max_resends)
