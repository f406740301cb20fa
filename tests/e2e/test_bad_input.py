"""What is wrong with a stream is said in a condition, harms no other stream, and passes once it is mended."""

import pytest
from tests.e2e.installed import apply, claim

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("penstock")]

OBSERVED = {"management": "Observe", "partitions": None, "replicationFactor": None}


def test_each_wrong_stream_says_what_is_wrong_and_recovers_and_holds_up_no_other(penstock, declare):
    kafka, lab = penstock.kafka, penstock.lab
    kafka.create_topic("bad-compacted", config={"cleanup.policy": "compact"})
    no_claim = declare(
        "bad-claim",
        source=None,
        downloader={"destination": {"persistentVolumeClaim": {"claimName": "to-come", "subPath": None}}},
    )
    no_source = declare("bad-source", source={"uploader": {"claimName": "source-to-come"}, "path": "/"})
    no_secret = declare(
        "bad-secret", source=None, kafka={"authSecretRef": {"name": "to-come", "mechanism": "PLAIN"}}
    )
    no_ca = declare("bad-ca", source=None, kafka={"tls": {"ca": {"configMap": {"name": "to-come"}}}})
    no_kafka = declare("bad-kafka", source=None, kafka={"bootstrapServers": "kafka.nowhere.invalid:9092"})
    compacted = declare("bad-compacted", source=None, topic=OBSERVED)
    no_topic = declare("bad-topic", source=None, topic=OBSERVED)
    first = declare(
        "bad-first", source=None, topic={"name": "bad-twice"}, downloader={"consumerGroup": "bad"}
    )
    first.until("Ready")
    second = declare(
        "bad-second", source=None, topic={"name": "bad-twice"}, downloader={"consumerGroup": "bad"}
    )

    # A good one beside them is not held up.
    good = declare("bad-neighbour")
    sent = penstock.desk.write("bad-neighbour", {"good.raw": 100_000})
    penstock.desk.expect("bad-neighbour", sent, timeout=60)
    good.until("Ready")

    said = no_claim.until("DownloaderReady", "False", "ClaimMissing")
    assert f"PersistentVolumeClaim to-come does not exist in namespace {lab.namespace}" in said["message"]
    said = no_source.until("UploaderReady", "False", "ClaimMissing")
    assert "PersistentVolumeClaim source-to-come does not exist" in said["message"]
    said = no_secret.until("ScalingActive", "False", "ConnectionInvalid")
    assert "to-come" in said["message"]
    said = no_ca.until("ScalingActive", "False", "ConnectionInvalid")
    assert "to-come" in said["message"]
    said = no_kafka.until("ScalingActive", "False", "KafkaUnavailable")
    assert "kafka.nowhere.invalid:9092" in said["message"]
    assert "kafka.bootstrapServers is the address" in said["message"]
    said = compacted.until("TopicReady", "False", "TopicRefused")
    assert "cleanup.policy" in said["message"]
    said = no_topic.until("TopicReady", "False", "TopicMissing")
    assert "bad-topic" in said["message"]
    said = second.until("Ready", "False", "GroupTaken")
    assert f"DirectoryStream {lab.namespace}.bad-first reads topic bad-twice" in said["message"]
    for stream in (no_claim, no_source, no_secret, no_ca, no_kafka, compacted, no_topic, second):
        for condition in stream.status["conditions"]:
            assert "Traceback" not in condition["message"]
            assert condition["message"]

    # Each is put right, as its message says.
    apply(lab, claim("to-come"), claim("source-to-come"))
    no_secret.patch(kafka={"authSecretRef": None})
    no_ca.patch(kafka={"tls": None})
    no_kafka.patch(kafka={"bootstrapServers": kafka.bootstrap_servers})
    kafka.delete_topic("bad-compacted")
    kafka.create_topic("bad-compacted")
    kafka.create_topic("bad-topic", partitions=2)
    assert lab("delete", "dstream", "bad-first").ok
    for stream in (no_claim, no_source, no_secret, no_ca, no_kafka, compacted, no_topic, second):
        stream.until("Ready", timeout=110)


def test_a_secret_that_comes_later_is_found(penstock, declare):
    """This Kafka knows no passwords, so that something else is wrong then; its own is never said."""
    stream = declare(
        "late-secret", source=None, kafka={"authSecretRef": {"name": "late", "mechanism": "PLAIN"}}
    )
    said = stream.until("ScalingActive", "False", "ConnectionInvalid")
    assert "late" in said["message"]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "late"},
        "stringData": {"username": "ada", "password": "hidden-from-all"},
    }
    apply(penstock.lab, secret)
    stream.until("ScalingActive", "False", "NotAuthorized")
    shown = penstock.lab("get", "dstream,events,deployments,pods", "-o", "yaml").out
    assert "hidden-from-all" not in shown
    assert "hidden-from-all" not in "\n".join(penstock.operator_log())


def test_a_topic_that_disappears_is_missed_and_made_again(penstock, declare):
    stream = declare("vanishing", topic={"partitions": 2})
    sent = penstock.desk.write("vanishing", {"before.raw": 1000})
    penstock.desk.expect("vanishing", sent)
    stream.until("Ready")
    first = stream.status["topicId"]
    penstock.kafka.delete_topic("vanishing")
    stream.until("TopicReady", "False", "TopicMissing", timeout=60)
    stream.until("TopicReady", "True", timeout=110)
    assert stream.status["topicId"] != first
    sent |= penstock.desk.write("vanishing", {"after.raw": 1000})
    penstock.desk.expect("vanishing", sent, timeout=110)
