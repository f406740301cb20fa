"""Kafka clients while a real broker goes away, comes back, and refuses."""

import threading

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from prometheus_client import REGISTRY
from tests.kafka import Kafka, unique
from tests.waiting import eventually, throughout

from servicekit import kafka as client_settings
from servicekit.exceptions import ClientLost, explain_kafka
from servicekit.kafka import (
    ClientHealth,
    answer,
    make_admin,
    make_consumer,
    make_producer,
    wait_for_broker,
)
from servicekit.lifecycle import StopSignal
from servicekit.settings import ServiceSettings


def settings_of(kafka):
    return ServiceSettings(bootstrap_servers=kafka.bootstrap_servers)


class Producing:
    def __init__(self, settings, **extra):
        self.health = ClientHealth("producer")
        self.producer = make_producer(settings, health=self.health, **extra)
        self.reports = []

    def send(self, topic, value):
        self.producer.produce(topic, value, on_delivery=lambda error, _: self.reports.append(error))

    def poll(self):
        return self.producer.poll(0.05)

    def drain(self, seconds=30):
        return self.producer.flush(seconds)


def up(client="admin"):
    """What is measured of a client's connections; None: nothing."""
    return REGISTRY.get_sample_value("penstock_kafka_client_brokers_up", {"client": client})


class TestABrokerThatGoesAway:
    def test_and_says_that_there_is_no_broker_leaves_no_client_waiting_for_ever(
        self, own_broker, monkeypatch
    ):
        """librdkafka may then forget where Kafka is. Who has, says so, and another client goes on."""
        monkeypatch.setattr(client_settings, "FORGOTTEN_SECONDS", 3.0)
        broker = own_broker()
        kafka = Kafka(broker.client_config())
        topic = kafka.create_topic()

        def all_sent():
            for number, sending in enumerate(clients):
                sending.producer.poll(0)
                if sending.health.fatal is not None:
                    assert "knows of no broker any more" in str(sending.health.fatal)
                    clients[number] = Producing(settings_of(kafka))
                    clients[number].send(topic, b"by another one")
            return all(None in sending.reports for sending in clients)

        clients = [Producing(settings_of(kafka)) for _ in range(16)]
        for _ in range(3):
            for sending in clients:
                sending.reports.clear()
                sending.send(topic, b"before")
            eventually(all_sent, 60, "all clients are connected")
            # Who is told that a partition has no leader any more asks at once who else there is.
            stopping = threading.Thread(target=broker.stop)
            stopping.start()
            while stopping.is_alive():
                for sending in clients:
                    sending.send(topic, b"while it stops")
                    sending.producer.poll(0.001)
            broker.start()
            for sending in clients:
                sending.reports.clear()
            eventually(all_sent, 60, "what was sent meanwhile is acknowledged to all")

    def test_is_seen_waited_for_and_loses_nothing(self, own_broker, caplog):
        caplog.set_level("INFO")
        broker = own_broker()
        kafka = Kafka(broker.client_config())
        topic = kafka.create_topic()
        sending = Producing(settings_of(kafka))
        eventually(lambda: sending.poll() is not None and sending.health.broker_up)

        broker.kill()
        eventually(lambda: sending.poll() is not None and not sending.health.broker_up)
        for number in range(10):
            sending.send(topic, b"%d" % number)
        assert sending.drain(0.2) == 10
        assert sending.health.problem is not None

        broker.start()
        assert sending.drain(60) == 0
        eventually(lambda: sending.poll() is not None and sending.health.broker_up)

        assert sending.reports == [None] * 10
        assert [record.value() for record in kafka.records(topic)] == [b"%d" % n for n in range(10)]
        said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("producer: ")]
        assert [line.split(" at ")[0] for line in said] == [
            "producer: no Kafka broker answers any more",
            "producer: Kafka",
        ]

    def test_is_waited_for_at_the_start(self, own_broker, caplog):
        caplog.set_level("INFO")
        broker = own_broker()
        broker.stop()
        settings = ServiceSettings(bootstrap_servers=broker.bootstrap_servers)
        answered = []
        thread = threading.Thread(
            target=lambda: answered.append(wait_for_broker(settings, StopSignal(), try_seconds=0.3))
        )
        thread.start()
        eventually(lambda: "waiting for one" in caplog.text)
        assert up() == 0
        broker.start()
        thread.join(60)

        assert answered == [True]
        assert "answers, after" in caplog.text
        assert up() is None, "an alert would fire for ever"

    def test_who_waits_can_be_stopped(self, caplog):
        stop = StopSignal()
        answered = []
        settings = ServiceSettings(bootstrap_servers="127.0.0.1:1")
        thread = threading.Thread(
            target=lambda: answered.append(wait_for_broker(settings, stop, try_seconds=0.3))
        )
        thread.start()
        eventually(lambda: "waiting for one" in caplog.text)
        stop.set("test")
        thread.join(10)

        assert answered == [False]


