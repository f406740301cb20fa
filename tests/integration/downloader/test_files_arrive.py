"""Every file arrives as it left, once, with a receipt."""

import contextlib
import os
import stat
import threading

import pytest
from blake3 import blake3
from tests.integration.downloader.sender import (
    MTIME_NS,
    Sender,
    content,
    delivered_ids,
    receipts,
    rejections,
)
from tests.stream import Stream, snapshot
from tests.waiting import eventually

from chunkproto import Abort
from chunkproto.checkpoint import Checkpoint
from chunkproto.plan import partition_for
from servicekit import events
from servicekit.settings import ServiceSettings
from servicekit.topics import Topics

CHUNK = 4096
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 10 * CHUNK + 7]
NAMES = [
    "plain",
    "with space",
    "semi;colon",
    "new\nline",
    "🦀.txt",
    "-rf",
    os.fsdecode(b"not utf-8 \xe9"),
    "x" * 255,
    "/".join(["deep"] * 40) + "/file",
]


def arrived(stream: Stream) -> dict[str, bytes]:
    return {path: (stream.destination / path).read_bytes() for path in snapshot(stream.destination)}


def test_files_of_every_size_and_name_arrive_with_mtime_and_mode(stream: Stream, sender: Sender):
    for size in SIZES:
        sender.send(f"sizes/{size}", content(size, size), mode=0o604)
    for number, name in enumerate(NAMES):
        sender.send(name, content(100 * CHUNK * (number % 2) + 3, number), mode=0o604)
    assert stream.downloader(until_idle=0.5).wait() == 0
    assert arrived(stream) == sender.sent
    for path in sender.sent:
        status = os.stat(stream.destination / path)
        assert status.st_mtime_ns == MTIME_NS
        assert stat.S_IMODE(status.st_mode) == 0o604


def test_each_file_has_one_receipt_that_says_what_arrived_where(stream: Stream, sender: Sender):
    upload_id = sender.send("d/file", content(3 * CHUNK))
    assert stream.downloader(until_idle=0.3).wait() == 0
    (receipt,) = receipts(stream)
    assert isinstance(receipt, events.FileDelivered)
    assert receipt.upload_id == str(upload_id)
    assert (receipt.path, receipt.size, receipt.source_id) == ("d/file", 3 * CHUNK, "sender")
    assert receipt.digest == blake3(content(3 * CHUNK)).hexdigest()
    assert receipt.destination == f"{stream.topic}-group"
    assert receipt.offset == 3
    assert receipt.closed_at < receipt.visible_at


def test_interleaved_uploads_are_put_together_each_for_itself(stream: Stream, sender: Sender):
    scripts = [sender.records(f"file-{number}", content(20_000 + number, number)) for number in range(20)]
    while any(scripts):
        sender.put([script.pop(0) for script in scripts if script])
    assert stream.downloader(until_idle=0.5).wait() == 0
    assert arrived(stream) == {f"file-{number}": content(20_000 + number, number) for number in range(20)}


def test_more_unfinished_uploads_than_files_may_be_open_or_a_commit_can_carry(stream: Stream, sender: Sender):
    scripts = [sender.records(f"file-{number}", content(9_000, number)) for number in range(300)]
    for step in range(4):
        sender.put([script[step] for script in scripts])
        if step == 1:
            assert stream.downloader(until_idle=0.3).wait() == 0
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert arrived(stream) == {f"file-{number}": content(9_000, number) for number in range(300)}


def test_what_was_delivered_is_committed(stream: Stream, sender: Sender):
    sender.send("a", content(10))
    sender.send("b", content(3 * CHUNK))
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert stream.kafka.committed(f"{stream.topic}-group", stream.topic)[0].offset == 5
    assert os.listdir(stream.destination / ".penstock/downloader/partial") == []


def test_the_last_of_many_versions_wins(stream: Stream, sender: Sender):
    for number in range(50):
        sender.send("file", content(10 + 100 * number, number))
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert arrived(stream) == {"file": content(4910, 49)}
    assert len(delivered_ids(stream)) == 50


def test_an_aborted_upload_leaves_nothing(stream: Stream, sender: Sender):
    records = sender.records("file", content(3 * CHUNK))[:2]
    upload_id = records[0][0].upload_id
    sender.put([*records, (Abort(upload_id, "file", "sender", "it changed"), b"")])
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert arrived(stream) == {}
    assert receipts(stream) == []
    assert os.listdir(stream.destination / ".penstock/downloader/partial") == []


