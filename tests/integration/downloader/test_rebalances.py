"""Processes that share a group and a volume, joining and leaving while files flow."""

import os
import threading

import pytest
from tests.integration.downloader.sender import Sender, content, delivered_ids, receipts
from tests.stream import snapshot
from tests.waiting import eventually

from servicekit import events

FAST = {"classic": "session.timeout.ms=6000 heartbeat.interval.ms=300", "consumer": ""}


class Flow:
    """Sends files, small and large, until it is stopped."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        number = 0
        while not self._stop.wait(0.002):
            number += 1
            size = 300_000 if number % 20 == 0 else number % 5000
            self.sender.send(f"{number % 7}/{number}", content(size, number), chunk_size=16_384)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("members", [2, 3, 5])
def test_members_join_leave_and_die_while_files_flow(make_stream, protocol: str, members: int):
    stream = make_stream(partitions=6)
    sender = Sender(stream.kafka, stream.topic)
    settings = {"group_protocol": protocol, "kafka": FAST[protocol], "commit_interval_seconds": 0.3}
    flow = Flow(sender)
    try:
        running = []
        for _ in range(members):
            latest = stream.downloader(**settings)
            running.append(latest)
            eventually(lambda latest=latest: "from offset" in latest.said, describe="it has its share")
            have = len(delivered_ids(stream))
            eventually(lambda have=have: len(delivered_ids(stream)) > have + 50, describe="files flow")
        assert running.pop(0).stop() == 0
        running.append(stream.downloader(**settings))
        if protocol == "classic":
            running.pop(0).kill()
        else:  # by default brokers wait 45 s for a member that died
            assert running.pop(0).stop() == 0
        have = len(delivered_ids(stream))
        eventually(lambda: len(delivered_ids(stream)) > have + 50, describe="files flow on")
    finally:
        flow.stop()
    eventually(
        lambda: len(set(delivered_ids(stream))) == len(sender.sent),
        timeout=60,
        describe=lambda: [service.said[-2000:] for service in stream.services],
    )
    for service in running:
        assert service.stop() == 0
    assert {
        path: (stream.destination / path).read_bytes() for path in snapshot(stream.destination)
    } == sender.sent
    assert not any(isinstance(event, events.FileRejected) for event in receipts(stream))
    assert os.listdir(stream.destination / ".penstock/downloader/partial") == []
    assert not any("Traceback" in service.said for service in stream.services)
