"""A broker starts, keeps its data, and says what is wrong in one line."""

import socket

import psutil
import pytest
from confluent_kafka import KafkaException
from tests.kafka import Kafka
from tests.waiting import eventually

from penstock.broker import Broker, DataDirectoryError, PortInUseError
from penstock.broker.errors import BrokerStartError


def values(kafka: Kafka, topic: str) -> list[bytes]:
    return [record.value() for record in kafka.records(topic)]


def test_records_go_in_and_come_out(kafka):
    topic = kafka.create_topic(partitions=2)
    kafka.send(topic, b"one", b"two", partition=1)
    assert values(kafka, topic) == [b"one", b"two"]
    assert kafka.end_offsets(topic) == {0: 0, 1: 2}


def test_large_records_fit_unless_the_topic_wants_none(kafka):
    large, small = kafka.create_topic(), kafka.create_topic(config={"max.message.bytes": 64 << 10})
    kafka.send(large, bytes(4 << 20))
    assert [len(value) for value in values(kafka, large)] == [4 << 20]
    with pytest.raises(KafkaException, match="MSG_SIZE_TOO_LARGE"):
        kafka.send(small, bytes(1 << 20))


def test_retention_can_be_played(kafka):
    topic = kafka.create_topic()
    kafka.send(topic, b"one", b"two", b"three")
    kafka.delete_records(topic, {0: 2})
    assert kafka.start_offsets(topic) == {0: 2}
    assert values(kafka, topic) == [b"three"]


def test_partitions_are_added_and_topics_deleted(kafka):
    topic = kafka.create_topic()
    kafka.create_partitions(topic, 3)
    assert kafka.partitions(topic) == [0, 1, 2]
    kafka.delete_topic(topic)
    assert kafka.create_topic(topic) == topic


@pytest.mark.parametrize("end", [Broker.stop, Broker.kill])
def test_data_and_port_survive(own_broker, end):
    broker = own_broker()
    kafka = Kafka(broker.client_config())
    topic = kafka.create_topic()
    kafka.send(topic, b"before")
    address, pid = broker.bootstrap_servers, broker.pid
    end(broker)
    assert broker.pid is None
    assert not psutil.pid_exists(pid)
    broker.start()
    assert (broker.bootstrap_servers, broker.pid != pid) == (address, True)
    kafka.send(topic, b"after")
    assert values(kafka, topic) == [b"before", b"after"]


def test_data_in_a_directory_is_there_for_the_next_broker(tmp_path):
    with Broker(tmp_path / "data") as first:
        kafka = Kafka(first.client_config())
        topic = kafka.create_topic()
        kafka.send(topic, b"kept")
    with Broker(tmp_path / "data") as second:
        assert values(Kafka(second.client_config()), topic) == [b"kept"]


def test_stopping_leaves_nothing():
    with Broker() as broker:
        directory, pid = broker.data_dir, broker.pid
        guard = psutil.Process(pid).ppid()
        assert directory.exists()
    assert not directory.exists()
    assert not psutil.pid_exists(pid)
    assert not psutil.pid_exists(guard)


def test_only_loopback_is_listened_on(own_broker):
    broker = own_broker()
    listening = psutil.Process(broker.pid).net_connections(kind="inet")
    addresses = {c.laddr.ip.removeprefix("::ffff:") for c in listening if c.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}


def test_a_port_in_use_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"port {port} .*choose another port"):
            Broker(tmp_path, port).start()


def test_a_port_that_is_taken_meanwhile_is_chosen_anew(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        broker = Broker(port=0)
        claim, claims = broker._claim_ports, []

        def claim_a_taken_one_first():
            claim()
            claims.append(broker._port)
            if len(claims) == 1:
                broker._port = port

        monkeypatch.setattr(broker, "_claim_ports", claim_a_taken_one_first)
        with broker:
            assert broker.port == claims[1] != port


def test_a_data_directory_is_used_by_one_broker(own_broker, tmp_path):
    broker = own_broker(tmp_path)
    configuration = (tmp_path / "server.properties").read_bytes()
    log = broker.log_path.read_bytes()
    with pytest.raises(DataDirectoryError, match=f"{tmp_path} is in use by another broker"):
        Broker(tmp_path).start()
    assert (tmp_path / "server.properties").read_bytes() == configuration, "nothing of it is touched"
    assert b"another broker" not in broker.log_path.read_bytes()[len(log) :]
    Kafka(broker.client_config()).create_topic()


def test_the_log_directory_of_another_kafka_is_refused(tmp_path):
    (tmp_path / "meta.properties").write_text("cluster.id=x\n")
    with pytest.raises(DataDirectoryError, match=f"{tmp_path} is the log directory of another Kafka"):
        Broker(tmp_path).start()


def test_the_data_of_another_node_is_refused(tmp_path):
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "meta.properties").write_text("version=1\ncluster.id=x\nnode.id=7\n")
    with pytest.raises(
        DataDirectoryError, match=r"data of another broker .node.id 7, not 1.*empty directory"
    ):
        Broker(tmp_path).start()


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match=f"cannot keep Kafka's data in {tmp_path}/file/data"):
        Broker(tmp_path / "file" / "data").start()


def test_a_setting_that_kafka_refuses_is_quoted_with_the_log(tmp_path):
    broker = Broker(tmp_path, properties={"num.io.threads": "none"})
    with pytest.raises(BrokerStartError, match=r"num\.io\.threads") as failure:
        broker.start()
    assert str(broker.log_path) in str(failure.value)
    assert "\n" not in str(failure.value)
    assert not broker.running


def test_a_broker_that_dies_is_noticed(own_broker):
    broker = own_broker()
    psutil.Process(broker.pid).kill()
    eventually(lambda: not broker.running, describe="its end is seen")
    with pytest.raises(BrokerStartError, match="Kafka is not running"):
        broker.check_running()
