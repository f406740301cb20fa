"""Receipts flow back, and only what they prove is ever deleted."""

import os
import threading

import pytest
from tests.kafka import Kafka
from tests.stream import Stream, files_of, snapshot
from tests.waiting import eventually

from servicekit import events


def receipts(stream: Stream) -> list[events.Event]:
    return [
        events.decode(message.value())
        for message in stream.kafka.records(events.receipts_topic(stream.topic))
    ]


def test_every_file_gets_a_receipt_with_what_arrived(stream: Stream):
    (stream.source / "sub").mkdir()
    (stream.source / "sub" / "hello.txt").write_bytes(b"hello world")
    stream.uploader(source_id="microscope-3")
    stream.downloader()
    stream.await_delivery()
    (receipt,) = eventually(lambda: receipts(stream), describe="a receipt")
    assert isinstance(receipt, events.FileDelivered)
    assert receipt.path == "sub/hello.txt"
    assert receipt.size == 11
    assert receipt.digest == "d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"
    assert receipt.source_id == "microscope-3"
    assert receipt.destination == f"{stream.topic}-group"


def test_a_source_file_is_deleted_only_after_every_named_destination_has_receipted_it(stream: Stream):
    second = stream.directory / "second"
    second.mkdir()
    first_group, second_group = f"{stream.topic}-group", f"{stream.topic}-second"
    for number in range(10):
        (stream.source / f"{number}").write_bytes(b"%d" % number)
    sent = snapshot(stream.source)
    stream.uploader(
        after="delete", after_when="delivered", after_receipt_from=f"{first_group},{second_group}"
    )
    stream.downloader()
    eventually(lambda: len(receipts(stream)) == 10, describe="one destination has all")
    assert len(list(files_of(stream.source))) == 10
    stream.downloader(second, group=second_group)
    eventually(lambda: not list(files_of(stream.source)), timeout=60, describe="the sources are deleted")
    assert snapshot(stream.destination) == sent
    assert snapshot(second) == sent


def test_a_file_changed_after_it_was_sent_is_never_removed(stream: Stream):
    (stream.source / "data").write_bytes(b"first")
    uploader = stream.uploader(
        after="delete", after_when="delivered", after_receipt_from=f"{stream.topic}-group"
    )
    eventually(lambda: len(stream.kafka.records(stream.topic)) == 1, describe="the file is in the topic")
    uploader.kill()
    status = (stream.source / "data").stat()
    (stream.source / "data").write_bytes(b"other")
    os.utime(stream.source / "data", ns=(status.st_atime_ns, status.st_mtime_ns))
    downloader = stream.downloader()
    eventually(lambda: len(receipts(stream)) == 1, describe="the first version is delivered")
    downloader.stop()
    stream.uploader(after="delete", after_when="delivered", after_receipt_from=f"{stream.topic}-group")
    stream.downloader()
    eventually(
        lambda: (stream.destination / "data").read_bytes() == b"other",
        timeout=60,
        describe="the second version arrives",
    )


def test_a_rejection_by_one_destination_sends_the_file_again_to_that_one_only(stream: Stream):
    second = stream.directory / "second"
    second.mkdir()
    (stream.source / "small").write_bytes(b"small")
    (stream.source / "large").write_bytes(bytes(100_000))
    stream.uploader(chunk_size=4096)
    eventually(lambda: len(stream.kafka.records(stream.topic)) == 27, describe="both files are in the topic")
    first = stream.downloader()
    stream.await_delivery()
    first.stop()
    # The second destination comes so late that the records are gone.
    late = stream.downloader(second, group=f"{stream.topic}-second", until_idle=1)
    assert late.wait() == 0
    (stream.source / "next").write_bytes(bytes(100_001))
    eventually(
        lambda: sum(stream.kafka.end_offsets(stream.topic).values()) >= 53,
        describe="the next is in the topic",
    )
    stream.downloader()
    stream.await_delivery()
    stream.kafka.delete_records(stream.topic, {0: -1})
    stream.downloader(second, group=f"{stream.topic}-second")
    stream.await_delivery(destination=second)

    def receipted() -> list[str]:
        return sorted(
            event.destination
            for event in receipts(stream)
            if isinstance(event, events.FileDelivered) and event.path == "next"
        )

    both = [f"{stream.topic}-group", f"{stream.topic}-second"]
    eventually(lambda: receipted() == both, describe=lambda: f"one receipt from each, not {receipted()}")


def test_a_second_source_with_the_same_path_is_refused_visibly(stream: Stream):
    other = stream.directory / "other-source"
    other.mkdir()
    (stream.source / "data").write_bytes(b"ours")
    stream.uploader(source_id="first")
    stream.downloader()
    stream.await_delivery()
    (other / "data").write_bytes(b"theirs")
    second = stream.uploader(other, source_id="second")
    eventually(lambda: "source-conflict" in second.said, describe="the second source says why")
    assert (stream.destination / "data").read_bytes() == b"ours"


def test_a_broker_that_is_away_is_waited_for_by_both_sides(own_broker, make_stream):
    broker = own_broker()
    stream = make_stream(kafka=Kafka({"bootstrap.servers": broker.bootstrap_servers}))
    uploader, downloader = stream.uploader(chunk_size=65536), stream.downloader()
    (stream.source / "before").write_bytes(bytes(1_000_000))
    stream.await_delivery()
    broker.stop()
    (stream.source / "meanwhile").write_bytes(bytes(3_000_000))
    for service in (uploader, downloader):
        eventually(
            lambda service=service: "waiting" in service.said, timeout=30, describe="it says that it waits"
        )
    broker.start()
    stream.await_delivery(timeout=90)
    assert uploader.running
    assert downloader.running


@pytest.mark.long
def test_the_broker_away_for_thirty_seconds(own_broker, make_stream):
    broker = own_broker()
    stream = make_stream(kafka=Kafka({"bootstrap.servers": broker.bootstrap_servers}))
    stream.uploader(), stream.downloader()
    (stream.source / "large").write_bytes(os.urandom(200_000_000))
    eventually(lambda: sum(stream.kafka.end_offsets(stream.topic).values()) > 20, describe="it is on its way")
    broker.stop()
    threading.Event().wait(30)
    broker.start()
    stream.await_delivery(timeout=120)
