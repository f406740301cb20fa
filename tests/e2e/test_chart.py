"""charts/penstock: what it renders, what a real API server takes and lets it do, what an upgrade keeps.

The CRD belongs to all who test on this cluster: it is only asked about (dry runs). What install, upgrade and
uninstall do to a CRD is seen on a copy of the chart, whose CRD has a name of its own.
"""

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster import Kubectl
from tests.pod_security import violations
from tests.pods import environment
from tests.streams import laid_over
from tests.waiting import eventually

from penstock_operator.objects.names import INJECT_LABEL
from penstock_operator.resource import DirectoryStream
from penstock_operator.resource.kubernetes import ResourceAmounts, Resources
from penstock_operator.settings import WEBHOOK_PORT, OperatorSettings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/penstock"
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
PAGE = (ROOT / "docs/operator.md").read_text("utf-8")

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("chart")]

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
}
"""Every value of the chart, once; on top of EXISTING_SECRET, which renders the same each time."""
EXISTING_SECRET = {
    "webhook": {"certificates": "existingSecret", "existingSecret": {"name": "ours", "caBundle": CA}}
}


def at(path: str, value: object) -> dict[str, Any]:
    """Values with one of them set."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value  # type: ignore[return-value]


def everything() -> dict[str, Any]:
    """All values at once, as far as they go together."""
    values = EXISTING_SECRET
    for path, (value, _) in VALUES.items():
        if path not in (
            "operator.clusterWide",
            "webhook.enabled",
            "webhook.certificates",
            "webhook.certManager.issuerRef",
            "crd.install",
        ):
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
    "the cluster chooses the user": {"podUser": 0},
    "every value": everything(),
}


@dataclass(frozen=True)
class Helm:
    """Helm on the cluster of the tests, in one namespace, with directories of its own."""

    kubeconfig: str
    home: Path
    namespace: str
    chart: Path = CHART

    def __call__(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Run it and give what it printed; the error that it gives is an AssertionError."""
        done = self.run(*arguments, values=values)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Run what has to fail, and give what it said."""
        done = self.run(*arguments, values=values)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def run(
        self, *arguments: str, values: Mapping[str, Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        homes = {f"HELM_{kind}_HOME": str(self.home / kind) for kind in ("CACHE", "CONFIG", "DATA")}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
        given = [] if values is None else ["--values", "-"]
        return subprocess.run(
            ["helm", *arguments, *given, "--namespace", self.namespace],
            input=json.dumps(values),
            env={**kept, **homes, "KUBECONFIG": self.kubeconfig},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def rendered(self, values: Mapping[str, Any], *options: str) -> list[dict[str, Any]]:
        """The objects of a release called penstock, without asking any cluster."""
        out = self("template", "penstock", str(self.chart), *options, values=values)
        return [document for document in yaml.load_all(out, yaml.CSafeLoader) if document]


@pytest.fixture(scope="session")
def helm(tmp_path_factory) -> Helm:
    """Helm without a cluster."""
    if shutil.which("helm") is None:
        pytest.fail("needs Helm, 3 or 4: there is no helm in PATH")
    return Helm(os.devnull, tmp_path_factory.mktemp("helm"), "lab")


def only(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [one for one in objects if one["kind"] == kind]
    return found


def all_of(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in objects if one["kind"] == kind]


def pod_of(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return only(objects, "Deployment")["spec"]["template"]["spec"]


def variables(objects: list[dict[str, Any]]) -> dict[str, str]:
    (container,) = pod_of(objects)["containers"]
    return environment(container, fields={}, secrets={})


# Values


def test_it_lints(helm):
    for values in ({}, everything()):
        helm("lint", "--strict", str(CHART), values=values)


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
    without = laid_over(EXISTING_SECRET, needed)
    if path == "operator.serviceAccount.create":
        without = laid_over(without, at(path, True))
    if path == "webhook.certificates":
        without = EXISTING_SECRET
    template = ("template", "penstock", str(CHART))
    with_it = laid_over(laid_over(without, needed), at(path, value))
    assert helm(*template, values=with_it) != helm(*template, values=without)


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


def test_the_schema_is_closed():
    def objects(schema, where="values"):
        if schema.get("type") == "object":
            yield where, schema
        for name in ("properties", "definitions"):
            for key, inner in schema.get(name, {}).items():
                yield from objects(inner, f"{where}.{key}")
        if "items" in schema:
            yield from objects(schema["items"], f"{where}[]")

    found = dict(objects(SCHEMA))
    anything = [where for where, schema in found.items() if schema.get("additionalProperties", True) is True]
    assert anything == ["values.global"], "what Helm itself sets for a chart that others depend on"
    assert len(found) > 20


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
    ],
)
def test_a_misspelt_value_is_refused_by_its_name(helm, path, value):
    *parents, last = path.split(".")
    said = helm.refused("template", "penstock", str(CHART), values=at(path, value))
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
    ],
)
def test_a_wrong_value_is_refused_by_its_place(helm, path, value):
    said = helm.refused("template", "penstock", str(CHART), values=at(path, value))
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
            "operator.podLabels has penstock.dev/inject: labels under app.kubernetes.io/ and penstock.dev/",
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
    ],
)
def test_values_that_contradict_each_other_are_refused_with_what_to_do(helm, values, what_to_do):
    assert what_to_do in helm.refused("template", "penstock", str(CHART), values=values)


# What is rendered


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_operators_pod_is_restricted_and_one(helm, variant):
    objects = helm.rendered(VARIANTS[variant])
    pod = pod_of(objects)
    assert violations(pod) == []
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["resources"]["limits"]
    deployment = only(objects, "Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    labels = deployment["template"]["metadata"]["labels"]
    for service in all_of(objects, "Service"):
        assert deployment["selector"]["matchLabels"] == service["spec"]["selector"]
        assert service["spec"]["selector"].items() <= labels.items()
        (port,) = service["spec"]["ports"]
        assert port["targetPort"] in [one["name"] for one in container["ports"]]


def test_the_operator_understands_what_it_is_told(helm, monkeypatch):
    for name, value in variables(helm.rendered(everything())).items():
        monkeypatch.setenv(name, value)
    settings = OperatorSettings.load()
    amounts = Resources(
        requests=ResourceAmounts(cpu="200m", memory="1Gi"),
        limits=ResourceAmounts(cpu="2", memory="2Gi"),
    )
    assert settings == OperatorSettings(
        namespaces=["default"],
        uploader_image=f"registry.example.org/mirror/lab/uploader@{DIGEST}",
        downloader_image=f"registry.example.org/mirror/lab/downloader@{DIGEST}",
        image_pull_policy="Always",
        image_pull_secrets=["registry-login", "another"],
        uploader_resources=amounts,
        downloader_resources=amounts,
        pod_user=2001,
        pod_log_level="warning",
        read_seconds=2.5,
        webhook_certificates="/etc/penstock/webhook",
        webhook_port=WEBHOOK_PORT,
        metrics_host="0.0.0.0",
        metrics_port=8651,
        log_format="json",
        log_level="debug",
    )


def test_every_variable_is_a_setting_and_every_setting_that_matters_a_variable(helm):
    settings = {f"PENSTOCK_{name.upper()}" for name in OperatorSettings.model_fields}
    assert settings - variables(helm.rendered(everything())).keys() == {
        "PENSTOCK_CONFIG",  # the environment says it all
        "PENSTOCK_WEBHOOK_HOST",  # its default is right in a pod
    }
    assert variables(helm.rendered(everything())).keys() <= settings


def test_by_default_the_images_are_of_the_charts_version(helm):
    version = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["appVersion"]
    objects = helm.rendered({})
    assert pod_of(objects)["containers"][0]["image"] == f"penstock/operator:{version}"
    told = variables(objects)
    assert told["PENSTOCK_UPLOADER_IMAGE"] == f"penstock/uploader:{version}"
    assert told["PENSTOCK_DOWNLOADER_IMAGE"] == f"penstock/downloader:{version}"


@pytest.mark.parametrize(
    ("operator", "namespaces"),
    [({}, ["lab"]), ({"namespaces": ["one", "two"]}, ["one", "two"]), ({"clusterWide": True}, None)],
    ids=["default", "list", "cluster-wide"],
)
def test_whose_streams_it_looks_after_is_the_same_for_all_who_ask(helm, operator, namespaces):
    objects = helm.rendered({"operator": operator, "rbac": {"aggregateToUserRoles": False}})
    roles = [one["metadata"]["namespace"] for one in all_of(objects, "Role")]
    bindings = [one["metadata"]["namespace"] for one in all_of(objects, "RoleBinding")]
    (webhook,) = only(objects, "MutatingWebhookConfiguration")["webhooks"]
    everywhere = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}
    some = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces}
    assert roles == bindings == (namespaces or [])
    everywhere_role = only(objects, "ClusterRole")
    resources = {what for rule in everywhere_role["rules"] for what in rule["resources"]}
    assert (resources == {"directorystreams"}) == (namespaces is not None)
    assert only(objects, "ClusterRoleBinding")["roleRef"]["name"] == everywhere_role["metadata"]["name"]
    assert variables(objects).get("PENSTOCK_NAMESPACES") == (namespaces and ",".join(namespaces))
    expressions = webhook["namespaceSelector"]["matchExpressions"]
    assert expressions == ([everywhere] if namespaces is None else [some, everywhere])


def test_the_webhook_is_asked_about_new_pods_that_want_a_sidecar_and_fails_closed(helm):
    objects = helm.rendered({})
    (webhook,) = only(objects, "MutatingWebhookConfiguration")["webhooks"]
    assert webhook["rules"] == [
        {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["pods"],
            "scope": "Namespaced",
        }
    ]
    assert webhook["objectSelector"] == {"matchExpressions": [{"key": INJECT_LABEL, "operator": "Exists"}]}
    assert webhook["failurePolicy"] == "Fail"
    assert webhook["reinvocationPolicy"] == "IfNeeded"
    assert webhook["sideEffects"] == "None"
    assert webhook["timeoutSeconds"] == 10
    assert webhook["admissionReviewVersions"] == ["v1"]
    asked = webhook["clientConfig"]["service"]
    (service,) = [one for one in all_of(objects, "Service") if one["metadata"]["name"] == asked["name"]]
    assert asked["path"] == "/inject"
    assert [port["port"] for port in service["spec"]["ports"]] == [asked["port"]] == [443]
    ports = {port["name"]: port["containerPort"] for port in pod_of(objects)["containers"][0]["ports"]}
    assert ports == {"metrics": 8651, "webhook": WEBHOOK_PORT}


def test_a_generated_certificate_is_one_that_the_api_server_believes(helm, tmp_path):
    objects = helm.rendered({})
    data = only(objects, "Secret")["data"]
    (webhook,) = only(objects, "MutatingWebhookConfiguration")["webhooks"]
    client = webhook["clientConfig"]
    assert client["caBundle"] == data["ca.crt"]
    for name, value in data.items():
        (tmp_path / name).write_bytes(base64.b64decode(value))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    believed = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    here, there = socket.socketpair()

    def serve() -> None:
        # A client that does not believe it hangs up, and says why.
        with contextlib.suppress(OSError), server.wrap_socket(there, server_side=True) as secured:
            secured.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    host = f"{client['service']['name']}.{client['service']['namespace']}.svc"
    with believed.wrap_socket(here, server_hostname=host) as secured:
        certificate = secured.getpeercert()
        secured.send(b"x")
    thread.join(10)
    years = (
        ssl.cert_time_to_seconds(certificate["notAfter"]) - ssl.cert_time_to_seconds(certificate["notBefore"])
    ) / (365 * 86400)
    assert years == pytest.approx(10, abs=0.01)


def test_cert_manager_makes_the_certificate_that_is_mounted_and_believed(helm):
    objects = helm.rendered(VARIANTS["cert-manager"])
    certificate, issuer = only(objects, "Certificate"), only(objects, "Issuer")
    configuration = only(objects, "MutatingWebhookConfiguration")
    assert certificate["spec"]["issuerRef"] == {"kind": "Issuer", "name": issuer["metadata"]["name"]}
    assert certificate["spec"]["dnsNames"][0] == "penstock-webhook.lab.svc"
    assert configuration["metadata"]["annotations"] == {
        "cert-manager.io/inject-ca-from": f"lab/{certificate['metadata']['name']}"
    }
    assert "caBundle" not in configuration["webhooks"][0]["clientConfig"]
    (mounted,) = [one["secret"] for one in pod_of(objects)["volumes"] if "secret" in one]
    assert mounted["secretName"] == certificate["spec"]["secretName"]
    assert all_of(objects, "Secret") == []

    objects = helm.rendered(VARIANTS["cert-manager, their issuer"])
    assert only(objects, "Certificate")["spec"]["issuerRef"] == {"name": "lab"}
    assert all_of(objects, "Issuer") == []


def test_without_the_webhook_nothing_of_it_is_left(helm):
    kinds = {one["kind"] for one in helm.rendered(VARIANTS["webhook off"])}
    assert not kinds & {"MutatingWebhookConfiguration", "Secret", "Certificate", "Issuer"}
    rendered = yaml.safe_dump_all(
        one for one in helm.rendered(VARIANTS["webhook off"]) if one["kind"] != "CustomResourceDefinition"
    )
    assert "webhook" not in rendered.lower()


def test_the_crd_is_the_generated_one(helm):
    generated = yaml.safe_load((CHART / "files/crds/directorystreams.yaml").read_text("utf-8"))
    assert only(helm.rendered({}), "CustomResourceDefinition") == generated
    assert generated["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    goes = only(helm.rendered({"crd": {"keep": False}}), "CustomResourceDefinition")
    del generated["metadata"]["annotations"]
    assert goes == generated
    assert all_of(helm.rendered(VARIANTS["no CRD"]), "CustomResourceDefinition") == []


def test_what_it_may_do_is_on_its_page_and_the_same_everywhere(helm):
    in_its_namespaces, everywhere = (
        [
            {"apiGroups": [group], "resources": [what], "verbs": verbs.split(", ")}
            for group, what, verbs in re.findall(
                r"^\| (?:`([a-z.]*)`)? ?\| `([a-z/]+)` \| ([a-z, ]+) \| .{20,} \|$", part, re.MULTILINE
            )
        ]
        for part in PAGE.split("## What it may do")[1].split("**In all namespaces**")
    )
    assert (len(in_its_namespaces), len(everywhere)) == (9, 1)
    own = helm.rendered({"rbac": {"aggregateToUserRoles": False}})
    assert only(own, "Role")["rules"] == in_its_namespaces
    assert only(own, "ClusterRole")["rules"] == everywhere
    wide = helm.rendered(VARIANTS["cluster-wide"] | {"rbac": {"aggregateToUserRoles": False}})
    assert only(wide, "ClusterRole")["rules"] == in_its_namespaces
    assert all_of(wide, "Role") == []


def test_roles_of_people_are_added_to_by_this_release(helm):
    """The cluster cannot tell: the roles of any other release there are added, too."""
    added = {
        role["metadata"]["name"]: {
            label.removeprefix("rbac.authorization.k8s.io/aggregate-to-")
            for label in role["metadata"]["labels"]
            if label.startswith("rbac.authorization.k8s.io/")
        }
        for role in all_of(helm.rendered({}), "ClusterRole")
    }
    assert added == {
        "penstock.lab-view": {"view", "edit", "admin"},
        "penstock.lab-edit": {"edit", "admin"},
        "penstock.lab-operator": set(),
    }



# On a real API server


@contextlib.contextmanager
def namespace_of(cluster: Kubectl, name: str) -> Iterator[Kubectl]:
    """A namespace that takes restricted pods only; it goes at the end."""
    own = f"chart-{name}-{uuid.uuid4().hex[:8]}"
    assert cluster("create", "namespace", own).ok
    try:
        levels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
        assert cluster("label", "namespace", own, *levels).ok
        yield Kubectl(cluster.kubeconfig, own)
    finally:
        cluster("delete", "namespace", own, "--wait=false")


@pytest.fixture(scope="module")
def lab(cluster: Kubectl) -> Iterator[Kubectl]:
    """A namespace where the operator is installed."""
    with namespace_of(cluster, "lab") as own:
        yield own


@pytest.fixture(scope="module")
def office(cluster: Kubectl) -> Iterator[Kubectl]:
    """Another namespace."""
    with namespace_of(cluster, "office") as own:
        yield own


NOT_RUNNING = {"image": {"registry": "registry.invalid"}, "crd": {"install": False}}
"""What the tests here install: the CRD is everybody's, and an operator would need Kafka and images."""


