"""Kafka clients: how they are configured, and how they say that something is wrong.

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
| message.max.bytes | 16 MiB | | above any chunk: the topic decides, see `check_topic_can_carry` |
| batch.size | 1 MB | | librdkafka's default; must not be above the topic's max.message.bytes |
| queue.buffering.max.kbytes | 32 MiB | | the most held unsent; produce() raises BufferError above |
| queue.buffering.max.messages | 100 000 | | small files: bounded by count before bytes |
| enable.auto.commit 🔒 | | false | offsets go only past what is durable |
| enable.auto.offset.store 🔒 | | false | the same |
| auto.offset.reset 🔒 | | earliest | a group without offset reads all there is; latest would skip silently |
| isolation.level 🔒 | | read_committed | librdkafka's default |
| queued.max.messages.kbytes | | 16 MiB | fetched but not yet polled, all partitions together |
| queued.min.messages | | 10 000 | fetch ahead up to this or the bytes above, which count for chunks |
| fetch.max.bytes | | 4 MiB | one answer; one per broker can come in above the queue's limit |
| max.partition.fetch.bytes | | 2 MiB | several chunks in one answer: one partition alone is fast too |
| session.timeout.ms | | 10 s | a replica that died is replaced soon; classic protocol only |
| fetch.queue.backoff.ms | | 5 | the default of 1000 makes a small queue crawl at 20 MB/s |

Above what Python and the libraries take (52 MB), a consumer is then resident with about 16 MiB + 4 MiB x
brokers, whatever the number of partitions. Measured with chunks of 512 KiB, 64 partitions, 3 brokers, all on
2 cores: at most 89 MB in all, at 1.1 GB/s; one partition alone 1.1 GB/s. Twice the fetch values: 118 MB,
at 1.9 GB/s.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Any, Final, Literal, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it has no __all__
    AdminClient,
    ConfigResource,
    ResourceType,
)
from typing_extensions import override

from servicekit import metrics
from servicekit.exceptions import (
    ClientLost,
    ConfigurationError,
    KafkaUnavailable,
    NotAuthorized,
    PenstockError,
    again,
    explain_kafka,
)
from servicekit.lifecycle import Deadline, StopSignal
from servicekit.logs import Limiter
from servicekit.settings import ServiceSettings

log = logging.getLogger(__name__)

GroupProtocol = Literal["classic", "consumer"]

MIB = 1024 * 1024

_COMMON: dict[str, object] = {
    "client.id": "penstock",
    "log.connection.close": False,  # idle connections are closed by brokers all the time
    # How often ClientHealth learns which brokers are up, and metrics are renewed.
    "statistics.interval.ms": 1000,
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
    "message.max.bytes": 16 * MIB,
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
    "fetch.max.bytes": 4 * MIB,
    "max.partition.fetch.bytes": 2 * MIB,
    "fetch.queue.backoff.ms": 5,
    "topic.metadata.refresh.interval.ms": 15_000,  # new partitions are read so soon (default 5 minutes)
}

CLASSIC_SESSION_SECONDS: Final = 10
"""After a crash another member, or the same one restarted, waits so long for its partitions. The default of
45 s is for programs whose garbage collector stops them; librdkafka sends heartbeats (every 3 s) from a
thread of its own."""

_SHORTEST_SESSION_SECONDS: Final = 5.0
"""Less than any sensible `group.consumer.min.session.timeout.ms` (45 s by default)."""

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
        ours["session.timeout.ms"] = CLASSIC_SESSION_SECONDS * 1000
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


def session_seconds(settings: ServiceSettings, group: str, config: Mapping[str, Any]) -> float:
    """Give how long a consumer with this configuration may be silent before its partitions go to others.

    With KIP-848 the brokers decide that, for each group. If they do not tell, a value that is surely less.
    """
    if config["group.protocol"] == "classic":
        return float(config["session.timeout.ms"]) / 1000
    resource = ConfigResource(ResourceType.GROUP, group)
    admin = make_admin(settings)
    try:
        told = admin.describe_configs([resource], request_timeout=10.0)[resource].result(11)
    except KafkaException as error:
        explained = explain_kafka(error, bootstrap=settings.bootstrap_servers)
        log.warning("how long a silence the brokers allow cannot be read (%s): taken for 5 s", explained)
        return _SHORTEST_SESSION_SECONDS
    entry = told.get("consumer.session.timeout.ms")
    return _SHORTEST_SESSION_SECONDS if entry is None else float(entry.value) / 1000


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
        **settings.credentials,
        **user,
        "bootstrap.servers": settings.bootstrap_servers,
        **{name.replace("_", "."): value for name, value in extra.items()},
    }


FORGOTTEN_SECONDS: Final = 10.0
"""A client that has known of no broker for so long, not even of those to begin with, never looks for one.

