"""Kafka's configuration of a local broker: one table, with the reason for each value."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK = "127.0.0.1"
"""The only address that a local broker listens on, unless it is told otherwise by a `Listener`."""

SETTINGS: Mapping[str, tuple[str, str]] = {
    # name: (value, why)
    "auto.create.topics.enable": ("false", "a misspelled topic is an error, not a new topic"),
    "num.partitions": ("1", "for whoever creates a topic without saying how many"),
    "message.max.bytes": (
        str(8 << 20),
        "chunks of 1 MiB and more, with their headers, fit; a topic's own max.message.bytes may be smaller",
    ),
    "replica.fetch.max.bytes": (str(8 << 20), "followers take what leaders accept"),
    "group.initial.rebalance.delay.ms": (
        "0",
        "a first consumer begins at once; the default waits 3 s for others",
    ),
    "group.consumer.heartbeat.interval.ms": (
        "500",
        "KIP-848 members learn of a rebalance with a heartbeat: about 1 s instead of 5 to 10 s",
    ),
    "group.consumer.min.heartbeat.interval.ms": ("100", "lets the interval above be that low"),
    "group.min.session.timeout.ms": ("1000", "tests may use consumers that are declared dead quickly"),
    "group.consumer.min.session.timeout.ms": ("1000", "the same for KIP-848"),
    "broker.session.timeout.ms": ("3000", "a broker is back 5 s after SIGKILL rather than 15 s"),
    "broker.heartbeat.interval.ms": ("500", "well within the session, on a busy laptop too"),
    "offsets.topic.num.partitions": (
        "5",
        "50 by default: 50 directories, files and log lines for a few groups",
    ),
    "transaction.state.log.num.partitions": ("5", "the same"),
    "share.coordinator.state.topic.num.partitions": ("5", "the same"),
    "log.segment.bytes": (
        str(256 << 20),
        "retention goes by segments: at 1 GiB a laptop's disk waits long for it",
    ),
    "log.cleaner.dedupe.buffer.size": (
        str(16 << 20),
        "128 MiB by default, half of our heap; compaction stays possible",
    ),
    "num.network.threads": ("2", "a few clients on one machine"),
    "num.io.threads": ("4", "a few clients on one machine"),
    "num.recovery.threads.per.data.dir": ("1", "there is one disk"),
    "controlled.shutdown.enable": ("true", "leaders move before a broker of a cluster stops"),
}


@dataclass(frozen=True, slots=True)
class Membership:
    """Which broker of which cluster one is. All brokers of a local cluster are controllers, too."""

    cluster_id: str | None = None
    """22 characters of base64; none: that of the data directory, or a new one."""
    node_id: int = 1
    controllers: Mapping[int, int] = field(default_factory=dict)
    """Controller ports by node id. Empty: this broker is alone and chooses one."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where clients on other machines find a broker.

    Kafka's clients are told by the first broker that they reach where each broker is: an address that means
    the same to all of them.
    """

    host: str
    """Address or name of the interface to listen at; 0.0.0.0 or :: for all of them."""
    advertised_host: str
    """What clients are told to connect to."""
    advertised_port: int | None = None
    """None: the port that it listens at."""

    def advertised(self, port: int) -> str:
        """Return `host:port` as clients are told, of a broker that listens at `port`."""
        return endpoint(self.advertised_host, self.advertised_port or port)


def endpoint(host: str, port: int) -> str:
    """Write an address as Kafka reads it: `kafka1:9092`, `[::1]:9092`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Security:
    """SASL/PLAIN on every listener, and an authorizer that denies what no ACL allows."""

    users: Mapping[str, str]
    """Passwords by name."""
    super_user: str = "admin"
    super_password: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)

    def password(self, user: str) -> str:
        """Return the password of a user, the super user included."""
        return self.super_password if user == self.super_user else self.users[user]

    def properties(self, listeners: Iterable[str]) -> dict[str, str]:
        """Return what the server must be told of the listeners with these names."""
        everyone = {**self.users, self.super_user: self.super_password}
        login = (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f"username={_quoted(self.super_user)} password={_quoted(self.super_password)} "
            + " ".join(f"user_{name}={_quoted(password)}" for name, password in everyone.items())
            + ";"
        )
        return {
            "listener.security.protocol.map": ",".join(f"{name}:SASL_PLAINTEXT" for name in listeners),
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.mechanism.controller.protocol": "PLAIN",
            **{f"listener.name.{name.lower()}.plain.sasl.jaas.config": login for name in listeners},
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{self.super_user}",
            "allow.everyone.if.no.acl.found": "false",
        }


def server_properties(
    *,
    log_directory: Path,
    port: int,
    membership: Membership,
    security: Security | None,
    overrides: Mapping[str, str],
    listener: Listener | None = None,
    local_port: int = 0,
) -> dict[str, str]:
    """Return the whole configuration of one broker. `overrides` win.

    With a `listener` the broker has a second one, LOCAL, at the loopback interface's `local_port`: for
    itself, and for us who wait for it. What is advertised to others need not lead back to this machine yet.
    """
    nodes = membership.controllers
    replicas, in_sync = str(min(3, len(nodes))), str(max(1, min(2, len(nodes) - 1)))
    bound = {"CLIENT": endpoint(listener.host if listener else LOOPBACK, port)}
    advertised = {"CLIENT": listener.advertised(port) if listener else bound["CLIENT"]}
    if listener:
        bound["LOCAL"] = advertised["LOCAL"] = endpoint(LOOPBACK, local_port)
    bound["CONTROLLER"] = endpoint(LOOPBACK, nodes[membership.node_id])
    properties = {name: value for name, (value, _) in SETTINGS.items()}
    properties |= {
        "process.roles": "broker,controller",
        "node.id": str(membership.node_id),
        "controller.quorum.voters": ",".join(f"{node}@{LOOPBACK}:{at}" for node, at in nodes.items()),
        "controller.listener.names": "CONTROLLER",
        "listeners": _listed(bound),
        "advertised.listeners": _listed(advertised),
        "inter.broker.listener.name": "LOCAL" if listener else "CLIENT",
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in bound),
        "log.dirs": log_directory.as_posix(),
        # One broker: 1 and 1. Three: any one may die and acks=all still means two copies.
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
    }
    if security:
        properties |= security.properties(bound)
    return properties | dict(overrides)


def _listed(listeners: Mapping[str, str]) -> str:
    return ",".join(f"{name}://{address}" for name, address in listeners.items())


def to_java_properties(properties: Mapping[str, str]) -> str:
    """Write a mapping as Java reads it (ISO 8859-1, backslash escapes)."""
    lines = []
    for name, value in properties.items():
        escaped = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        if escaped.startswith(" "):
            escaped = "\\" + escaped
        ascii_only = "".join(c if " " <= c <= "~" else _utf16_escapes(c) for c in escaped)
        lines.append(f"{name}={ascii_only}\n")
    return "".join(lines)


def _utf16_escapes(character: str) -> str:
    data = character.encode("utf-16-be")
    return "".join(f"\\u{data[i]:02x}{data[i + 1]:02x}" for i in range(0, len(data), 2))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
