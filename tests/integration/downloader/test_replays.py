"""Records that come again, for whatever reason, deliver nothing twice; records that are gone are told of."""

from dataclasses import replace

from confluent_kafka import Consumer, TopicPartition
from tests.integration.downloader.sender import Sender, content, delivered_ids, receipts
from tests.stream import Stream, files_of
from tests.waiting import eventually

from chunkproto.native import HEADER, encode_header
from servicekit import events


def take_all(stream: Stream) -> dict[str, bytes]:
    """Do as a user who moves files away."""
    taken = {}
    for path in list(files_of(stream.destination)):
        taken[str(path.relative_to(stream.destination))] = path.read_bytes()
        path.unlink()
    return taken


def forget_offsets(stream: Stream) -> None:
    group = f"{stream.topic}-group"
    stream.kafka.admin.delete_consumer_groups([group])[group].result(30)


def test_offsets_that_expired_deliver_nothing_again_but_receipts(stream: Stream, sender: Sender):
    for number in range(20):
        sender.send(f"small/{number}", content(number, number))
    sender.send("large", content(50_000))
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert take_all(stream) == sender.sent
    forget_offsets(stream)
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert take_all(stream) == {}
    counts = {upload: delivered_ids(stream).count(upload) for upload in delivered_ids(stream)}
    assert set(counts.values()) == {2}
    assert len({event.id for event in receipts(stream)}) == len(sender.sent)


def test_records_sent_again_by_an_uploader_that_was_restarted_deliver_nothing_again(
    stream: Stream, sender: Sender
):
    small = sender.records("small", b"small")
    large = sender.records("large", content(20_000))
    sender.put([*small, *large])
    service = stream.downloader()
    eventually(lambda: len(delivered_ids(stream)) == 2, describe="both are delivered")
    take_all(stream)
    again = [(replace(record, again=True), value) for record, value in [*small, *large]]
    sender.put(again)
    eventually(lambda: len(delivered_ids(stream)) == 4, describe="both are receipted again")
    assert take_all(stream) == {}
    assert service.stop() == 0


def test_records_sent_again_after_retention_took_the_first_ones_deliver_nothing_again(
    stream: Stream, sender: Sender
):
    ((record, value),) = sender.records("file", b"bytes")
    sender.put([(record, value)])
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert take_all(stream) == {"file": b"bytes"}
    stream.kafka.delete_records(stream.topic, {0: -1})
    assert stream.downloader(until_idle=0.3).wait() == 0
    sender.put([(replace(record, again=True), value)])
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert take_all(stream) == {}
    assert len(delivered_ids(stream)) == 2


def test_chunks_sent_again_in_mid_file_do_no_harm(stream: Stream, sender: Sender):
    data = content(40_000)
    records = sender.records("large", data)
    sender.put(records[:6])
    sender.put([(replace(record, again=True), value) for record, value in records[3:]])
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert (stream.destination / "large").read_bytes() == data


def test_a_topic_that_was_made_again_is_read_from_its_start(stream: Stream, sender: Sender):
    for number in range(10):
        sender.send(f"old/{number}", b"old")
    assert stream.downloader(until_idle=0.3).wait() == 0
    stream.kafka.delete_topic(stream.topic)
    stream.kafka.create_topic(stream.topic)
    renewed = Sender(stream.kafka, stream.topic)
    for number in range(3):
        renewed.send(f"new/{number}", content(9_000, number))
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert take_all(stream) == sender.sent | renewed.sent


def test_a_topic_that_is_made_again_while_we_read_is_read_from_its_start(stream: Stream, sender: Sender):
    sender.send("old", b"old")
    service = stream.downloader()
    eventually(lambda: (stream.destination / "old").exists(), describe="the old one arrives")
    stream.kafka.delete_topic(stream.topic)
    stream.kafka.create_topic(stream.topic)
    renewed = Sender(stream.kafka, stream.topic)
    for number in range(3):
        renewed.send(f"new/{number}", content(9_000, number))
    expected = sender.sent | renewed.sent
    eventually(
        lambda: (
            {str(p.relative_to(stream.destination)) for p in files_of(stream.destination)} == set(expected)
        ),
        timeout=60,
        describe=lambda: service.said,
    )
    assert service.stop() == 0