librdkafka forgets them all when a Kafka that is stopping answers that it has none (its issue 5301; 2.16 still
does). A client that begins anew has its first ones back within milliseconds.
"""


class ClientHealth:
    """What one Kafka client knows of its brokers: for readiness, and logged once when it changes.

    `client` is the client's name in logs and metrics, such as "producer"; `log_changes` False keeps it out of
    the log, for a client that another one of the same service speaks for. All of it is called from the
    client's own callbacks, which run in whichever thread polls it.
    """

    def __init__(self, client: str, bootstrap: str = "", *, log_changes: bool = True) -> None:
        self.client = client
        self.bootstrap = bootstrap
        self._log_changes = log_changes
        self.broker_up = False
        """Whether any broker answers. False until the first one was seen."""
        self.last_error: PenstockError | None = None
        """The last trouble since a broker has answered, such as refused credentials; else None."""
        self.fatal: PenstockError | None = None
        """Set when this client can never be used again and must be replaced."""
        self._forgotten_at: float | None = None
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
            self._say(logging.DEBUG, str(explained))
            if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
                # One broker's trouble, again at each try. Kept as the reason for when none is left.
                self.last_error = explained
                return
            was_up, self.broker_up = self.broker_up, False
            self.last_error = self.last_error or explained
            if not self._down_logged:
                self._down_logged = True
                lost = f"no Kafka broker answers any more at {self.bootstrap}"
                self._say(logging.WARNING, f"{lost if was_up else self.last_error}; waiting for one")

    def lost(self, error: PenstockError) -> None:
        """Note a fatal error: such errors do not come to `on_error`."""
        self.fatal = error
        self._say(logging.ERROR, str(error))

    def on_stats(self, text: str) -> None:
        """Take librdkafka's `stats_cb`: JSON, every statistics.interval.ms."""
        stats = json.loads(text)
        brokers = stats.get("brokers", {}).values()
        up = sum(1 for broker in brokers if broker.get("state") == "UP")
        metrics.observe_kafka_client(self.client, stats, brokers_up=up)
        if up:
            self.saw_broker()
        # What is logical, such as the group's coordinator, leads to no broker by itself.
        if any(broker.get("source") != "logical" for broker in brokers):
            self._forgotten_at = None
        elif self._forgotten_at is None:
            self._forgotten_at = time.monotonic()
        elif self.fatal is None and time.monotonic() - self._forgotten_at >= FORGOTTEN_SECONDS:
            at = f" at {self.bootstrap}" if self.bootstrap else ""
            self.lost(
                ClientLost(
                    f"the Kafka client{at} knows of no broker any more, looks for none and must be replaced: "
                    f"Kafka has said that there is none, as it does when it stops"
                )
            )

    def replaced(self) -> None:
        """Note that another client has taken the place of one that was lost."""
        with self._lock:
            self.fatal = self._forgotten_at = None
            self.broker_up = False

    def saw_broker(self) -> None:
        """Note that a broker has just answered (a record came, a commit went through)."""
        if self.broker_up:
            return
        with self._lock:
            self.broker_up = True
            self.last_error = None
            if self._down_logged:
                self._down_logged = False
                self._say(logging.INFO, f"Kafka at {self.bootstrap} answers again")

    def _say(self, level: int, text: str) -> None:
        log.log(level if self._log_changes else logging.DEBUG, "%s: %s", self.client, text)


class _Librdkafka(logging.Filter):
    """Keeps librdkafka's own log readable: lost connections are told by ClientHealth, nothing repeats."""

    # A line is: <facility> [<client>] [thrd:<thread>]: <text>
    _CONNECTION = ("FAIL ", "ERROR ", "GETPID ")
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
_Answer = TypeVar("_Answer")


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


