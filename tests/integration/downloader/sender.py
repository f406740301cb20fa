"""An uploader of tests: puts records on a topic, right or wrong ones, without any uploader's machinery."""

import itertools
import time
from collections.abc import Iterable

from blake3 import blake3
from confluent_kafka import Producer
from tests.kafka import Kafka
from tests.stream import Stream

from chunkproto import Abort, Chunk, Description, End, Record, UploadId, Whole, next_upload_id
from chunkproto.native import HEADER, encode_header, encode_key
from chunkproto.plan import partition_for
from servicekit import events

MTIME_NS = 1_700_000_000_123_456_789


def content(size: int, seed: int = 0) -> bytes:
    """Give bytes that differ from one seed to another, at every position."""
    return blake3(seed.to_bytes(8, "big")).digest(length=size)


class Sender:
    """Sends files to a topic, and knows what it has sent."""

    def __init__(self, kafka: Kafka, topic: str, source: str = "sender") -> None:
        self.topic, self.source = topic, source
        self._partitions = len(kafka.partitions(topic))
        self._producer = Producer({**kafka.client_config(), "linger.ms": 1, "log_level": 0})
        self._random = itertools.count(1)
        self._last: UploadId | None = None
        self.sent: dict[str, bytes] = {}

    def new_id(self) -> UploadId:
        self._last = next_upload_id(time.time_ns() // 1_000_000, next(self._random), self._last)
        return self._last

    def records(
        self,
        path: str,
        data: bytes,
        *,
        chunk_size: int = 4096,
        upload_id: UploadId | None = None,
        digest: bytes | None = None,
        mode: int | None = 0o640,
        to: tuple[str, ...] = (),
    ) -> list[tuple[Record, bytes]]:
        """Give the records of a file."""
        description = Description(path, len(data), chunk_size, MTIME_NS, mode, self.source, to)
        digest = digest or blake3(data).digest()
        upload_id = upload_id or self.new_id()
        plan = description.plan
        closed = time.time_ns()
        if plan.is_single:
            return [(Whole(upload_id, description, digest, closed), data)]
        chunks: list[tuple[Record, bytes]] = [
            (
                Chunk(upload_id, at, plan.offset(at), description if at == 0 else None),
                data[plan.offset(at) :][: plan.length(at)],
            )
            for at in range(plan.count)
        ]
        return [*chunks, (End(upload_id, description, digest, plan.count, closed), b"")]

    def put(self, records: Iterable[tuple[Record, bytes]], partition: int | None = None) -> None:
        """Put records on the topic, in their order, all on one partition."""
        for record, value in records:
            path = record.description.path if not isinstance(record, Chunk | Abort) else "any"
            self.put_raw(value, [(HEADER, encode_header(record))], key=encode_key(path), partition=partition)
        self.flush()

    def put_raw(
        self,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
        key: bytes | None = None,
        partition: int | None = None,
    ) -> None:
        """Put any message on the topic."""
        self._producer.produce(
            self.topic, value, key, partition=0 if partition is None else partition, headers=headers
        )
        self._producer.poll(0)

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def send(self, path: str, data: bytes, **given) -> UploadId:
        """Send a file as an uploader would; it is expected to arrive."""
        self.sent[path] = data
        records = self.records(path, data, **given)
        self.put(records, partition_for(encode_key(path), self._partitions))
        return records[0][0].upload_id


def receipts(stream: Stream) -> list[events.Event]:
    """What the destinations of a stream have answered, in order."""
    topic = events.receipts_topic(stream.topic)
    if topic not in stream.kafka.admin.list_topics(timeout=10).topics:
        return []
    return [events.decode(message.value()) for message in stream.kafka.records(topic)]


def delivered_ids(stream: Stream) -> list[str]:
    """The uploads that were receipted as delivered, each as often as it was said."""
    return [event.upload_id for event in receipts(stream) if isinstance(event, events.FileDelivered)]


def skips(stream: Stream) -> dict[str, str]:
    """Reasons of skipped files by path."""
    return {event.path: event.reason for event in receipts(stream) if isinstance(event, events.FileSkipped)}


def rejections(stream: Stream) -> dict[str, str]:
    """Reasons of rejections by path."""
    return {event.path: event.reason for event in receipts(stream) if isinstance(event, events.FileRejected)}
