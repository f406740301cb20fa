"""Keeping the offsets of groups that nobody is in: Kafka forgets them after a while (7 days by default).

Without its offsets a group begins at the log's start again, and does not know of unfinished uploads. When
they expire depends on the kind of the group (tried with Kafka 4.3, offsets.retention.minutes=1):

- classic: from when its last member left. Committing them again changes nothing. So a member joins and
  leaves, without reading or committing anything.
- consumer (KIP-848): from when each was committed. Joining and leaving changes nothing. So they are
  committed again, as they are; Kafka refuses that to one who is no member as soon as there are any.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from penstock_operator.kafka.checkpoints import Committed
from penstock_operator.kafka.clusters import Cluster
from penstock_operator.kafka.groups import GroupState, committed_of, describe_groups, member
from penstock_operator.kafka.observation import Watched
from servicekit.exceptions import KafkaUnavailable, PenstockError, again
from servicekit.lifecycle import Deadline
from servicekit.topics import TopicInfo

RENEWAL_SECONDS: Final = 6 * 3600.0
"""How often to renew: several times within any sensible offsets.retention.minutes (a day at least)."""

RENEWERS: Final = 8
"""How many groups of one cluster are renewed at once."""

JOIN_SECONDS: Final = 30.0
"""How long joining an empty group may take: brokers let the first member wait for others (3 s by default)."""


class Renewal(StrEnum):
    """What became of a renewal."""

    RENEWED = "Renewed"
    IN_USE = "InUse"
    """The group has members; while it has, nothing of it expires."""
    NOTHING_COMMITTED = "NothingCommitted"
    """There is nothing to keep: who starts, starts at the log's start anyway."""


def renew(cluster: Cluster, topic: str, group: str) -> Renewal:
    """Let the offsets that this group has committed for the topic be as new, if nobody is in the group.

    Offsets and metadata stay as they are. It may be called at any time: a downloader that joins meanwhile
    wins. Raises PenstockError if that cannot be done or seen; then nothing has changed.
    """
    stream = Watched(topic, group)
    done = renew_each(cluster, [stream])[stream]
    if isinstance(done, PenstockError):
        raise again(done)
    return done


def renew_each(cluster: Cluster, streams: Iterable[Watched]) -> dict[Watched, Renewal | PenstockError]:
    """Do the same for many streams, `RENEWERS` at once; what fails for one is its result.

    It takes about 3 s for each `RENEWERS` classic groups that nobody is in: brokers let the first member of
    a group wait for others (group.initial.rebalance.delay.ms).
    """
    wanted = list(dict.fromkeys(streams))
    cluster.require_answering()
    topics = cluster.topics.describe_each(stream.topic for stream in wanted)
    states = describe_groups(cluster, (stream.group for stream in wanted))

    def one(stream: Watched) -> Renewal | PenstockError:
        topic, state = topics[stream.topic], states[stream.group]
        if isinstance(topic, PenstockError):
            return topic
        if isinstance(state, PenstockError):
            return state
        try:
            return _renew(cluster, topic, stream.group, state)
        except PenstockError as error:
            return again(error)

    with ThreadPoolExecutor(RENEWERS, thread_name_prefix="kafka-renewal") as threads:
        return dict(zip(wanted, threads.map(one, wanted), strict=True))


def _renew(cluster: Cluster, topic: TopicInfo, group: str, state: GroupState) -> Renewal:
    if not state.empty:
        return Renewal.IN_USE
    with member(cluster, group) as consumer:
        deadline = Deadline(cluster.request_seconds)
        committed = committed_of(consumer, cluster, topic.name, topic.partitions, deadline)
        if not committed:
            return Renewal.NOTHING_COMMITTED
        if not state.classic:
            return _commit_again(consumer, cluster, topic.name, committed)
        _join_and_leave(consumer, cluster, topic.name)
        return Renewal.RENEWED


def _join_and_leave(consumer: Consumer, cluster: Cluster, topic: str) -> None:
    joined = threading.Event()

    def on_assign(consumer: Consumer, _: list[TopicPartition]) -> None:
        joined.set()
        consumer.incremental_assign([])  # what we are given is not read

    consumer.subscribe([topic], on_assign=on_assign)
    deadline = Deadline(JOIN_SECONDS)
    while not joined.is_set():
        message = consumer.poll(deadline.bound(0.2))
        error = None if message is None else message.error()
        if error is not None and not isinstance(explained := cluster.explain(error, topic), KafkaUnavailable):
            raise again(explained)
        if deadline.passed and not joined.is_set():
            raise KafkaUnavailable(
                f"nobody could join an empty group at {cluster.connection.bootstrap_servers} within "
                f"{JOIN_SECONDS:g} s: look at the brokers' logs"
            )
    # Leaving, and with it what keeps the offsets, is close()'s.


def _commit_again(
    consumer: Consumer, cluster: Cluster, topic: str, committed: dict[int, Committed]
) -> Renewal:
    again = [
        # Given as None, metadata would be refused; given as "", they would be changed.
        TopicPartition(topic, number, where.offset)
        if where.metadata is None
        else TopicPartition(topic, number, where.offset, metadata=where.metadata)
        for number, where in committed.items()
    ]
    try:
        answered = consumer.commit(offsets=again, asynchronous=False)
    except KafkaException as error:
        if _has_members(error.args[0]):
            return Renewal.IN_USE
        raise cluster.explain(error, topic) from None
    for partition in answered or ():
        if partition.error is not None:
            if _has_members(partition.error):
                return Renewal.IN_USE
            raise cluster.explain(partition.error, topic)
    return Renewal.RENEWED


def _has_members(error: KafkaError) -> bool:
    return error.code() in {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.ILLEGAL_GENERATION,
    }
