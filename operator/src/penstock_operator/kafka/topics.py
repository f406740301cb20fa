"""A stream's topics: made, enlarged and deleted when the stream says so. Every call can be repeated.

What `topic.management: Create` does to a topic that is there already: partitions are added, never taken away.
Its configuration is changed only if this stream has made it, and only in the properties that `topic.config`
names; a difference that stays (another's topic, the replication factor, a missing ACL) is told, and the topic
left as it is. So two streams that name one topic never take turns in changing it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from penstock_operator.kafka.clusters import Cluster
from penstock_operator.kafka.observation import Watched, observe
from penstock_operator.reading import FailedRead
from penstock_operator.resource.topic import Topic
from servicekit.events import EVENTS_TOPIC, receipts_topic
from servicekit.exceptions import KafkaFailed, NotAuthorized, TopicExists, UnknownTopic
from servicekit.lifecycle import Deadline
from servicekit.topics import TopicInfo, receipts_config, stream_config

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TopicWanted:
    """A topic as a stream with `management: Create` wants it."""

    name: str
    partitions: int
    replication_factor: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, topic: Topic) -> Self:
        """Read it from a stream's `spec.topic`."""
        return cls(topic.name, topic.partitions or 1, topic.replication_factor, topic.config or {})


@dataclass(frozen=True, slots=True)
class Prepared:
    """The topic as it is now, and what was done for that."""

    topic: TopicInfo
    created_topic_id: str | None
    """For the status: the id of the topic that this stream has made, if it is this one."""
    done: tuple[str, ...] = ()
    """What was changed, in sentences for Events."""
    differences: tuple[str, ...] = ()
    """What the topic is not as the stream wants it, and stays: for the condition."""


def prepare(cluster: Cluster, wanted: TopicWanted, created_topic_id: str | None = None) -> Prepared:
    """Make the topic and its receipts topic if they are missing, add partitions, set what `config` names.

    `created_topic_id` is what the status says. Raises PenstockError.
    """
    with cluster.answering():
        done: list[str] = []
        try:
            info = cluster.topics.describe(wanted.name)
        except UnknownTopic:
            info, made = _make(cluster, wanted)
            if made:
                created_topic_id = info.topic_id
                done.append(f"Topic {wanted.name} made, with {info.partitions} partitions.")
        ours = created_topic_id == info.topic_id
        if info.partitions < wanted.partitions:
            before, info = info.partitions, _enlarge(cluster, wanted)
            done.append(f"Topic {wanted.name} has {info.partitions} partitions now, after {before}.")
        if ours:
            info, told = _configure(cluster, info, wanted.config)
            done += told
        done += _prepare_receipts(cluster, wanted, info, ours=ours)
        _prepare_telemetry(cluster, wanted)
    return Prepared(
        info, info.topic_id if ours else None, tuple(done), tuple(_differences(wanted, info, ours=ours))
    )


@dataclass(frozen=True, slots=True)
class Deletion:
    """What became of a stream's topics."""

    deleted: tuple[str, ...] = ()
    """Topics that were deleted now. The group's offsets go with its topic."""
    kept: str | None = None
    """Why the topic stays, in a sentence for an Event; None if it does not."""
    again: bool = False
    """Whether that may pass, so that it is worth asking again."""


def delete(
    cluster: Cluster, topic: str, group: str, *, created_topic_id: str | None, named_by: Collection[str]
) -> Deletion:
    """Delete a stream's topic and receipts topic, if they are its own, nobody else's, and all was delivered.

    `created_topic_id` is what the status says, `named_by` who else names the topic. The downloaders should
    have ended. A topic that is gone already is no hindrance. Raises PenstockError.

    The group is not deleted by name: Kafka drops the offsets of a deleted topic and then a group that has no
    others, whereas deleting it would take those of other topics, if somebody reads them in the same group.
    """
    if named_by:
        return Deletion(kept=f"Topic {topic} stays: {', '.join(sorted(named_by))} names it, too.")
    if created_topic_id is None:
        return Deletion(kept=f"Topic {topic} stays: as far as is known, somebody else has made it.")
    with cluster.answering():
        try:
            info: TopicInfo | None = cluster.topics.describe(topic)
        except UnknownTopic:
            info = None
        if info is not None:
            if info.topic_id != created_topic_id:
                return Deletion(kept=f"Topic {topic} stays: somebody has deleted ours and made this one.")
            kept = _not_delivered(cluster, Watched(topic, group))
            if kept is not None:
                return kept
        return Deletion(tuple(name for name in (topic, receipts_topic(topic)) if cluster.topics.delete(name)))


def _not_delivered(cluster: Cluster, stream: Watched) -> Deletion | None:
    reading = observe(cluster, [stream])[stream].reading
    stays = f"Topic {stream.topic} stays"
    if isinstance(reading, FailedRead):
        return Deletion(kept=f"{stays}: {reading.message}", again=True)
    if reading.lag:
        return Deletion(kept=f"{stays}: {stream.group} has not read {reading.lag} records of it.")
    if reading.unfinished:
        return Deletion(kept=f"{stays}: {reading.unfinished} uploads are unfinished at {stream.group}.")
    if reading.group.members:
        return Deletion(kept=f"{stays}: downloaders are still reading it.", again=True)
    return None


