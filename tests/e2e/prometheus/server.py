"""A Prometheus in the cluster of the tests, which finds its targets as one of a real installation does.

The image has to be in the cluster: it is built from the Dockerfile beside this file.
"""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml
from tests.cluster import Kubectl
from tests.e2e.forwarding import forwarded
from tests.e2e.installed import RESTRICTED, RESTRICTED_POD, apply

IMAGE = "penstock/test-prometheus:0.1.0"
NAME = "prometheus"
PORT = 9090
_FILES = "/etc/prometheus-test"


class RefusedError(AssertionError):
    """Prometheus did not answer a question. The message says why."""


@dataclass(frozen=True)
class Prometheus:
    """Its HTTP API."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask for a vector, or a scalar, of now: labels and value of each series."""
        found = self._ask("query", query=expression)
        if found["resultType"] == "scalar":
            return [{"metric": {}, "value": found["result"]}]
        return found["result"]

    def label_values(self, label: str, selector: str = "") -> list[str]:
        """Which values a label has, among the series that are selected."""
        chosen = {"match[]": selector} if selector else {}
        return self._ask(f"label/{label}/values", **chosen)

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes: labels, health and the last error of each."""
        return self._ask("targets", state="active")["activeTargets"]

    def alerts(self) -> dict[str, str]:
        """Names of the alerts that are not inactive, and how far each has come: pending or firing."""
        states: dict[str, str] = {}
        for alert in self._ask("alerts")["alerts"]:
            name = alert["labels"]["alertname"]
            states[name] = max(alert["state"], states.get(name, ""), key=("", "pending", "firing").index)
        return states

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with their health and the last error of each."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def _ask(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise RefusedError(f"{path} {parameters}: {error.read().decode()}") from None


@contextmanager
def prometheus(
    kubectl: Kubectl, scraped: Iterable[str], scrape_configs: object, rules: Mapping[str, Any]
) -> Iterator[Prometheus]:
    """Run one in kubectl's namespace, which may see the pods of the namespaces to be scraped."""
    config = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
        "rule_files": [f"{_FILES}/rules.yaml"],
        "scrape_configs": scrape_configs,
    }
    files = {"prometheus.yaml": yaml.safe_dump(config), "rules.yaml": yaml.safe_dump(dict(rules))}
    apply(kubectl, *_rights(kubectl.namespace, scraped), _config_map(files), _POD)
    ready = kubectl("wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=90s")
    assert ready.ok, ready.err + kubectl("describe", f"pod/{NAME}").out + kubectl("logs", NAME).out
    with forwarded(kubectl, f"pod/{NAME}", PORT) as url:
        yield Prometheus(url)


def _rights(namespace: str, scraped: Iterable[str]) -> list[dict[str, Any]]:
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": namespace}
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}}
    ]
    for place in scraped:
        metadata = {"name": NAME, "namespace": place}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
        version = "rbac.authorization.k8s.io/v1"
        objects += [
            {"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": [rule]},
            {
                "apiVersion": version,
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": role,
                "subjects": [account],
            },
        ]
    return objects


def _config_map(files: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": dict(files)}


_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": NAME},
    "spec": {
        "serviceAccountName": NAME,
        "securityContext": RESTRICTED_POD,
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": NAME,
                "image": IMAGE,
                "args": [
                    f"--config.file={_FILES}/prometheus.yaml",
                    "--storage.tsdb.path=/data",
                    f"--web.listen-address=:{PORT}",
                ],
                "securityContext": RESTRICTED,
                "readinessProbe": {"httpGet": {"path": "/-/ready", "port": PORT}, "periodSeconds": 1},
                "volumeMounts": [
                    {"name": "files", "mountPath": _FILES},
                    {"name": "data", "mountPath": "/data"},
                ],
            }
        ],
        "volumes": [
            {"name": "files", "configMap": {"name": NAME}},
            {"name": "data", "emptyDir": {}},
        ],
    },
}
