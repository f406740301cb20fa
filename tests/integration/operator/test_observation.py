"""What the operator reads of streams is what there is."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import Consumer, TopicPartition
from tests.integration.downloader.sender import Sender, content
from tests.kafka import Kafka, unique
from tests.waiting import eventually

from penstock_operator.kafka import Cluster, Observation, Watched, observe
from penstock_operator.reading import FailedRead, Group, Partition, Reading
from servicekit.kafka import make_consumer
from servicekit.topics import TopicInfo


def observed(cluster: Cluster, topic: str, group: str) -> Observation:
    return observe(cluster, [Watched(topic, group)])[Watched(topic, group)]


def reading(cluster: Cluster, topic: str, group: str) -> Reading:
    found = observed(cluster, topic, group).reading
    assert isinstance(found, Reading), found
    return found


def commit(kafka: Kafka, group: str, topic: str, offsets: dict[int, int], metadata: str = "") -> None:
    consumer = Consumer({**kafka.client_config(), "group.id": group, "enable.auto.commit": False})
    wanted = [TopicPartition(topic, number, at, metadata=metadata) for number, at in offsets.items()]
    consumer.commit(offsets=wanted, asynchronous=False)
    consumer.close()


def test_partitions_log_ranges_and_offsets_are_those_of_the_topic(kafka, cluster):
    topic, group = kafka.create_topic(partitions=3, config={"retention.ms": 3600000}), unique("group")
    kafka.send(topic, *[b"x"] * 5, partition=0)
    kafka.send(topic, *[b"x"] * 7, partition=1)
    kafka.delete_records(topic, {1: 2})
    commit(kafka, group, topic, {0: 4})

    found = observed(cluster, topic, group)

    assert isinstance(found.topic, TopicInfo)
    assert (found.topic.partitions, found.topic.retention_seconds) == (3, 3600)
    assert found.topic.topic_id == cluster.topics.ids([topic])[topic]
    assert found.reading == Reading(
        (Partition(0, 5, 4), Partition(2, 7), Partition(0, 0)), Group(stable=True, members=0)
    )
    assert found.reading.lag == 1 + 5 + 0


def test_a_downloader_in_the_middle_of_a_file_is_seen_with_its_upload_and_its_lag(stream, cluster):
    kafka, group = stream.kafka, f"{stream.topic}-group"
    sender = Sender(kafka, stream.topic)
    records = sender.records("large", content(40_960))
    sender.put(records[:6])
    downloader = stream.downloader(commit_interval_seconds=0.1)

    def in_the_middle() -> bool:
        found = reading(cluster, stream.topic, group)
        return found.unfinished == 1 and found.lag == 0 and found.group == Group(stable=True, members=1)

    eventually(in_the_middle, describe="six chunks are read, one upload is unfinished")
    assert kafka.committed(group, stream.topic)[0].offset == 6
    downloader.kill()
    sender.put(records[6:])
    found = reading(cluster, stream.topic, group)
    assert found.partitions == (Partition(0, len(records), 6, unfinished=1),)
    assert found.lag == len(records) - 6

    stream.downloader(commit_interval_seconds=0.1)
    eventually(
        lambda: (found := reading(cluster, stream.topic, group)).lag == 0 and found.unfinished == 0,
        describe="all is delivered, nothing is unfinished",
    )
    assert (stream.destination / "large").read_bytes() == content(40_960)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_are_counted_whatever_their_protocol(protocol, make_stream, cluster):
    stream = make_stream(partitions=2)
    group = f"{stream.topic}-group"
    services = [stream.downloader(group_protocol=protocol) for _ in range(2)]
    eventually(
        lambda: reading(cluster, stream.topic, group).group == Group(stable=True, members=2),
        describe="a stable group of two",
    )
    for service in services:
        assert service.stop() == 0
    assert reading(cluster, stream.topic, group).group == Group(stable=True, members=0)


def test_a_group_that_waits_for_a_member_is_seen_to_rebalance(kafka, cluster):
    topic, group = kafka.create_topic(partitions=2), unique("group")
    settings = cluster.connection.settings
    slow, quick = (make_consumer(settings, group, "classic") for _ in range(2))
    slow.subscribe([topic])
    try:
        while not slow.assignment():
            slow.poll(0.1)
        quick.subscribe([topic])

        def rebalancing() -> bool:
            quick.poll(0.05)  # `slow` does not poll, and so does not join again
            return not reading(cluster, topic, group).group.stable

        eventually(rebalancing, describe="the group rebalances")
    finally:
        with ThreadPoolExecutor(2) as closing:
            list(closing.map(lambda consumer: consumer.close(), (slow, quick)))


def test_a_group_that_keeps_up_is_never_taken_for_one_that_is_beyond_the_end(kafka, cluster):
    topic, group = kafka.create_topic(), unique("group")
    readings = []
    with ThreadPoolExecutor(1) as thread:

        def work() -> None:
            for _ in range(40):
                kafka.send(topic, b"x")
                commit(kafka, group, topic, kafka.end_offsets(topic))

        working = thread.submit(work)
        while not working.done():
            readings.append(reading(cluster, topic, group))
        working.result()
    assert len(readings) > 5
    for found in readings:
        (partition,) = found.partitions
        assert partition.committed is None or partition.committed <= partition.log_end


def test_a_topic_that_is_missing_is_told_by_name_and_holds_up_no_other_stream(kafka, cluster):
    topic = kafka.create_topic()
    here, gone = Watched(topic, unique("group")), Watched("no-such-topic", unique("group"))

    found = observe(cluster, [here, gone])

    assert isinstance(found[here].reading, Reading)
    failed = found[gone].reading
    assert isinstance(failed, FailedRead)
    assert failed.reason == "TopicMissing"
    assert "'no-such-topic'" in failed.message
    assert found[gone].topic == failed


def test_a_topic_that_was_made_again_has_none_of_the_old_offsets(stream, cluster):
    kafka, topic, group = stream.kafka, stream.topic, f"{stream.topic}-group"
    sender = Sender(kafka, topic)
    sender.put(sender.records("begun", content(40_960))[:5])
    downloader = stream.downloader(commit_interval_seconds=0.1)
    eventually(lambda: reading(cluster, topic, group).unfinished == 1, describe="an upload is unfinished")
    downloader.kill()
    old = kafka.committed(group, topic)[0]
    kafka.delete_topic(topic)
    assert isinstance(observed(cluster, topic, group).reading, FailedRead)
    kafka.create_topic(topic)
    kafka.send(topic, *[b"x"] * 9)
    # As one that has not noticed yet would: the member that was killed is still in the group for a while.
    eventually(lambda: reading(cluster, topic, group).group.members == 0, describe="it has left")
    commit(kafka, group, topic, {0: old.offset}, old.metadata)

    assert reading(cluster, topic, group).partitions == (Partition(0, 9),)
    assert reading(cluster, topic, group).lag == 9


def test_metadata_of_a_newer_downloader_are_no_reading(kafka, cluster):
    topic, group = kafka.create_topic(), unique("group")
    kafka.send(topic, b"x", b"x")
    commit(kafka, group, topic, {0: 1}, "p2:from the future")

    failed = observed(cluster, topic, group).reading

    assert isinstance(failed, FailedRead)
    assert failed.reason == "CheckpointUnknown"
    assert "upgrade the operator" in failed.message


def test_two_hundred_streams_are_read_in_seconds(kafka, cluster, record_property):
    topics = [kafka.create_topic(partitions=4) for _ in range(4)]
    groups = [unique("many") for _ in range(200)]
    streams = [Watched(topics[number % 4], group) for number, group in enumerate(groups)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda s: commit(kafka, s.group, s.topic, {0: 0, 1: 0, 2: 0, 3: 0}), streams))
    took = []
    for _ in range(3):
        began = time.perf_counter()
        found = observe(cluster, streams)
        took.append(time.perf_counter() - began)
        assert all(isinstance(one.reading, Reading) for one in found.values())
        assert all(one.reading.partitions[3].committed == 0 for one in found.values())
    print(f"200 streams: {', '.join(f'{seconds:.2f}' for seconds in took)} s")
    record_property("seconds", took)
    assert min(took) < 10