@contextlib.contextmanager
def release(helm: Helm, kubectl: Kubectl, name: str, values: dict[str, Any]) -> Iterator[Helm]:
    """A release for real, uninstalled at the end."""
    there = Helm(kubectl.kubeconfig, helm.home, kubectl.namespace)
    there("install", name, str(CHART), values=laid_over(NOT_RUNNING, values))
    try:
        yield there
    finally:
        there("uninstall", name)


@pytest.fixture(scope="module")
def installed(helm: Helm, lab: Kubectl) -> Iterator[Kubectl]:
    """The chart with its defaults."""
    with release(helm, lab, "penstock", {}):
        yield lab


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_server_takes_every_object(helm, lab, variant):
    objects = Helm(os.devnull, helm.home, lab.namespace).rendered(VARIANTS[variant])
    theirs = [one for one in objects if one["apiVersion"].startswith("cert-manager.io/")]
    ours = [one for one in objects if one not in theirs]
    assert bool(theirs) == ("cert-manager" in variant)
    for namespace in {one["metadata"].get("namespace", lab.namespace) for one in ours}:
        here = [one for one in ours if one["metadata"].get("namespace", lab.namespace) == namespace]
        taken = Kubectl(lab.kubeconfig, namespace)(
            "apply",
            *("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-o", "name"),
            *("-f", "-"),
            given={"apiVersion": "v1", "kind": "List", "items": here},
        )
        assert taken.ok, taken.err
        assert taken.err.strip() == "", "the server has nothing to warn of"
        assert len(taken.out.split()) == len(here)


