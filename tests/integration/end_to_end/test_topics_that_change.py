"""Partitions are added, topics deleted, records eaten: nothing is split, overtaken or silently lost."""

import itertools
import shutil

from blake3 import blake3
from tests.stream import Stream, files_of
from tests.waiting import eventually

from chunkproto import Abort, native
from servicekit import events


def decoded(stream: Stream) -> list:
    return [
        (message.partition(), message.offset(), native.decode(message.headers(), message.value()))
        for message in stream.kafka.records(stream.topic)
    ]


def answers(stream: Stream) -> list[events.Event]:
    return [
        events.decode(message.value())
        for message in stream.kafka.records(events.receipts_topic(stream.topic))
    ]


def test_partitions_raised_while_files_flow(make_stream):
    stream = make_stream(partitions=2)
    stream.uploader(chunk_size=4096, topic_check_seconds=1)
    stream.downloader(kafka="topic.metadata.refresh.interval.ms=500")
    versions = itertools.count()

    def write() -> None:
        version = next(versions)
        for number in range(5):
            (stream.source / f"small-{number}").write_bytes(b"%d:%d" % (number, version))
        (stream.source / f"large-{version}").write_bytes(blake3(b"%d" % version).digest(length=400_000))

    def uses_a_new_one() -> bool:
        write()
        return any(message.partition() > 1 for message in stream.kafka.records(stream.topic))

    write()
    eventually(lambda: stream.kafka.records(stream.topic), describe="the uploader knows the old ones")
    stream.kafka.create_partitions(stream.topic, 8)
    eventually(uses_a_new_one, interval=0.2)
    stream.await_delivery()
    partitions_of: dict[bytes, set[int]] = {}
    uploads: dict[bytes, set[int]] = {}
    for message in stream.kafka.records(stream.topic):
        partitions_of.setdefault(message.key(), set()).add(message.partition())
        record = native.decode(message.headers(), message.value())
        uploads.setdefault(record.upload_id, set()).add(message.partition())
    assert all(len(partitions) == 1 for partitions in uploads.values()), "an upload was split"
    assert all(len(partitions) == 1 for partitions in partitions_of.values()), "a version could overtake"


def test_records_eaten_before_they_were_read_are_sent_again(stream: Stream):
    for number in range(5):
        (stream.source / f"whole-{number}").write_bytes(b"%d" % number)
    (stream.source / "large").write_bytes(bytes(100_000))
    stream.uploader(chunk_size=4096)
    eventually(
        lambda: any(type(record).__name__ == "End" for _, _, record in decoded(stream)),
        describe="the large file is in the topic",
    )
    downloader = stream.downloader()
    stream.await_delivery()
    downloader.stop()
    for number in range(5):
        (stream.source / f"later-{number}").write_bytes(b"later %d" % number)
    (stream.source / "later-large").write_bytes(bytes(200_000))
    eventually(
        lambda: (
            sum(type(record).__name__ == "End" for _, _, record in decoded(stream)) == 2
            and sum(
                record.description.path.startswith("later-")
                for _, _, record in decoded(stream)
                if type(record).__name__ == "Whole"
            )
            == 5
        ),
        describe="the later files are in the topic",
    )
    stream.kafka.delete_records(stream.topic, {0: -1})
    stream.downloader()
    stream.await_delivery()
    assert any(isinstance(event, events.RangeLost) for event in answers(stream))


def test_a_topic_deleted_and_created_again_gets_what_has_no_receipt(stream: Stream):
    (stream.source / "before").write_bytes(b"before")
    stream.uploader()
    downloader = stream.downloader()
    stream.await_delivery()
    downloader.stop()
    (stream.source / "unread").write_bytes(b"unread")
    eventually(lambda: len(stream.kafka.records(stream.topic)) == 2, describe="it is in the topic")
    stream.kafka.delete_topic(stream.topic)
    stream.kafka.create_topic(stream.topic)
    stream.downloader()
    stream.await_delivery(timeout=120)
    assert [record.description.path for _, _, record in decoded(stream) if not isinstance(record, Abort)] == [
        "unread"
    ]


def test_two_destinations_get_all_files_each(stream: Stream):
    second = stream.directory / "second"
    second.mkdir()
    stream.uploader()
    stream.downloader()
    stream.downloader(second, group=f"{stream.topic}-second")
    for number in range(20):
        (stream.source / f"{number}").write_bytes(b"%d" % number)
    stream.await_delivery()
    stream.await_delivery(destination=second)


def test_two_downloaders_with_default_options_each_get_all_files(stream: Stream):
    second = stream.directory / "second"
    second.mkdir()
    stream.uploader()
    stream.downloader(group="")
    stream.downloader(second, group="")
    for number in range(5):
        (stream.source / f"{number}").write_bytes(b"%d" % number)
    stream.await_delivery()
    stream.await_delivery(destination=second)


def test_what_was_delivered_is_not_sent_again_when_all_of_penstocks_state_is_lost(stream: Stream):
    for number in range(5):
        (stream.source / f"{number}").write_bytes(b"%d" % number)
    uploader = stream.uploader()
    stream.downloader()
    stream.await_delivery()
    uploader.stop()
    shutil.rmtree(stream.source / ".penstock")
    (stream.source / "0").write_bytes(b"changed meanwhile")
    before = sum(stream.kafka.end_offsets(stream.topic).values())
    stream.uploader()
    stream.await_delivery()
    (stream.source / "last").write_bytes(b"after the others")
    eventually(lambda: (stream.destination / "last").exists(), describe="the file written last arrives")
    assert sum(stream.kafka.end_offsets(stream.topic).values()) == before + 2
    assert len(list(files_of(stream.destination))) == 6
