"""Who may connect where, and what the operator says when it cannot; others are never held up by it."""

import contextlib
import gc
import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from tests.integration.operator.conftest import login
from tests.kafka import Kafka, unique
from tests.waiting import eventually

from penstock.broker import Broker
from penstock_operator.kafka import (
    Cluster,
    Clusters,
    References,
    Renewal,
    TopicWanted,
    Watched,
    connect,
    observe,
    prepare,
    renew,
)
from penstock_operator.kafka.clusters import AWAY_SECONDS, CALLERS, REQUEST_SECONDS
from penstock_operator.kafka.groups import describe_groups
from penstock_operator.reading import FailedRead, Reading
from penstock_operator.resource.kafka import Kafka as KafkaOfStream
from servicekit.exceptions import ConfigurationError, KafkaUnavailable, NotAuthorized
from servicekit.topics import TopicInfo

PASSWORD = "its-password"


def failure(cluster: Cluster, topic: str = "any", group: str = "any") -> FailedRead:
    (found,) = observe(cluster, [Watched(topic, group)]).values()
    assert isinstance(found.reading, FailedRead), found
    return found.reading


def allow(kafka: Kafka, user: str, *what: tuple[ResourceType, str, AclOperation]) -> None:
    bindings = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, ALLOW)
        for kind, name, operation in what
    ]
    for done in kafka.admin.create_acls(bindings).values():
        done.result(30)


ALLOW = AclPermissionType.ALLOW


class TestLoggingIn:
    @pytest.fixture
    def broker(self, own_broker) -> Broker:
        return own_broker(users={"operator": PASSWORD})

    def test_wrong_passwords_are_told_at_once_and_never_shown(self, broker, use, caplog):
        caplog.set_level(logging.DEBUG)
        cluster = use(broker.client_config("operator"), password="hunter2-hunter2")
        began = time.monotonic()

        failed = failure(cluster)

        assert failed.reason == "NotAuthorized"
        assert "does not accept our credentials" in failed.message
        assert time.monotonic() - began < REQUEST_SECONDS, "nobody waited for a time-out"
        with pytest.raises(NotAuthorized):
            renew(cluster, "any", "any")
        with pytest.raises(NotAuthorized):
            prepare(cluster, TopicWanted("any", 1))
        assert "hunter2" not in caplog.text + failed.message + repr(cluster.connection)

    def test_a_password_that_was_mended_is_used(self, broker, use):
        assert failure(use(broker.client_config(), password="wrong")).reason == "NotAuthorized"
        assert failure(use(broker.client_config())).reason == "TopicMissing"

    def test_what_no_acl_allows_is_told_for_the_stream_that_it_concerns(self, broker, use):
        kafka, cluster = Kafka(broker.client_config()), use(broker.client_config("operator"))
        open_topic, hidden = kafka.create_topic(), kafka.create_topic()
        for operation in (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS):
            allow(kafka, "operator", (ResourceType.TOPIC, open_topic, operation))
        allow(kafka, "operator", (ResourceType.GROUP, "mine", AclOperation.DESCRIBE))
        mine, foreign, secret = (
            Watched(open_topic, "mine"),
            Watched(open_topic, "foreign"),
            Watched(hidden, "mine"),
        )

        found = eventually(
            lambda: (
                seen
                if isinstance((seen := observe(cluster, [mine, foreign, secret]))[mine].reading, Reading)
                else None
            ),
            describe="what the operator may see is read",
        )

        assert isinstance(found[foreign].topic, TopicInfo)
        denied = found[foreign].reading
        assert isinstance(denied, FailedRead)
        assert denied.reason == "NotAuthorized"
        assert "allow Read on the group" in denied.message
        assert found[secret].reading.reason in {"NotAuthorized", "TopicMissing"}
        assert hidden in found[secret].reading.message

    def test_describe_on_topic_and_group_is_all_that_reading_takes_read_all_that_renewing_takes(
        self, broker, use
    ):
        kafka, cluster = Kafka(broker.client_config()), use(broker.client_config("operator"))
        topic = kafka.create_topic()
        allow(
            kafka,
            "operator",
            (ResourceType.TOPIC, topic, AclOperation.DESCRIBE),
            (ResourceType.TOPIC, topic, AclOperation.DESCRIBE_CONFIGS),
            (ResourceType.GROUP, "mine", AclOperation.DESCRIBE),
        )
        key = Watched(topic, "mine")
        eventually(
            lambda: isinstance(observe(cluster, [key])[key].reading, Reading), describe="the stream is read"
        )
        assert renew(cluster, topic, "mine") is Renewal.NOTHING_COMMITTED
        consumer_config = {**kafka.client_config(), "group.id": "mine"}
        commit_one(consumer_config, topic)
        with pytest.raises(NotAuthorized):
            renew(cluster, topic, "mine")
        allow(
            kafka,
            "operator",
            (ResourceType.TOPIC, topic, AclOperation.READ),
            (ResourceType.GROUP, "mine", AclOperation.READ),
        )

        def renewed() -> bool:
            try:
                return renew(cluster, topic, "mine") is Renewal.RENEWED
            except NotAuthorized as error:
                raise AssertionError from error

        eventually(renewed, describe="the offsets are renewed")


