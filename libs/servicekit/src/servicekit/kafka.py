"""Kafka clients: how they are configured, how they say that something is wrong, and what topics are like.

The librdkafka properties that bound memory and speed, and those that delivery is proved by (🔒: refused from
users):

| property | producer | consumer | why |
|---|---|---|---|
| enable.idempotence 🔒 | true | | no duplicates, no reordering by retries |
| acks 🔒 | all | | a record is acknowledged when all in-sync replicas have it |
| message.timeout.ms 🔒 | 0 | | nothing times out within a file: a broker that is away is waited for |
| enable.gapless.guarantee 🔒 | true | | few delivery reports: a lost record must be fatal, not silent |
| linger.ms | 5 | | chunks fill a batch by themselves; 5 ms lets small files share one |
| compression.type | none | | instrument files seldom compress; a user may set it |
| message.max.bytes | from chunk size | from chunk size | librdkafka refuses more by itself |
| queue.buffering.max.kbytes | 32 MiB | | the most held unsent; produce() raises BufferError above |
| queue.buffering.max.messages | 100 000 | | small files: bounded by count before bytes |
| enable.auto.commit 🔒 | | false | offsets go only past what is durable |
| enable.auto.offset.store 🔒 | | false | the same |
| auto.offset.reset 🔒 | | earliest | a group without offset reads all there is; latest would skip silently |
| isolation.level 🔒 | | read_committed | librdkafka's default |
| queued.max.messages.kbytes | | 16 MiB | fetched but not yet polled, all partitions together |
| queued.min.messages | | 10 000 | fetch ahead up to this or the bytes above, which count for chunks |
| fetch.max.bytes | | 8 MiB | one answer; one per broker can come in above the queue's limit |
| max.partition.fetch.bytes | | 4 MiB | several chunks in one answer: one partition alone is fast too |
| fetch.queue.backoff.ms | | 5 | the default of 1000 makes a small queue crawl at 20 MB/s |

Resident memory of a consumer is then about 16 MiB + 8 MiB x brokers, whatever the number of partitions.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it has no __all__
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from servicekit import metrics
from servicekit.exceptions import (
    ConfigurationError,
    KafkaUnavailable,
    NotAuthorized,
    PenstockError,
    TopicRefused,
    UnknownTopic,
    explain_kafka,
)
from servicekit.lifecycle import Deadline, StopSignal
from servicekit.logs import Limiter
from servicekit.settings import ServiceSettings

log = logging.getLogger(__name__)

GroupProtocol = Literal["classic", "consumer"]

MIB = 1024 * 1024

RECORD_OVERHEAD = 20 * 1024
"""Bytes that a record may have beside its chunk: a path of 4 KiB in key and header, 8 KiB of user metadata
(the limits of the wire), destinations, digest, Kafka's 61 bytes of batch and some of record; rounded up."""

_COMMON: dict[str, object] = {
    "client.id": "penstock",
    "log.connection.close": False,  # idle connections are closed by brokers all the time
    # How often ClientHealth learns which brokers are up, and metrics are renewed.
    "statistics.interval.ms": 2000,
    "socket.keepalive.enable": True,  # a firewall that forgets an idle connection is noticed
    "reconnect.backoff.max.ms": 5000,  # after a broker's restart, wait no longer than this (default 10 s)
}

_PRODUCER: dict[str, object] = {
    "enable.idempotence": True,
    "acks": "all",
    "message.timeout.ms": 0,
    "enable.gapless.guarantee": True,
    "linger.ms": 5,
    "compression.type": "none",
    "queue.buffering.max.kbytes": 32 * 1024,
    "queue.buffering.max.messages": 100_000,
}

_CONSUMER: dict[str, object] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "enable.partition.eof": False,
    "queued.max.messages.kbytes": 16 * 1024,
    "queued.min.messages": 10_000,
    "fetch.max.bytes": 8 * MIB,
    "max.partition.fetch.bytes": 4 * MIB,
    "fetch.queue.backoff.ms": 5,
}

