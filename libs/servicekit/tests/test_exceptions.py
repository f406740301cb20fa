"""Errors are for the person who must act."""

import inspect

import pytest
from confluent_kafka import KafkaError, KafkaException

from servicekit import exceptions
from servicekit.exceptions import (
    ClientLost,
    ConfigurationError,
    KafkaFailed,
    KafkaUnavailable,
    NotAuthorized,
    PenstockError,
    TopicExists,
    TopicRefused,
    UnknownTopic,
    explain_kafka,
)

CASES = [
    (KafkaError.UNKNOWN_TOPIC_OR_PART, UnknownTopic, "'raw'"),
    (KafkaError._UNKNOWN_TOPIC, UnknownTopic, "penstock create-topic"),
    (KafkaError._UNKNOWN_PARTITION, UnknownTopic, "'raw'"),
    (KafkaError.TOPIC_AUTHORIZATION_FAILED, NotAuthorized, "kafka-acls"),
    (KafkaError.GROUP_AUTHORIZATION_FAILED, NotAuthorized, "allow Read on the group"),
    (KafkaError.CLUSTER_AUTHORIZATION_FAILED, NotAuthorized, "IdempotentWrite"),
    (KafkaError.SASL_AUTHENTICATION_FAILED, NotAuthorized, "sasl.password"),
    (KafkaError._AUTHENTICATION, NotAuthorized, "sasl.password"),
    (KafkaError._SSL, NotAuthorized, "ssl.ca.location"),
    (KafkaError._TRANSPORT, KafkaUnavailable, "--bootstrap-servers"),
    (KafkaError._ALL_BROKERS_DOWN, KafkaUnavailable, "kafka:9092"),
    (KafkaError._TIMED_OUT, KafkaUnavailable, "kafka:9092"),
    (KafkaError._RESOLVE, KafkaUnavailable, "kafka:9092"),
    (KafkaError.MSG_SIZE_TOO_LARGE, TopicRefused, "--chunk-size"),
    (KafkaError.TOPIC_ALREADY_EXISTS, TopicExists, "'raw'"),
    (KafkaError._INVALID_ARG, ConfigurationError, "said"),
    (KafkaError._FATAL, ClientLost, "replaced"),
    (KafkaError._GAPLESS_GUARANTEE, ClientLost, "replaced"),
    (KafkaError.POLICY_VIOLATION, KafkaFailed, "POLICY_VIOLATION"),
]


@pytest.mark.parametrize(("code", "kind", "mentions"), CASES)
@pytest.mark.parametrize("wrap", [lambda error: error, KafkaException])
def test_what_kafka_says_is_explained_in_one_line(code, kind, mentions, wrap):
    explained = explain_kafka(wrap(KafkaError(code, "said\n so")), topic="raw", bootstrap="kafka:9092")

    assert type(explained) is kind
    assert mentions in str(explained)
    assert "\n" not in str(explained)


def test_an_error_marked_fatal_means_the_client_is_lost_whatever_its_code():
    assert isinstance(explain_kafka(KafkaError(KafkaError._STATE, "x", fatal=True)), ClientLost)


def test_how_long_a_state_lasted_is_left_out():
    said = (
        "a:1/bootstrap: Connect failed: refused (after 3ms in state CONNECT, 2 identical error(s) suppressed)"
    )

    assert "(a:1/bootstrap: Connect failed: refused):" in str(explain_kafka(KafkaError(-195, said)))


def test_an_exception_without_a_kafka_error_is_passed_on():
    assert "odd" in str(explain_kafka(KafkaException("odd")))


def test_wrong_use_exits_with_2_and_all_else_with_1():
    assert ConfigurationError.exit_code == 2
    assert {kind.exit_code for kind in _tree() if kind is not ConfigurationError} == {1}


def test_the_docstring_draws_the_whole_tree():
    for kind in _tree():
        assert f"{kind.__name__} " in exceptions.__doc__


def _tree():
    return [
        kind for _, kind in inspect.getmembers(exceptions, inspect.isclass) if issubclass(kind, PenstockError)
    ]
