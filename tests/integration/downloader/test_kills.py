"""`kill -9` at every named point, with a real Kafka: everything arrives, nothing torn, nothing twice."""

import threading
from pathlib import Path

import pytest
from tests.integration.downloader.sender import Sender, content, delivered_ids, rejections
from tests.stream import Stream, files_of
from tests.waiting import eventually

from penstock_downloader.service import Downloader
from servicekit import faults

assert Downloader  # importing it declares the fault points
CRASH_POINTS = [
    name
    for name in faults.declared()
    if name.startswith(("partial.", "delivery.", "delivered-log.", "sink.", "receipt.", "commit."))
    and name.split(".")[1].startswith(("before", "after"))
]
OF_A_RESTART = {"delivered-log.before-seal", "delivered-log.after-seal"}


class Reader:
    """Reads all files of a destination, over and over, and moves each away when it is complete.

    A file that is not what was sent at any instant is remembered as torn.
    """

    def __init__(self, directory: Path, expected: dict[str, bytes]) -> None:
        self.directory, self.expected = directory, expected
        self.torn: list[str] = []
        self.taken: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop.is_set():
            self.look()

    def look(self) -> None:
        for path in list(files_of(self.directory)):
            name = str(path.relative_to(self.directory))
            if path.read_bytes() != self.expected.get(name):
                self.torn.append(name)
            self.taken.append(name)
            path.unlink()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.look()


def fill(sender: Sender) -> list:
    """Put on the topic what passes every fault point; give the rest of an upload that is unfinished then."""
    large = sender.records("d/large", content(200_000, 1), chunk_size=16_384)
    sender.put(large[:6])
    for number in range(4):
        sender.send(f"small/{number}", content(100 + number, number))
    sender.send("e/second", content(60_000, 2), chunk_size=16_384)
    sender.sent["d/large"] = content(200_000, 1)
    return large[6:]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_killed_at(stream: Stream, sender: Sender, point: str):
    rest = fill(sender)
    settings = {"until_idle": 0.4, "commit_bytes": 30_000}
    reader = Reader(stream.destination, sender.sent)
    try:
        if point in OF_A_RESTART:
            first = stream.downloader(**settings, environment={"PENSTOCK_CRASH_AT": "sink.after-rename"})
            assert first.wait() == -9
        killed = stream.downloader(**settings, environment={"PENSTOCK_CRASH_AT": point})
        assert killed.wait() == -9, f"it never got to {point}:\n{killed.said}"
        sender.put(rest)
        last = stream.downloader(**settings)
        assert last.wait() == 0, last.said
    finally:
        reader.close()
    assert reader.torn == []
    assert sorted(reader.taken) == sorted(sender.sent)
    assert len(set(delivered_ids(stream))) == len(sender.sent)
    assert list((stream.destination / ".penstock/downloader/partial").iterdir()) == []


def test_after_a_kill_it_goes_on_in_mid_file_although_the_head_of_the_topic_is_gone(
    stream: Stream, sender: Sender
):
    data = content(400_000)
    records = sender.records("large", data, chunk_size=16_384)
    sender.put(records[:15])
    service = stream.downloader(commit_interval_seconds=0.1)
    group = f"{stream.topic}-group"
    eventually(lambda: stream.kafka.committed(group, stream.topic)[0].offset == 15, describe="a checkpoint")
    service.kill()
    stream.kafka.delete_records(stream.topic, {0: 15})
    sender.put(records[15:])
    again = stream.downloader(until_idle=0.4)
    assert again.wait() == 0
    assert "from offset 15 resumed=1" in again.said
    assert (stream.destination / "large").read_bytes() == data


def test_on_another_volume_an_unfinished_file_is_read_from_its_first_record(stream: Stream, sender: Sender):
    data = content(400_000)
    records = sender.records("large", data, chunk_size=16_384)
    sender.send("before", b"delivered before")
    sender.put(records[:15])
    sender.send("between", b"delivered before")
    service = stream.downloader(commit_interval_seconds=0.1)
    group = f"{stream.topic}-group"
    eventually(lambda: stream.kafka.committed(group, stream.topic)[0].offset == 17, describe="a checkpoint")
    service.kill()
    sender.put(records[15:])
    other = stream.directory / "other"
    other.mkdir()
    again = stream.downloader(other, until_idle=0.4)
    assert again.wait() == 0
    assert "from offset 1 resumed=0 replayed=1" in again.said
    assert [path.name for path in files_of(other)] == ["large"]
    assert (other / "large").read_bytes() == data


def test_an_unfinished_file_whose_records_are_gone_is_rejected_so_that_it_is_sent_again(
    stream: Stream, sender: Sender
):
    records = sender.records("large", content(400_000), chunk_size=16_384)
    sender.put(records[:15])
    stream.kafka.delete_records(stream.topic, {0: 3})
    sender.put(records[15:])
    assert stream.downloader(until_idle=0.4).wait() == 0
    assert rejections(stream) == {"large": "incomplete"}
    sender.send("large", content(400_000), chunk_size=16_384)
    assert stream.downloader(until_idle=0.4).wait() == 0
    assert (stream.destination / "large").read_bytes() == content(400_000)
