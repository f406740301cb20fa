"""What Kafka says of many streams, in few requests: topics, log ranges, committed offsets, groups.

For all streams of a cluster together: two requests about topics, one for each group's coordinator, two about
offsets to each broker; and a short connection for each group (see `groups`). The order matters: offsets are
read before the log's ends, so that a group that keeps up is not taken for one that is beyond the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penstock_operator.kafka.checkpoints import Committed, NewerCheckpoint, partition_of
from penstock_operator.kafka.clusters import Cluster
from penstock_operator.kafka.conditions import failed_read
from penstock_operator.kafka.groups import GroupState, describe_groups, read_committed
from penstock_operator.reading import FailedRead, Partition, Reading
from servicekit.exceptions import PenstockError
from servicekit.topics import LogRange, TopicInfo


@dataclass(frozen=True, slots=True)
class Watched:
    """What is to be read of a stream."""

    topic: str
    group: str


@dataclass(frozen=True, slots=True)
class Observation:
    """What Kafka said of a stream: its topic, and what scaling wants to know; or why that is not known."""

    topic: TopicInfo | FailedRead
    reading: Reading | FailedRead


def observe(cluster: Cluster, streams: Iterable[Watched]) -> dict[Watched, Observation]:
    """Read all these streams. What fails is in the result, for the streams that it concerns.

    At most about eight `request_seconds` in all, one if the cluster is away, nothing if that is known.
    """
    wanted = list(dict.fromkeys(streams))
    try:
        with cluster.answering():
            return _observe(cluster, wanted)
    except PenstockError as error:
        failed = failed_read(error)
        return dict.fromkeys(wanted, Observation(failed, failed))


def _observe(cluster: Cluster, wanted: list[Watched]) -> dict[Watched, Observation]:
    topics = cluster.topics.describe_each(stream.topic for stream in wanted)
    there = {stream: info for stream in wanted if isinstance(info := topics[stream.topic], TopicInfo)}
    # First whether a group may be seen at all: one that may not is not refused its offsets, but kept waiting.
    groups = describe_groups(cluster, (stream.group for stream in there))
    committed = read_committed(
        cluster,
        {
            (stream.topic, stream.group): info.partitions
            for stream, info in there.items()
            if isinstance(groups[stream.group], GroupState)
        },
    )
    ranges = cluster.topics.log_ranges_each(
        (info.name, number) for info in there.values() for number in range(info.partitions)
    )
    found = {}
    for stream in wanted:
        info = topics[stream.topic]
        if isinstance(info, PenstockError):
            failed = failed_read(info)
            found[stream] = Observation(failed, failed)
        else:
            offsets = committed.get((stream.topic, stream.group), {})
            found[stream] = Observation(info, _reading(info, groups[stream.group], offsets, ranges))
    return found


def _reading(
    info: TopicInfo,
    group: GroupState | PenstockError,
    committed: Mapping[int, Committed] | PenstockError,
    ranges: Mapping[tuple[str, int], LogRange | PenstockError],
) -> Reading | FailedRead:
    if isinstance(group, PenstockError):
        return failed_read(group, "the consumer group")
    if isinstance(committed, PenstockError):
        return failed_read(committed, "the committed offsets")
    partitions: list[Partition] = []
    for number in range(info.partitions):
        log_range = ranges[info.name, number]
        if isinstance(log_range, PenstockError):
            return failed_read(log_range, f"partition {number}")
        try:
            partitions.append(partition_of(committed.get(number), log_range, info.topic_id))
        except NewerCheckpoint as error:
            return FailedRead(
                "CheckpointUnknown",
                f"A downloader newer than this operator wrote the offset of partition {number} ({error}): "
                f"upgrade the operator.",
            )
    return Reading(tuple(partitions), group.reading)
