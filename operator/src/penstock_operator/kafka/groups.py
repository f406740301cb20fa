"""What Kafka says of consumer groups: what they have committed, their state, their members.

Committed offsets are asked for by a consumer in the group, which subscribes to nothing and so is no member:
AdminClient.list_consumer_group_offsets crashes the interpreter while a coordinator is not ready. Measured
with 200 groups on one broker, 2 cores: a consumer made for each reading takes 50 ms (of waiting) and 2 ms of
processor time, 1.2 s for all with 8 at once; consumers that are kept answer in 0.05 s, and take 800 threads,
1,600 file descriptors and 120 MB. They are made for each reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupType,
    KafkaException,
    TopicPartition,
)

from penstock_operator.kafka.checkpoints import Committed
from penstock_operator.kafka.clusters import Cluster
from penstock_operator.reading import Group
from servicekit.exceptions import KafkaUnavailable, PenstockError, again
from servicekit.kafka import answer, make_consumer
from servicekit.lifecycle import Deadline

READERS: Final = 8
"""How many groups of one cluster are read at once."""

_AT_REST: Final = (ConsumerGroupState.STABLE, ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)
"""States in which nobody waits for partitions. A group that has never been is said to be dead."""


@dataclass(frozen=True, slots=True)
class GroupState:
    """A consumer group as its coordinator sees it."""

    name: str
    """Kafka's word for its state."""
    members: int
    classic: bool
    """Whether it follows the classic protocol rather than KIP-848's: its offsets expire differently."""

    @property
    def reading(self) -> Group:
        """What scaling wants to know of it."""
        return Group(self.name in {state.name for state in _AT_REST}, self.members)

    @property
    def empty(self) -> bool:
        """Whether nobody is in it, nor about to be."""
        return self.members == 0 and self.name in {"EMPTY", "DEAD"}


def describe_groups(cluster: Cluster, groups: Iterable[str]) -> dict[str, GroupState | PenstockError]:
    """Return state and members of each group, or why they are not known. Groups that never were are empty."""
    wanted = sorted(set(groups))
    if not wanted:
        return {}
    admin, health = cluster.admin()
    try:
        asked = admin.describe_consumer_groups(wanted, request_timeout=cluster.request_seconds)
    except KafkaException as error:
        raise cluster.explain(error) from None
    found: dict[str, GroupState | PenstockError] = {}
    for group, future in asked.items():
        try:
            said = answer(future, admin, health)
        except PenstockError as error:
            found[group] = again(error)
        else:
            classic = said.type != ConsumerGroupType.CONSUMER
            found[group] = GroupState(said.state.name, len(said.members), classic)
    if any(isinstance(state, KafkaUnavailable) for state in found.values()):
        cluster.replace_admin()
    return found


def read_committed(
    cluster: Cluster, asked: Mapping[tuple[str, str], int]
) -> dict[tuple[str, str], dict[int, Committed] | PenstockError]:
    """Return what (topic, group) has committed, by partition, for the number of partitions that is given.

    What cannot be read is an error in its place. It takes `request_seconds` at most for each `READERS` groups
    whose coordinators do not answer.
    """
    deadline = Deadline(2 * cluster.request_seconds)

    def read(key: tuple[str, str]) -> dict[int, Committed] | PenstockError:
        topic, group = key
        try:
            with member(cluster, group) as consumer:
                return committed_of(consumer, cluster, topic, asked[key], deadline)
        except PenstockError as error:
            return again(error)

    with ThreadPoolExecutor(min(READERS, max(1, len(asked))), thread_name_prefix="kafka-groups") as readers:
        return dict(zip(asked, readers.map(read, asked), strict=True))


@contextmanager
def member(cluster: Cluster, group: str) -> Iterator[Consumer]:
    """Give a consumer that may speak for the group, as one of the classic protocol, and close it."""
    consumer = make_consumer(cluster.connection.settings, group, "classic")
    try:
        yield consumer
    finally:
        consumer.close()


def committed_of(
    consumer: Consumer, cluster: Cluster, topic: str, partitions: int, deadline: Deadline
) -> dict[int, Committed]:
    """Ask what the consumer's group has committed for partitions 0 to `partitions` - 1 of a topic."""
    if deadline.passed:
        raise KafkaUnavailable(
            f"no time was left to ask for offsets at {cluster.connection.bootstrap_servers}: coordinators "
            f"of other groups did not answer; look at the brokers"
        )
    wanted = [TopicPartition(topic, number) for number in range(partitions)]
    try:
        found = consumer.committed(wanted, timeout=deadline.bound(cluster.request_seconds))
    except KafkaException as error:
        raise cluster.explain(error, topic) from None
    for partition in found:
        if partition.error is not None:
            raise cluster.explain(partition.error, topic)
    return {
        partition.partition: Committed(partition.offset, partition.metadata)
        for partition in found
        if partition.offset >= 0
    }
