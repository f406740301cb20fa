"""charts/penstock: dashboards, what Prometheus is told, and who may connect."""

import json

import pytest
import yaml
from tests.e2e.chart.charts import (
    CHART,
    Object,
    all_of,
    container_of,
    deployment,
    only,
    there,
)
from tests.e2e.chart.values import DEMO, MONITORED, POLICIES, VARIANTS, at
from tests.streams import example, laid_over

from penstock_operator.objects.names import INJECT_LABEL, SIDECAR, labels

pytestmark = pytest.mark.cluster

COMPONENT = "app.kubernetes.io/component"


# Dashboards


def test_each_dashboard_is_a_configmap_that_grafanas_sidecar_finds(helm):
    files = {path.stem: path.read_text("utf-8") for path in (CHART / "files/dashboards").glob("*.json")}
    assert {"overview", "stream", "operator"} <= files.keys()
    made = {one["metadata"]["name"]: one for one in all_of(helm.rendered({}), "ConfigMap")}
    assert made.keys() == {f"penstock-dashboard-{name}" for name in files}
    for name, text in files.items():
        config_map = made[f"penstock-dashboard-{name}"]
        assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
        ((file, content),) = config_map["data"].items()
        assert file == f"penstock-{name}.json"
        assert json.loads(content) == json.loads(text)


def test_the_label_of_dashboards_can_be_another_one(helm):
    values = {
        "dashboards": {
            "labels": {"grafana_dashboard": None, "team": "imaging"},
            "annotations": {"grafana_folder": "Penstock"},
        }
    }
    for one in all_of(helm.rendered(values), "ConfigMap"):
        assert one["metadata"]["labels"]["team"] == "imaging"
        assert "grafana_dashboard" not in one["metadata"]["labels"]
        assert one["metadata"]["annotations"] == {"grafana_folder": "Penstock"}
    assert all_of(helm.rendered({"dashboards": {"enabled": False}}), "ConfigMap") == []


def test_the_charts_own_labels_cannot_be_taken(helm):
    values = laid_over(MONITORED, {"dashboards": {"labels": {COMPONENT: "operator"}}})
    said = helm.refused("template", "penstock", str(CHART), values=values)
    assert "dashboards.labels has app.kubernetes.io/component" in said


# PodMonitors


def selected(selector: Object, pod_labels: dict[str, str]) -> bool:
    """Whether a label selector chooses a pod with these labels."""
    for key, value in selector.get("matchLabels", {}).items():
        if pod_labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions", ()):
        if one["operator"] == "In" and pod_labels.get(one["key"]) not in one["values"]:
            return False
        if one["operator"] == "Exists" and one["key"] not in pod_labels:
            return False
        assert one["operator"] in ("In", "Exists")
    return True


def pods() -> dict[str, dict[str, str]]:
    """Labels of pods of streams, as the operator makes them, and of one with a sidecar."""
    stream = example("instrument")
    return {
        "uploader": labels(stream, "uploader"),
        "downloader": labels(stream, "downloader"),
        "simulation": {INJECT_LABEL: "simulation", "app": "simulation"},
        "stranger": {"app.kubernetes.io/name": "nginx", COMPONENT: "operator"},
    }


def test_every_pod_is_scraped_once_under_the_job_that_the_rules_know(helm):
    objects = helm.rendered(VARIANTS["monitored"])
    every = pods() | {
        part: deployment(objects, part)["spec"]["template"]["metadata"]["labels"]
        for part in ("operator", "registry", "kafka")
    }
    jobs = {
        name: [
            rule["replacement"]
            for monitor in all_of(objects, "PodMonitor")
            if selected(monitor["spec"]["selector"], pod_labels)
            for rule in monitor["spec"]["podMetricsEndpoints"][0]["relabelings"]
            if rule.get("targetLabel") == "job"
        ]
        for name, pod_labels in every.items()
    }
    assert jobs == {
        "operator": ["penstock-operator"],
        "registry": ["penstock-registry"],
        "uploader": ["penstock-streams"],
        "downloader": ["penstock-streams"],
        "simulation": ["penstock-streams"],
        "kafka": [],
        "stranger": [],
    }