def test_include_exclude_and_addresses_decide_what_is_wanted(stream: Stream, sender: Sender):
    sender.send("keep.csv", b"1")
    sender.send("leave.tmp", b"2")
    sender.send("large.tmp", content(3 * CHUNK))
    sender.send("raw/keep.csv", content(2 * CHUNK))
    sender.send("other.csv", b"3", to=("someone-else",))
    sender.send("mine.csv", b"4", to=("someone-else", f"{stream.topic}-group"))
    assert stream.downloader(until_idle=0.3, include="*.csv", exclude="*.tmp").wait() == 0
    assert sorted(arrived(stream)) == ["keep.csv", "mine.csv", "raw/keep.csv"]
    skipped = {
        event.path: event.reason for event in receipts(stream) if isinstance(event, events.FileSkipped)
    }
    assert skipped == {"leave.tmp": "filtered", "large.tmp": "filtered"}


@pytest.mark.parametrize("policy", ["replace", "keep-both", "skip"])
def test_a_file_that_stands_there_is_treated_as_told(stream: Stream, sender: Sender, policy: str):
    (stream.destination / "a.txt").write_bytes(b"mine")
    sender.send("a.txt", b"sent")
    assert stream.downloader(until_idle=0.3, on_conflict=policy).wait() == 0
    expected = {
        "replace": {"a.txt": b"sent"},
        "keep-both": {"a.txt": b"mine", "a (2).txt": b"sent"},
        "skip": {"a.txt": b"mine"},
    }
    assert arrived(stream) == expected[policy]
    (receipt,) = receipts(stream)
    if policy == "skip":
        assert isinstance(receipt, events.FileSkipped)
        assert receipt.reason == "exists"
    else:
        assert receipt.delivered_as == (None if policy == "replace" else "a (2).txt")


def test_two_destinations_with_default_options_each_get_all_files(stream: Stream, sender: Sender):
    sender.send("file", content(CHUNK * 2))
    second = stream.directory / "second"
    second.mkdir()
    for directory in (stream.destination, second):
        assert stream.downloader(directory, until_idle=0.3, group="").wait() == 0
        assert (directory / "file").read_bytes() == sender.sent["file"]
    ids = {(directory / ".penstock/id").read_text() for directory in (stream.destination, second)}
    assert len(ids) == 2


def test_two_topics_into_one_destination(stream: Stream, sender: Sender):
    other_topic = stream.kafka.create_topic()
    other = Sender(stream.kafka, other_topic, "other")
    sender.send("one", b"1")
    sender.send("both", b"first")
    other.send("two", b"2")
    other.send("both", b"second")
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert stream.downloader(until_idle=0.3, topic=other_topic).wait() == 0
    assert arrived(stream) == {"one": b"1", "two": b"2", "both": b"first"}
    stream.topic = other_topic
    assert rejections(stream) == {"both": "source-conflict"}


def test_an_unfinished_upload_expires_once_the_topic_is_read_to_its_end(stream: Stream, sender: Sender):
    sender.put(sender.records("never-finished", content(3 * CHUNK))[:2])
    service = stream.downloader(incomplete_after_seconds=0.5, commit_interval_seconds=0.2)
    eventually(lambda: rejections(stream) == {"never-finished": "expired"}, describe="it is rejected")
    assert os.listdir(stream.destination / ".penstock/downloader/partial") == []
    assert service.stop() == 0
    committed = stream.kafka.committed(f"{stream.topic}-group", stream.topic)[0]
    assert committed.offset == 2
    topic = Topics(ServiceSettings(bootstrap_servers=stream.kafka.bootstrap_servers)).describe(stream.topic)
    assert Checkpoint.decode(2, committed.metadata, topic.topic_id).entries == ()


def test_many_partitions(make_stream):
    stream = make_stream(partitions=8)
    sender = Sender(stream.kafka, stream.topic)
    for number in range(200):
        sender.send(f"{number % 10}/{number}", content(number * 50, number))
    assert partition_for(b"0/0", 8) != partition_for(b"1/1", 8)
    assert stream.downloader(until_idle=0.5).wait() == 0
    assert arrived(stream) == sender.sent


def test_someone_who_tidies_empty_directories_away_meanwhile_costs_no_file(stream: Stream, sender: Sender):
    service = stream.downloader()
    done = threading.Event()

    def tidy() -> None:
        while not done.is_set():
            for path, _, _ in os.walk(stream.destination, topdown=False):
                if ".penstock" not in path and path != str(stream.destination):
                    with contextlib.suppress(OSError):
                        os.rmdir(path)

    tidying = threading.Thread(target=tidy)
    tidying.start()
    try:
        for number in range(1000):
            sender.send(f"{number}/b/c/file", content(100, number))
        eventually(
            lambda: len(set(delivered_ids(stream))) == len(sender.sent),
            timeout=60,
            describe=lambda: service.said[-2000:],
        )
    finally:
        done.set()
        tidying.join()
    for path, data in sender.sent.items():
        assert (stream.destination / path).read_bytes() == data
    assert service.stop() == 0
