"""What is said of a topic, and of what could not be read."""

import pytest

from penstock_operator.kafka import failed_read, topic_condition
from penstock_operator.kafka.topics import _same
from penstock_operator.reading import FailedRead
from penstock_operator.resource import Condition
from servicekit.exceptions import (
    ClientLost,
    ConfigurationError,
    KafkaFailed,
    KafkaUnavailable,
    NotAuthorized,
    PenstockError,
    TopicRefused,
    UnknownTopic,
)
from servicekit.topics import TopicInfo

SAFE = {"cleanup.policy": "delete", "max.message.bytes": "1048588", "min.insync.replicas": "2"}


def topic(replication: int = 3, **config: str) -> TopicInfo:
    given = {name.replace("_", "."): value for name, value in config.items()}
    return TopicInfo("scope", "id", 4, replication, SAFE | given)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KafkaUnavailable, "KafkaUnavailable"),
        (NotAuthorized, "NotAuthorized"),
        (UnknownTopic, "TopicMissing"),
        (TopicRefused, "TopicRefused"),
        (ConfigurationError, "ConnectionInvalid"),
        (KafkaFailed, "KafkaFailed"),
        (ClientLost, "KafkaFailed"),
    ],
)
def test_every_failure_has_a_reason_that_a_condition_can_have(error: type[PenstockError], reason: str):
    failed = failed_read(error("something is wrong: mend it"), "the consumer group")
    assert failed.reason == reason
    assert failed.message.startswith("The consumer group could not be read: something is wrong: mend it.")
    condition = topic_condition(failed)
    Condition.model_validate(
        {
            "type": condition.type,
            "status": "Unknown" if condition.status is None else str(condition.status),
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    )


def test_a_topic_that_is_missing_is_not_ready_and_one_that_cannot_be_seen_is_unknown():
    assert topic_condition(FailedRead("TopicMissing", "It is not there.")).status is False
    assert topic_condition(FailedRead("KafkaUnavailable", "Nobody answers.")).status is None


def test_a_safe_topic_can_carry():
    condition = topic_condition(topic())
    assert (condition.status, condition.reason) == (True, "CanCarry")


@pytest.mark.parametrize(
    ("config", "said"),
    [({"cleanup_policy": "compact"}, "compacted"), ({"max_message_bytes": "1000"}, "max.message.bytes=1000")],
)
def test_a_topic_that_would_destroy_or_refuse_files_is_refused(config: dict[str, str], said: str):
    condition = topic_condition(topic(1, **config), ["something else"])
    assert (condition.status, condition.reason) == (False, "TopicRefused")
    assert said in condition.message
    assert "replication" not in condition.message, "first things first"


def test_a_risk_is_told_and_no_hindrance():
    condition = topic_condition(topic(1))
    assert (condition.status, condition.reason) == (True, "CanCarryWithRisk")
    assert condition.message.startswith("Topic 'scope' has replication factor 1")


def test_a_difference_is_told_before_a_risk():
    condition = topic_condition(topic(1), ["topic 'scope' has retention.ms=1, not retention.ms=2"])
    assert (condition.status, condition.reason) == (True, "ConfigDiffers")
    assert condition.message.startswith("Topic 'scope' has retention.ms=1")
    assert "replication factor 1" in condition.message


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("86400000", "86400000", True),
        ("0.5", "0.50", True),
        ("86400000", "8.64e7", True),
        ("a,b", "a, b", True),
        ("true", "True", True),
        ("86400000", "1", False),
        (None, "1", False),
        ("1", "", False),
        ("delete", "compact", False),
    ],
)
def test_values_are_compared_as_kafka_reads_them(one: str | None, other: str, same: bool):
    assert _same(one, other) is same
