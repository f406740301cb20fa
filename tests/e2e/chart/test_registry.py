"""charts/penstock: what it renders of the registry and of the demo Kafka."""

import base64
import json
import os
import re

import pytest
import yaml
from tests.e2e.chart.charts import (
    CHART,
    Object,
    all_of,
    container_of,
    deployment,
    only,
    parsed,
    pod_of,
    there,
    variables,
)
from tests.e2e.chart.values import BASE, DEMO, KAFKA, POSTGRES, VARIANTS, at, everything
from tests.pod_security import violations
from tests.streams import laid_over

from penstock_operator.objects import kafka as pods_of_streams
from penstock_operator.objects.pods import METRICS_PORT
from penstock_operator.resource.kafka import Kafka
from penstock_registry.settings import DEFAULT_PORT, RegistrySettings

pytestmark = pytest.mark.cluster

WITH_REGISTRY = [name for name, values in VARIANTS.items() if "registry" in values or "demoKafka" in values]
WITH_DEMO = [name for name, values in VARIANTS.items() if values.get("demoKafka", {}).get("enabled")]
PG_URL = "postgresql://penstock:secret@db.lab/registry"
SECRETS = {
    ("registry-database", "url"): PG_URL,
    ("registry-database", "uri"): PG_URL,
    ("registry-kafka", "username"): "registry",
    ("registry-kafka", "password"): "a password",
    ("registry-kafka", "secret"): "a password",
}


def env_of(objects: list[Object]) -> dict[str, str]:
    return variables(objects, "registry", SECRETS)


# The registry


@pytest.mark.parametrize("variant", WITH_REGISTRY)
def test_its_pod_is_restricted_and_answers_where_its_service_looks(helm, variant):
    objects = helm.rendered(VARIANTS[variant])
    pod, container = pod_of(objects, "registry"), container_of(objects, "registry")
    assert violations(pod) == []
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert (pod["enableServiceLinks"], pod["automountServiceAccountToken"]) == (False, False)
    assert container["resources"]["limits"]
    spec = deployment(objects, "registry")["spec"]
    name = deployment(objects, "registry")["metadata"]["name"]
    service = only(objects, "Service", name)["spec"]
    assert service["selector"] == spec["selector"]["matchLabels"]
    assert service["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": DEFAULT_PORT, "metrics": METRICS_PORT}
    assert {port["name"]: port["port"] for port in service["ports"]} == ports
    assert all(port["targetPort"] == port["name"] for port in service["ports"])
    asked = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")}
    assert asked == {"/healthz"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}


@pytest.mark.parametrize("variant", WITH_REGISTRY)
def test_all_that_it_writes_or_reads_is_mounted(helm, variant):
    objects = helm.rendered(VARIANTS[variant])
    pod, container = pod_of(objects, "registry"), container_of(objects, "registry")
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert sorted(mounts.values()) == sorted(volume["name"] for volume in pod["volumes"])
    told = env_of(objects)
    files = [told["PENSTOCK_TOKEN_FILE"]]
    files += [value for key, value in json.loads(told["PENSTOCK_KAFKA"]).items() if key.endswith(".location")]
    for file in files:
        (volume,) = [one for one in pod["volumes"] if one["name"] == mounts[os.path.dirname(file)]]
        sources = volume.get("projected", {}).get("sources") or [volume]
        items = [
            item
            for source in sources
            for kind in ("secret", "configMap")
            for item in source.get(kind, {}).get("items", [])
        ]
        assert os.path.basename(file) in [item["path"] for item in items]
    assert ("PENSTOCK_STATE_DIR" in told) != ("PENSTOCK_DATABASE" in told)
    assert told.get("PENSTOCK_STATE_DIR", "/tmp") in mounts


def test_where_no_kafka_is_known_there_is_none(helm):
    objects = helm.rendered({})
    rendered = [one for one in objects if one["kind"] not in ("CustomResourceDefinition", "ConfigMap")]
    assert "registry" not in yaml.safe_dump_all(rendered)


@pytest.mark.parametrize(
    "values", [{"registry": {"enabled": False, "kafka": KAFKA}}, {"registry": {"enabled": False}, **DEMO}]
)
def test_without_it_nothing_of_it_is_left(helm, values):
    objects = helm.rendered(laid_over(values, VARIANTS["monitored"] | VARIANTS["network policies"]))
    rendered = [one for one in objects if one["kind"] not in ("CustomResourceDefinition", "ConfigMap")]
    assert "penstock-registry" not in there(rendered, "Deployment")
    assert [one["metadata"]["name"] for one in rendered if "registry" in one["metadata"]["name"]] == []


