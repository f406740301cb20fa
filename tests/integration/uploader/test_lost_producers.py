"""A producer can end at any record: whatever was not sent yet is sent by the next one.

The services run in the test's own process, so that a record can be chosen.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.integration.uploader.wire import files, uploads
from tests.kafka import Kafka
from tests.stream import Stream
from tests.waiting import eventually

from chunkproto import Chunk
from chunkproto.records import Record
from penstock_uploader.sending import Sending
from penstock_uploader.service import Uploader, upload_once
from penstock_uploader.settings import UploaderSettings
from servicekit.exceptions import KafkaFailed
from servicekit.lifecycle import StopSignal

CHUNK = 4096


def lose_the_producer(monkeypatch: pytest.MonkeyPatch, when: Callable[[Record], bool]) -> list[Record]:
    """Let a producer be lost at the first record for which `when` is true; gives it, once it came."""
    produce = Sending.produce
    lost: list[Record] = []

    def or_fail(self: Sending, record: Record, *rest: object) -> None:
        if not lost and when(record):
            lost.append(record)
            self.lost = KafkaFailed("a fatal error")
        produce(self, record, *rest)

    monkeypatch.setattr(Sending, "produce", or_fail)
    return lost


def settings(kafka: Kafka, topic: str, directory: Path) -> UploaderSettings:
    return UploaderSettings(
        bootstrap_servers=kafka.bootstrap_servers,
        topic=topic,
        directory=str(directory),
        chunk_size=CHUNK,
        kafka={k: v for k, v in kafka.client_config().items() if k != "bootstrap.servers"},
        events_topic=None,
    )


@contextmanager
def running(uploader: Uploader) -> Iterator[None]:
    stop = StopSignal()
    thread = threading.Thread(target=uploader.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set("the test is over")
        thread.join(30)


def test_what_is_sent_once_is_complete_only_when_all_of_it_was_sent(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    topic = kafka.create_topic()
    names = [f"f{number}" for number in range(600)]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "large").write_bytes(os.urandom(5 * CHUNK))
    lost = lose_the_producer(monkeypatch, lambda record: isinstance(record, Chunk) and record.index == 1)
    once = upload_once(settings(kafka, topic, tmp_path), None, StopSignal())
    assert lost
    assert once.complete, once.failed
    assert files(kafka, topic).keys() == {*names, "large"}


def test_all_unfinished_uploads_are_taken_up_though_the_producer_is_lost_at_the_first(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
):
    names = ["a", "b", "c"]
    for name in names:
        (stream.source / name).write_bytes(os.urandom(100 * CHUNK))
    service = stream.uploader(chunk_size=CHUNK, rate_limit=40 * CHUNK)
    eventually(lambda: sum(len(s.chunks) >= 2 for s in uploads(stream.kafka, stream.topic)) == 3)
    service.kill()
    for name in names:
        (stream.source / name).unlink()
    lost = lose_the_producer(monkeypatch, lambda _: True)
    with running(Uploader(settings(stream.kafka, stream.topic, stream.source))):
        eventually(lambda: all(sent.aborted for sent in uploads(stream.kafka, stream.topic)))
    assert lost