# Properties that a user may not set, and why.
_GUARANTEES: dict[str, str] = {
    "enable.idempotence": "without it retries duplicate and reorder records",
    "acks": "a file counts as sent only when all in-sync replicas have it",
    "message.timeout.ms": "a record that times out leaves a hole in its file",
    "enable.gapless.guarantee": "a lost record must not pass unnoticed",
    "enable.auto.commit": "offsets are committed only past what is durable",
    "enable.auto.offset.store": "offsets are committed only past what is durable",
    "auto.offset.reset": "any other value would skip files silently",
    "isolation.level": "records of aborted transactions are no files",
    "transactional.id": "Penstock's guarantees do not use transactions",
    "max.in.flight.requests.per.connection": "more than 5 break the order, fewer only slow it down",
    "message.send.max.retries": "nothing is given up while a broker is away",
    "enable.partition.eof": "the service decides whether it needs end-of-partition events",
    "group.id": "it is the destination's id",
    "bootstrap.servers": "it has an option: --bootstrap-servers (PENSTOCK_BOOTSTRAP_SERVERS)",
    "allow.auto.create.topics": "a topic made by accident has the wrong partitions and retention",
    "partitioner": "the partition of a path is fixed by the wire format",
    "default.topic.config": "set the property itself",
    "opaque": "it is no librdkafka property",
}

# librdkafka's second names for properties, which would get round the table above.
_ALIASES: dict[str, str] = {
    "request.required.acks": "acks",
    "queue.buffering.max.ms": "linger.ms",
    "delivery.timeout.ms": "message.timeout.ms",
    "compression.codec": "compression.type",
    "metadata.broker.list": "bootstrap.servers",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "retries": "message.send.max.retries",
    "fetch.message.max.bytes": "max.partition.fetch.bytes",
}

# KIP-848: the broker decides these.
_CLASSIC_ONLY = (
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "partition.assignment.strategy",
    "group.protocol.type",
)


def producer_config(settings: ServiceSettings, **extra: object) -> dict[str, Any]:
    """Properties of a producer: ours, the user's, `extra` (names with `_` for `.`); the last one wins.

    Raises ConfigurationError for a user's property that the guarantees depend on.
    """
    return _merge(_COMMON | _PRODUCER, settings, extra)


def consumer_config(
    settings: ServiceSettings, group: str, protocol: GroupProtocol | None = None, **extra: object
) -> dict[str, Any]:
    """Properties of a consumer in `group`; merged as in `producer_config`.

    `protocol` is the rebalance protocol: by default what the user's `group.protocol` says, else "classic",
    where partitions are assigned cooperative-sticky. "consumer" (KIP-848) leaves assignment and timeouts to
    the broker: a user's property that only the classic one has is refused with ConfigurationError.
    """
    user = _canonical(settings.kafka)
    protocol = protocol or _protocol_of(user)
    ours = _COMMON | _CONSUMER | {"group.id": group, "group.protocol": protocol}
    if protocol == "classic":
        ours["partition.assignment.strategy"] = "cooperative-sticky"
        strategy = user.get("partition.assignment.strategy", "cooperative-sticky")
        if strategy != "cooperative-sticky":
            raise ConfigurationError(
                f"Kafka property partition.assignment.strategy={strategy}: only cooperative-sticky is "
                f"supported, or group.protocol=consumer"
            )
    else:
        for name in _CLASSIC_ONLY:
            if name in user:
                raise ConfigurationError(
                    f"Kafka property {name} cannot be set with group.protocol=consumer: the broker decides "
                    f"it (kafka-configs --entity-type groups)"
                )
    config = _merge(ours, settings, extra)
    config["group.protocol"] = protocol
    return config


def admin_config(settings: ServiceSettings) -> dict[str, Any]:
    """Properties of an admin client; merged as in `producer_config`."""
    return _merge(dict(_COMMON), settings, {})


def _protocol_of(user: Mapping[str, str]) -> GroupProtocol:
    given = user.get("group.protocol", "classic").lower()
    if given not in ("classic", "consumer"):
        raise ConfigurationError(f"Kafka property group.protocol={given} is neither classic nor consumer")
    return "consumer" if given == "consumer" else "classic"


def _canonical(properties: Mapping[str, str]) -> dict[str, str]:
    return {_ALIASES.get(name, name): value for name, value in properties.items()}


