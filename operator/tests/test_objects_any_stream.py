"""What holds for the objects of any valid stream: the services understand them, and they are harmless."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.pod_security import containers, violations
from tests.pods import environment, patched
from tests.streams import INSTALLATION, STREAMS

from penstock_downloader.settings import DownloaderSettings
from penstock_operator.objects import (
    credentials,
    downloader_deployment,
    inject,
    uploader_deployment,
)
from penstock_uploader.settings import UploaderSettings
from servicekit.kafka import consumer_config, producer_config

POD_FIELDS = {"metadata.name": "writer-7d9f"}
SECRET = "not to be seen: \"'\\ $(HOME) ssl.key.location=/x"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith("PENSTOCK_"):
            monkeypatch.delenv(name)


examples = settings(
    max_examples=60,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
    ],
)


def deployments(stream, replicas=3):
    found = [
        downloader_deployment(stream, INSTALLATION, replicas=replicas, revision="r1"),
        uploader_deployment(stream, INSTALLATION, revision="r1"),
    ]
    return [deployment for deployment in found if deployment is not None]


def pod_of(volume):
    """An application's pod, on whose volume all is that the stream names."""
    mount = {"name": "results", "mountPath": "/"}
    return {
        "metadata": {"labels": {"app": "writer"}},
        "spec": {
            "containers": [{"name": "app", "image": "app", "volumeMounts": [mount]}],
            "volumes": [{"name": "results", **volume}],
        },
    }


def pod_specs(stream):
    for deployment in deployments(stream):
        yield deployment["spec"]["template"]["spec"]
    if stream.spec.source.uploader.mode == "Sidecar":
        pod = pod_of({"emptyDir": {}})
        pod = patched(pod, inject(pod, stream, INSTALLATION).patch)
        ours = pod["spec"]["initContainers"]
        yield {**pod["spec"], "containers": ours, "initContainers": []}


def loaded(stream, spec, monkeypatch):
    """The settings as the service in this pod reads them from its environment."""
    (container,) = containers(spec)
    secrets = {
        (reference.name, key): SECRET
        for reference in credentials(stream.spec.kafka)
        for key in reference.keys
    }
    for name, value in environment(container, fields=POD_FIELDS, secrets=secrets).items():
        monkeypatch.setenv(name, value)
    kind = DownloaderSettings if container["name"] == "downloader" else UploaderSettings
    found = kind.load()
    known = {f"PENSTOCK_{name.upper()}" for name in kind.model_fields} | {"POD_NAME"}
    assert {variable["name"] for variable in container["env"]} <= known
    return found


@examples
@given(STREAMS)
def test_the_services_read_what_the_stream_says(stream):
    source, kafka = stream.spec.source, stream.spec.kafka
    for spec in pod_specs(stream):
        with pytest.MonkeyPatch.context() as monkeypatch:
            told = loaded(stream, spec, monkeypatch)
        assert told.topic == stream.spec.topic.name
        assert told.bootstrap_servers == kafka.bootstrap_servers.replace(" ", "")
        assert told.metrics_port == 8651
        assert "group.protocol" not in told.kafka, "the downloader has a setting for it"
        config = producer_config(told)
        for name, value in kafka.properties.items():
            assert name == "group.protocol" or config[name] == value
        assert config["security.protocol"] == kafka.security_protocol
        if kafka.auth_secret_ref is not None:
            auth = kafka.auth_secret_ref
            assert config["sasl.mechanism"] == auth.mechanism
            assert config["sasl.username"] == (auth.username or SECRET).rstrip("\r\n")
            assert config["sasl.password"] == SECRET
        if isinstance(told, DownloaderSettings):
            assert told.directory == "/destination"
            assert told.group == stream.consumer_group
            assert told.on_conflict == stream.spec.downloader.on_conflict_option
            protocol = kafka.properties.get("group.protocol", "classic")
            assert consumer_config(told, "g", told.group_protocol)["group.protocol"] == protocol
            assert told.drain_timeout_seconds < spec["terminationGracePeriodSeconds"]
        else:
            consumer_config(told, "receipts", "classic")
            assert told.include == list(source.include)
            assert told.exclude == list(source.exclude)
            assert told.after == source.after.action.lower()
            assert told.after_receipt_from == list(stream.receipts_required)
            assert told.control_port == 8652
            assert told.drain_seconds == source.uploader.drain_seconds
            assert told.send_all_on_stop == (source.uploader.mode == "Sidecar")
            if source.uploader.mode == "Deployment":
                assert told.wait_for_other, "the pod that it follows may still be ending"
            assert told.source_id is not None
            assert told.source_id.startswith(stream.id)
            assert f"{told.root}/".startswith("/source/")
            if source.prefix is not None:
                assert told.prefix == source.prefix


