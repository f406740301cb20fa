"""charts/penstock: what it can be told, and what it refuses with what to do."""

import json
import operator
import re
import tarfile
from collections.abc import Iterator
from functools import reduce
from typing import Any

import pytest
import yaml
from tests.e2e.chart.charts import CHART
from tests.e2e.chart.values import BASE, DEFAULTS, DEMO, KAFKA, MONITORED, POLICIES, VALUES, at, everything
from tests.streams import laid_over

from penstock_operator.objects.names import INJECT_LABEL

SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
ELSEWHERE = {"$ref": "#/definitions/elsewhere"}
"""The schema of what is no value, and is let through to be told what is meant."""

pytestmark = pytest.mark.cluster

TEMPLATE = ("template", "penstock", str(CHART))


def test_it_lints_without_a_warning(any_helm):
    for values in ({}, everything()):
        said = any_helm("lint", "--strict", str(CHART), values=values)
        assert [line for line in said.splitlines() if line.startswith(("[WARNING]", "[ERROR]"))] == []


def test_every_helm_renders_the_same(helm, any_helm):
    assert any_helm.rendered(everything()) == helm.rendered(everything())


def test_what_is_packaged_is_what_is_needed(helm, tmp_path):
    helm("package", str(CHART), "--destination", str(tmp_path))
    (package,) = tmp_path.iterdir()
    with tarfile.open(package) as archive:
        names = {name.removeprefix("penstock/") for name in archive.getnames()}
    here = {path.relative_to(CHART).as_posix() for path in CHART.rglob("*") if path.is_file()}
    assert names == here


def test_every_value_is_set_here():
    def leaves(values, path=""):
        for name, value in values.items():
            here = f"{path}{name}"
            if here in VALUES:
                yield here
            elif isinstance(value, dict):
                yield from leaves(value, f"{here}.")
            else:
                yield f"{here}: not set by this test"

    assert sorted(leaves(DEFAULTS)) == sorted(VALUES)


@pytest.mark.parametrize("path", VALUES)
def test_a_value_changes_what_is_rendered(helm, path):
    value, needed = VALUES[path]
    without = laid_over(BASE, needed)
    if path == "webhook.certificates":
        without = BASE
    with_it = laid_over(laid_over(without, needed), at(path, value))
    assert helm(*TEMPLATE, values=with_it) != helm(*TEMPLATE, values=without)


def test_what_is_rendered_twice_is_the_same(helm):
    """So that the test above says something."""
    assert helm(*TEMPLATE, values=BASE) == helm(*TEMPLATE, values=BASE)


def test_every_value_has_a_comment_above_it():
    lines = (CHART / "values.yaml").read_text("utf-8").splitlines()
    document = yaml.compose((CHART / "values.yaml").read_text("utf-8"))

    def keys(node, path=""):
        for key, value in node.value:
            here = f"{path}{key.value}"
            yield here, key.start_mark.line
            if isinstance(value, yaml.MappingNode):
                yield from keys(value, f"{here}.")

    found = dict(keys(document))
    assert [path for path in VALUES if not lines[found[path] - 1].lstrip().startswith("# ")] == []


# What is refused