def _merge(ours: dict[str, object], settings: ServiceSettings, extra: Mapping[str, object]) -> dict[str, Any]:
    user = _canonical(settings.kafka)
    for name in user:
        why = _GUARANTEES.get(name)
        if why is None and (name.endswith("_cb") or name in ("on_delivery", "on_commit", "logger")):
            why = "it is no librdkafka property"
        if why is not None:
            raise ConfigurationError(f"Kafka property {name} cannot be set: {why}")
    return {
        **ours,
        **user,
        "bootstrap.servers": settings.bootstrap_servers,
        **{name.replace("_", "."): value for name, value in extra.items()},
    }


class ClientHealth:
    """What one Kafka client knows of its brokers: for readiness, and logged once when it changes.

    `client` is the client's name in logs and metrics, such as "producer". All of it is called from the
    client's own callbacks, which run in whichever thread polls it.
    """

    def __init__(self, client: str, bootstrap: str = "") -> None:
        self.client = client
        self.bootstrap = bootstrap
        self.broker_up = False
        """Whether any broker answers. False until the first one was seen."""
        self.last_error: PenstockError | None = None
        """The last trouble while `broker_up` is False, such as refused credentials; else None."""
        self.fatal: PenstockError | None = None
        """Set once, when this client can never be used again and must be replaced."""
        self._down_logged = False
        self._lock = threading.Lock()

    @property
    def problem(self) -> str | None:
        """Why the service that needs this client is not ready; None if it is."""
        if self.fatal is not None:
            return str(self.fatal)
        if self.broker_up:
            return None
        return (
            str(self.last_error)
            if self.last_error
            else f"no Kafka broker has answered yet at {self.bootstrap}"
        )

    def on_error(self, error: KafkaError) -> None:
        """Take librdkafka's `error_cb`. Never raises: that would come out of an unrelated poll()."""
        explained = explain_kafka(error, bootstrap=self.bootstrap)
        with self._lock:
            if error.fatal():
                if self.fatal is None:
                    self.fatal = explained
                    log.error("%s: fatal: %s", self.client, explained)
                return
            if isinstance(explained, NotAuthorized):
                # Comes for each broker, again and again; and outlives the "all brokers down" that follows.
                if not isinstance(self.last_error, NotAuthorized):
                    log.error("%s: %s", self.client, explained)
                self.last_error = explained
                self.broker_up = False
            elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
                self.broker_up = False
                if not isinstance(self.last_error, NotAuthorized):
                    self.last_error = explained
                if not self._down_logged:
                    self._down_logged = True
                    log.warning("%s: %s; waiting for it", self.client, self.last_error)
            else:
                log.debug("%s: %s", self.client, explained)

    def on_stats(self, text: str) -> None:
        """Take librdkafka's `stats_cb`: JSON, every statistics.interval.ms."""
        stats = json.loads(text)
        brokers = stats.get("brokers", {}).values()
        up = sum(1 for broker in brokers if broker.get("state") == "UP")
        metrics.observe_kafka_client(self.client, stats, brokers_up=up)
        if up:
            self.saw_broker()

    def saw_broker(self) -> None:
        """Note that a broker has just answered (a record came, a commit went through)."""
        if self.broker_up:
            return
        with self._lock:
            self.broker_up = True
            self.last_error = None
            if self._down_logged:
                self._down_logged = False
                log.info("%s: Kafka at %s answers again", self.client, self.bootstrap)


class _Librdkafka(logging.Filter):
    """Keeps librdkafka's own log readable: lost connections are told by ClientHealth, nothing repeats."""

    # A line is: <facility> [<client>] [thrd:<thread>]: <text>
    _CONNECTION = ("FAIL ", "ERROR ")
    _INTENDED = (
        "property and will be ignored by this",  # one list of properties serves producers and consumers
        "enable.gapless.guarantee is experimental",
    )

    def __init__(self) -> None:
        super().__init__()
        self._limiter = Limiter(every_seconds=60)

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith("CONFWARN ") and any(intended in text for intended in self._INTENDED):
            return False
        if text.startswith(self._CONNECTION):
            if not logging.getLogger().isEnabledFor(logging.DEBUG):
                return False
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
            return True
        return record.levelno <= logging.DEBUG or self._limiter.first(re.sub(r"\d+", "#", text))


