"""Several brokers, many partitions, and brokers that do not let everyone do everything."""

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from tests.kafka import Kafka
from tests.stream import Stream
from tests.waiting import eventually


def test_sixty_four_partitions_on_three_brokers_stay_in_bounded_memory_and_one_broker_may_die(
    own_cluster, make_stream
):
    cluster = own_cluster()
    stream = make_stream(kafka=Kafka(cluster.client_config()), partitions=64)
    uploader, downloader = stream.uploader(), stream.downloader()
    for number in range(300):
        (stream.source / f"{number}").write_bytes(b"%d" % number * 100_000)
    stream.await_delivery(timeout=120)
    cluster.brokers[1].kill()
    (stream.source / "after").write_bytes(b"two brokers are left")
    stream.await_delivery(timeout=90)
    assert uploader.resident_bytes() < 150e6
    assert downloader.resident_bytes() < 150e6


def allow(kafka: Kafka, user: str, *what: tuple[ResourceType, str, AclOperation]) -> None:
    bindings = [
        AclBinding(
            resource,
            name,
            ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for resource, name, operation in what
    ]
    for done in kafka.admin.create_acls(bindings).values():
        done.result(30)


class SecuredStream:
    """A stream whose uploader and downloader are different users, each with no more than it needs."""

    def __init__(self, broker, make_stream) -> None:
        self.broker = broker
        admin = Kafka(broker.client_config())
        self.stream: Stream = make_stream(kafka=admin)
        topic = self.stream.topic
        self.receipts = admin.create_topic(f"{topic}.receipts")
        admin.create_topic("penstock.events")
        allow(
            admin,
            "instrument",
            (ResourceType.TOPIC, topic, AclOperation.WRITE),
            (ResourceType.TOPIC, topic, AclOperation.DESCRIBE),
            (ResourceType.TOPIC, topic, AclOperation.DESCRIBE_CONFIGS),
            (ResourceType.TOPIC, self.receipts, AclOperation.READ),
        )
        allow(
            admin,
            "archive",
            (ResourceType.TOPIC, topic, AclOperation.READ),
            (ResourceType.GROUP, f"{topic}-group", AclOperation.READ),
        )

    def let_the_archive_write_receipts(self) -> None:
        allow(self.stream.kafka, "archive", (ResourceType.TOPIC, self.receipts, AclOperation.WRITE))

    def properties(self, user: str) -> str:
        config = self.broker.client_config(user)
        return "\n".join(f"{name}={value}" for name, value in config.items() if name != "bootstrap.servers")


@pytest.fixture
def secured(own_broker, make_stream) -> SecuredStream:
    broker = own_broker(
        users={"instrument": "its-password", "archive": "their-password", "stranger": "guess"}
    )
    return SecuredStream(broker, make_stream)


def test_least_privilege_is_enough_and_strangers_cannot_forge_receipts(secured: SecuredStream):
    secured.let_the_archive_write_receipts()
    stream = secured.stream
    uploader = stream.uploader(
        after="delete",
        after_when="delivered",
        after_receipt_from=f"{stream.topic}-group",
        environment={"PENSTOCK_KAFKA": secured.properties("instrument")},
    )
    downloader = stream.downloader(environment={"PENSTOCK_KAFKA": secured.properties("archive")})
    (stream.source / "file").write_bytes(b"data")
    eventually(
        lambda: not (stream.source / "file").exists(), describe="its receipt was read, and it is deleted"
    )
    assert (stream.destination / "file").read_bytes() == b"data"
    for user in ("stranger", "instrument"):
        forger = Producer({**secured.broker.client_config(user), "log_level": 0})
        failures: list[KafkaException] = []
        forger.produce(
            secured.receipts, b"{}", on_delivery=lambda error, _, seen=failures: seen.append(error)
        )
        forger.flush(30)
        assert failures
        assert failures[0] is not None
        assert failures[0].name() == "TOPIC_AUTHORIZATION_FAILED"
    for service in (uploader, downloader):
        assert "password" not in service.said


def test_a_downloader_that_may_not_write_receipts_fails_at_its_start_with_what_mends_it(
    secured: SecuredStream,
):
    stream = secured.stream
    downloader = stream.downloader(environment={"PENSTOCK_KAFKA": secured.properties("archive")})
    assert downloader.wait() == 1
    assert "kafka-acls" in downloader.said
    assert secured.receipts in downloader.said
    assert "Traceback" not in downloader.said


def test_an_uploader_that_may_not_write_fails_at_its_start_and_says_so(secured: SecuredStream):
    stream = secured.stream
    uploader = stream.uploader(environment={"PENSTOCK_KAFKA": secured.properties("stranger")})
    assert uploader.wait() == 1
    assert "Traceback" not in uploader.said
    assert stream.topic in uploader.said


def test_a_wrong_password_is_said_and_never_shown(secured: SecuredStream):
    stream = secured.stream
    wrong = secured.properties("archive").replace("their-password", "wrong-password")
    downloader = stream.downloader(environment={"PENSTOCK_KAFKA": wrong})
    assert downloader.wait() == 1
    eventually(lambda: "authenticat" in downloader.said.lower(), describe="it says that it may not log in")
    assert "wrong-password" not in downloader.said
