"""A Prometheus in the cluster of the tests, which finds its targets as one of a real installation does.

The image has to be in the cluster: it is built from the Dockerfile beside this file. Debian's Prometheus has
no `kubernetes_sd_configs`; the targets come from discover.py, and all relabeling is its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from tests.cluster import Kubectl
from tests.e2e.forwarding import forwarded
from tests.e2e.installed import RESTRICTED, RESTRICTED_POD, apply
from tests.monitoring.prometheus import Prometheus

IMAGE = "penstock/test-prometheus:0.1.0"
NAME = "prometheus"
PORT = 9090
_FILES = "/etc/prometheus-test"
_DISCOVERED = "/discovered"


@contextmanager
def prometheus(
    kubectl: Kubectl,
    scraped: Sequence[str],
    scrape_configs: Iterable[Mapping[str, Any]],
    rules: Mapping[str, Any],
) -> Iterator[Prometheus]:
    """Run one in kubectl's namespace, which may see the pods of the namespaces to be scraped."""
    config = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
        "rule_files": [f"{_FILES}/rules.yaml"],
        "scrape_configs": [*map(_with_files, scrape_configs)],
    }
    files = {"prometheus.yaml": yaml.safe_dump(config), "rules.yaml": yaml.safe_dump(dict(rules))}
    for place in scraped:
        apply(Kubectl(kubectl.kubeconfig, place), *_rights(kubectl.namespace))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}}
    apply(kubectl, account, _config_map(files), _pod(scraped))
    ready = kubectl("wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=60s")
    assert ready.ok, ready.err
    with forwarded(kubectl, f"pod/{NAME}", PORT) as url:
        yield Prometheus(url)


def _with_files(scrape_config: Mapping[str, Any]) -> dict[str, Any]:
    """Give the same configuration with discover.py's files in the place of `kubernetes_sd_configs`."""
    config = dict(scrape_config)
    (discovery,) = config.pop("kubernetes_sd_configs")
    assert discovery["role"] == "pod"
    names = discovery.get("namespaces", {"names": "*"})["names"]
    return config | {"file_sd_configs": [{"files": [f"{_DISCOVERED}/{name}.json" for name in names]}]}


def _rights(namespace: str) -> list[dict[str, Any]]:
    """Let Prometheus, which is in this namespace, see pods."""
    version = "rbac.authorization.k8s.io/v1"
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    return [
        {"apiVersion": version, "kind": "Role", "metadata": {"name": NAME}, "rules": [rule]},
        {
            "apiVersion": version,
            "kind": "RoleBinding",
            "metadata": {"name": NAME},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        },
    ]


def _config_map(files: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": dict(files)}


def _pod(scraped: Iterable[str]) -> dict[str, Any]:
    discovery = {
        "name": "discovery",
        "image": IMAGE,
        "command": ["python3", "/usr/local/lib/discover.py", _DISCOVERED, *scraped],
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "discovered", "mountPath": _DISCOVERED}],
    }
    server = {
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
            {"name": "discovered", "mountPath": _DISCOVERED, "readOnly": True},
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME},
        "spec": {
            "serviceAccountName": NAME,
            "securityContext": RESTRICTED_POD,
            "terminationGracePeriodSeconds": 0,
            "containers": [server, discovery],
            "volumes": [
                {"name": "files", "configMap": {"name": NAME}},
                {"name": "data", "emptyDir": {}},
                {"name": "discovered", "emptyDir": {}},
            ],
        },
    }