def account(kubectl: Kubectl, name: str = "penstock-operator") -> str:
    return f"system:serviceaccount:{kubectl.namespace}:{name}"


def may(kubectl: Kubectl, who: str, verb: str, what: str, *options: str) -> bool:
    """Whether someone may do this in kubectl's namespace; `what` as in RBAC, with its group."""
    what, _, subresource = what.partition("/")
    sub = [f"--subresource={subresource}"] if subresource else []
    answer = kubectl("auth", "can-i", verb, what, *sub, "--as", who, *options)
    assert answer.out.strip() in ("yes", "no"), answer.err
    return answer.out.strip() == "yes"


STREAMS = "directorystreams.penstock.dev"
ALLOWED = [
    *[(verb, STREAMS) for verb in ("get", "list", "watch", "patch")],
    ("patch", f"{STREAMS}/status"),
    ("update", f"{STREAMS}/finalizers"),
    *[(verb, "deployments.apps") for verb in ("get", "list", "watch", "create", "patch", "delete")],
    ("list", "pods"),
    ("get", "persistentvolumeclaims"),
    ("get", "secrets"),
    ("get", "configmaps"),
    ("create", "events"),
]
ALLOWED_EVERYWHERE = [(verb, STREAMS) for verb in ("get", "list", "patch")]
"""A part of the above: to see who names a topic, and to let go of a stream whose namespace ends."""
NOT_ELSEWHERE = [one for one in ALLOWED if one not in ALLOWED_EVERYWHERE]
FORBIDDEN = [
    *[(verb, STREAMS) for verb in ("create", "update", "delete", "deletecollection")],
    ("update", f"{STREAMS}/status"),
    ("update", "deployments.apps"),
    ("deletecollection", "deployments.apps"),
    ("patch", "deployments.apps/scale"),
    *[(verb, "pods") for verb in ("get", "watch", "create", "patch", "delete")],
    ("create", "pods/exec"),
    ("get", "pods/log"),
    ("create", "pods/eviction"),
    *[(verb, "persistentvolumeclaims") for verb in ("list", "watch", "create", "patch", "delete")],
    *[(verb, "secrets") for verb in ("list", "watch", "create", "patch", "update", "delete")],
    *[(verb, "configmaps") for verb in ("list", "watch", "create", "patch", "update", "delete")],
    *[(verb, "events") for verb in ("get", "list", "watch", "patch", "delete")],
    ("create", "serviceaccounts/token"),
    ("impersonate", "serviceaccounts"),
    ("create", "roles.rbac.authorization.k8s.io"),
    ("bind", "roles.rbac.authorization.k8s.io"),
    ("get", "services"),
    ("create", "jobs.batch"),
    ("get", "leases.coordination.k8s.io"),
]
ABROAD = [
    ("list", "namespaces"),
    ("get", "namespaces"),
    ("list", "nodes"),
    ("get", "persistentvolumes"),
    ("get", "customresourcedefinitions.apiextensions.k8s.io"),
    ("list", "customresourcedefinitions.apiextensions.k8s.io"),
    ("get", "mutatingwebhookconfigurations.admissionregistration.k8s.io"),
    ("patch", "mutatingwebhookconfigurations.admissionregistration.k8s.io"),
]


