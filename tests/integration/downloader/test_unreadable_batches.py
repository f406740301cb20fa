"""Records that cannot be unpacked stop no partition, and what files lost among them is asked for again."""

import json

from tests.integration.downloader.sender import Sender, content, receipts
from tests.stream import Stream
from tests.unreadable import send_unreadable
from tests.waiting import eventually

from servicekit.events import RangeLost


def arrived(stream: Stream) -> set[str]:
    return {entry.name for entry in stream.destination.iterdir()} - {".penstock"}


def told(stream: Stream) -> list[RangeLost]:
    return [event for event in receipts(stream) if isinstance(event, RangeLost)]


def test_files_behind_an_unreadable_batch_arrive(stream: Stream, sender: Sender):
    sender.send("before", content(100))
    send_unreadable(stream.kafka, stream.topic, before=5, after=7)
    sender.send("between", content(100, 1))
    send_unreadable(stream.kafka, stream.topic)
    sender.send("after", content(100, 2))

    downloader = stream.downloader(until_idle=1)
    assert downloader.wait(60) == 0, downloader.said

    assert arrived(stream) == {"before", "between", "after"}
    assert [(lost.from_offset, lost.to_offset) for lost in told(stream)] == [(1, 14), (15, 16)]
    (kept,) = stream.destination.rglob(f"quarantine/{stream.topic}-0-1.json")
    why = json.loads(kept.read_text())
    assert (why["reason"], why["from_offset"], why["to_offset"]) == ("undecodable", 1, 14)
    assert downloader.said.count("cannot be unpacked") == 2


def test_it_is_stepped_over_while_running_and_not_met_again(stream: Stream, sender: Sender):
    downloader = stream.downloader()
    sender.send("before", content(100))
    eventually(lambda: "before" in arrived(stream), describe=lambda: downloader.said)
    send_unreadable(stream.kafka, stream.topic)
    sender.send("after", content(100, 2))
    eventually(lambda: "after" in arrived(stream), describe=lambda: downloader.said)
    assert downloader.stop() == 0

    again = stream.downloader(until_idle=0.5)
    assert again.wait(60) == 0, again.said
    assert "cannot be unpacked" not in again.said
    assert len(told(stream)) == 1