def test_the_schema_is_closed():
    def objects(schema, where="values"):
        if "object" in schema.get("type", ""):
            yield where, schema
        for name in ("properties", "definitions"):
            for key, inner in schema.get(name, {}).items():
                yield from objects(inner, f"{where}.{key}")
        if "items" in schema:
            yield from objects(schema["items"], f"{where}[]")

    found = dict(objects(SCHEMA))
    anything = [where for where, schema in found.items() if schema.get("additionalProperties", True) is True]
    assert anything == ["values.global"], "what Helm itself sets for a chart that others depend on"
    assert len(found) > 40


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("operators", {}),
        ("image.registri", "a"),
        ("operator.nodeSelektor", {"a": "b"}),
        ("operator.image.tags", "1"),
        ("operator.affinity.nodeAfinity", {}),
        ("operator.resources.limit", {"cpu": 1}),
        ("streams.uploader.resources.limits.memroy", "1Gi"),
        ("streams.uploader.replicas", 2),
        ("webhook.failurePolicy", "Ignore"),
        ("webhook.certManager.issuerRef.nmae", "lab"),
        ("registry.kafka.bootstrapServer", "kafka:9092"),
        ("registry.kafka.authSecretRef.pasword", "secret"),
        ("registry.kafka.tls.insecure", True),
        ("registry.token.value", "secret"),
        ("registry.database.existingSecret.url", "postgresql://a"),
        ("demokafka", {"enabled": True}),
        ("demoKafka.replicas", 3),
        ("monitoring.podMonitor.scrapeInterval", "30s"),
        ("networkPolicies.ingressNamespaces", ["ingress"]),
        ("dashboards.label", "grafana_dashboard"),
    ],
)
def test_a_misspelt_value_is_refused_by_its_name(any_helm, path, value):
    *parents, last = path.split(".")
    said = any_helm.refused(*TEMPLATE, values=at(path, value))
    assert last in said
    assert "/".join(parents) in said.replace(".", "/")
    assert "not allowed" in said


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("podUser", -1),
        ("podUser", "nobody"),
        ("image.pullPolicy", "Sometimes"),
        ("operator.namespaces", "lab"),
        ("operator.namespaces", ["Lab"]),
        ("operator.namespaces", ["lab", "lab"]),
        ("operator.logLevel", "verbose"),
        ("operator.readSeconds", 0),
        ("operator.image.digest", "abc"),
        ("operator.podLabels", {"a": True}),
        ("streams.downloader.resources.limits.cpu", 0.5),
        ("webhook.certificates", "none"),
        ("webhook.existingSecret.caBundle", "TUlJQg=="),
        ("registry.kafka.bootstrapServers", "PLAINTEXT://kafka:9092"),
        ("registry.kafka.bootstrapServers", "kafka:9092;kafka:9093"),
        ("registry.kafka.properties", {"socket.timeout.ms": 20000}),
        ("registry.kafka.authSecretRef.mechanism", "GSSAPI"),
        ("registry.kafka.tls", True),
        ("registry.streams", ["lab/*"]),
        ("registry.retentionDays", 0),
        ("registry.replicas", -1),
        ("registry.volume.size", 2),
        ("registry.volume.size", "2GiB"),
        ("registry.database.maxSize", "a lot"),
        ("registry.token", "0123456789abcdef"),
        ("demoKafka.volume.size", "some"),
        ("dashboards.labels", {"grafana_dashboard": True}),
        ("monitoring.podMonitor.interval", "30"),
        ("networkPolicies.apiServers", ["10.0.0.1"]),
        ("networkPolicies.metricsNamespaces", "monitoring"),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(any_helm, path, value):
    said = any_helm.refused(*TEMPLATE, values=at(path, value))
    assert path in said.replace("/", ".")