def commit_one(config: dict[str, str], topic: str) -> None:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**config, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)
    consumer.close()


class TestAClusterThatIsAway:
    def test_is_told_holds_up_no_other_and_is_seen_to_come_back(self, own_broker, use, kafka, cluster):
        broker = own_broker()
        lost = use(broker.client_config())
        topic = Kafka(broker.client_config()).create_topic()
        key = Watched(topic, "group")
        assert isinstance(observe(lost, [key])[key].reading, Reading)
        here = Watched(kafka.create_topic(), unique("group"))
        broker.kill()

        away = lost.submit(observe, lost, [key])
        assert isinstance(cluster.submit(observe, cluster, [here]).result(30)[here].reading, Reading)
        assert not away.done(), "the other cluster was read meanwhile"
        failed = away.result(60)[key].reading

        assert failed.reason == "KafkaUnavailable"
        assert broker.bootstrap_servers in failed.message
        assert "kafka.bootstrapServers" in failed.message
        began = time.monotonic()
        for _ in range(100):
            assert failure(lost, topic, "group") == failed
            with pytest.raises(KafkaUnavailable):
                renew(lost, topic, "group")
        assert time.monotonic() - began < REQUEST_SECONDS, "it is not asked again at once"

        broker.start()
        eventually(
            lambda: isinstance(observe(lost, [key])[key].reading, Reading),
            timeout=AWAY_SECONDS + 30,
            describe="it is read again",
        )

    def test_is_told_in_the_same_words_for_as_long_as_it_is_away(self, clusters, monkeypatch):
        spec = KafkaOfStream.model_validate({"bootstrapServers": "127.0.0.1:1, 127.0.0.1:2"})
        monkeypatch.setattr("penstock_operator.kafka.clusters.AWAY_SECONDS", 0.0)
        quick = Clusters(make=lambda connection: Cluster(connection, request_seconds=1.0))
        with quick.use(connect(spec, References())) as cluster:
            assert len({failure(cluster).message for _ in range(4)}) == 1
        quick.close()

    def test_takes_no_longer_than_its_time_limit_when_it_is_silent(self, clusters):
        # A port that takes connections and never says a word.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            spec = KafkaOfStream.model_validate({"bootstrapServers": f"127.0.0.1:{silent.getsockname()[1]}"})
            quick = Clusters(make=lambda connection: Cluster(connection, request_seconds=1.0))
            with quick.use(connect(spec, References())) as cluster:
                began = time.monotonic()
                found = observe(cluster, [Watched("topic", f"group-{n}") for n in range(200)])
                assert time.monotonic() - began < 30, "all waited together"
            quick.close()
        assert {one.reading.reason for one in found.values()} == {"KafkaUnavailable"}

    @pytest.mark.parametrize("listens", [False, True], ids=["refused", "silent"])
    @pytest.mark.parametrize(
        "ask",
        [
            lambda cluster: observe(cluster, [Watched("topic", "group"), Watched("other", "group")]),
            lambda cluster: prepare(cluster, TopicWanted("topic", 1)),
            lambda cluster: renew(cluster, "topic", "group"),
            lambda cluster: describe_groups(cluster, ["group", "other"]),
            lambda cluster: cluster.topics.describe("topic"),
            lambda cluster: cluster.topics.ids(["topic"]),
        ],
        ids=["observe", "prepare", "renew", "describe_groups", "describe", "ids"],
    )
    def test_leaves_no_clients_behind_though_nobody_collects_garbage(self, ask, listens):
        with socket.socket() as port:
            port.bind(("127.0.0.1", 0))
            if listens:
                port.listen()
            spec = KafkaOfStream.model_validate({"bootstrapServers": f"127.0.0.1:{port.getsockname()[1]}"})
            cluster = Cluster(connect(spec, References()), request_seconds=0.2, away_seconds=0)

            def ask_in_vain(_: int) -> None:
                with contextlib.suppress(KafkaUnavailable):
                    ask(cluster)

            with no_garbage_collection():
                clients, threads = admin_clients(), os.listdir("/proc/self/task")
                for _ in range(3):
                    for asked in [cluster.submit(ask_in_vain, number) for number in range(CALLERS)]:
                        asked.result(30)
                    assert admin_clients() <= clients + 1  # that of `Cluster.admin`; `clients` has the other
                    added = set(os.listdir("/proc/self/task")) - set(threads)
                    assert len(added) <= CALLERS + 4, "those that call, and at most one client's"
            cluster.close()


