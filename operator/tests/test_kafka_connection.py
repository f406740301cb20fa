"""How a stream's `spec.kafka` becomes a connection; who shares one; what is never shown."""

import pytest

from penstock_operator.kafka import ConnectionInvalid, References, connect, failed_read
from penstock_operator.resource.kafka import Kafka
from servicekit.kafka import admin_config, consumer_config

PEM = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
LOGIN = {"username": b"lab", "password": b"hunter2"}


def spec(**given: object) -> Kafka:
    return Kafka.model_validate({"bootstrapServers": "kafka-0:9092, kafka-1:9092"} | given)


SECURED = spec(
    authSecretRef={"name": "login"},
    tls={"ca": {"secret": {"name": "ca"}}, "clientSecretRef": {"name": "client"}},
)
ALL = References(auth=LOGIN, ca={"ca.crt": PEM}, client={"tls.crt": PEM, "tls.key": PEM})


def test_in_the_clear_nothing_is_needed():
    config = admin_config(connect(spec(), References()).settings)
    assert config["bootstrap.servers"] == "kafka-0:9092,kafka-1:9092"
    assert config["security.protocol"] == "plaintext"
    assert not [name for name in config if name.startswith(("sasl.", "ssl."))]


def test_a_login_and_certificates_go_to_the_client_as_text():
    config = consumer_config(connect(SECURED, ALL).settings, "group")
    assert config["security.protocol"] == "sasl_ssl"
    assert config["sasl.mechanism"] == "SCRAM-SHA-512"
    assert (config["sasl.username"], config["sasl.password"]) == ("lab", "hunter2")
    for name in ("ssl.ca.pem", "ssl.certificate.pem", "ssl.key.pem"):
        assert config[name] == PEM.decode()
    assert not [name for name in config if name.endswith(".location")]


def test_the_name_may_stand_in_the_stream_and_keys_may_have_other_names():
    kafka = spec(
        authSecretRef={"name": "user", "username": "lab", "passwordKey": "pass", "mechanism": "PLAIN"}
    )
    config = admin_config(connect(kafka, References(auth={"pass": b"x"})).settings)
    assert (config["sasl.username"], config["sasl.password"], config["sasl.mechanism"]) == (
        "lab",
        "x",
        "PLAIN",
    )


def test_the_authors_tuning_is_left_to_the_services():
    kafka = spec(
        properties={
            "broker.address.family": "v4",
            "client.dns.lookup": "use_all_dns_ips",
            "client.id": "mine",
            "socket.timeout.ms": "10",
            "reconnect.backoff.ms": "1",
        }
    )
    config = admin_config(connect(kafka, References()).settings)
    assert config["broker.address.family"] == "v4"
    assert config["client.dns.lookup"] == "use_all_dns_ips"
    assert config["client.id"] == "penstock-operator"
    assert "socket.timeout.ms" not in config
    assert "reconnect.backoff.ms" not in config


@pytest.mark.parametrize(
    ("references", "said"),
    [
        (References(), "Secret 'login' (kafka.authSecretRef) does not exist"),
        (References(auth={"username": b"lab"}), "nothing under 'password'"),
        (References(auth=LOGIN | {"password": b""}), "nothing under 'password'"),
        (References(auth=LOGIN | {"password": b"hunter2\n"}), "line break"),
        (References(auth=LOGIN | {"password": b"\xff\xfe"}), "not UTF-8"),
        (References(auth=LOGIN), "Secret 'ca' (kafka.tls.ca) does not exist"),
        (References(auth=LOGIN, ca={"ca.crt": b"hunter2"}), "is not PEM"),
        (References(auth=LOGIN, ca={"ca.crt": PEM}), "Secret 'client' (kafka.tls.clientSecretRef)"),
        (References(auth=LOGIN, ca={"ca.crt": PEM}, client={"tls.crt": PEM}), "nothing under 'tls.key'"),
    ],
)
def test_what_is_missing_or_wrong_is_named_and_no_secret_is(references: References, said: str):
    with pytest.raises(ConnectionInvalid) as error:
        connect(SECURED, references)
    assert said in str(error.value)
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)
    assert failed_read(error.value).reason == "ConnectionInvalid"


def test_what_connects_alike_is_equal_and_a_new_password_is_another_connection():
    assert connect(SECURED, ALL) == connect(SECURED, ALL)
    renewed = References(auth=LOGIN | {"password": b"hunter3"}, ca=ALL.ca, client=ALL.client)
    assert connect(SECURED, ALL) != connect(SECURED, renewed)
    assert connect(spec(), ALL) != connect(SECURED, ALL)
    tuned = spec(properties={"linger.ms": "20"})
    assert connect(tuned, References()) == connect(spec(), References())


def test_nothing_that_is_printed_holds_a_secret():
    connection = connect(SECURED, ALL)
    printed = f"{connection!r} {connection.settings!r} {ALL!r} {connection.settings.model_dump()}"
    assert "hunter2" not in printed
    assert "MIIB" not in printed
