"""A DirectoryStream is read from what Kubernetes gives, and says the same as the services' own options."""

from pathlib import Path
from types import MappingProxyType

import pytest
import yaml
from pydantic import ValidationError

from penstock_downloader.settings import DownloaderSettings
from penstock_operator.resource import Condition, ConditionType, DirectoryStream, InvalidResource
from penstock_operator.resource.kafka import (
    ALLOWED,
    CHOICES,
    NUMBERS,
    properties_problems,
)
from penstock_operator.resource.kubernetes import amount
from penstock_operator.resource.stream import Spec
from penstock_uploader.settings import UploaderSettings
from servicekit import kafka
from servicekit.exceptions import PenstockError
from servicekit.logs import is_secret

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    return yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())


def test_a_stream_is_read_from_any_mapping():
    stream = DirectoryStream.parse(MappingProxyType(example("minimal")))
    assert stream.spec.kafka.bootstrap_servers == "kafka.kafka:9092"
    assert stream.id == "default.balance"
    assert stream.consumer_group == "default.balance"
    assert stream.spec.topic.receipts == "balance.receipts"


def test_what_only_kubernetes_needs_is_passed_over():
    body = example("minimal")
    body["metadata"] |= {"namespace": "lab", "managedFields": [{}], "generation": 3, "uid": "u"}
    body["spec"]["added-in-a-later-version"] = {"a": 1}
    stream = DirectoryStream.parse(body)
    assert stream.consumer_group == "lab.balance"
    assert stream.metadata.generation == 3


def test_nothing_is_changed_in_place():
    stream = DirectoryStream.parse(example("minimal"))
    with pytest.raises(ValidationError, match="frozen"):
        stream.spec.suspend = True


def test_all_problems_are_told_at_once_one_a_line():
    body = example("minimal")
    body["spec"]["topic"] |= {"management": "create", "partitions": "many"}
    body["spec"]["downloader"]["replicas"] = -1
    body["spec"]["downloader"]["pod"] = {"tolerations": [{"operator": "Equals"}]}
    del body["spec"]["kafka"]["bootstrapServers"]
    with pytest.raises(InvalidResource) as refused:
        DirectoryStream.parse(body)
    assert isinstance(refused.value, PenstockError)
    assert str(refused.value).splitlines() == [
        "spec.kafka.bootstrapServers: is missing: give it",
        "spec.topic.management: must be 'Observe' or 'Create'",
        "spec.topic.partitions: must be a valid integer, unable to parse string as an integer",
        "spec.downloader.replicas: must be greater than or equal to 0",
        "spec.downloader.pod.tolerations[0].operator: must be 'Equal' or 'Exists'",
    ]


def test_a_secret_that_stands_where_none_may_is_not_repeated():
    body = example("minimal")
    body["spec"]["kafka"]["properties"] = {"sasl.password": "hunter2", "linger.ms": "hunter3"}
    with pytest.raises(InvalidResource) as refused:
        DirectoryStream.parse(body)
    assert "hunter" not in str(refused.value)
    assert "hunter" not in " ".join(properties_problems(body["spec"]["kafka"]["properties"]))


@pytest.mark.parametrize(
    ("auth", "tls", "protocol"),
    [
        (None, None, "PLAINTEXT"),
        (None, {}, "SSL"),
        ({"name": "me"}, None, "SASL_PLAINTEXT"),
        ({"name": "me"}, {}, "SASL_SSL"),
    ],
)
def test_who_connects_how_follows_from_secret_and_tls(auth, tls, protocol):
    body = example("minimal")
    body["spec"]["kafka"] |= {"authSecretRef": auth, "tls": tls}
    assert DirectoryStream.parse(body).spec.kafka.security_protocol == protocol


def test_a_file_goes_only_when_the_streams_own_destination_has_it_unless_others_are_named():
    body = example("instrument")
    assert DirectoryStream.parse(body).receipts_required == ("default.microscope",)
    body["spec"]["source"]["after"]["receiptFrom"] = ["archive", "default.microscope"]
    assert DirectoryStream.parse(body).receipts_required == ("archive", "default.microscope")
    body["spec"]["source"]["after"] = {"action": "Delete"}
    assert DirectoryStream.parse(body).receipts_required == ()


