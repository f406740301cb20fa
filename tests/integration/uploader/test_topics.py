"""The topic can change, go away, or be of no use: files go on, or it is said why not."""

import os
import signal
import time

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from tests.integration.uploader.looking import await_on_topic, drained, saying, watching
from tests.integration.uploader.test_answers import give_receipts
from tests.integration.uploader.wire import uploads, versions
from tests.kafka import Kafka, unique
from tests.stream import Stream
from tests.waiting import eventually

from penstock_uploader.control_client import ControlClient

CHUNK = 4096
QUICK = {
    "settle_seconds": 0.1,
    "scan_interval_seconds": 0.5,
    "chunk_size": CHUNK,
    "topic_check_seconds": 0.3,
}


def refused(stream: Stream, exit_code: int, *words: str, **settings: object) -> None:
    service = stream.uploader(**QUICK | settings)
    assert service.wait() == exit_code, service.said
    for word in words:
        assert word in service.said
    assert "Traceback" not in service.said
    assert "bug" not in service.said


def test_partitions_are_raised_while_files_and_versions_flow(make_stream):
    stream = make_stream(partitions=2)
    large = os.urandom(1500 * CHUNK)
    (stream.source / "large").write_bytes(large)
    service = watching(stream.uploader(**QUICK, rate_limit=2 * 1024 * 1024))
    expected = {"large": large}
    for number in range(20):
        expected[f"old{number}"] = b"1"
        (stream.source / f"old{number}").write_bytes(b"1")
    eventually(lambda: len(uploads(stream.kafka, stream.topic)) > 10)
    stream.kafka.create_partitions(stream.topic, 8)
    for number in range(20):
        expected[f"old{number}"] = b"2"
        (stream.source / f"old{number}").write_bytes(b"2")
    new = 0
    while max((sent.partition for sent in uploads(stream.kafka, stream.topic)), default=0) < 2:
        expected[f"new{new}"] = b"n"
        (stream.source / f"new{new}").write_bytes(b"n")
        new += 1
        assert drained_or_not(stream)
    await_on_topic(stream, expected)
    by_path: dict[str, set[int]] = {}
    for sent in uploads(stream.kafka, stream.topic):
        by_path.setdefault(sent.path, set()).add(sent.partition)
    assert all(len(partitions) == 1 for partitions in by_path.values())
    assert service.running


def drained_or_not(stream: Stream) -> bool:
    drained(stream, 0.2)
    return True


def test_a_topic_made_again_gets_all_that_has_no_receipt(stream: Stream):
    for name in ("received", "not"):
        (stream.source / name).write_bytes(name.encode())
    service = watching(stream.uploader(**QUICK))
    await_on_topic(stream, {"received": b"received", "not": b"not"})
    [lucky] = [sent for sent in uploads(stream.kafka, stream.topic) if sent.path == "received"]
    from tests.integration.uploader.test_answers import receipt, tell

    tell(stream, receipt(stream, lucky, "there"))
    saying_delivered(stream)
    large = os.urandom(400 * CHUNK)
    (stream.source / "large").write_bytes(large)
    stream.kafka.delete_topic(stream.topic)
    stream.kafka.create_topic(stream.topic)
    await_on_topic(stream, {"not": b"not", "large": large}, 60, gaps=True)
    assert service.running


def saying_delivered(stream: Stream) -> None:
    from tests.integration.uploader.looking import control

    eventually(
        lambda: (
            {file["path"]: file["state"] for file in control(stream).files()}.get("received") == "delivered"
        )
    )


def test_a_topic_made_again_while_the_uploader_was_down_is_noticed(stream: Stream):
    (stream.source / "a").write_bytes(b"a")
    (stream.source / "large").write_bytes(b"l" * 300 * CHUNK)
    service = watching(stream.uploader(**QUICK))
    await_on_topic(stream, {"a": b"a", "large": b"l" * 300 * CHUNK})
    assert service.stop() == 0
    stream.kafka.delete_topic(stream.topic)
    stream.kafka.create_topic(stream.topic)
    stream.uploader(**QUICK)
    await_on_topic(stream, {"a": b"a", "large": b"l" * 300 * CHUNK})


