"""What Kafka's answers mean for a stream, in words for the person who wrote it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chunkproto.plan import DEFAULT_CHUNK_SIZE
from penstock_operator.kafka.connection import ConnectionInvalid
from penstock_operator.reading import FailedRead
from penstock_operator.resource import ConditionType
from penstock_operator.scaling import Condition
from servicekit.exceptions import (
    ConfigurationError,
    KafkaUnavailable,
    NotAuthorized,
    PenstockError,
    TopicRefused,
    UnknownTopic,
)
from servicekit.topics import TopicInfo, check_topic_can_carry

_REASONS: Final = (
    (ConnectionInvalid, "ConnectionInvalid"),
    (ConfigurationError, "ConnectionInvalid"),
    (KafkaUnavailable, "KafkaUnavailable"),
    (NotAuthorized, "NotAuthorized"),
    (UnknownTopic, "TopicMissing"),
    (TopicRefused, "TopicRefused"),
    (PenstockError, "KafkaFailed"),
)

_WHERE: Final = (
    "In the DirectoryStream: kafka.bootstrapServers is the address, which the operator uses, too, from its "
    "own namespace (a Service is NAME.NAMESPACE:PORT); kafka.tls and kafka.authSecretRef decide "
    "security.protocol, certificates and who logs in."
)
"""Errors speak of the client's properties; this says where a stream has them."""


def failed_read(error: PenstockError, what: str = "") -> FailedRead:
    """Say why something of Kafka (`what`, such as "the committed offsets") is not known."""
    reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
    said = str(error)
    message = f"{said[:1].upper()}{said[1:]}."
    if what:
        message = f"{what[:1].upper()}{what[1:]} could not be read: {said}."
    if reason == "TopicMissing":
        message += " Or let the operator make it: topic.management: Create, with topic.partitions."
    if reason in {"KafkaUnavailable", "ConnectionInvalid"} and not isinstance(error, ConnectionInvalid):
        message += f" {_WHERE}"
    return FailedRead(reason, message)


def topic_condition(
    topic: TopicInfo | FailedRead, notes: Sequence[str] = (), *, chunk_size: int = DEFAULT_CHUNK_SIZE
) -> Condition:
    """Say whether the topic is there and can carry files in chunks of `chunk_size` bytes: `TopicReady`.

    `notes` is what else there is to know of it, such as `Prepared.differences`.
    """
    if isinstance(topic, FailedRead):
        unknown = topic.reason not in {"TopicMissing", "TopicRefused"}
        return Condition(ConditionType.TOPIC_READY, None if unknown else False, topic.reason, topic.message)
    problems = check_topic_can_carry(topic, chunk_size)
    refused = [problem.message for problem in problems if problem.refused]
    if refused:
        return Condition(ConditionType.TOPIC_READY, False, "TopicRefused", _sentences(refused))
    if notes:
        said = [*notes, *(problem.message for problem in problems)]
        return Condition(ConditionType.TOPIC_READY, True, "ConfigDiffers", _sentences(said))
    if problems:
        said = [problem.message for problem in problems]
        return Condition(ConditionType.TOPIC_READY, True, "CanCarryWithRisk", _sentences(said))
    return Condition(ConditionType.TOPIC_READY, True, "CanCarry", "The topic is there and can carry files.")


def _sentences(said: Sequence[str]) -> str:
    return " ".join(f"{text[:1].upper()}{text[1:].rstrip('.')}." for text in said)
