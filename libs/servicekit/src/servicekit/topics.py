"""Topics: what Kafka says of them, where their logs start and end, and how they are made and changed.

What can be said of a topic without asking Kafka is in `servicekit.topic_info`, and can be had from here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from confluent_kafka import IsolationLevel, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it has no __all__
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from servicekit.exceptions import (
    KafkaFailed,
    KafkaUnavailable,
    NotAuthorized,
    PenstockError,
    TopicExists,
    UnknownTopic,
    again,
    explain_kafka,
)
from servicekit.kafka import ClientHealth, answer, make_admin
from servicekit.lifecycle import Deadline
from servicekit.settings import ServiceSettings
from servicekit.topic_info import (
    RECEIPTS_RETENTION_SECONDS,
    STREAM_RETENTION_SECONDS,
    LogRange,
    TopicInfo,
    TopicProblem,
    check_topic_can_carry,
    receipts_config,
    require_topic_can_carry,
    stream_config,
)

__all__ = [
    "RECEIPTS_RETENTION_SECONDS",
    "STREAM_RETENTION_SECONDS",
    "LogRange",
    "TopicInfo",
    "TopicProblem",
    "Topics",
    "check_topic_can_carry",
    "receipts_config",
    "require_topic_can_carry",
    "stream_config",
]

log = logging.getLogger(__name__)

_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")

_Request = Callable[[AdminClient], Mapping[_Key, Future[_Answer]]]


@dataclass(frozen=True)
class _Asked(Generic[_Key, _Answer]):
    """A request under way. It keeps its client: answers of one that is gone would never come."""

    admin: AdminClient
    health: ClientHealth
    futures: Mapping[_Key, Future[_Answer]]

    def answer(self, topic: str, future: Future[_Answer]) -> _Answer:
        return answer(future, self.admin, self.health, topic)


class Topics:
    """What topics are there and what they hold. One admin client; every call waits at most `timeout` seconds.

    Calls raise KafkaUnavailable, NotAuthorized, UnknownTopic. They may be used from any thread.
    (AdminClient.list_consumer_group_offsets is not here on purpose: it crashes the interpreter while a
    group's coordinator is not ready. Ask Consumer.committed().)
    """

    def __init__(self, settings: ServiceSettings, *, timeout: float = 10.0) -> None:
        self._bootstrap = settings.bootstrap_servers
        self._user = settings.kafka.get("sasl.username", "NAME")
        self._timeout = timeout
        self._settings = settings
        self._lock = threading.Lock()
        self._client: tuple[AdminClient, ClientHealth] | None = self._connect()

    def _connect(self) -> tuple[AdminClient, ClientHealth]:
        health = ClientHealth("admin", self._bootstrap, log_changes=False)
        return make_admin(self._settings, health=health), health

    def _connected(self) -> tuple[AdminClient, ClientHealth]:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _replace(self, asked: _Asked[_Key, _Answer]) -> None:
        """Let the next request have a new client, if no other call has seen to that: never more than one.

        A client that takes a broker which died for the controller waits for that one, until it renews its
        metadata in some minutes. A new client asks whoever is there. Until then there is none: a client of a
        cluster that is away has threads, and nothing to do.
        """
        with self._lock:
            if self._client is not None and self._client[0] is asked.admin:
                self._client = None

    def describe(self, topic: str) -> TopicInfo:
        """Return what the topic is like now."""
        info = self.describe_each([topic])[topic]
        if isinstance(info, PenstockError):
            raise again(info)
        return info

    def describe_each(self, topics: Iterable[str]) -> dict[str, TopicInfo | PenstockError]:
        """Return what each topic is like now, or why that is not known; two requests for all together.

        What is no single topic's trouble (no broker answers, refused credentials) is raised.
        """
        wanted = sorted(set(topics))
        if not wanted:
            return {}
        described = self._ask_each(
            {topic: topic for topic in wanted},
            lambda admin: admin.describe_topics(TopicCollection(wanted), request_timeout=self._timeout),
        )
        found: dict[str, TopicInfo | PenstockError] = {}
        configs = self._configs_of(
            topic for topic, answered in described.items() if not isinstance(answered, PenstockError)
        )
        for topic, answered in described.items():
            if isinstance(answered, PenstockError):
                found[topic] = answered
                continue
            config = configs[topic]
            if isinstance(config, PenstockError) and not isinstance(config, NotAuthorized):
                found[topic] = config
                continue
            denied = isinstance(config, NotAuthorized)
            replicas = (len(partition.replicas) for partition in answered.partitions)
            found[topic] = TopicInfo(
                name=topic,
                topic_id=_printed(answered.topic_id),
                partitions=len(answered.partitions),
                replication_factor=min(replicas, default=0),
                config={} if isinstance(config, PenstockError) else config,
                config_error=str(config) if denied else None,
            )
        return found

    def ids(self, topics: Iterable[str]) -> dict[str, str]:
        """Return the ids of those topics that are there and not hidden from us; one request for all."""
        wanted = sorted(set(topics))
        if not wanted:
            return {}
        asked = self._request(
            ", ".join(wanted),
            lambda admin: admin.describe_topics(TopicCollection(wanted), request_timeout=self._timeout),
        )
        found = {}
        for topic, future in asked.futures.items():
            try:
                found[topic] = _printed(self._await(topic, asked, future).topic_id)
            except (UnknownTopic, NotAuthorized):
                continue
        return found

    def may_write(self, topic: str) -> bool:
        """Whether the brokers let us write the topic: they are asked, nothing is written for that."""
        described = self._ask(
            topic,
            lambda admin: admin.describe_topics(
                TopicCollection([topic]), include_authorized_operations=True, request_timeout=self._timeout
            ),
        )
        allowed = described[topic].authorized_operations
        return allowed is None or AclOperation.WRITE in allowed

    def _configs_of(self, topics: Iterable[str]) -> dict[str, dict[str, str] | PenstockError]:
        resources = {ConfigResource(ResourceType.TOPIC, topic): topic for topic in topics}
        if not resources:
            return {}
        answers = self._ask_each(
            resources, lambda admin: admin.describe_configs(list(resources), request_timeout=self._timeout)
        )
        return {
            resources[resource]: answered
            if isinstance(answered, PenstockError)
            else {name: entry.value for name, entry in answered.items() if entry.value is not None}
            for resource, answered in answers.items()
        }

    def log_starts_and_ends(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], LogRange]:
        """Return the first and next offset of each (topic, partition), read in two requests for all together.

        A partition that Kafka gives no answer for raises for all: who decides by these must not guess.
        """
        wanted = sorted(set(partitions))
        starts = self._offsets(wanted, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        ends = self._offsets(wanted, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {partition: LogRange(starts[partition], ends[partition]) for partition in wanted}

    def log_ranges_each(
        self, partitions: Iterable[tuple[str, int]]
    ) -> dict[tuple[str, int], LogRange | PenstockError]:
        """Return the same, and for a partition that Kafka gives no answer for: why. Raises as describe_each.

        The starts are read first, so that no log ends before it starts.
        """
        wanted = sorted(set(partitions))
        starts = self._offsets_each(wanted, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        ends = self._offsets_each(wanted, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        found: dict[tuple[str, int], LogRange | PenstockError] = {}
        for partition in wanted:
            start, end = starts[partition], ends[partition]
            if isinstance(start, PenstockError):
                found[partition] = start
            else:
                found[partition] = end if isinstance(end, PenstockError) else LogRange(start, end)
        return found

    def _offsets_each(
        self, partitions: list[tuple[str, int]], spec: OffsetSpec
    ) -> dict[tuple[str, int], int | PenstockError]:
        if not partitions:
            return {}
        asked = {TopicPartition(*partition): partition for partition in partitions}
        answers = self._ask_each(
            {key: topic for key, (topic, _) in asked.items()},
            lambda admin: admin.list_offsets(
                dict.fromkeys(asked, spec),
                isolation_level=IsolationLevel.READ_UNCOMMITTED,
                request_timeout=self._timeout,
            ),
        )
        return {
            asked[key]: info if isinstance(info, PenstockError) else info.offset
            for key, info in answers.items()
        }

    def watermarks(self, topic: str, partitions: int) -> dict[int, LogRange]:
        """Return the first and next offset of partitions 0 to `partitions` - 1 of one topic."""
        ranges = self.log_starts_and_ends((topic, number) for number in range(partitions))
        return {number: log_range for (_, number), log_range in ranges.items()}

    def _offsets(self, partitions: list[tuple[str, int]], spec: OffsetSpec) -> dict[tuple[str, int], int]:
        if not partitions:
            return {}
        asked = {TopicPartition(*partition): spec for partition in partitions}
        topics = sorted({topic for topic, _ in partitions})
        try:
            answers = self._ask(
                ", ".join(topics),
                lambda admin: admin.list_offsets(
                    asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=self._timeout
                ),
            )
        except KafkaFailed:
            # "No leaders found" is all that librdkafka says when a topic is hidden from us.
            for topic in topics:
                self.describe(topic)
            raise
        return {(partition.topic, partition.partition): info.offset for partition, info in answers.items()}

    def ensure_topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        replication_factor: int = -1,
        config: Mapping[str, str] | None = None,
    ) -> TopicInfo:
        """Return the topic, made if it is not there yet; one that is there is left as it is.

        `replication_factor` -1 takes the cluster's default. If we may not make it: NotAuthorized with the
        commands that someone who may can run.
        """
        config = dict(config or {})
        try:
            return self.describe(name)
        except UnknownTopic:
            pass
        except NotAuthorized as error:
            raise self._ask_someone(error, name, partitions, replication_factor, config) from None
        try:
            return self.make_topic(
                name, partitions=partitions, replication_factor=replication_factor, config=config
            )
        except TopicExists:
            return self._await_topic(name)  # someone was faster

    def make_topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        replication_factor: int = -1,
        config: Mapping[str, str] | None = None,
    ) -> TopicInfo:
        """Make a topic that is not there yet; else as `ensure_topic`. Raises TopicExists."""
        config = dict(config or {})
        new = NewTopic(name, num_partitions=partitions, replication_factor=replication_factor, config=config)
        try:
            self._ask(name, lambda admin: admin.create_topics([new], request_timeout=self._timeout))
        except NotAuthorized as error:
            raise self._ask_someone(error, name, partitions, replication_factor, config) from None
        log.info("topic %s made, with %d partitions", name, partitions)
        return self._await_topic(name)

    def _await_topic(self, name: str) -> TopicInfo:
        deadline = Deadline(self._timeout)
        while True:
            try:
                return self.describe(name)
            except UnknownTopic:
                if deadline.passed:
                    raise
                time.sleep(0.1)  # the brokers tell each other

    def add_partitions(self, topic: str, total: int) -> None:
        """Let the topic have `total` partitions, more than it has now."""
        self._ask(
            topic,
            lambda admin: admin.create_partitions(
                [NewPartitions(topic, total)], request_timeout=self._timeout
            ),
        )
        log.info("topic %s has %d partitions now", topic, total)

    def set_config(self, topic: str, config: Mapping[str, str]) -> None:
        """Set these of the topic's properties; the others stay as they are."""
        changes = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in sorted(config.items())
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes)
        self._ask(
            topic,
            lambda admin: admin.incremental_alter_configs([resource], request_timeout=self._timeout),
        )
        log.info("topic %s: %s set", topic, ", ".join(sorted(config)))

    def delete(self, topic: str) -> bool:
        """Delete the topic and all that it holds; False if there was none."""
        try:
            self._ask(topic, lambda admin: admin.delete_topics([topic], request_timeout=self._timeout))
        except UnknownTopic:
            return False
        log.info("topic %s deleted", topic)
        return True

    def _ask_someone(
        self,
        error: NotAuthorized,
        name: str,
        partitions: int,
        replication_factor: int,
        config: Mapping[str, str],
    ) -> NotAuthorized:
        """Say which commands someone who may must run, to make the topic or to let us make it."""
        replication = f" --replication-factor {replication_factor}" if replication_factor > 0 else ""
        settings = "".join(f" --config {key}={value}" for key, value in sorted(config.items()))
        return NotAuthorized(
            f"topic {name!r} is not there, or hidden from us, and we may not make it ({error}). To make it: "
            f"kafka-topics --bootstrap-server {self._bootstrap} --create --topic {name} "
            f"--partitions {partitions}{replication}{settings} ; to let us: "
            f"kafka-acls --bootstrap-server {self._bootstrap} --add --allow-principal User:{self._user} "
            f"--operation Create --operation Describe --operation DescribeConfigs --topic {name}"
        )

    def _ask_each(
        self, topics: Mapping[_Key, str], request: _Request[_Key, _Answer]
    ) -> dict[_Key, _Answer | PenstockError]:
        """Ask for many at once: one that goes wrong is an answer, what is wrong for all of them is raised."""
        asked = self._request(", ".join(sorted(set(topics.values()))), request)
        found: dict[_Key, _Answer | PenstockError] = {}
        for key, future in asked.futures.items():
            try:
                found[key] = asked.answer(topics[key], future)
            except PenstockError as error:
                last = asked.health.last_error
                if isinstance(error, NotAuthorized) and last is not None and str(error) == str(last):
                    raise  # refused credentials, not a missing ACL
                found[key] = again(error)
        away = [answered for answered in found.values() if isinstance(answered, KafkaUnavailable)]
        if away:
            self._replace(asked)
        if away and len(away) == len(found):
            raise again(away[0])
        return found

    def _ask(self, topic: str, request: _Request[_Key, _Answer]) -> dict[_Key, _Answer]:
        asked = self._request(topic, request)
        return {key: self._await(topic, asked, future) for key, future in asked.futures.items()}

    def _request(self, topic: str, request: _Request[_Key, _Answer]) -> _Asked[_Key, _Answer]:
        admin, health = self._connected()
        health.last_error = None  # what was wrong at an earlier request may be mended
        try:
            return _Asked(admin, health, request(admin))
        except KafkaException as error:
            raise explain_kafka(error, topic=topic, bootstrap=self._bootstrap) from None

    def _await(self, topic: str, asked: _Asked[_Key, _Answer], future: Future[_Answer]) -> _Answer:
        try:
            return asked.answer(topic, future)
        except KafkaUnavailable:
            self._replace(asked)
            raise


def _printed(topic_id: object) -> str:
    """Return a topic id as Kafka's own tools print it: librdkafka has / and + in it, and ids name files."""
    return str(topic_id).replace("/", "_").replace("+", "-")