def test_a_broker_that_stops_is_waited_for(own_broker, tmp_path):
    broker = own_broker()
    stream = Stream(Kafka(broker.client_config()), tmp_path)
    try:
        large = os.urandom(1000 * CHUNK)
        (stream.source / "large").write_bytes(large)
        service = watching(stream.uploader(rate_limit=300 * CHUNK, **QUICK))
        eventually(lambda: uploads(stream.kafka, stream.topic))
        broker.stop()
        (stream.source / "small").write_bytes(b"small")
        saying(service, "waiting for one", 60)
        broker.start()
        await_on_topic(stream, {"large": large, "small": b"small"}, 60)
        assert len(uploads(stream.kafka, stream.topic)) == 2
        assert service.stop() == 0
        # And one that starts before its broker does.
        broker.stop()
        (stream.source / "later").write_bytes(b"later")
        service = saying(stream.uploader(**QUICK), "waiting for one")
        broker.start()
        await_on_topic(stream, {"large": large, "small": b"small", "later": b"later"}, 60)
    finally:
        stream.close()


def test_a_compacted_topic_is_refused(kafka: Kafka, make_stream):
    topic = kafka.create_topic(config={"cleanup.policy": "compact"})
    refused(make_stream(topic=topic), 1, "compact")


def test_a_topic_with_too_small_records_is_refused(kafka: Kafka, make_stream):
    topic = kafka.create_topic(config={"max.message.bytes": 20_000})
    refused(make_stream(topic=topic), 1, "max.message.bytes")


def test_batches_fit_a_topic_that_takes_less_than_a_producer_would_put_into_one(kafka: Kafka, make_stream):
    stream = make_stream(topic=kafka.create_topic(config={"max.message.bytes": 600_000}))
    expected = {f"f{number}": os.urandom(10_000) for number in range(300)}
    expected["large"] = os.urandom(3_000_000)
    for name, data in expected.items():
        (stream.source / name).write_bytes(data)
    service = stream.uploader()
    await_on_topic(stream, expected)
    assert "is replaced" not in service.said


def test_nothing_is_sent_or_removed_while_the_topic_is_compacted(stream: Stream):
    service = watching(stream.uploader(after="delete", **QUICK))
    large = os.urandom(50 * CHUNK)
    configure(stream, "cleanup.policy", "compact")
    saying(service, "nothing is sent: ")
    assert "is compacted" in service.said
    (stream.source / "small").write_bytes(b"small")
    (stream.source / "large").write_bytes(large)
    assert drained(stream, 2)["drained"] is False
    assert uploads(stream.kafka, stream.topic) == []
    assert sorted(os.listdir(stream.source)) == [".penstock", "large", "small"]
    configure(stream, "cleanup.policy", "delete")
    await_on_topic(stream, {"small": b"small", "large": large})
    eventually(lambda: os.listdir(stream.source) == [".penstock"])


def test_an_upload_under_way_does_not_end_while_the_topic_is_compacted(stream: Stream):
    data = os.urandom(60 * CHUNK)
    (stream.source / "a").write_bytes(data)
    service = watching(stream.uploader(rate_limit=30 * CHUNK, after="delete", **QUICK))
    eventually(lambda: any(sent.chunks for sent in uploads(stream.kafka, stream.topic)))
    configure(stream, "cleanup.policy", "compact")
    saying(service, "nothing is sent: ")
    assert drained(stream, 3)["drained"] is False
    assert not any(sent.complete for sent in uploads(stream.kafka, stream.topic))
    assert (stream.source / "a").read_bytes() == data
    configure(stream, "cleanup.policy", "delete")
    await_on_topic(stream, {"a": data})
    eventually(lambda: not (stream.source / "a").exists())


def test_a_file_that_retention_would_eat_before_it_is_whole_is_refused_and_visible(kafka: Kafka, make_stream):
    stream = make_stream(topic=kafka.create_topic(config={"retention.bytes": 50 * CHUNK}))
    (stream.source / "large").write_bytes(b"x" * 51 * CHUNK)
    (stream.source / "small").write_bytes(b"s")
    service = watching(stream.uploader(**QUICK))
    await_on_topic(stream, {"small": b"s"})
    saying(service, "retention.bytes")
    answer = drained(stream, 60)
    assert list(answer["failed"]) == ["large"]