_librdkafka_log = logging.getLogger("librdkafka")
_librdkafka_log.addFilter(_Librdkafka())

_Client = TypeVar("_Client")
_Result = TypeVar("_Result")


def _connect(
    make: Callable[[dict[str, Any]], _Client], config: dict[str, Any], health: ClientHealth | None
) -> _Client:
    config = {**config, "logger": _librdkafka_log}
    if health is None:
        config["statistics.interval.ms"] = 0
    else:
        health.bootstrap = str(config["bootstrap.servers"])
        config |= {"error_cb": health.on_error, "stats_cb": health.on_stats}
    try:
        return make(config)
    except KafkaException as error:
        raise explain_kafka(error, bootstrap=str(config["bootstrap.servers"])) from None


def make_producer(
    settings: ServiceSettings, *, health: ClientHealth | None = None, **extra: object
) -> Producer:
    """Return a producer configured by `producer_config`; no broker needs to be there yet.

    Raises ConfigurationError for what librdkafka does not accept.
    """
    return _connect(Producer, producer_config(settings, **extra), health)


def make_consumer(
    settings: ServiceSettings,
    group: str,
    protocol: GroupProtocol | None = None,
    *,
    health: ClientHealth | None = None,
    **extra: object,
) -> Consumer:
    """Return a consumer configured by `consumer_config`, not yet subscribed; else as `make_producer`."""
    return _connect(Consumer, consumer_config(settings, group, protocol, **extra), health)


@dataclass(frozen=True)
class LogRange:
    """The offsets of one partition: `start` of the first record there is, `end` of the next one to come."""

    start: int
    end: int


@dataclass(frozen=True)
class TopicInfo:
    """A topic as it is now."""

    name: str
    topic_id: str
    """Base64 as Kafka prints it; changes when a topic is deleted and made again under the same name."""
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)
    """Its effective configuration; empty if `config_error` is set."""
    config_error: str | None = None
    """Why the configuration could not be read (ACL DescribeConfigs is missing), else None."""

    @property
    def retention_seconds(self) -> float | None:
        """Age at which records are deleted; None: never, or unknown."""
        milliseconds = int(self.config.get("retention.ms", -1))
        return None if milliseconds < 0 or "delete" not in self._policy else milliseconds / 1000

    @property
    def retention_bytes(self) -> int | None:
        """Size of ONE partition above which its oldest records are deleted; None: no limit, or unknown."""
        size = int(self.config.get("retention.bytes", -1))
        return None if size < 0 or "delete" not in self._policy else size

    @property
    def _policy(self) -> str:
        return self.config.get("cleanup.policy", "delete")


@dataclass(frozen=True)
class TopicProblem:
    """Something about a topic to know. `refused`: it would destroy or refuse our records."""

    refused: bool
    message: str


def check_topic_can_carry(
    info: TopicInfo, chunk_size: int, *, overhead: int = RECORD_OVERHEAD
) -> list[TopicProblem]:
    """Return what stands against sending chunks of `chunk_size` bytes to this topic. Pure.

    `overhead` is what a record may have beside its chunk, in bytes.
    """
    name = info.name
    problems = []
    if info.config_error is not None:
        problems.append(
            TopicProblem(
                False,
                f"topic {name!r}: its configuration cannot be read, so that it may compact, or refuse "
                f"large records, unnoticed: allow DescribeConfigs on it ({info.config_error})",
            )
        )
    policy = info.config.get("cleanup.policy", "delete")
    if "compact" in policy:
        problems.append(
            TopicProblem(
                True,
                f"topic {name!r} is compacted (cleanup.policy={policy}): Kafka would delete all chunks of a "
                f"path but the last; set cleanup.policy=delete or use another topic",
            )
        )
    needed = chunk_size + overhead
    for key in ("max.message.bytes", "segment.bytes"):
        limit = int(info.config.get(key, needed))
        if limit < needed:
            problems.append(
                TopicProblem(
                    True,
                    f"topic {name!r} has {key}={limit}, too small for chunks of {chunk_size} bytes: raise "
                    f"it to at least {needed}, or lower the chunk size to "
                    f"{max(0, limit - overhead)} (--chunk-size)",
                )
            )
    if info.replication_factor < 2:
        problems.append(
            TopicProblem(
                False,
                f"topic {name!r} has replication factor {info.replication_factor}: what one "
                f"broker's disk loses is lost",
            )
        )
    elif int(info.config.get("min.insync.replicas", 2)) < 2:
        problems.append(
            TopicProblem(
                False,
                f"topic {name!r} has min.insync.replicas=1: a record can be acknowledged by one broker "
                f"alone and lost with it; set it to 2",
            )
        )
    return problems


