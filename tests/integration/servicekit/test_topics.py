"""What Topics says of a real Kafka, and what it says when Kafka refuses."""

import base64

import pytest
from tests.kafka import Kafka, unique
from tests.waiting import eventually

from servicekit.exceptions import ConfigurationError, KafkaUnavailable, NotAuthorized, UnknownTopic
from servicekit.kafka import make_producer, wait_for_broker
from servicekit.lifecycle import StopSignal
from servicekit.settings import ServiceSettings
from servicekit.topics import LogRange, Topics


def settings_of(config):
    config = dict(config)
    return ServiceSettings(bootstrap_servers=config.pop("bootstrap.servers"), kafka=config)


@pytest.fixture
def topics(kafka):
    return Topics(settings_of(kafka.client_config()))


class TestDescribe:
    def test_tells_partitions_replicas_configuration_and_id(self, kafka, topics):
        name = kafka.create_topic(partitions=3, config={"retention.ms": 60000})

        info = topics.describe(name)

        assert (info.name, info.partitions, info.replication_factor) == (name, 3, 1)
        assert info.retention_seconds == 60
        assert info.config["cleanup.policy"] == "delete"
        assert len(base64.urlsafe_b64decode(info.topic_id + "==")) == 16

    def test_ids_of_topics_fit_into_file_names(self, kafka, topics):
        ids = [topics.describe(kafka.create_topic()).topic_id for _ in range(8)]

        assert not any(character in topic_id for topic_id in ids for character in "/+=")

    def test_a_topic_that_was_made_again_has_another_id(self, kafka, topics):
        name = kafka.create_topic()
        before = topics.describe(name).topic_id
        kafka.delete_topic(name)
        kafka.create_topic(name)

        assert topics.describe(name).topic_id != before

    def test_ids_of_many_are_told_together_and_those_of_unknown_topics_left_out(self, kafka, topics):
        names = [kafka.create_topic() for _ in range(3)]

        ids = topics.ids([*names, "no-such-topic"])

        assert ids == {name: topics.describe(name).topic_id for name in names}
        assert topics.ids([]) == {}

    def test_an_unknown_topic_is_said_by_name_and_not_made(self, topics):
        for _ in range(2):
            with pytest.raises(UnknownTopic, match="'no-such-topic'"):
                topics.describe("no-such-topic")


class TestOffsets:
    def test_starts_and_ends_of_several_topics_come_together(self, kafka, topics):
        first, second = kafka.create_topic(partitions=2), kafka.create_topic()
        producer = make_producer(settings_of(kafka.client_config()))
        for _ in range(5):
            producer.produce(first, b"x", partition=1)
        producer.produce(second, b"x", partition=0)
        assert producer.flush(30) == 0
        kafka.delete_records(first, {1: 2})

        assert topics.log_starts_and_ends([(first, 0), (first, 1), (second, 0)]) == {
            (first, 0): LogRange(0, 0),
            (first, 1): LogRange(2, 5),
            (second, 0): LogRange(0, 1),
        }
        assert topics.watermarks(first, 2) == {0: LogRange(0, 0), 1: LogRange(2, 5)}

    def test_of_nothing_are_nothing(self, topics):
        assert topics.log_starts_and_ends([]) == {}

    def test_one_unknown_partition_raises_for_all(self, kafka, topics):
        name = kafka.create_topic()

        with pytest.raises(UnknownTopic, match=name):
            topics.log_starts_and_ends([(name, 0), (name, 1)])