@pytest.mark.parametrize(("verb", "what"), ALLOWED)
def test_the_operator_may(installed, verb, what):
    assert may(installed, account(installed), verb, what)


@pytest.mark.parametrize(("verb", "what"), FORBIDDEN)
def test_the_operator_may_not(installed, verb, what):
    assert not may(installed, account(installed), verb, what)


@pytest.mark.parametrize(("verb", "what"), ALLOWED_EVERYWHERE)
def test_the_operator_may_list_streams_and_let_go_of_them_in_all_namespaces(installed, office, verb, what):
    assert may(office, account(installed), verb, what)
    assert may(installed, account(installed), verb, what, "--all-namespaces")


@pytest.mark.parametrize(("verb", "what"), [*NOT_ELSEWHERE, *FORBIDDEN])
def test_the_operator_may_nothing_else_in_other_namespaces(installed, office, verb, what):
    assert not may(office, account(installed), verb, what)
    assert not may(installed, account(installed), verb, what, "--all-namespaces")


@pytest.mark.parametrize(("verb", "what"), ABROAD)
def test_the_operator_may_nothing_with_the_cluster(installed, verb, what):
    assert not may(installed, account(installed), verb, what, "--all-namespaces")


def test_with_a_list_of_namespaces_it_may_there_and_not_at_home(helm, lab, office):
    values = {"operator": {"namespaces": [office.namespace]}, "webhook": {"enabled": False}}
    with release(helm, lab, "listed", values):
        who = account(lab, "listed-penstock-operator")
        assert [one for one in ALLOWED if not may(office, who, *one)] == []
        assert [one for one in ALLOWED if may(lab, who, *one)] == ALLOWED_EVERYWHERE
        assert [one for one in ABROAD if may(lab, who, *one, "--all-namespaces")] == []


