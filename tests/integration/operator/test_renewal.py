"""Offsets of a group that nobody is in are kept, unchanged, for as long as they are renewed."""

import threading

import pytest
from confluent_kafka import Consumer, TopicPartition
from tests.kafka import Kafka, unique
from tests.waiting import eventually

from penstock_operator.kafka import Cluster, Renewal, Watched, renew, renew_each
from servicekit.exceptions import UnknownTopic

METADATA = "p1:as a downloader wrote it"
PROTOCOLS = ("classic", "consumer")


def consumer_of(kafka: Kafka, group: str, protocol: str) -> Consumer:
    return Consumer(
        {
            **kafka.client_config(),
            "group.id": group,
            "group.protocol": protocol,
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )


def join(kafka: Kafka, topic: str, group: str, protocol: str) -> Consumer:
    consumer = consumer_of(kafka, group, protocol)
    consumer.subscribe([topic])
    eventually(lambda: consumer.poll(0.1) or consumer.assignment(), describe=f"{group} has partitions")
    return consumer


def commit_and_leave(kafka: Kafka, topic: str, group: str, protocol: str) -> None:
    consumer = join(kafka, topic, group, protocol)
    wanted = [TopicPartition(topic, 0, 2, metadata=METADATA), TopicPartition(topic, 1, 0)]
    consumer.commit(offsets=wanted, asynchronous=False)
    consumer.close()


def offsets(kafka: Kafka, group: str, topic: str) -> dict[int, tuple[int, str | None]]:
    return {number: (at.offset, at.metadata) for number, at in kafka.committed(group, topic).items()}


@pytest.fixture
def topic(kafka: Kafka) -> str:
    topic = kafka.create_topic(partitions=2)
    kafka.send(topic, b"x", b"x", b"x")
    return topic


def test_offsets_that_would_have_expired_do_not(own_broker, use):
    forgetful = {"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": "500"}
    broker = own_broker(properties=forgetful)
    kafka, cluster = Kafka(broker.client_config()), use(broker.client_config())
    topic = kafka.create_topic(partitions=2)
    kafka.send(topic, b"x", b"x", b"x")
    kept = {protocol: f"kept-{protocol}" for protocol in PROTOCOLS}
    lost = {protocol: f"lost-{protocol}" for protocol in PROTOCOLS}
    for groups in (kept, lost):
        for protocol, group in groups.items():
            commit_and_leave(kafka, topic, group, protocol)
    # Offsets that somebody set by hand, in a group that nobody was ever in.
    by_hand = consumer_of(kafka, "kept-by-hand", "classic")
    by_hand.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    by_hand.close()
    before = {group: offsets(kafka, group, topic) for group in (*kept.values(), "kept-by-hand")}
    renewals = 0
    stop = threading.Event()

    def everything_else_is_forgotten() -> bool:
        nonlocal renewals
        for group in before:
            assert renew(cluster, topic, group) is Renewal.RENEWED
        renewals += 1
        stop.wait(5)  # the pace of renewals, not a wait for a condition
        return all(offsets(kafka, group, topic)[0][0] < 0 for group in lost.values())

    eventually(everything_else_is_forgotten, timeout=150, describe="what was not renewed has expired")
    assert renewals > 5
    assert {group: offsets(kafka, group, topic) for group in before} == before


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_offsets_and_metadata_stay_as_they_are_and_the_group_stays_empty(protocol, kafka, cluster, topic):
    group = unique("group")
    commit_and_leave(kafka, topic, group, protocol)
    before = offsets(kafka, group, topic)

    assert renew(cluster, topic, group) is Renewal.RENEWED
    assert offsets(kafka, group, topic) == before
    assert before[0] == (2, METADATA)
    assert renew(cluster, topic, group) is Renewal.RENEWED, "nobody was left behind in the group"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_group_with_members_is_left_alone(protocol, kafka, cluster, topic):
    group = unique("group")
    consumer = join(kafka, topic, group, protocol)
    before = sorted(partition.partition for partition in consumer.assignment())
    assert renew(cluster, topic, group) is Renewal.IN_USE
    consumer.poll(0.1)
    assert sorted(partition.partition for partition in consumer.assignment()) == before
    consumer.close()


def test_kafka_refuses_to_renew_for_a_member_that_came_in_between(kafka, cluster, topic, monkeypatch):
    from penstock_operator.kafka import renewal

    group = unique("group")
    commit_and_leave(kafka, topic, group, "consumer")
    arrived: list[Consumer] = []
    committed_of = renewal.committed_of

    def someone_joins_then(*arguments):
        found = committed_of(*arguments)
        arrived.append(join(kafka, topic, group, "consumer"))
        return found

    monkeypatch.setattr(renewal, "committed_of", someone_joins_then)
    assert renew(cluster, topic, group) is Renewal.IN_USE
    arrived[0].close()


def test_many_are_renewed_together_and_what_fails_for_one_is_its_own_result(kafka, cluster, topic):
    groups = [unique("group") for _ in range(12)]
    for number, group in enumerate(groups):
        commit_and_leave(kafka, topic, group, PROTOCOLS[number % 2])
    gone = Watched("no-such-topic", groups[0])

    done = renew_each(cluster, [*(Watched(topic, group) for group in groups), gone])

    assert isinstance(done.pop(gone), UnknownTopic)
    assert set(done.values()) == {Renewal.RENEWED}
    assert len(done) == 12


def test_a_group_that_never_committed_has_nothing_to_renew(kafka, cluster: Cluster, topic):
    assert renew(cluster, topic, unique("group")) is Renewal.NOTHING_COMMITTED
