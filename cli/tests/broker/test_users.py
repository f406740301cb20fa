"""A broker with users knows who they are, and denies what no ACL allows."""

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from tests.kafka import Kafka

from penstock.broker import BrokerError


def test_the_authorizer_denies_what_no_acl_allows(own_broker):
    broker = own_broker(users={"alice": 'pass "word" \\ é', "bob": "secret"})
    root = Kafka(broker.client_config())
    alice, bob = Kafka(broker.client_config("alice")), Kafka(broker.client_config("bob"))
    topic, without_acls = root.create_topic(), root.create_topic()
    binding = AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        "User:alice",
        "*",
        AclOperation.WRITE,
        AclPermissionType.ALLOW,
    )
    root.admin.create_acls([binding])[binding].result(30)
    alice.send(topic, b"allowed")
    for denied in (topic, without_acls):
        with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
            bob.send(denied, b"denied")
    assert [r.value() for r in root.records(topic)] == [b"allowed"]


def test_a_wrong_password_is_refused(own_broker):
    broker = own_broker(users={"alice": "secret"})
    errors = []
    config = {**broker.client_config("alice"), "sasl.password": "guessed", "error_cb": errors.append}
    admin = AdminClient({**config, "log_level": 0})
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=3)
    admin.poll(0)
    assert any(error.name() == "_AUTHENTICATION" for error in errors)


def test_users_of_a_broker_without_any_are_an_error(own_broker):
    with pytest.raises(BrokerError, match="knows no users, so not 'alice'"):
        own_broker().client_config("alice")
