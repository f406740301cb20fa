"""Whatever is killed, whenever, any number of times: everything arrives, whole, and once."""

import random
import threading

import pytest
from blake3 import blake3
from tests.stream import Stream, Witness
from tests.waiting import eventually

from servicekit import events


def contents(number: int) -> bytes:
    size = [0, 10, 1000, 50_000, 700_000, 3_000_000][number % 6]
    return blake3(b"%d" % number).digest(length=size) if size else b""


@pytest.mark.parametrize("victims", ["uploader", "downloader", "both"])
def test_kills_at_random_moments_lose_tear_and_repeat_nothing(stream: Stream, victims: str):
    moments = random.Random(victims)
    pause = threading.Event()
    files = {f"{number % 4}/{number}": contents(number) for number in range(60)}
    with Witness(stream.destination) as witness:
        for path, data in files.items():
            witness.allow(path, data)
        running = {"uploader": stream.uploader(chunk_size=8192), "downloader": stream.downloader()}
        for at, (path, data) in enumerate(files.items()):
            (stream.source / path).parent.mkdir(exist_ok=True)
            (stream.source / path).write_bytes(data)
            if at % 6 == 5:
                pause.wait(moments.uniform(0.0, 0.8))
                for name in running:
                    if victims in (name, "both"):
                        running[name].kill()
                        running[name] = (
                            stream.uploader(chunk_size=8192) if name == "uploader" else stream.downloader()
                        )
        stream.await_delivery(timeout=120)
    delivered = [
        event
        for message in stream.kafka.records(events.receipts_topic(stream.topic))
        if isinstance(event := events.decode(message.value()), events.FileDelivered)
    ]
    assert {event.path for event in delivered} == set(files)
    assert len({event.upload_id for event in delivered}) == len(files), "no file was sent a second time"


def test_what_a_user_moved_away_does_not_come_back(stream: Stream):
    running = stream.downloader()
    stream.uploader()
    for number in range(30):
        (stream.source / f"{number}").write_bytes(b"%d" % number)
    stream.await_delivery()
    for number in range(0, 30, 2):
        (stream.destination / f"{number}").unlink()
    for _ in range(3):
        running.kill()
        running = stream.downloader()
        # A file that is sent after the restart arrives after everything that might come back.
        marker = f"marker-{len(stream.services)}"
        (stream.source / marker).write_bytes(b"x")
        eventually(
            lambda marker=marker: (stream.destination / marker).exists(), describe="the marker arrives"
        )
    assert not [number for number in range(0, 30, 2) if (stream.destination / f"{number}").exists()]
