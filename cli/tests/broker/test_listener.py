"""Other machines reach a broker only when that was asked for, and are told where it is."""

import re
import socket

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from tests.kafka import Kafka

import penstock.broker
from penstock.broker import Broker, BrokerError, Listener, PortInUseError
from penstock.main import main


def test_clients_are_told_what_is_advertised_and_the_broker_does_not_depend_on_it(own_broker):
    broker = own_broker(listener=Listener("0.0.0.0", "kafka.invalid", 1234))
    assert broker.bootstrap_servers == "kafka.invalid:1234"
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{broker.port}", "log_level": 0})
    (told,) = admin.list_topics(timeout=10).brokers.values()
    assert (told.host, told.port) == ("kafka.invalid", 1234)

    # What brokers tell each other, the ends of transactions for one, does not go by that name either.
    here = Kafka({"bootstrap.servers": f"127.0.0.1:{broker._local_port}"})
    topic = here.create_topic()
    producer = Producer({**here.client_config(), "transactional.id": "t", "transaction.timeout.ms": 20_000})
    producer.init_transactions(20)
    for value in (b"one", b"two"):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.commit_transaction(20)
    assert [record.value() for record in here.records(topic)] == [b"one", b"two"]


def test_nothing_but_the_port_for_clients_is_open_to_others(own_broker):
    broker = own_broker(listener=Listener("0.0.0.0", "localhost"))
    listening = psutil.Process(broker.pid).net_connections(kind="inet")
    ports = {c.laddr.port: c.laddr.ip.removeprefix("::ffff:") for c in listening if c.status == "LISTEN"}
    assert ports.pop(broker.port) in ("0.0.0.0", "::")
    assert set(ports.values()) == {"127.0.0.1"}


def test_a_broker_with_users_asks_for_passwords_there_too(own_broker):
    broker = own_broker(users={"alice": "secret"}, listener=Listener("0.0.0.0", "127.0.0.1"))
    kafka = Kafka(broker.client_config())
    topic = kafka.create_topic()
    kafka.send(topic, b"one")
    broker.restart()
    assert kafka.end_offsets(topic) == {0: 1}
    stranger = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    with pytest.raises(Exception, match=r"_TRANSPORT|_TIMED_OUT|_ALL_BROKERS_DOWN"):
        stranger.list_topics(timeout=2)


@pytest.mark.parametrize(
    ("host", "what"),
    [("192.0.2.1", "which no interface of this machine has"), ("a.invalid", "which is no address")],
)
def test_an_address_of_another_machine_is_named(host, what, tmp_path):
    with pytest.raises(BrokerError, match=rf"cannot listen at '{host}', {what}: name one of this machine's"):
        Broker(tmp_path, listener=Listener(host, host)).start()


def test_a_port_in_use_is_named_with_its_address(tmp_path):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"port {port} of 0\.0\.0\.0 is in use"):
            Broker(tmp_path, port, listener=Listener("0.0.0.0", "localhost")).start()


@pytest.fixture
def asked(monkeypatch):
    """What `penstock broker` asks of the broker, which is not started."""
    calls = []
    monkeypatch.setattr(penstock.broker, "run", lambda *args, **kwargs: calls.append(kwargs["listener"]))
    monkeypatch.setenv("PENSTOCK_HOST", "0.0.0.0")  # the registry's
    return calls


@pytest.mark.parametrize(
    ("arguments", "listener", "warns"),
    [
        ([], None, False),
        (["--host", "localhost"], None, False),
        (["--host", "::1"], Listener("::1", "::1"), False),
        (["--host", "192.0.2.7"], Listener("192.0.2.7", "192.0.2.7"), True),
        (["--host", "0.0.0.0", "--advertise", "lab-7"], Listener("0.0.0.0", "lab-7"), True),
        (["--host", "::", "--advertise", "lab-7:19092"], Listener("::", "lab-7", 19092), True),
        (["--host", "::", "--advertise", "2001:db8::7"], Listener("::", "2001:db8::7"), True),
        (["--host", "::", "--advertise", "[2001:db8::7]:1"], Listener("::", "2001:db8::7", 1), True),
    ],
)
def test_only_who_asks_for_it_opens_it_and_is_warned(arguments, listener, warns, asked, capsys):
    assert main(["broker", *arguments]) == 0
    assert asked == [listener]
    assert ("it asks for no password" in capsys.readouterr().err) == warns


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "is every address of this machine: say which one .*--advertise HOST"),
        (["--advertise", "lab-7"], r"is for other machines, and 127\.0\.0\.1 is reached by this one alone"),
        (["--host", "0.0.0.0", "--advertise", "::"], "'::' must be HOST or HOST:PORT"),
        (["--host", "0.0.0.0", "--advertise", "lab-7:0"], "'lab-7:0' must be HOST or HOST:PORT"),
        (["--host", "0.0.0.0", "--advertise", "lab-7:x"], "'lab-7:x' must be HOST or HOST:PORT"),
        (["--host", "0.0.0.0", "--advertise", "a,CLIENT://b"], "must be HOST or HOST:PORT"),
        (["--host", "lab 7"], "'lab 7' must be an address or a name of this machine"),
    ],
)
def test_what_clients_could_not_use_is_one_line(arguments, says, asked, capsys):
    assert main(["broker", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not asked
    assert re.search(says, said), said


@pytest.mark.parametrize(
    ("listener", "address"),
    [
        (Listener("::", "2001:db8::7"), "[2001:db8::7]:9092"),
        (Listener("0.0.0.0", "lab-7"), "lab-7:9092"),
        (Listener("0.0.0.0", "lab-7", 1), "lab-7:1"),
    ],
)
def test_an_address_is_written_as_clients_read_it(listener, address):
    assert listener.advertised(9092) == address