def require_topic_can_carry(
    info: TopicInfo, chunk_size: int, *, overhead: int = RECORD_OVERHEAD
) -> list[str]:
    """Raise TopicRefused if the topic cannot carry chunks of `chunk_size` bytes; else return the warnings."""
    problems = check_topic_can_carry(info, chunk_size, overhead=overhead)
    refused = [problem.message for problem in problems if problem.refused]
    if refused:
        raise TopicRefused("; ".join(refused))
    return [problem.message for problem in problems]


class Topics:
    """What topics are there and what they hold. One admin client; every call waits at most `timeout` seconds.

    Calls raise KafkaUnavailable, NotAuthorized, UnknownTopic. They may be used from any thread.
    (AdminClient.list_consumer_group_offsets is not here on purpose: it crashes the interpreter while a
    group's coordinator is not ready. Ask Consumer.committed().)
    """

    def __init__(self, settings: ServiceSettings, *, timeout: float = 10.0) -> None:
        self._bootstrap = settings.bootstrap_servers
        self._timeout = timeout
        self._health = ClientHealth("admin", self._bootstrap)
        self._admin = _connect(AdminClient, admin_config(settings), self._health)

    def describe(self, topic: str) -> TopicInfo:
        """Return what the topic is like now."""
        futures = self._ask(
            topic,
            lambda: self._admin.describe_topics(TopicCollection([topic]), request_timeout=self._timeout),
        )
        description = self._result(futures[topic], topic)
        partitions = description.partitions
        config: dict[str, str] = {}
        config_error = None
        try:
            config = self._config_of(topic)
        except NotAuthorized as error:
            config_error = str(error)
        return TopicInfo(
            name=topic,
            topic_id=str(description.topic_id),
            partitions=len(partitions),
            replication_factor=min((len(partition.replicas) for partition in partitions), default=0),
            config=config,
            config_error=config_error,
        )

    def _config_of(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        futures = self._ask(
            topic, lambda: self._admin.describe_configs([resource], request_timeout=self._timeout)
        )
        entries = self._result(futures[resource], topic)
        return {name: entry.value for name, entry in entries.items() if entry.value is not None}

    def log_starts_and_ends(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], LogRange]:
        """Return the first and next offset of each (topic, partition), read in two requests for all together.

        A partition that Kafka gives no answer for raises for all: who decides by these must not guess.
        """
        wanted = sorted(set(partitions))
        starts = self._offsets(wanted, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        ends = self._offsets(wanted, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {partition: LogRange(starts[partition], ends[partition]) for partition in wanted}

    def watermarks(self, topic: str, partitions: int) -> dict[int, LogRange]:
        """Return the first and next offset of partitions 0 to `partitions` - 1 of one topic."""
        ranges = self.log_starts_and_ends((topic, number) for number in range(partitions))
        return {number: log_range for (_, number), log_range in ranges.items()}

    def _offsets(self, partitions: list[tuple[str, int]], spec: OffsetSpec) -> dict[tuple[str, int], int]:
        if not partitions:
            return {}
        topic = partitions[0][0]
        asked = {TopicPartition(*partition): spec for partition in partitions}
        futures = self._ask(
            topic,
            lambda: self._admin.list_offsets(
                asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=self._timeout
            ),
        )
        return {
            (partition.topic, partition.partition): self._result(future, partition.topic).offset
            for partition, future in futures.items()
        }

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
        new = NewTopic(name, num_partitions=partitions, replication_factor=replication_factor, config=config)
        try:
            futures = self._ask(name, lambda: self._admin.create_topics([new], request_timeout=self._timeout))
            futures[name].result(self._timeout + 1)
            log.info("topic %s made, with %d partitions", name, partitions)
        except KafkaException as error:
            explained = explain_kafka(error, topic=name, bootstrap=self._bootstrap)
            code = error.args[0].code()
            if isinstance(explained, NotAuthorized):
                raise NotAuthorized(
                    f"topic {name!r} does not exist and we may not create it. Have this run once: "
                    + " ; or allow us to: ".join(
                        [
                            self._create_command(name, partitions, replication_factor, config),
                            self._acl_command(name),
                        ]
                    )
                ) from None
            if code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise explained from None
        deadline = Deadline(self._timeout)
        while True:
            try:
                return self.describe(name)
            except UnknownTopic:
                if deadline.passed:
                    raise
                time.sleep(0.1)  # the brokers tell each other

    def _create_command(
        self, name: str, partitions: int, replication_factor: int, config: Mapping[str, str]
    ) -> str:
        replication = f" --replication-factor {replication_factor}" if replication_factor > 0 else ""
        settings = "".join(f" --config {key}={value}" for key, value in sorted(config.items()))
        return (
            f"kafka-topics --bootstrap-server {self._bootstrap} --create --topic {name} "
            f"--partitions {partitions}{replication}{settings}"
        )

    def _acl_command(self, name: str) -> str:
        return (
            f"kafka-acls --bootstrap-server {self._bootstrap} --add --allow-principal User:NAME "
            f"--operation Create --operation Describe --operation DescribeConfigs --topic {name}"
        )

    def _ask(self, topic: str, request: Callable[[], dict[Any, Future[Any]]]) -> dict[Any, Future[Any]]:
        try:
            return request()
        except KafkaException as error:
            raise self._explain(error, topic) from None

    def _result(self, future: Future[_Result], topic: str) -> _Result:
        try:
            return future.result(self._timeout + 1)  # librdkafka gives up first; this is only the net below
        except KafkaException as error:
            raise self._explain(error, topic) from None
        except TimeoutError:
            raise KafkaUnavailable(
                f"no Kafka broker answers at {self._bootstrap} within {self._timeout:g} seconds"
            ) from None

    def _explain(self, error: KafkaException, topic: str) -> PenstockError:
        explained = explain_kafka(error, topic=topic, bootstrap=self._bootstrap)
        if isinstance(explained, KafkaUnavailable):
            # Refused credentials look like silence to a request: only the error callback knows better.
            self._admin.poll(0)
            if isinstance(self._health.last_error, NotAuthorized):
                return self._health.last_error
        return explained

    def answers(self, timeout: float) -> bool:
        """Whether a broker answers within `timeout` seconds.

        Raises NotAuthorized if it answers that we are not welcome.
        """
        try:
            self._admin.list_topics(topic="__penstock_is_anyone_there", timeout=timeout)
        except KafkaException as error:
            explained = self._explain(error, "")
            if isinstance(explained, KafkaUnavailable):
                return False
            raise explained from None
        return True


def wait_for_broker(settings: ServiceSettings, stop: StopSignal, *, try_seconds: float = 2.0) -> bool:
    """Wait until a broker answers, visibly: logged at the start, every minute and at the end.

    Returns False if `stop` was set first. Raises what waiting cannot cure: ConfigurationError, NotAuthorized.
    """
    topics = Topics(settings)
    limiter = Limiter(every_seconds=60)
    began = time.monotonic()
    while not stop.is_set():
        if topics.answers(try_seconds):
            if limiter.held_back("waiting") or time.monotonic() - began > try_seconds:
                log.info(
                    "Kafka at %s answers, after %.0f s", settings.bootstrap_servers, time.monotonic() - began
                )
            return True
        if limiter.first("waiting"):
            log.warning("no Kafka broker answers at %s; waiting for one", settings.bootstrap_servers)
        stop.wait(0.2)
    return False
