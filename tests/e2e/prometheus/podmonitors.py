"""What a Prometheus has to do so that a PodMonitor is obeyed, as prometheus-operator tells it.

Pure: manifests in, scrape configuration out. A field that is not translated here is refused, so that no part
of a PodMonitor goes untested.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_META = "__meta_kubernetes_pod_"
_SPEC = {"jobLabel", "namespaceSelector", "podMetricsEndpoints", "podTargetLabels", "selector"}
_ENDPOINT = {
    "filterRunning", "honorLabels", "interval", "metricRelabelings", "path", "port", "relabelings", "scheme",
    "scrapeTimeout",
}  # fmt: skip
_RELABELING = {
    "action": "action",
    "modulus": "modulus",
    "regex": "regex",
    "replacement": "replacement",
    "separator": "separator",
    "sourceLabels": "source_labels",
    "targetLabel": "target_label",
}

Rule = dict[str, Any]


def scrape_configs(monitors: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Translate PodMonitors: one scrape configuration for each endpoint of each."""
    return [
        _scrape_config(monitor, number, endpoint)
        for monitor in monitors
        for number, endpoint in enumerate(monitor["spec"]["podMetricsEndpoints"])
    ]


def namespaces(monitor: Mapping[str, Any]) -> list[str]:
    """Where a PodMonitor looks for pods; none stands for everywhere."""
    selector = monitor["spec"].get("namespaceSelector", {})
    _known(selector, {"any", "matchNames"}, "namespaceSelector")
    if selector.get("any"):
        return []
    return selector.get("matchNames") or [monitor["metadata"]["namespace"]]


def _scrape_config(monitor: Mapping[str, Any], number: int, endpoint: Mapping[str, Any]) -> dict[str, Any]:
    metadata, spec = monitor["metadata"], monitor["spec"]
    _known(spec, _SPEC, "spec")
    _known(endpoint, _ENDPOINT, "podMetricsEndpoints")
    places = namespaces(monitor)
    discovery: dict[str, Any] = {"role": "pod"} | ({"namespaces": {"names": places}} if places else {})
    config: dict[str, Any] = {
        "job_name": f"podMonitor/{metadata['namespace']}/{metadata['name']}/{number}",
        "kubernetes_sd_configs": [discovery],
        "honor_labels": endpoint.get("honorLabels", False),
        "relabel_configs": [
            *([_drop("phase", "(Failed|Succeeded)")] if endpoint.get("filterRunning", True) else []),
            *_selected(spec["selector"]),
            *([_keep("container_port_name", endpoint["port"])] if "port" in endpoint else []),
            *_labels(monitor, endpoint),
            *map(_relabeling, endpoint.get("relabelings", ())),
        ],
    }
    for name, option in (
        ("interval", "scrape_interval"),
        ("scrapeTimeout", "scrape_timeout"),
        ("path", "metrics_path"),
        ("scheme", "scheme"),
    ):
        if endpoint.get(name):
            config[option] = endpoint[name]
    if "metricRelabelings" in endpoint:
        config["metric_relabel_configs"] = [*map(_relabeling, endpoint["metricRelabelings"])]
    return config


def _selected(selector: Mapping[str, Any]) -> list[Rule]:
    _known(selector, {"matchLabels", "matchExpressions"}, "selector")
    rules = [_has(key, [value], "keep") for key, value in selector.get("matchLabels", {}).items()]
    for expression in selector.get("matchExpressions", ()):
        key, operator = expression["key"], expression["operator"]
        if operator in ("In", "NotIn"):
            rules.append(_has(key, expression["values"], "keep" if operator == "In" else "drop"))
        elif operator in ("Exists", "DoesNotExist"):
            choose = _keep if operator == "Exists" else _drop
            rules.append(choose(f"labelpresent_{_sanitized(key)}", "true"))
        else:
            raise ValueError(f"no operator of label selectors: {operator}")
    return rules


def _labels(monitor: Mapping[str, Any], endpoint: Mapping[str, Any]) -> list[Rule]:
    """Where a target is, and what its job is called: what comes later wins."""
    metadata, spec = monitor["metadata"], monitor["spec"]
    rules: list[Rule] = [
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": [f"{_META}container_name"], "target_label": "container"},
        {"source_labels": [f"{_META}name"], "target_label": "pod"},
    ]
    rules += [_copied(key, _sanitized(key)) for key in spec.get("podTargetLabels", ())]
    rules.append({"target_label": "job", "replacement": f"{metadata['namespace']}/{metadata['name']}"})
    if spec.get("jobLabel"):
        rules.append(_copied(spec["jobLabel"], "job"))
    if "port" in endpoint:
        rules.append({"target_label": "endpoint", "replacement": endpoint["port"]})
    return rules


def _has(key: str, values: Iterable[str], action: str) -> Rule:
    name = _sanitized(key)
    return {
        "source_labels": [f"{_META}label_{name}", f"{_META}labelpresent_{name}"],
        "regex": f"({'|'.join(values)});true",
        "action": action,
    }


def _copied(key: str, target: str) -> Rule:
    source = f"{_META}label_{_sanitized(key)}"
    return {"source_labels": [source], "regex": "(.+)", "target_label": target, "replacement": "${1}"}


def _keep(name: str, regex: str) -> Rule:
    return {"source_labels": [_META + name], "regex": regex, "action": "keep"}


def _drop(name: str, regex: str) -> Rule:
    return _keep(name, regex) | {"action": "drop"}


def _relabeling(rule: Mapping[str, Any]) -> Rule:
    _known(rule, _RELABELING, "relabelings")
    lower = {"action": rule["action"].lower()} if "action" in rule else {}
    return {_RELABELING[name]: value for name, value in rule.items()} | lower


def _sanitized(key: str) -> str:
    """Return a label of Kubernetes as it is called in Prometheus."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", key)


def _known(given: Iterable[str], known: Iterable[str], where: str) -> None:
    unknown = set(given) - set(known)
    if unknown:
        raise ValueError(f"{where} of a PodMonitor has what is not translated: {sorted(unknown)}")