class WatchedProducer(Producer):
    """A producer whose fatal error does not come out of the next poll() but is seen in its health.

    confluent_kafka raises it from poll(), once, without asking the error callback, and from flush(), which
    goes on with the exception set and ends in a SystemError. Here both return; the records that were held get
    their delivery reports, as failed; produce() raises KafkaException from then on.
    """

    def __init__(self, config: dict[str, Any], health: ClientHealth) -> None:
        super().__init__(config)
        self._health = health

    @override
    def poll(self, timeout: float = -1) -> int:
        """Let delivery reports and callbacks come, for `timeout` seconds (below 0: for ever)."""
        try:
            return super().poll(timeout)
        except KafkaException as error:
            explained = explain_kafka(error, bootstrap=self._health.bootstrap)
            if not isinstance(explained, ClientLost):
                raise
            self._health.lost(explained)
            return 1

    @override
    def flush(self, timeout: float = -1) -> int:
        """Wait until all is acknowledged or has failed; how many records are left after `timeout` seconds."""
        deadline = Deadline(timeout if timeout >= 0 else None)
        self.poll(0)
        while len(self) and not deadline.passed:
            self.poll(deadline.bound(0.5))
        return len(self)


def make_producer(
    settings: ServiceSettings, *, health: ClientHealth | None = None, **extra: object
) -> WatchedProducer:
    """Return a producer configured by `producer_config`; no broker needs to be there yet.

    Look at `health.fatal` after each poll(): it says when the producer must be replaced. Raises
    ConfigurationError for what librdkafka does not accept.
    """
    watched_by = health or ClientHealth("producer", settings.bootstrap_servers, log_changes=False)
    return _connect(
        lambda config: WatchedProducer(config, watched_by), producer_config(settings, **extra), health
    )


def make_admin(settings: ServiceSettings, *, health: ClientHealth | None = None) -> AdminClient:
    """Return an admin client. Never call its list_consumer_group_offsets: it can crash Python."""
    # Nobody polls it between two questions: statistics would pile up in it, half a gigabyte a day.
    config = admin_config(settings) | {"statistics.interval.ms": 0}
    return _connect(AdminClient, config, health)


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


def answer(
    future: Future[_Answer], admin: AdminClient, health: ClientHealth, topic: str | None = None
) -> _Answer:
    """Wait for what an admin client was asked; `health` is that client's. Raises what explain_kafka says.

    To a request, refused credentials and wrong protocols look like silence: their reasons come by the error
    callback. So it is asked while waiting, and refused credentials need no time-out.

    What is raised is in no variable here, nor in the future (`result` would raise what the future holds): the
    error would hold itself by its traceback, and with it the client and its threads. See `again`.
    """
    while not wait([future], 0.1).done:  # librdkafka ends the request itself, by an exception
        admin.poll(0)
        if isinstance(health.last_error, NotAuthorized):
            raise again(health.last_error)
    admin.poll(0)
    error = future.exception()
    if isinstance(error, KafkaException):
        raise _reason(error, health, topic)
    answered = future.result()
    health.saw_broker()
    return answered


def _reason(error: KafkaException, health: ClientHealth, topic: str | None) -> PenstockError:
    explained = explain_kafka(error, topic=topic, bootstrap=health.bootstrap)
    if isinstance(explained, KafkaUnavailable) and health.last_error is not None:
        return again(health.last_error)
    return explained


def has_header(message: Message, name: str) -> bool:
    """Whether a consumed record carries a header of this name."""
    headers = message.headers() or []
    return name in headers if isinstance(headers, dict) else any(name == its for its, *_ in headers)


def wait_for_broker(settings: ServiceSettings, stop: StopSignal, *, try_seconds: float = 2.0) -> bool:
    """Wait until a broker answers, visibly: logged at the start, every minute and at the end; and measured.

    Returns False if `stop` was set first. Raises what waiting cannot cure: ConfigurationError, NotAuthorized.
    """
    health = ClientHealth("admin", log_changes=False)
    admin = make_admin(settings, health=health)
    limiter = Limiter(every_seconds=60)
    began = time.monotonic()
    waited = False
    while not stop.is_set():
        try:
            answer(admin.describe_cluster(request_timeout=try_seconds), admin, health)
        except KafkaUnavailable as error:
            waited = True
            metrics.KAFKA_BROKERS_UP.labels(health.client).set(0)
            if limiter.first("waiting"):
                log.warning("%s; waiting for one", error)
            stop.wait(0.2)
        else:
            if waited:
                metrics.KAFKA_BROKERS_UP.remove(health.client)  # what is connected from now on says so itself
                log.info(
                    "Kafka at %s answers, after %.0f s", settings.bootstrap_servers, time.monotonic() - began
                )
            return True
    return False
