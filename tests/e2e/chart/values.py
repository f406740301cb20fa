"""Every value of the chart, and the ways to install it that tests look at."""

from typing import Any

import yaml
from tests.e2e.chart.charts import CHART
from tests.streams import laid_over

DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
DIGEST = "sha256:" + "0123456789abcdef" * 4
RESOURCES = {"requests": {"cpu": "200m", "memory": "1Gi"}, "limits": {"cpu": 2, "memory": "2Gi"}}
AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]
        },
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 3,
                "preference": {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]},
            }
        ],
    },
    "podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}, "namespaces": ["lab"]}
        ]
    },
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 1,
                "podAffinityTerm": {
                    "topologyKey": "zone",
                    "labelSelector": {},
                    "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
                },
            }
        ]
    },
}
TOLERATIONS = [{"key": "lab"}, {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}]


def at(path: str, value: object) -> dict[str, Any]:
    """Values with one of them set."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value  # type: ignore[return-value]


KAFKA = {"bootstrapServers": "kafka-0.kafka:9093, kafka-1.kafka:9093"}
POSTGRES = {"registry": {"database": {"existingSecret": {"name": "registry-database"}}}}
DEMO = {"demoKafka": {"enabled": True}}
POLICIES = {"networkPolicies": {"enabled": True}}
MONITORED = {"monitoring": {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}}
AUTH = {
    "name": "registry-kafka",
    "mechanism": "PLAIN",
    "username": "registry$(USER)",
    "passwordKey": "secret",
}
TLS = {
    "ca": {"configMap": {"name": "kafka-ca", "key": "ca.pem"}},
    "clientSecretRef": {"name": "registry-tls", "certificateKey": "user.crt", "privateKeyKey": "user.key"},
}

VALUES: dict[str, tuple[object, dict[str, Any]]] = {
    # path: (another value than the default, what else it needs)
    "fullnameOverride": ("elsewhere", {}),
    "image.registry": ("registry.example.org/mirror", {}),
    "image.pullPolicy": ("Always", {}),
    "image.pullSecrets": (["registry-login", "another"], {}),
    "podUser": (2001, {}),
    "crd.install": (False, {}),
    "crd.keep": (False, {}),
    "rbac.aggregateToUserRoles": (False, {}),
    "operator.image.repository": ("lab/operator", {}),
    "operator.image.tag": ("1.2.3", {}),
    "operator.image.digest": (DIGEST, {}),
    "operator.namespaces": (["default"], {}),
    "operator.clusterWide": (True, {}),
    "operator.readSeconds": (2.5, {}),
    "operator.logLevel": ("debug", {}),
    "operator.serviceAccount.create": (False, {"operator": {"serviceAccount": {"name": "theirs"}}}),
    "operator.serviceAccount.name": ("ours", {}),
    "operator.serviceAccount.annotations": ({"example.org/role": "penstock"}, {}),
    "operator.resources": (RESOURCES, {}),
    "operator.podAnnotations": ({"example.org/note": "true"}, {}),
    "operator.podLabels": ({"team": "imaging"}, {}),
    "operator.nodeSelector": ({"kubernetes.io/os": "linux"}, {}),
    "operator.tolerations": (TOLERATIONS, {}),
    "operator.affinity": (AFFINITY, {}),
    "operator.priorityClassName": ("lab-services", {}),
    "streams.logLevel": ("warning", {}),
    "streams.uploader.image.repository": ("lab/uploader", {}),
    "streams.uploader.image.tag": ("1.2.4", {}),
    "streams.uploader.image.digest": (DIGEST, {}),
    "streams.uploader.resources": (RESOURCES, {}),
    "streams.downloader.image.repository": ("lab/downloader", {}),
    "streams.downloader.image.tag": ("1.2.5", {}),
    "streams.downloader.image.digest": (DIGEST, {}),
    "streams.downloader.resources": (RESOURCES, {}),
    "webhook.enabled": (False, {}),
    "webhook.certificates": ("generated", {"webhook": {"existingSecret": {"name": "", "caBundle": ""}}}),
    "webhook.certManager.issuerRef": (
        {"name": "lab", "kind": "ClusterIssuer", "group": "cert-manager.io"},
        {"webhook": {"certificates": "certManager", "existingSecret": {"name": "", "caBundle": ""}}},
    ),
    "webhook.existingSecret.name": ("another-certificate", {}),
    "webhook.existingSecret.caBundle": (CA.replace("MIIB", "MIIC"), {}),
    "registry.enabled": (False, {}),
    "registry.image.repository": ("lab/registry", {}),
    "registry.image.tag": ("1.2.6", {}),
    "registry.image.digest": (DIGEST, {}),
    "registry.kafka.bootstrapServers": ("[fd00::1]:9092", {}),
    "registry.kafka.properties": ({"client.id": "registry", "group.protocol": "consumer"}, {}),
    "registry.kafka.authSecretRef": (AUTH, {}),
    "registry.kafka.tls": (TLS, {}),
    "registry.streams": (["lab1.*", "scope-?"], {}),
    "registry.openmsiHeartbeatTopics": (["heartbeats"], {}),
    "registry.retentionDays": (30.5, {}),
    "registry.group": ("penstock-registry-lab", {}),
    "registry.replicas": (2, POSTGRES),
    "registry.database.existingSecret.name": ("registry-database", {}),
    "registry.database.existingSecret.key": ("uri", POSTGRES),
    "registry.database.maxSize": ("10Gi", {}),
    "registry.volume.size": ("1.5Ti", {}),
    "registry.volume.storageClassName": ("ssd", {}),
    "registry.volume.existingClaim": ("registry-state", {}),
    "registry.token.existingSecret.name": ("another-token", {}),
    "registry.token.existingSecret.key": ("registry.token", {}),
    "registry.logLevel": ("error", {}),
    "registry.resources": (RESOURCES, {}),
    "registry.podAnnotations": ({"example.org/note": "true"}, {}),
    "registry.podLabels": ({"team": "imaging"}, {}),
    "registry.nodeSelector": ({"kubernetes.io/os": "linux"}, {}),
    "registry.tolerations": (TOLERATIONS, {}),
    "registry.affinity": (AFFINITY, {}),
    "registry.priorityClassName": ("lab-services", {}),
    "demoKafka.enabled": (True, {}),
    "demoKafka.image.repository": ("lab/broker", DEMO),
    "demoKafka.image.tag": ("1.2.7", DEMO),
    "demoKafka.image.digest": (DIGEST, DEMO),
    "demoKafka.volume.size": ("500M", DEMO),
    "demoKafka.volume.storageClassName": ("ssd", DEMO),
    "demoKafka.resources": (RESOURCES, DEMO),
    "demoKafka.nodeSelector": ({"kubernetes.io/os": "linux"}, DEMO),
    "demoKafka.tolerations": (TOLERATIONS, DEMO),
    "dashboards.enabled": (False, {}),
    "dashboards.labels": ({"grafana_dashboard": "yes", "team": "imaging"}, {}),
    "dashboards.annotations": ({"grafana_folder": "Penstock"}, {}),
    "monitoring.podMonitor.enabled": (True, {}),
    "monitoring.podMonitor.labels": ({"release": "prometheus"}, MONITORED),
    "monitoring.podMonitor.interval": ("15s", MONITORED),
    "monitoring.prometheusRule.enabled": (True, {}),
    "monitoring.prometheusRule.labels": ({"release": "prometheus"}, MONITORED),
    "monitoring.prometheusRule.interval": ("1m", MONITORED),
    "networkPolicies.enabled": (True, {}),
    "networkPolicies.metricsNamespaces": (["monitoring"], POLICIES),
    "networkPolicies.registryNamespaces": (["ingress"], POLICIES),
    "networkPolicies.apiServers": (["10.0.0.0/28", "fd00::/64"], POLICIES),
}
"""Every value of the chart, once; on top of BASE."""

EXISTING_SECRET = {
    "webhook": {"certificates": "existingSecret", "existingSecret": {"name": "ours", "caBundle": CA}}
}
BASE = laid_over(
    EXISTING_SECRET, {"registry": {"kafka": KAFKA, "token": {"existingSecret": {"name": "registry-token"}}}}
)
"""What renders the same each time, a registry included: nothing is made up."""

_APART = {
    "crd.install",
    "dashboards.enabled",
    "operator.clusterWide",
    "registry.enabled",
    "registry.volume.existingClaim",
    "webhook.certManager.issuerRef",
    "webhook.certificates",
    "webhook.enabled",
}
"""What does not go together with the rest."""


def everything() -> dict[str, Any]:
    """All values at once, as far as they go together."""
    values: dict[str, Any] = BASE
    for path, (value, _) in VALUES.items():
        if path not in _APART:
            values = laid_over(values, at(path, value))
    return values


VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "cluster-wide": {"operator": {"clusterWide": True}},
    "list of namespaces": {"operator": {"namespaces": ["default", "kube-public"]}},
    "cert-manager": {"webhook": {"certificates": "certManager"}},
    "cert-manager, their issuer": {
        "webhook": {"certificates": "certManager", "certManager": {"issuerRef": {"name": "lab"}}}
    },
    "existing secret": EXISTING_SECRET,
    "webhook off": {"webhook": {"enabled": False}},
    "no CRD": {"crd": {"install": False}},
    "their ServiceAccount": {"operator": {"serviceAccount": {"create": False, "name": "default"}}},
    "the cluster chooses the user": {"podUser": 0, **DEMO},
    "demo Kafka": DEMO,
    "registry": {"registry": {"kafka": KAFKA}},
    "registry, secured Kafka": {"registry": {"kafka": {**KAFKA, "authSecretRef": AUTH, "tls": TLS}}},
    "registry, PostgreSQL": laid_over(POSTGRES, {"registry": {"kafka": KAFKA, "replicas": 3}}),
    "registry, their claim": {"registry": {"kafka": KAFKA, "volume": {"existingClaim": "theirs"}}},
    "monitored": laid_over(MONITORED, DEMO),
    "monitored everywhere": laid_over(MONITORED, {"operator": {"clusterWide": True}}),
    "network policies": laid_over(POLICIES, {**DEMO, "operator": {"namespaces": ["default", "kube-public"]}}),
    "network policies everywhere": laid_over(POLICIES, {**DEMO, "operator": {"clusterWide": True}}),
    "every value": everything(),
}
"""Ways to install it."""
