"""How clients are configured. (What they do with a real Kafka: tests/integration/servicekit.)"""

import json
import logging

import pytest
from confluent_kafka import KafkaError

from servicekit import kafka as client_settings
from servicekit.exceptions import ClientLost, ConfigurationError, NotAuthorized
from servicekit.kafka import (
    ClientHealth,
    admin_config,
    consumer_config,
    make_consumer,
    make_producer,
    producer_config,
)
from servicekit.settings import ServiceSettings


def settings(**kafka):
    return ServiceSettings(
        bootstrap_servers="127.0.0.1:1",
        kafka={name.replace("_", "."): value for name, value in kafka.items()},
    )


def test_a_producer_proves_delivery():
    config = producer_config(settings())

    assert config["enable.idempotence"] is True
    assert config["acks"] == "all"
    assert config["message.timeout.ms"] == 0
    assert config["enable.gapless.guarantee"] is True


def test_a_consumer_commits_by_hand_and_skips_nothing():
    config = consumer_config(settings(), "g")

    assert config["group.id"] == "g"
    assert config["enable.auto.commit"] is False
    assert config["enable.auto.offset.store"] is False
    assert config["auto.offset.reset"] == "earliest"
    assert config["partition.assignment.strategy"] == "cooperative-sticky"


def test_a_user_may_set_what_no_guarantee_depends_on():
    config = producer_config(settings(linger_ms="50", compression_type="zstd"))

    assert config["linger.ms"] == "50"
    assert config["compression.type"] == "zstd"


def test_name_and_password_come_from_variables_of_their_own_as_they_are(monkeypatch):
    monkeypatch.setenv("PENSTOCK_SASL_USERNAME", "microscope\n")
    monkeypatch.setenv("PENSTOCK_SASL_PASSWORD", " \"}\\ssl.ca.location=/x $(A)'\n")
    loaded = ServiceSettings.load()

    for config in (producer_config(loaded), consumer_config(loaded, "g"), admin_config(loaded)):
        assert config["sasl.username"] == "microscope"
        assert config["sasl.password"] == " \"}\\ssl.ca.location=/x $(A)'"
        assert "ssl.ca.location" not in config
    assert "$(A)" not in repr(loaded)
    assert "$(A)" not in loaded.model_dump_json()


def test_a_property_beats_the_variable():
    given = ServiceSettings(sasl_username="a", kafka={"sasl.username": "b"})
    assert producer_config(given)["sasl.username"] == "b"


def test_what_a_service_needs_beats_the_user():
    assert producer_config(settings(batch_size="5"), batch_size=7)["batch.size"] == 7


@pytest.mark.parametrize(
    "name",
    [
        "acks",
        "request.required.acks",
        "enable.idempotence",
        "message.timeout.ms",
        "delivery.timeout.ms",
        "enable.gapless.guarantee",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "auto.offset.reset",
        "isolation.level",
        "transactional.id",
        "group.id",
        "bootstrap.servers",
        "metadata.broker.list",
        "error_cb",
        "on_delivery",
        "default.topic.config",
    ],
)
@pytest.mark.parametrize("configure", [producer_config, lambda s: consumer_config(s, "g")])
def test_what_guarantees_depend_on_is_refused_by_name_with_the_reason(name, configure):
    user = ServiceSettings(kafka={name: "1"})

    with pytest.raises(ConfigurationError, match=r"Kafka property \S+ cannot be set: \w+"):
        configure(user)


class TestGroupProtocol:
    def test_consumer_leaves_timeouts_and_assignment_to_the_broker(self):
        config = consumer_config(settings(), "g", "consumer")

        assert config["group.protocol"] == "consumer"
        assert "partition.assignment.strategy" not in config
        make_consumer(settings(), "g", "consumer").close()

    @pytest.mark.parametrize(
        "name", ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"]
    )
    def test_consumer_refuses_what_only_classic_has(self, name):
        user = ServiceSettings(kafka={name: "6000", "group.protocol": "consumer"})

        with pytest.raises(ConfigurationError, match=f"{name} cannot be set with group.protocol=consumer"):
            consumer_config(user, "g")

    def test_classic_takes_a_session_timeout(self):
        assert consumer_config(settings(session_timeout_ms="9000"), "g")["session.timeout.ms"] == "9000"

    def test_classic_has_one_assignment_strategy(self):
        with pytest.raises(ConfigurationError, match="only cooperative-sticky"):
            consumer_config(settings(partition_assignment_strategy="range"), "g")

    def test_there_is_no_third_one(self):
        with pytest.raises(ConfigurationError, match="share is neither classic nor consumer"):
            consumer_config(settings(group_protocol="share"), "g")


