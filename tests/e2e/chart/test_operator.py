"""charts/penstock: what it renders of the operator, its webhook and the CRD."""

import base64
import contextlib
import re
import socket
import ssl
import threading

import pytest
import yaml
from tests.e2e.chart.charts import (
    CHART,
    PAGE,
    all_of,
    container_of,
    deployment,
    only,
    pod_of,
    variables,
)
from tests.e2e.chart.values import DIGEST, VARIANTS, everything
from tests.pod_security import violations

from penstock_operator.objects.names import INJECT_LABEL
from penstock_operator.resource.kubernetes import ResourceAmounts, Resources
from penstock_operator.settings import WEBHOOK_PORT, OperatorSettings

pytestmark = pytest.mark.cluster

PART = "app.kubernetes.io/component"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_operators_pod_is_restricted_and_one(helm, variant):
    objects = helm.rendered(VARIANTS[variant])
    pod = pod_of(objects)
    assert violations(pod) == []
    container = container_of(objects)
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["resources"]["limits"]
    spec = deployment(objects)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    labels = spec["template"]["metadata"]["labels"]
    services = [one for one in all_of(objects, "Service") if one["metadata"]["labels"][PART] == "operator"]
    assert len(services) == (1 if variant == "webhook off" else 2)
    for service in services:
        assert spec["selector"]["matchLabels"] == service["spec"]["selector"]
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
    assert container_of(objects)["image"] == f"penstock/operator:{version}"
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
    ports = {port["name"]: port["containerPort"] for port in container_of(objects)["ports"]}
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
        one
        for one in helm.rendered(VARIANTS["webhook off"])
        if one["kind"] not in ("CustomResourceDefinition", "ConfigMap")
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