def _make(cluster: Cluster, wanted: TopicWanted) -> tuple[TopicInfo, bool]:
    """Make the topic; whether it is ours. If someone is faster, or that cannot be said, it is not."""
    arguments: dict[str, Any] = {
        "partitions": wanted.partitions,
        "replication_factor": wanted.replication_factor or -1,
        "config": stream_config() | dict(wanted.config),
    }
    try:
        return cluster.topics.make_topic(wanted.name, **arguments), True
    except TopicExists:
        return cluster.topics.ensure_topic(wanted.name, **arguments), False


def _enlarge(cluster: Cluster, wanted: TopicWanted) -> TopicInfo:
    cluster.topics.add_partitions(wanted.name, wanted.partitions)
    return _await(cluster, wanted.name, lambda info: info.partitions >= wanted.partitions)


def _configure(cluster: Cluster, info: TopicInfo, config: Mapping[str, str]) -> tuple[TopicInfo, list[str]]:
    """Set what is different, if there is anything; what was refused stays a difference."""
    different = {name: config[name] for name in _different(info, config)}
    if not different:
        return info, []
    try:
        cluster.topics.set_config(info.name, different)
    except (NotAuthorized, KafkaFailed) as error:
        log.warning("topic %s: configuration not set: %s", info.name, error)
        return replace(info, config_error=str(error)), []
    info = _await(cluster, info.name, lambda info: not _different(info, different))
    said = ", ".join(f"{name}={value}" for name, value in sorted(different.items()))
    return info, [f"Topic {info.name}: {said} set."]


def _await(cluster: Cluster, topic: str, seen: Callable[[TopicInfo], bool]) -> TopicInfo:
    """Wait until a change is seen, or for some seconds: the brokers tell each other."""
    deadline = Deadline(cluster.request_seconds)
    while True:
        info = cluster.topics.describe(topic)
        if seen(info) or deadline.passed:
            return info
        time.sleep(0.1)


def _prepare_receipts(cluster: Cluster, wanted: TopicWanted, info: TopicInfo, *, ours: bool) -> list[str]:
    """Make the receipts topic, or let ours keep receipts for as long as the stream keeps files."""
    name = receipts_topic(wanted.name)
    config = receipts_config(info)
    try:
        receipts = cluster.topics.describe(name)
    except UnknownTopic:
        cluster.topics.ensure_topic(name, replication_factor=wanted.replication_factor or -1, config=config)
        return [f"Topic {name} made, for receipts."]
    if not ours or not _forgets_sooner(receipts, info):
        return []
    _, told = _configure(cluster, receipts, {"retention.ms": config["retention.ms"]})
    return told


def _prepare_telemetry(cluster: Cluster, wanted: TopicWanted) -> None:
    """Make the topic of telemetry, which all streams share. Without it events are dropped, and no file is."""
    try:
        cluster.topics.describe(EVENTS_TOPIC)
    except UnknownTopic:
        try:
            cluster.topics.ensure_topic(EVENTS_TOPIC, replication_factor=wanted.replication_factor or -1)
        except (NotAuthorized, KafkaFailed) as error:
            log.info("topic %s was not made: %s", EVENTS_TOPIC, error)


def _forgets_sooner(receipts: TopicInfo, stream: TopicInfo) -> bool:
    if receipts.retention_seconds is None or not stream.config:
        return False
    return stream.retention_seconds is None or receipts.retention_seconds < stream.retention_seconds


def _different(info: TopicInfo, config: Mapping[str, str]) -> list[str]:
    """Name the properties whose values are others; none if the topic's cannot be read."""
    if not info.config:
        return []
    return [name for name, value in sorted(config.items()) if not _same(info.config.get(name), value)]


def _same(one: str | None, other: str) -> bool:
    """Whether two texts are the same value to Kafka: `0.50` is 0.5, `a, b` is `a,b`."""
    if one is None:
        return False
    try:
        return Decimal(one.strip()) == Decimal(other.strip())
    except InvalidOperation:
        listed = [[part.strip() for part in text.split(",")] for text in (one, other)]
        return listed[0] == listed[1] or one.strip().lower() == other.strip().lower()


def _differences(wanted: TopicWanted, info: TopicInfo, *, ours: bool) -> Iterator[str]:
    if wanted.replication_factor not in {None, info.replication_factor}:
        yield (
            f"topic {info.name!r} has replication factor {info.replication_factor}, not "
            f"{wanted.replication_factor}: change it with kafka-reassign-partitions, or replicationFactor"
        )
    different = _different(info, wanted.config)
    if different:
        has = ", ".join(f"{name}={info.config.get(name, 'unknown')}" for name in different)
        wants = ", ".join(f"{name}={wanted.config[name]}" for name in different)
        why = info.config_error if ours else "this stream has not made it, so it is left as it is"
        yield f"topic {info.name!r} has {has}, not {wants} ({why or 'it was not changed'})"