class TestAnAdminClient:
    def test_holds_nothing_for_who_does_not_ask(self, kafka, monkeypatch):
        """Its callbacks come only when it is polled, so nothing may come regularly."""
        monkeypatch.setitem(client_settings._COMMON, "statistics.interval.ms", 10)
        health = ClientHealth("admin")
        admin = make_admin(settings_of(kafka), health=health)
        answer(admin.describe_cluster(), admin, health)
        throughout(0.5, lambda: admin.poll(0) == 0, interval=0.05)


class TestAFatalError:
    @pytest.fixture
    def lost(self, kafka):
        """A producer whose topic takes less than it did."""
        topic = kafka.create_topic()
        sending = Producing(settings_of(kafka))
        sending.send(topic, b"x" * 400_000)
        assert sending.drain() == 0
        entry = ConfigEntry("max.message.bytes", "300000", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource("topic", topic, incremental_configs=[entry])
        kafka.admin.incremental_alter_configs([resource])[resource].result(30)

        # The broker that has the topic hears of it later than the controller, which has answered.
        other = Producing(settings_of(kafka), enable_idempotence=False, enable_gapless_guarantee=False)

        def refuses():
            other.reports.clear()
            other.send(topic, b"x" * 400_000)
            eventually(lambda: other.poll() and other.reports)
            return other.reports[0] is not None

        eventually(refuses)
        for _ in range(3):
            sending.send(topic, b"x" * 400_000)
        return sending

    def test_of_a_record_that_kafka_refuses_is_never_a_silent_gap(self, lost):
        assert lost.drain() == 0

        assert isinstance(lost.health.fatal, ClientLost)
        assert "Message size too large" in lost.health.problem
        assert "must be replaced" in lost.health.problem

    def test_is_seen_by_who_only_polls(self, lost):
        eventually(lambda: lost.poll() is not None and lost.health.fatal)

    def test_leaves_a_report_for_every_record(self, lost):
        assert lost.drain() == 0

        first, *others = lost.reports
        assert first is None
        assert len(others) == 3
        assert all(others)

    def test_lets_nothing_more_be_produced(self, lost):
        lost.drain()

        with pytest.raises(KafkaException) as raised:
            lost.send("any", b"x")
        assert isinstance(explain_kafka(raised.value), ClientLost)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_new_group_reads_all_there_is_and_commits_only_by_hand(kafka, protocol):
    topic, group = kafka.create_topic(partitions=2), unique("group")
    sending = Producing(settings_of(kafka))
    for number in range(20):
        sending.send(topic, b"%d" % number)
    assert sending.drain() == 0
    health = ClientHealth("consumer")
    consumer = make_consumer(settings_of(kafka), group, protocol, health=health)
    try:
        consumer.subscribe([topic])
        seen = []
        while len(seen) < 20:
            message = eventually(lambda: consumer.poll(1))
            assert message.error() is None
            seen.append(int(message.value()))
        assert sorted(seen) == list(range(20))
        assert all(place.offset < 0 for place in kafka.committed(group, topic).values())

        consumer.commit(offsets=[TopicPartition(topic, 0, 5, "mine")], asynchronous=False)
        assert kafka.committed(group, topic)[0].metadata == "mine"
    finally:
        consumer.close()
