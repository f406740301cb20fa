"""`spec.kafka`: which Kafka, and as whom.

The operator opens connections with what the author of a DirectoryStream wrote. So that nobody gets the
operator's powers by it, properties of the Kafka client are taken from a list of harmless ones: no path (the
client would read the operator's files), no command, no plug-in, no secret in plain sight, nothing that
decides who connects how (`authSecretRef` and `tls` do), and nothing that delivery is proved by.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from penstock_operator.resource.kubernetes import ATOMIC, DataKey, ObjectName, SecretOrConfigMap
from penstock_operator.resource.rules import Part, Rule, matching

NUMBERS: Final = frozenset(
    {
        "batch.num.messages",
        "batch.size",
        "broker.address.ttl",
        "compression.level",
        "connections.max.idle.ms",
        "fetch.error.backoff.ms",
        "fetch.max.bytes",
        "fetch.min.bytes",
        "fetch.queue.backoff.ms",
        "fetch.wait.max.ms",
        "heartbeat.interval.ms",
        "linger.ms",
        "max.partition.fetch.bytes",
        "max.poll.interval.ms",
        "metadata.max.age.ms",
        "queue.buffering.max.kbytes",
        "queue.buffering.max.messages",
        "queued.max.messages.kbytes",
        "queued.min.messages",
        "reconnect.backoff.max.ms",
        "reconnect.backoff.ms",
        "request.timeout.ms",
        "retry.backoff.max.ms",
        "retry.backoff.ms",
        "session.timeout.ms",
        "socket.connection.setup.timeout.ms",
        "socket.max.fails",
        "socket.receive.buffer.bytes",
        "socket.send.buffer.bytes",
        "socket.timeout.ms",
        "topic.metadata.refresh.interval.ms",
    }
)
"""Allowed properties whose value is a number."""

CHOICES: Final = {
    "broker.address.family": ("any", "v4", "v6"),
    "check.crcs": ("true", "false"),
    "client.dns.lookup": ("use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"),
    "compression.type": ("none", "gzip", "snappy", "lz4", "zstd"),
    "group.protocol": ("classic", "consumer"),
    "socket.keepalive.enable": ("true", "false"),
    "socket.nagle.disable": ("true", "false"),
}
"""Allowed properties whose value is one of a few words."""

TEXTS: Final = frozenset({"client.id", "client.rack"})
"""Allowed properties whose value is any text."""

ALLOWED: Final = NUMBERS | CHOICES.keys() | TEXTS
"""All properties that a DirectoryStream may set."""

_BROKER_DECIDES: Final = ("session.timeout.ms", "heartbeat.interval.ms")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def _is_about_connecting(name: str) -> bool:
    return name == "security.protocol" or name.startswith(("sasl.", "ssl."))


def _words(words: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{word}'" for word in sorted(words)) + "]"


def _one_of(name: str, words: tuple[str, ...]) -> Rule:
    return Rule(
        f"!('{name}' in self) || self['{name}'] in {_words(words)}",
        f"{name} has to be one of {', '.join(words)}",
        lambda properties: name not in properties or properties[name] in words,
    )


_CONNECTING: Final = "name == 'security.protocol' || name.startsWith('sasl.') || name.startsWith('ssl.')"
_PROPERTY_RULES: Final = (
    Rule(
        f"!self.exists(name, {_CONNECTING})",
        "who connects how is said by kafka.authSecretRef and kafka.tls: leave security.protocol, sasl.* and "
        "ssl.* out",
        lambda properties: not any(map(_is_about_connecting, properties)),
        reason="FieldValueForbidden",
    ),
    Rule(
        f"self.all(name, {_CONNECTING} || name in {_words(ALLOWED)})",
        "a stream may set only Kafka properties that docs/directorystream.md lists: none with paths, "
        "commands, plug-ins or secrets, none that delivery is proved by",
        lambda properties: all(_is_about_connecting(name) or name in ALLOWED for name in properties),
        reason="FieldValueForbidden",
    ),
    Rule(
        f"self.all(name, !(name in {_words(NUMBERS)}) || self[name].matches('^-?[0-9]+(\\\\.[0-9]+)?$'))",
        "properties that end in .ms, .bytes, .kbytes, .messages and the like take a number in quotes, such "
        "as "
        'linger.ms: "20"',
        lambda properties: all(
            _NUMBER.fullmatch(value) is not None for name, value in properties.items() if name in NUMBERS
        ),
    ),
    *(_one_of(name, words) for name, words in CHOICES.items()),
    Rule(
        "!('group.protocol' in self) || self['group.protocol'] != 'consumer' || "
        + " && ".join(f"!('{name}' in self)" for name in _BROKER_DECIDES),
        f"with group.protocol: consumer the brokers decide {' and '.join(_BROKER_DECIDES)}: leave them out",
        lambda properties: (
            properties.get("group.protocol") != "consumer"
            or not any(name in properties for name in _BROKER_DECIDES)
        ),
    ),
)


def properties_problems(properties: Mapping[str, str]) -> list[str]:
    """Say why a DirectoryStream may not set these properties of the Kafka client, one line for each reason.

    No value is told: what somebody tried to set may be a secret.
    """
    return [rule.message for rule in _PROPERTY_RULES if rule.holds is not None and not rule.holds(properties)]


_Value = Annotated[str, StringConstraints(max_length=1024)]


class AuthSecret(Part):
    """As whom to log in to Kafka (SASL)."""

    name: ObjectName = Field(description="Name of the Secret, in the stream's own namespace.")
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field(
        "SCRAM-SHA-512",
        description="How the password is proved. `PLAIN` sends it as it is: use it with `tls` only.",
    )
    username: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = Field(
        None,
        description="Name to log in with, for Secrets that hold only the password, as those that Strimzi "
        "makes for a KafkaUser. By default it is read from the Secret.",
    )
    username_key: DataKey = Field("username", description="Key of the Secret that holds the name.")
    password_key: DataKey = Field("password", description="Key of the Secret that holds the password.")


class ClientCertificate(Part):
    """As whom to connect to Kafka by TLS: a Secret with a certificate and its private key (PEM)."""

    name: ObjectName = Field(description="Name of the Secret, in the stream's own namespace.")
    certificate_key: DataKey = Field(
        "tls.crt", description="Key that holds the certificate; Strimzi calls it `user.crt`."
    )
    private_key_key: DataKey = Field(
        "tls.key", description="Key that holds the private key, without a password; Strimzi: `user.key`."
    )


class Tls(Part):
    """How to connect by TLS. `{}` is enough for brokers with a certificate that everybody trusts."""

    ca: SecretOrConfigMap | None = Field(
        None,
        description="Certificate authority of the brokers (PEM). By default those that the image trusts.",
    )
    client_secret_ref: ClientCertificate | None = Field(
        None, description="Certificate to show to the brokers, where they ask for one (mutual TLS)."
    )


_BROKER: Final = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?"


class Kafka(Part):
    """Which Kafka the files go through, and as whom. The operator asks it too, by the same name."""

    bootstrap_servers: Annotated[
        str,
        StringConstraints(min_length=1, max_length=2048),
        matching(
            rf"{_BROKER}( *, *{_BROKER})*",
            "give addresses as HOST:PORT, separated by commas, without a protocol in front: "
            "kafka-0.kafka:9092,kafka-1.kafka:9092",
        ),
    ] = Field(
        description="Addresses of brokers, `HOST:PORT` separated by commas; a few are enough to find the "
        "others. The operator connects, too, from its own namespace: a Service is `NAME.NAMESPACE:PORT`."
    )
    properties: Annotated[dict[str, _Value], Field(max_length=64), *_PROPERTY_RULES] = Field(
        {},
        description="Properties of the Kafka client (librdkafka) for uploaders and downloaders, from a list "
        'of harmless ones. Values are text: `linger.ms: "20"`.',
    )
    auth_secret_ref: AuthSecret | None = Field(
        None,
        description="Secret with the name and password to log in with (SASL). By default nobody logs in.",
        json_schema_extra=ATOMIC,
    )
    tls: Tls | None = Field(
        None, description="Connect by TLS; `{}` with all defaults. By default in the clear."
    )

    @property
    def security_protocol(self) -> str:
        """What librdkafka's `security.protocol` has to be."""
        if self.auth_secret_ref is not None:
            return "SASL_PLAINTEXT" if self.tls is None else "SASL_SSL"
        return "PLAINTEXT" if self.tls is None else "SSL"