def test_cluster_wide_it_may_the_same_everywhere(helm, lab, office):
    # Without its webhook, which would refuse the pods of other tests.
    with release(helm, lab, "wide", {"operator": {"clusterWide": True}, "webhook": {"enabled": False}}):
        who = account(lab, "wide-penstock-operator")
        assert [one for one in ALLOWED if not may(lab, who, *one, "--all-namespaces")] == []
        assert [one for one in FORBIDDEN if may(office, who, *one)] == []
        assert [one for one in ABROAD if may(lab, who, *one, "--all-namespaces")] == []


@pytest.mark.parametrize(
    ("role", "allowed", "forbidden"),
    [
        (
            "view",
            [("list", STREAMS), ("get", f"{STREAMS}/status")],
            [("create", STREAMS), ("delete", STREAMS)],
        ),
        (
            "edit",
            [
                ("list", STREAMS),
                ("create", STREAMS),
                ("patch", STREAMS),
                ("delete", STREAMS),
                ("update", f"{STREAMS}/scale"),
            ],
            [("patch", f"{STREAMS}/status"), ("update", f"{STREAMS}/finalizers")],
        ),
        ("admin", [("watch", STREAMS), ("create", STREAMS)], [("update", f"{STREAMS}/status")]),
    ],
)
def test_who_may_view_or_edit_a_namespace_may_do_so_with_its_streams(
    installed, office, role, allowed, forbidden
):
    who = f"chart-{role}"
    assert office("create", "rolebinding", who, f"--clusterrole={role}", f"--user={who}").ok
    for one in allowed:
        eventually(lambda one=one: may(office, who, *one), describe=f"{role}: {one}")
    assert [one for one in forbidden if may(office, who, *one)] == []
    assert [one for one in allowed if may(installed, who, *one)] == []