def admin_clients() -> int:
    return sum(isinstance(known, AdminClient) for known in gc.get_objects())


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path) -> tuple[str, str]:
        """A certificate that vouches for itself, and its key: the broker's, the client's, and the CA's."""
        return self.make(tmp_path / "one")

    @staticmethod
    def make(directory) -> tuple[str, str]:
        directory.mkdir()
        key, certificate = directory / "key", directory / "certificate"
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=penstock"
        subprocess.run(
            [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )
        return certificate.read_text(), key.read_text()

    @pytest.fixture
    def broker(self, certificate, tmp_path):
        pem, key = certificate
        files = {"ssl.ca.location": pem, "ssl.certificate.location": pem, "ssl.key.location": key}
        config = {"security.protocol": "SSL"}
        for name, content in files.items():
            config[name] = str(tmp_path / name)
            (tmp_path / name).write_text(content)

        class TlsBroker(Broker):
            def client_config(self, user: str | None = None) -> dict[str, str]:
                return super().client_config(user) | config

        properties = {
            "listener.security.protocol.map": "CLIENT:SSL,CONTROLLER:PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": pem,
            "ssl.keystore.key": key,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.certificates": pem,
            "ssl.client.auth": "required",
        }
        with TlsBroker(properties=properties) as broker:
            yield broker

    @staticmethod
    def spec(broker: Broker, **tls) -> KafkaOfStream:
        tls = {"ca": {"configMap": {"name": "ca"}}, "clientSecretRef": {"name": "client"}} | tls
        tls = {name: value for name, value in tls.items() if value is not None}
        return KafkaOfStream.model_validate({"bootstrapServers": broker.bootstrap_servers, "tls": tls})

    def test_certificates_and_keys_are_given_as_text_and_refusals_are_told(
        self, broker, certificate, clusters, tmp_path, caplog
    ):
        caplog.set_level(logging.DEBUG)
        pem, key = (text.encode() for text in certificate)
        topic = Kafka(broker.client_config()).create_topic()
        full = References(ca={"ca.crt": pem}, client={"tls.crt": pem, "tls.key": key})
        with clusters.use(connect(self.spec(broker), full)) as cluster:
            (found,) = observe(cluster, [Watched(topic, "group")]).values()
            assert isinstance(found.reading, Reading)
        stranger = self.make(tmp_path / "other")[0].encode()
        wrong = References(ca={"ca.crt": stranger}, client=full.client)
        began = time.monotonic()
        with clusters.use(connect(self.spec(broker), wrong)) as cluster:
            assert failure(cluster).reason == "NotAuthorized"
        assert time.monotonic() - began < REQUEST_SECONDS, "nobody waited for a time-out"
        with clusters.use(connect(self.spec(broker, clientSecretRef=None), full)) as cluster:
            assert failure(cluster).reason in {"NotAuthorized", "KafkaUnavailable"}
        assert "-----BEGIN" not in caplog.text

    def test_a_broken_key_is_refused_without_being_shown(self, broker, certificate, clusters):
        pem, key = certificate
        lines = key.splitlines()
        broken = "\n".join([lines[0], *lines[3:]])
        references = References(
            ca={"ca.crt": pem.encode()}, client={"tls.crt": pem.encode(), "tls.key": broken.encode()}
        )
        with pytest.raises(ConfigurationError) as error, clusters.use(connect(self.spec(broker), references)):
            pass
        assert "ssl.key.pem" in str(error.value)
        assert not any(line in str(error.value) for line in lines[1:-1])


def test_streams_with_the_same_place_and_login_share_one_cluster(kafka, clusters):
    one, other = (connect(*login(kafka.client_config())) for _ in range(2))
    with clusters.use(one) as first, clusters.use(other) as second:
        assert first is second
    assert len(clusters) == 1