class TestEnsure:
    def test_makes_the_topic_as_asked(self, topics):
        name = unique("made")

        info = topics.ensure_topic(name, partitions=2, config={"retention.ms": "5000"})

        assert (info.partitions, info.retention_seconds) == (2, 5)

    def test_leaves_one_that_is_there_as_it_is(self, kafka, topics):
        name = kafka.create_topic(partitions=2)

        assert topics.ensure_topic(name, partitions=5).partitions == 2

    def test_several_may_ensure_the_same_one_at_once(self, kafka, topics):
        from concurrent.futures import ThreadPoolExecutor

        name = unique("made")
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda _: topics.ensure_topic(name).topic_id, range(4)))

        assert len(set(made)) == 1

    def test_a_configuration_that_kafka_refuses_is_said(self, topics):
        with pytest.raises(Exception, match=r"retention\.ms") as raised:
            topics.ensure_topic(unique("made"), config={"retention.ms": "soon"})
        assert raised.type.__module__ == "servicekit.exceptions"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A Kafka that asks for passwords and ACLs."""
    from penstock.broker import Broker

    with Broker(users={"bob": "hush"}) as broker:
        yield broker


class TestRefused:
    def test_without_an_acl_a_topic_is_hidden(self, guarded):
        Topics(settings_of(guarded.client_config())).ensure_topic("secret")
        bob = Topics(settings_of(guarded.client_config("bob")))

        with pytest.raises(NotAuthorized, match=r"'secret'.*kafka-acls"):
            bob.describe("secret")
        with pytest.raises(NotAuthorized, match="'secret'"):
            bob.watermarks("secret", 1)

    def test_who_may_not_make_a_topic_is_given_the_commands(self, guarded):
        bob = Topics(settings_of(guarded.client_config("bob")))

        with pytest.raises(NotAuthorized) as raised:
            bob.ensure_topic("raw.receipts", partitions=3, config={"retention.ms": "1000"})

        message = str(raised.value)
        address = guarded.bootstrap_servers
        assert (
            f"kafka-topics --bootstrap-server {address} --create --topic raw.receipts --partitions 3 "
            f"--config retention.ms=1000"
        ) in message
        assert f"kafka-acls --bootstrap-server {address} --add --allow-principal User:bob" in message
        assert "hush" not in message

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"sasl.password": "wrong-hush"}, "Invalid username or password"),
            ({"sasl.mechanism": "SCRAM-SHA-256"}, "supported mechanisms: PLAIN"),
        ],
    )
    def test_refused_credentials_are_known_before_the_time_out(self, guarded, changed, said):
        wrong = settings_of(guarded.client_config("bob") | changed)

        with pytest.raises(NotAuthorized, match=said) as raised:
            Topics(wrong, timeout=60).describe("raw")
        assert "hush" not in str(raised.value)
        with pytest.raises(NotAuthorized, match=said):
            wait_for_broker(wrong, StopSignal(), try_seconds=60)

    def test_tls_to_a_plain_listener_is_said(self, guarded):
        wrong = settings_of(guarded.client_config("bob") | {"security.protocol": "SASL_SSL"})

        with pytest.raises(KafkaUnavailable, match="PLAINTEXT broker listener"):
            Topics(wrong, timeout=1).describe("raw")


class TestNobodyThere:
    NOWHERE = ServiceSettings(bootstrap_servers="127.0.0.1:1")

    def test_a_request_says_why(self):
        with pytest.raises(KafkaUnavailable, match=r"at 127\.0\.0\.1:1 .*Connection refused"):
            Topics(self.NOWHERE, timeout=0.5).describe("raw")

    def test_a_wrong_property_is_no_reason_to_wait(self):
        with pytest.raises(ConfigurationError):
            wait_for_broker(ServiceSettings(kafka={"linger.millis": "1"}), StopSignal())


def test_a_broker_that_was_taken_for_the_controller_may_die(own_cluster):
    cluster = own_cluster()
    kafka = Kafka(cluster.client_config())
    name = kafka.create_topic(partitions=3)
    topics = Topics(ServiceSettings(bootstrap_servers=cluster.bootstrap_servers), timeout=3.0)
    topics.describe(name)
    taken = topics._client[0].list_topics(timeout=10).controller_id
    cluster.brokers[taken - 1].kill()

    def described() -> bool:
        try:
            return topics.describe(name).partitions == 3
        except KafkaUnavailable:
            return False

    eventually(described, timeout=30, describe="the brokers that are left answer")
