"""The CRD on a real API server: each rule refuses, each way out is taken, `/scale` and defaults work.

operator/tests/test_resource_rules.py asks the models about the same examples.
"""

from pathlib import Path

import pytest
import yaml
from tests.cluster import Kubectl

from penstock_operator.resource import DirectoryStream
from penstock_operator.resource.crd import structural_schema

ROOT = Path(__file__).parents[2]
MINIMAL = yaml.safe_load((ROOT / "operator/examples/minimal.yaml").read_text())
RULES = yaml.safe_load((ROOT / "operator/tests/rules.yaml").read_text())
MANIFESTS = sorted((ROOT / "operator/examples").glob("*.yaml"))
STREAMS = "directorystreams.penstock.dev"

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("crd")]


def laid_over(base, change):
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    merged = base | {name: laid_over(base.get(name), value) for name, value in change.items()}
    return {name: value for name, value in merged.items() if value is not None}


def messages(schema):
    for rule in schema.get("x-kubernetes-validations", ()):
        yield rule["message"]
    for inner in schema.get("properties", {}).values():
        yield from messages(inner)
    if "items" in schema:
        yield from messages(schema["items"])


MESSAGES = set(messages(structural_schema()))


@pytest.fixture(scope="module")
def api(crd: Kubectl, kubectl: Kubectl) -> Kubectl:
    """kubectl on a server that has the committed CRD."""
    return kubectl


def stream(change, name=None):
    body = laid_over(MINIMAL, change)
    return laid_over(body, {"metadata": {"name": name}}) if name else body


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule['at'] or 'metadata.name'}: {rule['rule']}")
def test_a_rule_refuses_with_its_message_and_takes_the_way_out(api, rule):
    (message,) = {message for message in MESSAGES if message.startswith(rule["rule"])}
    name = None
    if "before" in rule:
        name = f"rule-{RULES.index(rule)}"
        created = api("create", "-f", "-", given=stream(rule["before"], name))
        assert created.ok, created.err
    verb = "create" if name is None else "replace"

    refused = api(verb, "--dry-run=server", "-f", "-", given=stream(rule["refused"], name))
    assert not refused.ok
    problem = refused.err.split(" is invalid: ", 1)[-1].strip()
    assert "\n" not in problem, "one problem, one line"
    assert problem.startswith(rule["at"] or "<nil>")
    assert problem.endswith(f": {message}")

    taken = api(verb, "--dry-run=server", "-f", "-", given=stream(rule["instead"], name))
    assert taken.ok, taken.err


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_the_server_fills_in_the_models_defaults(api, manifest):
    made = api("create", "--dry-run=server", "-o", "json", "-f", str(manifest)).object
    assert made["spec"] == DirectoryStream.parse(yaml.safe_load(manifest.read_text())).spec.as_kubernetes()
    assert made["spec"] == DirectoryStream.parse(made).spec.as_kubernetes()


def test_a_field_that_is_not_there_is_named(api):
    refused = api("create", "--dry-run=server", "-f", "-", given=stream({"spec": {"topics": {}}}))
    assert not refused.ok
    assert 'unknown field "spec.topics"' in refused.err


def test_kubectl_explains_every_field(api):
    explained = api("explain", "dstream.spec.downloader.scaling.lagPerReplica")
    assert "waiting records" in explained.out, explained.err


def test_scale_is_for_the_external_mode_only(api):
    external = {"spec": {"downloader": {"replicas": 1, "scaling": {"mode": "External"}}}}
    assert api("create", "-f", "-", given=stream(external, "scaled")).ok
    scaled = api("scale", "dstream/scaled", "--replicas=4")
    assert scaled.ok, scaled.err
    assert api("get", "dstream/scaled", "-o", "json").object["spec"]["downloader"]["replicas"] == 4

    assert api("create", "-f", "-", given=stream({}, "not-scaled")).ok
    refused = api("scale", "dstream/not-scaled", "--replicas=4")
    assert not refused.ok
    assert (
        "replicas cannot be set while the operator decides: set scaling.mode: External first" in refused.err
    )


def test_scale_tells_an_autoscaler_what_runs_and_which_pods(api):
    external = {"spec": {"downloader": {"replicas": 2, "scaling": {"mode": "External"}}}}
    assert api("create", "-f", "-", given=stream(external, "autoscaled")).ok
    status = {"status": {"replicas": 2, "selector": "app.kubernetes.io/instance=autoscaled"}}
    body = api("get", "dstream/autoscaled", "-o", "json").object | status
    assert api("replace", "--subresource=status", "-f", "-", given=body).ok
    scale = api("get", "dstream/autoscaled", "--subresource=scale", "-o", "json").object
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == status["status"]


def test_a_status_is_the_operators_alone_and_is_seen_in_the_columns(api):
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "TopicMissing",
        "message": "make it",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {
        "observedGeneration": 1,
        "conditions": [ready],
        "partitions": 12,
        "desiredReplicas": 6,
        "readyReplicas": 5,
        "lag": 4321,
    }
    created = api("create", "-o", "json", "-f", "-", given=stream({"status": status}, "seen")).object
    assert "status" not in created
    assert api("replace", "--subresource=status", "-f", "-", given=created | {"status": status}).ok
    assert DirectoryStream.parse(api("get", "dstream/seen", "-o", "json").object).status.lag == 4321
    header, line = api("get", "dstream/seen").out.splitlines()
    assert header.split() == ["NAME", "TOPIC", "PARTITIONS", "DESIRED", "READY", "REASON", "LAG", "AGE"]
    assert line.split()[:-1] == ["seen", "balance", "12", "6", "5", "TopicMissing", "4321"]