def test_partitions_held_since_before_a_topic_was_made_again_are_read_from_their_start_too(make_stream):
    stream = make_stream(partitions=2)
    sender = Sender(stream.kafka, stream.topic)
    stays = stream.downloader()
    eventually(lambda: "partition 1: from" in stays.said, describe="it has both partitions")
    leaves = stream.downloader()
    eventually(lambda: "from offset" in leaves.said, describe="it has one of them")
    for number in range(100):
        sender.send(f"old/{number}", b"old")
    eventually(lambda: len(delivered_ids(stream)) == 100, describe="the old ones arrive")
    stream.kafka.delete_topic(stream.topic)
    stream.kafka.create_topic(stream.topic, partitions=2)
    renewed = Sender(stream.kafka, stream.topic)
    for number in range(60):
        renewed.send(f"new/{number}", b"new")
    assert leaves.stop() == 0
    expected = set(sender.sent | renewed.sent)
    eventually(
        lambda: (
            {str(path.relative_to(stream.destination)) for path in files_of(stream.destination)} == expected
        ),
        timeout=60,
        describe=lambda: stays.said,
    )
    assert stays.stop() == 0
    new_ids = {event.topic_id for event in receipts(stream) if event.path.startswith("new/")}
    old_ids = {event.topic_id for event in receipts(stream) if event.path.startswith("old/")}
    assert len(new_ids) == len(old_ids) == 1
    assert new_ids != old_ids


def test_what_retention_ate_unread_is_told_as_a_lost_range(stream: Stream, sender: Sender):
    sender.send("before", b"1")
    assert stream.downloader(until_idle=0.3).wait() == 0
    for number in range(5):
        sender.send(f"eaten/{number}", b"2")
    stream.kafka.delete_records(stream.topic, {0: 6})
    sender.send("after", b"3")
    assert stream.downloader(until_idle=0.3).wait() == 0
    (lost,) = (event for event in receipts(stream) if isinstance(event, events.RangeLost))
    assert (lost.partition, lost.from_offset, lost.to_offset) == (0, 1, 6)
    assert set(take_all(stream)) == {"before", "after"}


def test_what_was_eaten_to_the_very_end_is_told_too(stream: Stream, sender: Sender):
    sender.send("before", b"1")
    assert stream.downloader(until_idle=0.3).wait() == 0
    sender.send("eaten", b"2")
    stream.kafka.delete_records(stream.topic, {0: -1})
    assert stream.downloader(until_idle=0.3).wait() == 0
    (lost,) = (event for event in receipts(stream) if isinstance(event, events.RangeLost))
    assert (lost.from_offset, lost.to_offset) == (1, 2)


def test_what_lay_below_the_log_start_at_the_very_first_assignment_is_history(stream: Stream, sender: Sender):
    for number in range(5):
        sender.send(f"{number}", b"2")
    stream.kafka.delete_records(stream.topic, {0: 3})
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert set(take_all(stream)) == {"3", "4"}
    assert not any(isinstance(event, events.RangeLost) for event in receipts(stream))


def test_an_offset_set_by_another_tool_is_taken_as_it_is(stream: Stream, sender: Sender):
    for number in range(5):
        sender.send(f"{number}", b"2")
    consumer = Consumer({**stream.kafka.client_config(), "group.id": f"{stream.topic}-group"})
    consumer.commit(offsets=[TopicPartition(stream.topic, 0, 3, "reset by hand")], asynchronous=False)
    consumer.close()
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert set(take_all(stream)) == {"3", "4"}


def test_a_header_of_ours_makes_the_record_whatever_its_key(stream: Stream, sender: Sender):
    ((record, value),) = sender.records("file", b"bytes")
    sender.put_raw(value, [("other", b"x"), (HEADER, encode_header(record)), ("trace", None)], key=None)
    sender.flush()
    assert stream.downloader(until_idle=0.3).wait() == 0
    assert take_all(stream) == {"file": b"bytes"}