class TestWhatLibrdkafkaRefuses:
    def test_an_unknown_property_is_named(self):
        with pytest.raises(ConfigurationError, match=r'No such configuration property: "linger\.millis"'):
            make_producer(settings(linger_millis="5"))

    def test_a_value_that_is_none(self):
        with pytest.raises(ConfigurationError, match=r"queue\.buffering\.max\.ms|linger\.ms"):
            make_producer(settings(linger_ms="soon"))

    def test_a_secret_is_not_repeated(self):
        user = ServiceSettings(
            kafka={"security.protocol": "ssl", "ssl.key.pem": "hush", "ssl.key.password": "hush2"}
        )

        with pytest.raises(ConfigurationError) as raised:
            make_producer(user)

        assert "hush" not in str(raised.value)

    def test_the_producers_and_the_consumers_properties_may_stand_in_one_list(self, caplog):
        both = settings(linger_ms="5", session_timeout_ms="9000")

        make_producer(both, health=ClientHealth("p")).poll(0)
        consumer = make_consumer(both, "g", health=ClientHealth("c"))
        consumer.poll(0)
        consumer.close()

        assert "ignored" not in caplog.text


class TestHealth:
    def transport(self, text="Connection refused"):
        return KafkaError(KafkaError._TRANSPORT, text)

    def all_down(self):
        return KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")

    def stats(self, *states):
        return json.dumps({"brokers": {str(i): {"state": state} for i, state in enumerate(states)}})

    def logged(self, caplog):
        return [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]

    def test_is_down_until_a_broker_was_seen(self):
        health = ClientHealth("producer", "kafka:9092")

        assert not health.broker_up
        assert health.problem == "no Kafka broker has answered yet at kafka:9092"
        health.on_stats(self.stats("CONNECT", "UP"))
        assert health.broker_up
        assert health.problem is None

    def test_down_and_up_again_are_each_logged_once(self, caplog):
        caplog.set_level(logging.INFO)
        health = ClientHealth("producer", "kafka:9092")
        health.on_stats(self.stats("UP"))

        for _ in range(5):
            health.on_error(self.transport())
            health.on_error(self.all_down())
        assert self.logged(caplog) == [
            "producer: no Kafka broker answers any more at kafka:9092; waiting for one"
        ]

        for _ in range(5):
            health.on_stats(self.stats("UP"))
        assert self.logged(caplog)[1:] == ["producer: Kafka at kafka:9092 answers again"]

        health.on_error(self.all_down())
        assert len(self.logged(caplog)) == 3

    def test_a_client_that_has_forgotten_all_brokers_is_lost(self, monkeypatch):
        forgotten = json.dumps({"brokers": {"GroupCoordinator": {"state": "INIT", "source": "logical"}}})
        health = ClientHealth("consumer", "kafka:9092")
        health.on_stats(self.stats("UP"))
        for _ in range(2):
            health.on_stats(forgotten)
            assert health.fatal is None, "it may be about to begin anew"

        monkeypatch.setattr(client_settings, "FORGOTTEN_SECONDS", 0.0)
        health.on_stats(self.stats("CONNECT"))
        health.on_stats(forgotten)
        assert health.fatal is None, "it has begun anew meanwhile"
        health.on_stats(forgotten)
        assert isinstance(health.fatal, ClientLost)
        assert "kafka:9092 knows of no broker any more" in health.problem
        assert "must be replaced" in health.problem

        health.replaced()
        assert health.fatal is None
        assert health.problem == "no Kafka broker has answered yet at kafka:9092"

    def test_the_reason_is_what_the_last_connection_said(self):
        health = ClientHealth("producer", "kafka:9092")

        health.on_error(self.transport("Connect to ipv4#10.0.0.1:9092 failed: Connection refused"))
        health.on_error(self.all_down())

        assert "Connection refused" in health.problem
        assert "brokers are down" not in health.problem

    def test_one_broker_of_several_being_away_is_no_problem(self):
        health = ClientHealth("producer", "kafka:9092")
        health.on_stats(self.stats("UP", "UP"))

        health.on_error(self.transport())

        assert health.problem is None

    def test_refused_credentials_are_the_reason(self):
        health = ClientHealth("producer", "kafka:9092")

        health.on_error(KafkaError(KafkaError._AUTHENTICATION, "Invalid username or password"))
        health.on_error(self.all_down())

        assert isinstance(health.last_error, NotAuthorized)
        assert "sasl.password" in health.problem