def test_it_understands_what_it_is_told(helm, monkeypatch):
    for name, value in env_of(helm.rendered(everything())).items():
        monkeypatch.setenv(name, value)
    assert RegistrySettings.load() == RegistrySettings(
        bootstrap_servers="[fd00::1]:9092",
        kafka={
            "client.id": "registry",
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "ssl.ca.location": "/etc/penstock/kafka/ca.crt",
            "ssl.certificate.location": "/etc/penstock/kafka/tls.crt",
            "ssl.key.location": "/etc/penstock/kafka/tls.key",
        },
        sasl_username="registry$(USER)",
        sasl_password="a password",
        database=PG_URL,
        max_database_size="10Gi",
        host="0.0.0.0",
        port=8650,
        token_file="/etc/penstock/token/token",
        streams=["lab1.*", "scope-?"],
        openmsi_heartbeat_topics=["heartbeats"],
        retention_days=30.5,
        group="penstock-registry-lab",
        metrics_host="0.0.0.0",
        metrics_port=8651,
        log_format="json",
        log_level="error",
    )


def test_every_variable_is_a_setting_and_every_setting_that_matters_a_variable(helm):
    settings = {f"PENSTOCK_{name.upper()}" for name in RegistrySettings.model_fields}
    told = env_of(helm.rendered(everything())).keys() | env_of(helm.rendered(BASE)).keys()
    assert settings - told == {
        "PENSTOCK_CONFIG",  # the environment says it all
        "PENSTOCK_TOKEN",  # a mounted file does not show in `kubectl describe`
        "PENSTOCK_EVENTS_TOPIC",  # its default is what streams of this chart write to
    }
    assert told <= settings


KAFKAS = {
    "in the clear": {"bootstrapServers": "a:9092, b:9092"},
    "TLS": {"bootstrapServers": "a:9093", "tls": {}},
    "TLS, their authority": {"bootstrapServers": "a:9093", "tls": {"ca": {"secret": {"name": "ca"}}}},
    "TLS, a certificate": {
        "bootstrapServers": "a:9093",
        "tls": {"clientSecretRef": {"name": "registry-tls"}},
    },
    "a password": {"bootstrapServers": "a:9092", "authSecretRef": {"name": "registry-kafka"}},
    "a password of Strimzi's": {
        "bootstrapServers": "a:9092",
        "authSecretRef": {"name": "registry-kafka", "username": "me$HOME", "mechanism": "SCRAM-SHA-256"},
    },
    "all": {
        "bootstrapServers": "a:9093",
        "properties": {"client.id": "$(HOSTNAME) of <lab>", "socket.timeout.ms": "20000"},
        "authSecretRef": {"name": "registry-kafka", "mechanism": "PLAIN", "passwordKey": "secret"},
        "tls": {
            "ca": {"configMap": {"name": "ca", "key": "x"}},
            "clientSecretRef": {"name": "tls", "certificateKey": "user.crt", "privateKeyKey": "user.key"},
        },
    },
}


@pytest.mark.parametrize("kafka", KAFKAS)
def test_it_connects_as_a_pod_of_a_stream_does_that_says_the_same(helm, kafka):
    objects = helm.rendered({"registry": {"kafka": KAFKAS[kafka]}})
    stream = Kafka.model_validate(KAFKAS[kafka])
    told = {one["name"]: one for one in container_of(objects, "registry")["env"]}
    for variable in pods_of_streams.variables(stream):
        mine = told.pop(variable["name"])
        if variable["name"] == "PENSTOCK_KAFKA":
            assert json.loads(mine["value"]) == json.loads(variable["value"])
        else:
            assert mine == variable
    assert not {"PENSTOCK_SASL_USERNAME", "PENSTOCK_SASL_PASSWORD"} & told.keys()
    mine = [one for one in pod_of(objects, "registry")["volumes"] if one["name"] == "kafka"]
    theirs = [
        {"name": "kafka", "projected": {**one["projected"], "defaultMode": 0o440}}
        for one in pods_of_streams.volumes(stream)
    ]
    assert mine == theirs


def test_sqlite_has_one_pod_a_volume_that_stays_and_a_limit_below_the_volumes(helm):
    objects = helm.rendered(VARIANTS["registry"])
    spec = deployment(objects, "registry")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    claim = only(objects, "PersistentVolumeClaim", "penstock-registry")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "2Gi"}},
    }
    assert RegistrySettings(
        max_database_size=env_of(objects)["PENSTOCK_MAX_DATABASE_SIZE"]
    ).max_database_size == (3 * 2**29)
    assert all_of(objects, "PodDisruptionBudget") == []
    assert only(objects, "Service", "penstock-registry")["spec"]["publishNotReadyAddresses"] is True
    theirs = helm.rendered(VARIANTS["registry, their claim"])
    assert "penstock-registry" not in there(theirs, "PersistentVolumeClaim")
    assert "PENSTOCK_MAX_DATABASE_SIZE" not in env_of(theirs)


@pytest.mark.parametrize(("size", "most"), [("1.5Ti", "1.125Ti"), ("500M", "375M"), ("1Gi", "0.75Gi")])
def test_the_limit_follows_the_volume(helm, size, most):
    objects = helm.rendered(laid_over(VARIANTS["registry"], at("registry.volume.size", size)))
    assert env_of(objects)["PENSTOCK_MAX_DATABASE_SIZE"] == most