def test_a_condition_is_found_by_its_type():
    body = example("minimal")
    assert DirectoryStream.parse(body).status.condition(ConditionType.READY) is None
    body["status"] = {
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "TopicMissing",
                "message": "...",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ]
    }
    ready = DirectoryStream.parse(body).status.condition(ConditionType.READY)
    assert isinstance(ready, Condition)
    assert ready.reason == "TopicMissing"
    assert ready.as_kubernetes() == body["status"]["conditions"][0]


@pytest.mark.parametrize("name", ["minimal", "instrument", "sidecar"])
def test_the_examples_say_nothing_that_the_models_do_not_know(name):
    def within(given, known):
        if isinstance(given, dict):
            return all(key in known and within(value, known[key]) for key, value in given.items())
        return True

    body = example(name)
    assert within(body["spec"], DirectoryStream.parse(body).spec.as_kubernetes())


# --- Kafka properties

OF_OWN_RANGE = {"compression.level": "3", "fetch.max.bytes": "2000000"}
PARTNERS = {
    "session.timeout.ms": {"heartbeat.interval.ms": "500"},
    "max.poll.interval.ms": {"session.timeout.ms": "2000", "heartbeat.interval.ms": "500"},
}


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_no_allowed_property_breaks_a_guarantee_or_holds_a_secret_a_path_or_a_command(name):
    assert name not in kafka._GUARANTEES
    assert name not in kafka._ALIASES
    assert not is_secret(name)
    assert not any(
        word in name
        for word in ("location", "path", "cmd", "plugin", "sasl", "ssl", "_cb", "debug", "interceptor", "url")
    )


@pytest.mark.parametrize("name", sorted({*kafka._GUARANTEES, *kafka._ALIASES}))
def test_what_delivery_is_proved_by_is_refused(name):
    assert properties_problems({name: "1"})


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_librdkafka_takes_every_allowed_property(name):
    value = CHOICES[name][-1] if name in CHOICES else "2000" if name in NUMBERS else "rack 1"
    value = OF_OWN_RANGE.get(name, value)
    assert not properties_problems({name: value})
    both = UploaderSettings(directory="/", topic="t", kafka={name: value, **PARTNERS.get(name, {})})
    kafka.make_consumer(both, "group").close()
    kafka.make_producer(both)


# --- the same as the services' options


def default(model, *path):
    for name in path[:-1]:
        model = model.model_fields[name].annotation
    return model.model_fields[path[-1]].default


def test_defaults_are_those_of_the_services():
    uploader, downloader = UploaderSettings.model_fields, DownloaderSettings.model_fields
    assert default(Spec, "source", "after", "action").lower() == uploader["after"].default
    assert default(Spec, "source", "after", "when").lower() == uploader["after_when"].default
    assert default(Spec, "source", "uploader", "drain_seconds") == uploader["drain_seconds"].default
    stream = DirectoryStream.parse(example("minimal"))
    assert stream.spec.downloader.on_conflict_option == downloader["on_conflict"].default


@pytest.mark.parametrize("choice", ["Replace", "KeepBoth", "Skip"])
def test_the_downloader_knows_every_choice_for_a_conflict(choice):
    body = example("minimal")
    body["spec"]["downloader"]["onConflict"] = choice
    option = DirectoryStream.parse(body).spec.downloader.on_conflict_option
    assert DownloaderSettings(topic="t", directory="/", on_conflict=option).on_conflict == option


@pytest.mark.parametrize(
    ("quantity", "value"),
    [("2", 2), ("500m", "0.5"), ("1.5Gi", 1.5 * 2**30), ("1k", 1000), ("1Ki", 1024), ("3E", 3 * 10**18)],
)
def test_quantities_are_read_as_kubernetes_does(quantity, value):
    assert float(amount(quantity)) == float(value)
