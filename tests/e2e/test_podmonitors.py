"""What this directory makes of PodMonitors for a Prometheus: who is scraped, and how that is called."""

import re
from typing import Any

import pytest
from tests.e2e.prometheus.discover import groups
from tests.e2e.prometheus.podmonitors import namespaces, scrape_configs


def monitor(**spec: Any) -> dict[str, Any]:
    given = {"selector": {}, "podMetricsEndpoints": [{"port": "metrics"}]} | spec
    return {"metadata": {"name": "ours", "namespace": "system"}, "spec": given}


def pod(name: str = "a", **labels: str) -> dict[str, Any]:
    ports = [{"name": "metrics", "containerPort": 8651}, {"name": "http", "containerPort": 80}]
    return {
        "metadata": {"name": name, "namespace": "lab", "uid": "1", "labels": labels},
        "spec": {
            "containers": [{"name": "main", "image": "i", "ports": ports}, {"name": "plain", "image": "i"}],
            "initContainers": [
                {"name": "side", "image": "i", "ports": [{"name": "side", "containerPort": 9}]}
            ],
        },
        "status": {"podIP": "10.0.0.1", "phase": "Running"},
    }


def relabeled(config: dict[str, Any], labels: dict[str, str]) -> dict[str, str] | None:
    """What becomes of a target, as Prometheus' documentation has it; None if it is dropped."""
    labels = dict(labels)
    for rule in config["relabel_configs"]:
        source = ";".join(labels.get(name, "") for name in rule.get("source_labels", ()))
        found = re.fullmatch(str(rule.get("regex", "(.*)")), source)
        action = rule.get("action", "replace")
        if (action == "keep" and not found) or (action == "drop" and found):
            return None
        if action == "replace" and found:
            template = re.sub(r"\$\{?(\d)\}?", r"\\\1", rule.get("replacement", "$1"))
            labels[rule["target_label"]] = found.expand(template)
    return {name: value for name, value in labels.items() if not name.startswith("__") and value}


def scraped(monitor: dict[str, Any], *pods: dict[str, Any]) -> list[dict[str, str]]:
    (config,) = scrape_configs([monitor])
    found = [(group["targets"], relabeled(config, group["labels"])) for group in groups(pods)]
    return [{"target": targets[0]} | labels for targets, labels in found if labels is not None]


def test_a_port_is_chosen_by_its_name():
    (target,) = scraped(monitor(), pod())
    assert target == {
        "target": "10.0.0.1:8651",
        "namespace": "lab",
        "container": "main",
        "pod": "a",
        "job": "system/ours",
        "endpoint": "metrics",
    }
    (sidecar,) = scraped(monitor(podMetricsEndpoints=[{"port": "side"}]), pod())
    assert (sidecar["target"], sidecar["container"]) == ("10.0.0.1:9", "side")


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ({}, ["a", "b", "c"]),
        ({"matchLabels": {"x/y": "1"}}, ["a"]),
        ({"matchExpressions": [{"key": "x/y", "operator": "In", "values": ["1", "2"]}]}, ["a", "b"]),
        ({"matchExpressions": [{"key": "x/y", "operator": "NotIn", "values": ["1"]}]}, ["b", "c"]),
        ({"matchExpressions": [{"key": "x/y", "operator": "Exists"}]}, ["a", "b"]),
        ({"matchExpressions": [{"key": "x/y", "operator": "DoesNotExist"}]}, ["c"]),
    ],
)
def test_pods_are_chosen_by_their_labels(selector: dict[str, Any], chosen: list[str]):
    pods = [pod("a", **{"x/y": "1"}), pod("b", **{"x/y": "2"}), pod("c")]
    assert [target["pod"] for target in scraped(monitor(selector=selector), *pods)] == chosen


def test_a_job_is_called_by_its_label_and_by_relabelings_last():
    labelled = pod(**{"app.kubernetes.io/name": "penstock"})
    by_label = monitor(jobLabel="app.kubernetes.io/name")
    assert scraped(by_label, labelled)[0]["job"] == "penstock"
    assert scraped(by_label, pod())[0]["job"] == "system/ours"
    rule = {"action": "replace", "targetLabel": "job", "replacement": "penstock-operator"}
    endpoint = {"port": "metrics", "relabelings": [rule]}
    assert scraped(monitor(podMetricsEndpoints=[endpoint]), labelled)[0]["job"] == "penstock-operator"


def test_pods_that_have_ended_or_have_no_address_are_left_alone():
    ended, new = pod("ended"), pod("new")
    ended["status"]["phase"] = "Succeeded"
    del new["status"]["podIP"]
    assert scraped(monitor(), ended, new) == []


def test_it_looks_where_the_monitor_says():
    assert namespaces(monitor()) == ["system"]
    assert namespaces(monitor(namespaceSelector={"matchNames": ["lab", "other"]})) == ["lab", "other"]
    assert namespaces(monitor(namespaceSelector={"any": True})) == []


@pytest.mark.parametrize(
    "spec",
    [
        {"sampleLimit": 1000},
        {"podMetricsEndpoints": [{"targetPort": 8651}]},
        {"podMetricsEndpoints": [{"port": "metrics", "relabelings": [{"sourcelabels": ["pod"]}]}]},
        {"selector": {"matchLabel": {"x": "y"}}},
    ],
)
def test_what_is_not_translated_is_not_left_out_silently(spec: dict[str, Any]):
    with pytest.raises(ValueError, match="has what is not translated"):
        scrape_configs([monitor(**spec)])