def test_postgresql_has_no_volume_and_any_number_of_pods_of_which_one_may_go_at_a_time(helm):
    objects = helm.rendered(VARIANTS["registry, PostgreSQL"])
    spec = deployment(objects, "registry")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (3, "RollingUpdate")
    assert all_of(objects, "PersistentVolumeClaim") == []
    budget = only(objects, "PodDisruptionBudget")["spec"]
    assert budget == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": spec["selector"],
    }
    told = env_of(objects)
    assert told["PENSTOCK_DATABASE"] == PG_URL
    assert "PENSTOCK_MAX_DATABASE_SIZE" not in told
    service = only(objects, "Service", "penstock-registry")["spec"]
    assert "publishNotReadyAddresses" not in service, "another one is ready"
    assert all_of(helm.rendered(laid_over(POSTGRES, BASE)), "PodDisruptionBudget") == []


def test_the_token_is_random_strong_and_read_anew_when_it_changes(helm):
    first, second = (
        parsed(helm("template", "penstock", str(CHART), values=VARIANTS["registry"])) for _ in range(2)
    )
    tokens = [only(one, "Secret", "penstock-registry")["data"]["token"] for one in (first, second)]
    assert tokens[0] != tokens[1]
    annotations = [
        deployment(one, "registry")["spec"]["template"]["metadata"]["annotations"] for one in (first, second)
    ]
    assert annotations[0]["checksum/token"] != annotations[1]["checksum/token"]
    (volume,) = [one["secret"] for one in pod_of(first, "registry")["volumes"] if one["name"] == "token"]
    assert (volume["secretName"], volume["defaultMode"]) == ("penstock-registry", 0o440)

    theirs = helm.rendered(laid_over(BASE, at("registry.token.existingSecret.key", "registry.token")))
    assert all_of(theirs, "Secret") == []
    (volume,) = [one["secret"] for one in pod_of(theirs, "registry")["volumes"] if one["name"] == "token"]
    assert volume["secretName"] == "registry-token"
    assert volume["items"] == [{"key": "registry.token", "path": "token"}]


def test_no_secret_is_written_anywhere_but_into_secrets(helm):
    objects = helm.rendered(VARIANTS["registry"])
    token = only(objects, "Secret", "penstock-registry")["data"].pop("token")
    everything_else = yaml.safe_dump_all(objects)
    assert token not in everything_else
    assert base64.b64decode(token).decode() not in everything_else


# The demo Kafka


@pytest.mark.parametrize("variant", WITH_DEMO)
def test_the_demo_kafka_is_restricted_and_answers_under_the_name_that_it_tells(helm, variant):
    objects = helm.rendered(VARIANTS[variant])
    pod, container = pod_of(objects, "kafka"), container_of(objects, "kafka")
    name = deployment(objects, "kafka")["metadata"]["name"]
    spec = deployment(objects, "kafka")["spec"]
    assert violations(pod) == []
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    host = container["args"][container["args"].index("--advertise") + 1]
    assert host == f"{name}.lab.svc"
    assert pod["hostAliases"] == [{"ip": "127.0.0.1", "hostnames": [host]}]
    service = only(objects, "Service", name)["spec"]
    assert service["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    assert [port["port"] for port in service["ports"]] == [9092]
    assert [port["containerPort"] for port in container["ports"]] == [9092]
    (data,) = [one["mountPath"] for one in container["volumeMounts"] if one["name"] == "data"]
    assert container["args"][container["args"].index("--data-dir") + 1] == data
    claim = only(objects, "PersistentVolumeClaim", name)
    assert "annotations" not in claim["metadata"], "it goes with the release"


def test_the_registry_reads_the_demo_kafka_unless_told_another(helm):
    assert env_of(helm.rendered(DEMO))["PENSTOCK_BOOTSTRAP_SERVERS"] == "penstock-kafka.lab.svc:9092"
    both = helm.rendered({**DEMO, "registry": {"kafka": KAFKA}})
    assert env_of(both)["PENSTOCK_BOOTSTRAP_SERVERS"] == "kafka-0.kafka:9093,kafka-1.kafka:9093"


def test_wherever_the_demo_kafka_is_offered_it_says_that_it_is_not_for_production(helm):
    values = (CHART / "values.yaml").read_text("utf-8").partition("\ndemoKafka:")[0]
    assert "Not for production" in values.rpartition("\n\n")[2]
    rendered = helm("template", "penstock", str(CHART), values=DEMO)
    source = re.search(r"# Source: penstock/templates/demo-kafka/kafka.yaml\n(.*\n)", rendered)
    assert source
    assert source[1].startswith("# Not for production")


# All of them


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_two_parts_have_the_same_pods(helm, variant):
    objects = helm.rendered(VARIANTS[variant])
    for one in all_of(objects, "Deployment"):
        selected = [
            other["metadata"]["name"]
            for other in all_of(objects, "Deployment")
            if one["spec"]["selector"]["matchLabels"].items()
            <= other["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert selected == [one["metadata"]["name"]]


def test_names_have_room_for_the_longest_release(helm):
    long = "a" * 53
    out = helm(
        "template", long, str(CHART), values=laid_over(VARIANTS["network policies"], VARIANTS["monitored"])
    )
    for one in parsed(out):
        name = one["metadata"]["name"]
        assert len(name) <= (63 if one["kind"] in ("Service", "Deployment", "PersistentVolumeClaim") else 253)
