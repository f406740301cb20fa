"""The Kafka that tests run in the cluster: all pods reach it, its data outlives its processes and its pod."""

import pytest
from tests.e2e import kafka as cluster_kafka
from tests.e2e.kafka import ClusterKafka, RefusedError
from tests.images.pods import container_state, pod_spec
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("kafka")]

kafka_in_cluster = cluster_kafka.kafka_in_cluster

READS_AND_WRITES = """
import sys
from confluent_kafka import Consumer, Producer
servers, topic, group = sys.argv[1:]
producer = Producer({"bootstrap.servers": servers, "acks": "all"})
producer.produce(topic, b"from a pod", partition=1)
assert producer.flush(60) == 0
consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
while True:
    message = consumer.poll(1)
    if message is not None:
        assert message.error() is None, message.error()
        consumer.commit(message, asynchronous=False)
        print(message.value().decode(), flush=True)
"""


def test_topics_grow_and_go(kafka_in_cluster: ClusterKafka):
    kafka = kafka_in_cluster
    kafka.create_topic("grows", 2, {"retention.ms": 3_600_000})
    kafka.add_partitions("grows", 3)
    assert kafka.topics()["grows"] == 3
    kafka.send("grows", "one", "two", partition=2)
    assert kafka.log_ends("grows") == {0: 0, 1: 0, 2: 2}
    assert kafka.log_starts("grows") == {0: 0, 1: 0, 2: 0}
    assert kafka.committed("nobody", "grows") == {}
    assert kafka.lag("nobody", "grows") == 2
    assert (kafka.group_state("nobody"), kafka.members("nobody")) == ("DEAD", {})
    with pytest.raises(RefusedError, match="TOPIC_ALREADY_EXISTS"):
        kafka.create_topic("grows")
    kafka.delete_topic("grows")
    with pytest.raises(RefusedError, match="UNKNOWN_TOPIC_OR_PART"):
        kafka.log_ends("grows")


def test_another_pod_reaches_it_by_the_name_of_its_service(kafka_in_cluster: ClusterKafka):
    kafka, kubectl = kafka_in_cluster, kafka_in_cluster.kubectl
    kafka.create_topic("reached", 2)
    spec = pod_spec(
        "downloader",
        command=["/usr/bin/tini", "-s", "--", "/opt/penstock/bin/python", "-c", READS_AND_WRITES],
        args=[kafka.bootstrap_servers, "reached", "readers"],
    )
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec}
    created = kubectl("apply", "-f", "-", given=pod)
    assert created.ok, created.err

    def said() -> str:
        container_state(kubectl("get", "pod/client", "-o", "json").object)
        return kubectl("logs", "client").out

    assert eventually(said, timeout=90, describe=kafka.evidence) == "from a pod\n"
    assert kafka.committed("readers", "reached")[1][0] == 1
    assert kafka.lag("readers", "reached") == 0
    assert kafka.group_state("readers") == "STABLE"
    (held,) = kafka.members("readers").values()
    assert held == {("reached", 0), ("reached", 1)}


def test_its_data_outlives_its_processes_and_its_pod(kafka_in_cluster: ClusterKafka):
    kafka, kubectl = kafka_in_cluster, kafka_in_cluster.kubectl
    kafka.create_topic("kept")
    kafka.send("kept", "before")
    kafka.kill()
    kafka.wait_until_ready()
    kafka.send("kept", "after a kill")
    assert kubectl("delete", "pod", "-l", "app.kubernetes.io/name=kafka", "--wait=true").ok
    kafka.wait_until_ready()
    kafka.send("kept", "after a deletion")
    assert kafka.log_ends("kept") == {0: 3}


def test_the_command_works_beside_it(kafka_in_cluster: ClusterKafka):
    assert "topic scope is there" in kafka_in_cluster.penstock("create-topic", "scope", "--partitions", "2")
    assert kafka_in_cluster.topics()["scope"] == 2