def test_the_operators_pod_is_admitted_where_restricted_is_enforced(installed):
    def admitted():
        pods = installed("get", "pods", "-l", "app.kubernetes.io/component=operator", "-o", "json").object
        (pod,) = pods["items"]
        return pod["spec"]["serviceAccountName"]

    assert eventually(admitted) == "penstock-operator"


def pod(name: str, **labels: str) -> dict[str, Any]:
    """A pod as an application has it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "application",
                    "image": "registry.invalid/application:1",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def refusal(kubectl: Kubectl, body: dict[str, Any]) -> str:
    """Why a pod cannot be created; empty, if it can."""
    answer = kubectl("create", "--dry-run=server", "-f", "-", given=body)
    return "" if answer.ok else answer.err


WANTS_A_SIDECAR = {INJECT_LABEL: "simulation"}


def test_while_no_operator_answers_only_pods_that_want_a_sidecar_are_refused(installed, office):
    """The API server takes note of a new webhook within seconds, not at once."""
    said = eventually(lambda: refusal(installed, pod("labelled", **WANTS_A_SIDECAR)))
    assert 'failed calling webhook "inject.penstock.dev"' in said
    assert f"penstock-webhook.{installed.namespace}.svc" in said
    assert refusal(installed, pod("not-labelled", app="simulation")) == ""
    assert refusal(office, pod("elsewhere", **WANTS_A_SIDECAR)) == ""


STAND_IN = """
import http.server, json, os, ssl