@examples
@given(STREAMS)
def test_pods_are_restricted_and_have_no_rights_in_the_cluster(stream):
    for spec in pod_specs(stream):
        assert violations(spec) == []
        assert all(one["securityContext"]["readOnlyRootFilesystem"] for one in containers(spec))
    for deployment in deployments(stream):
        assert deployment["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


@examples
@given(STREAMS)
def test_every_mount_has_its_volume_and_a_place_of_its_own(stream):
    for spec in pod_specs(stream):
        volumes = [volume["name"] for volume in spec["volumes"]]
        assert len(set(volumes)) == len(volumes)
        for container in containers(spec):
            mounts = container["volumeMounts"]
            assert {mount["name"] for mount in mounts} <= set(volumes)
            assert len({mount["mountPath"] for mount in mounts}) == len(mounts)
            names = [variable["name"] for variable in container["env"]]
            assert len(set(names)) == len(names)


@examples
@given(STREAMS, st.integers(0, 50), st.integers(0, 50))
def test_only_the_stream_and_its_credentials_change_a_pod_template(stream, some, others):
    """How many there are replaces no pod, and the same stream gives the same bytes."""
    first, second = deployments(stream, some), deployments(stream, others)
    for one, other in zip(first, second, strict=True):
        assert json.dumps(one["spec"]["template"]) == json.dumps(other["spec"]["template"])
        assert one["spec"]["selector"] == other["spec"]["selector"]
    again = downloader_deployment(stream, INSTALLATION, replicas=some, revision="r2")
    assert again["spec"]["template"] != first[0]["spec"]["template"]
    assert again["spec"]["template"]["spec"] == first[0]["spec"]["template"]["spec"]


@examples
@given(STREAMS)
def test_pods_are_found_by_labels_that_a_stream_cannot_take_away(stream):
    for deployment in deployments(stream):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert labels["penstock.dev/stream"] == stream.metadata.name
        assert "penstock.dev/inject" not in labels


@examples
@given(STREAMS)
def test_nothing_is_said_that_the_api_server_would_leave_out(stream):
    """Empty maps and lists are not stored: an apply that has them would never be what is there."""

    def empty(value, path=""):
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from empty(inner, f"{path}.{name}")
        elif isinstance(value, list):
            for inner in value:
                yield from empty(inner, f"{path}[]")
        if value is None or value == [] or value == {}:
            yield path

    meant = (".emptyDir", "elector", "Affinity", "ffinity")  # {} says something there
    for deployment in deployments(stream):
        assert [path for path in empty(deployment) if not path.endswith(meant)] == []


@examples
@given(STREAMS.filter(lambda stream: stream.spec.source.uploader.mode == "Sidecar"))
def test_a_pod_is_injected_once(stream):
    pod = pod_of({"persistentVolumeClaim": {"claimName": "c"}})
    once = patched(pod, inject(pod, stream, INSTALLATION).patch)
    assert inject(once, stream, INSTALLATION).patch == ()
    json.dumps(once)