def test_an_unknown_topic_is_refused(make_stream):
    refused(make_stream(topic=unique("nowhere")), 1, "does not exist")


def test_a_directory_that_is_the_destination_of_the_topic_is_refused(stream: Stream):
    assert stream.downloader(stream.source, until_idle=0.1).wait() == 0
    refused(stream, 2, "go round")


def test_a_directory_that_becomes_the_destination_of_the_topic_is_sent_no_more(stream: Stream, tmp_path):
    service = watching(stream.uploader(state_dir=tmp_path / "state", **QUICK))
    (stream.source / "before").write_bytes(b"before")
    await_on_topic(stream, {"before": b"before"})
    assert stream.downloader(stream.source, until_idle=0.1).wait() == 0
    saying(service, "nothing is sent: ")
    (stream.source / "round").write_bytes(b"and round")
    answer = ControlClient(str(tmp_path / "state")).drained(1)
    assert answer["drained"] is False
    assert [sent.path for sent in uploads(stream.kafka, stream.topic)] == ["before"]
    (stream.source / ".penstock" / "downloader" / "topic").unlink()
    await_on_topic(stream, {"before": b"before", "round": b"and round"})
    assert service.running


def test_what_is_no_directory_is_refused(stream: Stream):
    refused(stream, 2, "is not a directory", directory=stream.source / "nothing")


def test_versions_of_a_path_stay_in_order_whatever_the_number_of_partitions(make_stream):
    stream = make_stream(partitions=4)
    watching(stream.uploader(**QUICK))
    for number in range(5):
        for name in ("a", "b", "c"):
            (stream.source / name).write_bytes(b"%d" % number)
        assert drained(stream) == {"drained": True}
    for found in versions(stream.kafka, stream.topic).values():
        assert found[-1] == b"4"
    give_receipts(stream, "there")


def test_a_failed_producer_is_replaced_and_what_was_on_its_way_begins_again(stream: Stream):
    service = watching(stream.uploader(**QUICK | {"topic_check_seconds": 600}))
    (stream.source / "before").write_bytes(b"before")
    await_on_topic(stream, {"before": b"before"})
    configure(stream, "max.message.bytes", "1000")
    large = os.urandom(100 * CHUNK)
    (stream.source / "large").write_bytes(large)
    (stream.source / "whole").write_bytes(b"w" * 3000)
    saying(service, "the producer failed and is replaced")
    configure(stream, "max.message.bytes", "1000000")
    await_on_topic(stream, {"before": b"before", "large": large, "whole": b"w" * 3000}, 60)
    ids = [sent.upload_id for sent in uploads(stream.kafka, stream.topic) if sent.path == "large"]
    assert service.stop() == 0, service.said
    assert ids == sorted(ids)


def configure(stream: Stream, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, stream.topic, incremental_configs=[entry])
    for done in stream.kafka.admin.incremental_alter_configs([resource]).values():
        done.result(30)


def test_an_upload_that_takes_too_long_for_the_topic_is_given_up_visibly_and_tried_again(
    kafka: Kafka, make_stream
):
    # Retention of records is by segment, so the broker itself will not eat any within this test.
    stream = make_stream(topic=kafka.create_topic(config={"retention.ms": 6000}))
    (stream.source / "large").write_bytes(b"x" * 200 * CHUNK)
    service = watching(stream.uploader(rate_limit=100 * CHUNK, **QUICK))
    eventually(lambda: any(sent.chunks for sent in uploads(stream.kafka, stream.topic)))
    service.process.send_signal(signal.SIGSTOP)
    time.sleep(3.5)  # not to wait for anything: this is the time that passes
    service.process.send_signal(signal.SIGCONT)
    saying(service, "has taken longer than half")
    await_on_topic(stream, {"large": b"x" * 200 * CHUNK})
    assert uploads(stream.kafka, stream.topic)[0].aborted