class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = f"asked at {self.path.partition('?')[0]} as user {os.getuid()}"
        response = {"uid": review["request"]["uid"], "allowed": False, "status": {"message": said}}
        answer = json.dumps({**review, "request": None, "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

server = http.server.HTTPServer(("", int(os.environ["PENSTOCK_WEBHOOK_PORT"])), Webhook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
where = os.environ["PENSTOCK_WEBHOOK_CERTIFICATES"]
context.load_cert_chain(f"{where}/tls.crt", f"{where}/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def test_the_api_server_reaches_the_webhook_with_the_certificate_that_was_generated(installed):
    """The pod is as the chart has it, but for its program, which refuses every pod and says so."""
    template = installed("get", "deployment/penstock-operator", "-o", "json").object["spec"]["template"]
    (container,) = template["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        del container[probe]
    container["image"] = container["image"].removeprefix("registry.invalid/")
    container["command"] = ["python", "-c", STAND_IN]
    stand_in = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stand-in", "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    }
    created = installed("create", "-f", "-", given=stand_in)
    assert created.ok, created.err
    try:

        def asked() -> str | None:
            (status,) = (
                installed("get", "pod/stand-in", "-o", "json")
                .object["status"]
                .get("containerStatuses", [{"state": {}}])
            )
            state = status["state"]
            if state.get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff"):
                pytest.fail(
                    f"the cluster has no image {container['image']}: build it (make images) and load it"
                )
            assert "terminated" not in state, installed("logs", "pod/stand-in").out
            said = refusal(installed, pod("labelled", **WANTS_A_SIDECAR))
            return said if "asked" in said else None

        assert "asked at /inject as user 65532" in eventually(asked, timeout=60)
    finally:
        installed("delete", "pod/stand-in", "--grace-period=0", "--force")


# What install, upgrade and uninstall leave


@pytest.fixture
def copied(cluster: Kubectl, tmp_path: Path) -> Iterator[Path]:
    """A copy of the chart, whose CRD is called `charttests-....example`."""
    chart = tmp_path / "penstock"
    shutil.copytree(CHART, chart)
    file = chart / "files/crds/directorystreams.yaml"
    crd = yaml.safe_load(file.read_text("utf-8"))
    one = f"charttest{uuid.uuid4().hex[:8]}"
    crd["metadata"]["name"] = f"{one}s.{one}.example"
    crd["spec"]["group"] = f"{one}.example"
    crd["spec"]["names"] = {
        "kind": one.capitalize(),
        "listKind": f"{one.capitalize()}List",
        "plural": f"{one}s",
        "singular": one,
    }
    file.write_text(yaml.safe_dump(crd, sort_keys=False))
    yield chart
    cluster("delete", "crd", crd["metadata"]["name"], "--ignore-not-found")


def edited(chart: Path, change: dict[str, Any]) -> dict[str, Any]:
    """Change the chart's CRD, and give it."""
    file = chart / "files/crds/directorystreams.yaml"
    crd = laid_over(yaml.safe_load(file.read_text("utf-8")), change)
    file.write_text(yaml.safe_dump(crd, sort_keys=False))
    return crd


def test_an_upgrade_brings_a_new_crd_and_keeps_the_certificate_and_an_uninstall_the_crd(
    helm, cluster, copied
):
    values = {"image": {"registry": "registry.invalid"}, "rbac": {"aggregateToUserRoles": False}}
    with namespace_of(cluster, "upgrade") as own, contextlib.ExitStack() as at_the_end:
        there = Helm(own.kubeconfig, helm.home, own.namespace)
        # What belongs to no namespace must not stay, whatever fails below.
        at_the_end.callback(there.run, "uninstall", "penstock", "--ignore-not-found")
        crd = edited(copied, {})
        name, names = crd["metadata"]["name"], crd["spec"]["names"]
        configuration = f"mutatingwebhookconfiguration/penstock.{own.namespace}-webhook"

        def secret() -> Any:
            return own("get", "secret/penstock-webhook", "-o", "json").object["data"]

        def believed() -> str:
            return own("get", configuration, "-o", "json").object["webhooks"][0]["clientConfig"]["caBundle"]

        there("install", "penstock", str(copied), values=values)
        certificate, ca = secret(), believed()
        assert ca == certificate["ca.crt"]
        eventually(lambda: own("get", names["plural"]).ok)
        stream = yaml.safe_load((ROOT / "operator/examples/minimal.yaml").read_text("utf-8"))
        stream |= {"apiVersion": f"{crd['spec']['group']}/v1alpha1", "kind": names["kind"]}
        created = own("create", "-f", "-", given=stream)
        assert created.ok, created.err
        generation = own("get", "deployment/penstock-operator", "-o", "jsonpath={.metadata.generation}").out

        edited(copied, {"spec": {"names": {"shortNames": [f"{names['singular']}x"]}}})
        there("upgrade", "penstock", str(copied), values=values)
        now = own("get", "crd", name, "-o", "json").object
        assert now["spec"]["names"]["shortNames"] == [f"{names['singular']}x"]
        assert (secret(), believed()) == (certificate, ca)
        after = own("get", "deployment/penstock-operator", "-o", "jsonpath={.metadata.generation}").out
        assert after == generation, "nothing restarts"

        assert own("delete", "secret/penstock-webhook").ok
        there("upgrade", "penstock", str(copied), "--reuse-values")
        assert secret()["tls.crt"] != certificate["tls.crt"]
        assert believed() == secret()["ca.crt"]

        there("uninstall", "penstock")
        assert not own("get", "secret/penstock-webhook").ok
        assert not own("get", configuration).ok
        assert own("get", names["plural"], "balance").ok

        there("install", "penstock", str(copied), values=laid_over(values, {"crd": {"keep": False}}))
        assert own("get", names["plural"], "balance").ok
        there("uninstall", "penstock")
        eventually(lambda: not own("get", "crd", name).ok)


def test_a_namespace_can_end_though_its_role_goes_before_its_streams(helm, cluster, copied, lab):
    """The operator is not running: what it does, taking its finalizer off, is done with its account."""
    crd = edited(copied, {})
    group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
    rules = copied / "templates/operator/_rules.tpl"
    theirs = rules.read_text("utf-8").replace("penstock.dev", group).replace("directorystreams", plural)
    rules.write_text(theirs)
    there = Helm(lab.kubeconfig, helm.home, lab.namespace)
    who = account(lab, "ending-penstock-operator")
    with namespace_of(cluster, "ending") as own, contextlib.ExitStack() as at_the_end:
        values = {
            "image": {"registry": "registry.invalid"},
            "operator": {"namespaces": [own.namespace]},
            "webhook": {"enabled": False},
            "rbac": {"aggregateToUserRoles": False},
        }
        at_the_end.callback(there.run, "uninstall", "ending", "--ignore-not-found")
        there("install", "ending", str(copied), values=values)
        eventually(lambda: own("get", plural).ok)
        stream = yaml.safe_load((ROOT / "operator/examples/minimal.yaml").read_text("utf-8"))
        stream |= {"apiVersion": f"{group}/v1alpha1", "kind": crd["spec"]["names"]["kind"]}
        stream["metadata"]["finalizers"] = [f"{group}/topic"]
        created = own("create", "-f", "-", given=stream)
        assert created.ok, created.err

        def free(*options: str) -> Any:
            patch = '{"metadata": {"finalizers": null}}'
            return own("patch", plural, "balance", "--type=merge", "--patch", patch, *options)

        # Whatever fails below, the namespace does not stay.
        at_the_end.callback(free)
        assert cluster("delete", "namespace", own.namespace, "--wait=false").ok
        eventually(lambda: not own("get", "roles,rolebindings", "-o", "name").out)
        eventually(lambda: not may(own, who, "get", "secrets"), describe="its Role is taken away")
        left = own("get", plural, "balance", "-o", "json").object
        assert left["metadata"]["deletionTimestamp"], "it waits for its finalizer"
        done = free("--as", who)
        assert done.ok, done.err
        gone = cluster("wait", "--for=delete", f"namespace/{own.namespace}", "--timeout=60s")
        assert gone.ok, gone.err


def test_a_second_release_leaves_the_crd_to_the_first(helm, cluster, copied, lab, office):
    values = {"image": {"registry": "registry.invalid"}, "rbac": {"aggregateToUserRoles": False}}
    here, there = (Helm(one.kubeconfig, helm.home, one.namespace) for one in (lab, office))
    try:
        here("install", "penstock-first", str(copied), values=values)
        said = there.refused("install", "penstock-first", str(copied), values=values)
        assert "CustomResourceDefinition" in said
        there("install", "penstock-first", str(copied), values=laid_over(values, {"crd": {"install": False}}))
    finally:
        for one in (here, there):
            one.run("uninstall", "penstock-first")


def test_its_notes_say_what_to_do_next(helm, lab, office):
    values = {"operator": {"namespaces": [office.namespace]}, "webhook": {"enabled": False}}
    there = Helm(lab.kubeconfig, helm.home, lab.namespace)
    said = there("install", "noted", str(CHART), "--dry-run=server", values=laid_over(NOT_RUNNING, values))
    notes = said.split("\nNOTES:\n")[1]
    assert f"looks after DirectoryStreams in {office.namespace}." in notes
    assert f"kubectl --namespace {lab.namespace} rollout status deployment/noted-penstock-operator" in notes
    manifest = re.search(
        rf"^kubectl --namespace {office.namespace} apply -f - <<END\n(.*)^END$",
        notes,
        re.DOTALL | re.MULTILINE,
    )
    assert manifest
    assert DirectoryStream.parse(yaml.safe_load(manifest[1])).metadata.name == "balance"
    assert f"kubectl --namespace {office.namespace} get dstream" in notes
