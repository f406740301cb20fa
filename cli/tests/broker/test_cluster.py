"""A cluster goes on without one of its brokers."""

from tests.kafka import Kafka


def test_a_cluster_of_three_loses_nothing_with_one_broker(own_cluster):
    cluster = own_cluster()
    kafka = Kafka(cluster.client_config())
    topic = kafka.create_topic(partitions=3)
    assert all(len(p.replicas) == 3 for p in kafka.admin.list_topics(topic).topics[topic].partitions.values())
    for partition in range(3):
        kafka.send(topic, b"before", partition=partition)
    cluster.brokers[0].kill()
    for partition in range(3):
        kafka.send(topic, b"without", partition=partition)
    cluster.brokers[0].start()
    cluster.brokers[1].stop()
    for partition in range(3):
        kafka.send(topic, b"after", partition=partition)
    assert [r.value() for r in kafka.records(topic)] == [b"before", b"without", b"after"] * 3


def test_a_cluster_of_three_with_users_starts_again_on_its_data(own_cluster, tmp_path):
    first = own_cluster(data_dir=tmp_path, users={"alice": "secret"})
    kafka = Kafka(first.client_config())
    topic = kafka.create_topic()
    kafka.send(topic, b"kept")
    first.stop()
    second = own_cluster(data_dir=tmp_path, users={"alice": "secret"})
    assert [r.value() for r in Kafka(second.client_config()).records(topic)] == [b"kept"]