def test_who_asks_the_operator_believes_its_labels_and_streams_get_theirs_from_the_pods(helm):
    """Rules and dashboards know a stream by the labels `namespace` and `stream`."""
    monitors = {
        one["metadata"]["labels"][COMPONENT]: one["spec"]["podMetricsEndpoints"]
        for one in all_of(helm.rendered(VARIANTS["monitored"]), "PodMonitor")
    }
    assert monitors.keys() == {"operator", "registry", "streams", "sidecars"}
    assert {part: endpoint.get("honorLabels", False) for part, (endpoint,) in monitors.items()} == {
        "operator": True,
        "registry": False,
        "streams": False,
        "sidecars": False,
    }
    sources = {
        part: [
            rule["sourceLabels"] for rule in endpoint["relabelings"] if rule.get("targetLabel") == "stream"
        ]
        for part, (endpoint,) in monitors.items()
    }
    assert sources == {
        "operator": [],
        "registry": [],
        "streams": [["__meta_kubernetes_pod_label_penstock_dev_stream"]],
        "sidecars": [["__meta_kubernetes_pod_label_penstock_dev_inject"]],
    }


def test_of_a_pod_with_a_sidecar_the_sidecar_alone_is_asked(helm):
    (monitor,) = [
        one
        for one in all_of(helm.rendered(VARIANTS["monitored"]), "PodMonitor")
        if one["metadata"]["labels"][COMPONENT] == "sidecars"
    ]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    keeps = [rule for rule in endpoint["relabelings"] if rule["action"] == "keep"]
    (keep,) = keeps
    assert (keep["sourceLabels"], keep["regex"]) == (["__meta_kubernetes_pod_container_name"], SIDECAR)


@pytest.mark.parametrize("part", ["operator", "registry"])
def test_the_port_that_is_asked_is_one_of_the_pod(helm, part):
    objects = helm.rendered(VARIANTS["monitored"])
    monitor = only(objects, "PodMonitor", f"penstock-{part}")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in [port["name"] for port in container_of(objects, part)["ports"]]
    assert endpoint["port"] == "metrics", "as that of streams' pods, which the operator makes"


@pytest.mark.parametrize(
    ("operator", "places"),
    [
        ({}, {"matchNames": ["lab"]}),
        ({"namespaces": ["one", "two"]}, {"matchNames": ["one", "two"]}),
        ({"clusterWide": True}, {"any": True}),
    ],
    ids=["default", "list", "cluster-wide"],
)
def test_streams_are_scraped_where_the_operator_looks_after_them(helm, operator, places):
    objects = helm.rendered(laid_over(MONITORED, {"operator": operator}))
    for one in all_of(objects, "PodMonitor"):
        everywhere = one["metadata"]["labels"][COMPONENT] in ("streams", "sidecars")
        assert one["spec"].get("namespaceSelector") == (places if everywhere else None)
        assert one["metadata"]["namespace"] == "lab"


def test_prometheus_finds_what_is_for_it_and_asks_as_often_as_it_is_told(helm):
    values = laid_over(MONITORED, at("monitoring.podMonitor.labels", {"release": "prometheus"}))
    values = laid_over(values, at("monitoring.podMonitor.interval", "15s"))
    monitors = all_of(helm.rendered(values), "PodMonitor")
    assert len(monitors) == 3, "no registry runs"
    for one in monitors:
        assert one["metadata"]["labels"]["release"] == "prometheus"
        assert [endpoint["interval"] for endpoint in one["spec"]["podMetricsEndpoints"]] == ["15s"]


def test_monitoring_is_off_by_default(helm):
    objects = helm.rendered({})
    assert not there(objects, "PodMonitor") + there(objects, "PrometheusRule")


# Alerts

RULES = yaml.safe_load((CHART / "files/rules.yaml").read_text("utf-8"))


def test_the_alerts_are_those_of_the_file_word_for_word(helm):
    objects = helm.rendered(VARIANTS["monitored"])
    assert only(objects, "PrometheusRule")["spec"] == RULES


def test_where_no_registry_runs_nobody_is_told_that_it_is_away(helm):
    groups = only(helm.rendered(MONITORED), "PrometheusRule")["spec"]["groups"]
    assert groups == [group for group in RULES["groups"] if group["name"] != "penstock-registry"]
    assert len(groups) == len(RULES["groups"]) - 1


