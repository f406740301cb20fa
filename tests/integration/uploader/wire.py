"""Reading a topic back, as any client of docs/wire.md would: strictly, so that nothing odd passes
unnoticed."""

import itertools
from dataclasses import dataclass, field

from blake3 import blake3
from tests.kafka import Kafka

from chunkproto import Abort, Chunk, Description, End, Record, UploadId, Whole
from chunkproto.native import decode


@dataclass
class Sent:
    """One upload as the topic holds it."""

    upload_id: UploadId
    partition: int
    records: list[tuple[int, Record, bytes]] = field(default_factory=list)

    @property
    def description(self) -> Description:
        for _, record, _ in reversed(self.records):
            if isinstance(record, Whole | End):
                return record.description
        raise AssertionError(f"{self.upload_id} has no end")

    @property
    def path(self) -> str:
        for _, record, _ in self.records:
            if isinstance(record, Abort):
                return record.path
            if record.description is not None:
                return record.description.path
        raise AssertionError(f"{self.upload_id} has no description")

    @property
    def complete(self) -> bool:
        return any(isinstance(record, Whole | End) for _, record, _ in self.records)

    @property
    def aborted(self) -> bool:
        return any(isinstance(record, Abort) for _, record, _ in self.records)

    @property
    def chunks(self) -> list[int]:
        """The indices of its chunks, in the order in which they stand on the topic, again and again if so."""
        return [record.index for _, record, _ in self.records if isinstance(record, Chunk)]

    @property
    def has_gaps(self) -> bool:
        chunks = set(self.chunks)
        ends = [record.chunks for _, record, _ in self.records if isinstance(record, End)]
        return chunks != set(range(max([*ends, *(index + 1 for index in chunks)], default=0)))

    @property
    def data(self) -> bytes:
        """The file, put together; asserts that digest, size and offsets are what the records say."""
        pieces: dict[int, bytes] = {}
        for _, record, value in self.records:
            if isinstance(record, Whole):
                assert blake3(value).digest() == record.digest
                return value
            if isinstance(record, Chunk):
                assert record.index <= len(pieces), f"{self.upload_id}: a gap before chunk {record.index}"
                assert pieces.setdefault(record.index, value) == value
                assert record.offset == sum(len(pieces[index]) for index in range(record.index))
            if isinstance(record, End):
                whole = b"".join(pieces[index] for index in range(record.chunks))
                assert len(whole) == record.description.size
                assert blake3(whole).digest() == record.digest
                return whole
        raise AssertionError(f"{self.path} has no end")


def uploads(kafka: Kafka, topic: str) -> list[Sent]:
    """All uploads on the topic, in the order of their first records, partition by partition."""
    found: dict[UploadId, Sent] = {}
    for message in kafka.records(topic):
        record = decode(message.headers(), message.value())
        sent = found.setdefault(record.upload_id, Sent(record.upload_id, message.partition()))
        assert sent.partition == message.partition(), f"{sent.path} is split over partitions"
        sent.records.append((message.offset(), record, message.value() or b""))
    return list(found.values())


def files(kafka: Kafka, topic: str, *, gaps: bool = False) -> dict[str, bytes]:
    """What a destination would hold after all of it: by path, the content of the newest complete upload.

    Asserts that newer versions of a path never begin before the older one has ended. `gaps`: uploads may have
    an end but not all chunks, as after a topic was made again; a destination rejects these.
    """
    complete = [sent for sent in uploads(kafka, topic) if sent.complete and not (gaps and sent.has_gaps)]
    for path, versions in itertools.groupby(
        sorted(complete, key=lambda s: (s.path, s.upload_id)), lambda s: s.path
    ):
        ordered = list(versions)
        for older, newer in itertools.pairwise(ordered):
            assert older.records[-1][0] < newer.records[0][0] or newer.partition != older.partition, path
    return {sent.path: sent.data for sent in sorted(complete, key=lambda sent: sent.upload_id)}


def versions(kafka: Kafka, topic: str) -> dict[str, list[bytes]]:
    """The complete uploads of each path, oldest first."""
    found: dict[str, list[bytes]] = {}
    for sent in sorted(uploads(kafka, topic), key=lambda sent: sent.upload_id):
        if sent.complete:
            found.setdefault(sent.path, []).append(sent.data)
    return found