@pytest.mark.parametrize(
    ("values", "what_to_do"),
    [
        (
            {"operator": {"clusterWide": True, "namespaces": ["lab"]}},
            "looks after all namespaces, operator.namespaces after these alone (lab): give one of the two",
        ),
        (
            {"operator": {"serviceAccount": {"create": False}}},
            "give operator.serviceAccount.name, the ServiceAccount that is there",
        ),
        (
            {"operator": {"podLabels": {"team": "imaging", INJECT_LABEL: "simulation"}}},
            "operator.podLabels has penstock.dev/inject: labels under app.kubernetes.io/, helm.sh/ and",
        ),
        (
            {"registry": {"podLabels": {"app.kubernetes.io/component": "operator"}}},
            "registry.podLabels has app.kubernetes.io/component: labels under app.kubernetes.io/",
        ),
        ({"webhook": {"certificates": "existingSecret"}}, "give webhook.existingSecret.name"),
        (
            {"webhook": {"certificates": "existingSecret", "existingSecret": {"name": "ours"}}},
            "--set-file webhook.existingSecret.caBundle=ca.crt",
        ),
        ({"webhook": {"existingSecret": {"name": "ours"}}}, "set webhook.certificates=existingSecret"),
        (
            {"webhook": {"certManager": {"issuerRef": {"name": "lab"}}}},
            "set webhook.certificates=certManager",
        ),
        (
            {"registry": {"replicas": 2}},
            "registry.replicas is 2: SQLite, the default, takes one. Give registry.database.existingSecret.n",
        ),
        (
            {
                "registry": {
                    "database": {"existingSecret": {"name": "a"}},
                    "volume": {"existingClaim": "b"},
                }
            },
            "registry.volume.existingClaim is for SQLite, registry.database.existingSecret.name for Pos",
        ),
        (
            {"registry": {"volume": {"existingClaim": "a", "storageClassName": "b"}}},
            "registry.volume.storageClassName is for the claim that the chart makes",
        ),
        (
            {"registry": {"kafka": {"bootstrapServers": "a:9092", "properties": {"sasl.username": "b"}}}},
            "registry.kafka.properties has sasl.username: who connects how is said by registry.kafka.authSec",
        ),
        (
            {"registry": {"kafka": {"bootstrapServers": "a:9092", "authSecretRef": {"username": "b"}}}},
            "registry.kafka.authSecretRef needs its name",
        ),
        (
            {
                "registry": {
                    "kafka": {
                        "bootstrapServers": "a:9092",
                        "tls": {"ca": {"secret": {"name": "b"}, "configMap": {"name": "c"}}},
                    }
                }
            },
            "registry.kafka.tls.ca: name one place, secret or configMap, and not both",
        ),
        (
            {**DEMO, "registry": {"kafka": {"tls": {}}}},
            "give registry.kafka.bootstrapServers (the demo Kafka has neither passwords nor TLS)",
        ),
        (
            {"registry": {"kafka": {"authSecretRef": {"name": "a"}}}},
            "registry.kafka says how to connect, and not where: give registry.kafka.bootstrapServers",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_what_to_do(helm, values, what_to_do):
    assert what_to_do in helm.refused(*TEMPLATE, values=values)


# What people look for elsewhere than it is


def let_through(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        if inner == ELSEWHERE:
            yield f"{path}{name}"
        yield from let_through(inner, f"{path}{name}.")


LOOKED_FOR = sorted(let_through(SCHEMA))


@pytest.mark.parametrize("path", LOOKED_FOR)
def test_who_looks_for_a_value_elsewhere_is_told_where_it_is(helm, path):
    for value in ("something", {"enabled": True}):
        said = helm.refused(*TEMPLATE, values=at(path, value))
        found = re.search(rf"there is no value {re.escape(path)}: (.+)", said)
        assert found, said
        words = re.findall(r"\b[a-zA-Z]+(?:\.[a-zA-Z]+)+\b|\b[a-z]+[A-Z]\w+", found[1])
        assert (
            any(is_a_value(word) for word in words) or "Ingress" in found[1] or "one operator" in found[1]
        ), found[1]


def is_a_value(path: str) -> bool:
    return any(value == path or value.startswith(f"{path}.") for value in VALUES)


def test_what_is_looked_for_elsewhere_is_what_the_templates_know_of():
    table = (CHART / "templates/_elsewhere.tpl").read_text("utf-8")
    known = yaml.safe_load(table.partition("-}}\n")[2].partition("{{- end")[0])
    assert sorted(known) == LOOKED_FOR
    assert not [path for path in LOOKED_FOR if is_a_value(path)]
    assert {"registry.bootstrapServers", "kafka", "operator.watchNamespaces"} <= set(LOOKED_FOR)


def test_a_release_whose_services_could_not_be_called_so_is_refused_with_what_to_do(any_helm):
    said = any_helm.refused("template", "2nd-lab", str(CHART))
    assert "those of this release with 2nd-lab-penstock: call it something else, or give fullname" in said
    any_helm("template", "2nd-lab", str(CHART), values={"fullnameOverride": "second"})
    said = any_helm.refused(*TEMPLATE, values={"fullnameOverride": "2nd"})
    assert "those of this release with 2nd:" in said


def test_values_that_are_taken_away_are_refused_with_what_to_do(any_helm):
    """As they are by --reuse-values, with those of a chart that did not have them."""
    for part in ("registry", "demoKafka", "dashboards", "monitoring", "networkPolicies"):
        said = any_helm.refused(*TEMPLATE, "--set", f"{part}=null")
        assert f"the values have no {part}" in said
        assert "--reset-then-reuse-values" in said
        assert "nil pointer" not in said


def all_paths(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{path}{name}"
        if isinstance(value, dict):
            yield from all_paths(value, f"{path}{name}.")


@pytest.mark.parametrize("path", [path for path in all_paths(DEFAULTS) if "." in path])
def test_a_value_that_is_null_is_empty_or_refused_by_its_name(helm, path):
    """A name in a file of values with nothing after it is null, and Helm takes the default away."""
    values = {"registry": {"kafka": KAFKA}, **DEMO, **MONITORED, **POLICIES}
    done = helm.run(*TEMPLATE, "--set", f"{path}=null", values=values)
    parent, _, last = path.rpartition(".")
    if done.returncode:
        assert f"at '/{parent.replace('.', '/')}': missing property '{last}'" in done.stderr
    else:
        default = reduce(operator.getitem, path.split("."), DEFAULTS)
        assert not default or ".resources" in path or ".labels" in path, f"{path} is not to be missed"