def test_alerts_are_evaluated_as_often_as_is_said_and_labelled(helm):
    values = laid_over(VARIANTS["monitored"], at("monitoring.prometheusRule.interval", "1m"))
    values = laid_over(values, at("monitoring.prometheusRule.labels", {"release": "prometheus"}))
    rule = only(helm.rendered(values), "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert {group["interval"] for group in rule["spec"]["groups"]} == {"1m"}
    assert [group["rules"] for group in rule["spec"]["groups"]] == [
        group["rules"] for group in RULES["groups"]
    ]


# NetworkPolicies


def peers(rule: Object) -> list[str] | str:
    """The namespaces whose pods may connect, or "everybody"."""
    if "from" not in rule:
        return "everybody"
    (peer,) = rule["from"]
    if peer == {"namespaceSelector": {}}:
        return "every namespace"
    (expression,) = peer["namespaceSelector"]["matchExpressions"]
    assert peer.keys() == {"namespaceSelector"}
    assert (expression["key"], expression["operator"]) == ("kubernetes.io/metadata.name", "In")
    return expression["values"]


def ports(policy: Object) -> dict[str, list[str] | str]:
    """Who may connect, by port."""
    return {port["port"]: peers(rule) for rule in policy["spec"]["ingress"] for port in rule["ports"]}


def test_every_port_of_a_part_is_open_to_those_who_need_it_and_nobody_else(helm):
    values = laid_over(
        VARIANTS["network policies"],
        {"networkPolicies": {"metricsNamespaces": ["monitoring"], "registryNamespaces": ["ingress"]}},
    )
    objects = helm.rendered(values)
    open_to = {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}": ports(one)
        for one in all_of(objects, "NetworkPolicy")
    }
    metrics = {"metrics": ["lab", "monitoring"]}
    assert open_to == {
        "lab/penstock-operator": {**metrics, "webhook": "everybody"},
        "lab/penstock-registry": {**metrics, "http": ["lab", "ingress"]},
        "lab/penstock-kafka": {"kafka": ["lab", "default", "kube-public"]},
        "default/penstock.lab-streams": metrics,
        "kube-public/penstock.lab-streams": metrics,
    }
    for part in ("operator", "registry", "kafka"):
        named = {port["name"] for port in container_of(objects, part)["ports"]}
        assert open_to[f"lab/penstock-{part}"].keys() == named


def test_every_policy_chooses_the_pods_that_it_is_about(helm):
    objects = helm.rendered(VARIANTS["network policies"])
    every = pods() | {
        part: deployment(objects, part)["spec"]["template"]["metadata"]["labels"]
        for part in ("operator", "registry", "kafka")
    }
    chosen = {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}": {
            name for name, pod_labels in every.items() if selected(one["spec"]["podSelector"], pod_labels)
        }
        for one in all_of(objects, "NetworkPolicy")
    }
    streams = {"uploader", "downloader"}
    assert chosen == {
        "lab/penstock-operator": {"operator"},
        "lab/penstock-registry": {"registry"},
        "lab/penstock-kafka": {"kafka"},
        "default/penstock.lab-streams": streams,
        "kube-public/penstock.lab-streams": streams,
    }


def test_only_the_demo_kafka_may_connect_to_nobody(helm):
    for one in all_of(helm.rendered(VARIANTS["network policies"]), "NetworkPolicy"):
        directions = ["Ingress", "Egress"] if one["metadata"]["name"] == "penstock-kafka" else ["Ingress"]
        assert one["spec"]["policyTypes"] == directions
        assert "egress" not in one["spec"]


def test_cluster_wide_the_demo_kafka_is_open_to_all_and_streams_have_no_policy(helm):
    policies = all_of(helm.rendered(VARIANTS["network policies everywhere"]), "NetworkPolicy")
    named = {one["metadata"]["name"]: one for one in policies}
    assert named.keys() == {"penstock-operator", "penstock-registry", "penstock-kafka"}
    assert ports(named["penstock-kafka"]) == {"kafka": "every namespace"}


def test_api_servers_can_be_named_and_without_the_webhook_its_port_is_shut(helm):
    values = laid_over(POLICIES, at("networkPolicies.apiServers", ["10.0.0.0/28", "fd00::/64"]))
    operator = only(helm.rendered(values), "NetworkPolicy", "penstock-operator")
    (rule,) = [one for one in operator["spec"]["ingress"] if one["ports"][0]["port"] == "webhook"]
    assert rule["from"] == [{"ipBlock": {"cidr": "10.0.0.0/28"}}, {"ipBlock": {"cidr": "fd00::/64"}}]
    shut = helm.rendered(laid_over(POLICIES, {"webhook": {"enabled": False}}))
    assert ports(only(shut, "NetworkPolicy", "penstock-operator")).keys() == {"metrics"}


def test_policies_are_off_by_default(helm):
    assert there(helm.rendered(DEMO), "NetworkPolicy") == []
