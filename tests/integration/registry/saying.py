"""What services say, said by the tests: events of files, heartbeats, and garbage."""

import json
import random
import time
import uuid
from collections.abc import Iterable

from confluent_kafka import Producer
from tests.kafka import Kafka

from servicekit.events import (
    Event,
    FileDelivered,
    FileDiscovered,
    FileRejected,
    FileUploaded,
    FileUploading,
    ServiceHeartbeat,
    encode,
    receipts_topic,
)


def say(kafka: Kafka, *records: tuple[str, bytes | None, bytes | None]) -> None:
    """Produce records: topic, key, value."""
    producer = Producer({**kafka.client_config(), "acks": "all", "log_level": 0, "linger.ms": 5})
    failed = []
    for topic, key, value in records:
        producer.produce(topic, value, key, on_delivery=lambda e, _: failed.append(e) if e else None)
        producer.poll(0)
    assert producer.flush(60) == 0
    assert not failed


def records_of(events_topic: str, events: Iterable[Event]) -> list[tuple[str, bytes, bytes]]:
    """Each event as a record on the topic where it counts."""
    return [
        (receipts_topic(event.topic) if hasattr(event, "topic_id") else events_topic, *encode(event))
        for event in events
    ]


def lives_of_files(stream: str, count: int, *, seed: int = 0, source: str = "lab") -> list[Event]:
    """The events of files from discovery to their answers; every fifth one is rejected, then sent again."""
    chance = random.Random(f"{seed} {stream} {source}")
    now = time.time() - 3600
    said: list[Event] = []
    for number in range(count):
        at = now + number * 0.01
        path, size = f"run{number % 7}/{number}.raw", chance.randrange(1, 1_000_000)
        digest = f"{chance.getrandbits(256):064x}"
        common = {"source_id": source, "path": path, "size": size, "topic": stream}
        said.append(FileDiscovered(time=at, **common))
        version = upload_id(at, chance)
        uploads = [version, upload_id(at + 0.5, chance)] if number % 5 == 0 else [version]
        for order, upload in enumerate(uploads):
            begun = at + 0.5 * order
            told = common | {"upload_id": upload, "version": version}
            answer = common | {
                "upload_id": upload, "destination": "archive", "topic_id": "t" * 22, "partition": 0,
                "offset": 2 * number + order,
            }  # fmt: skip
            said.append(FileUploading(time=begun + 0.1, bytes_done=size // 2, **told))
            where = {"partition": 0, "first_offset": 2 * number, "last_offset": 2 * number}
            said.append(FileUploaded(time=begun + 0.2, digest=digest, **where, **told))
            if upload == uploads[-1]:
                said.append(FileDelivered(time=begun + 0.3, digest=digest, **answer))
            else:
                said.append(FileRejected(time=begun + 0.3, reason="digest", **answer))
    return said


def upload_id(at: float, chance: random.Random) -> str:
    """A UUIDv7 of that moment."""
    number = int(at * 1000) << 80 | 7 << 76 | chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62)
    return str(uuid.UUID(int=number))


def heartbeat(program_id: str, at: float, **counters: int) -> ServiceHeartbeat:
    """One of a Penstock service."""
    return ServiceHeartbeat(
        time=at, program_id=program_id, service="uploader", host="h", version="1", **counters
    )


def openmsi_heartbeat(program_id: str, timestamp: str, **counters: float) -> tuple[bytes, bytes]:
    """Key and value of a heartbeat as OpenMSIStream writes it."""
    return f"{program_id}_heartbeat".encode(), json.dumps({"timestamp": timestamp, **counters}).encode()
