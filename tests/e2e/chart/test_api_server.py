"""charts/penstock on a real API server: what that takes, and what it lets the operator do."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster import Kubectl
from tests.e2e.chart.charts import CHART, Helm
from tests.e2e.chart.prometheus_operator import defined
from tests.e2e.chart.releases import release
from tests.e2e.chart.rights import account, may
from tests.e2e.chart.values import VARIANTS
from tests.waiting import eventually

from penstock_operator.objects.names import INJECT_LABEL

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("chart-api-server")]


@pytest.fixture(scope="module")
def prometheus_operator(cluster: Kubectl) -> Iterator[None]:
    """A cluster that knows PodMonitors and PrometheusRules."""
    with defined(cluster):
        yield


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.usefixtures("prometheus_operator")
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


def test_every_kind_that_the_chart_has_was_seen_by_the_server(helm):
    """So that no kind escapes the test above, but for cert-manager's, which is not in the cluster."""
    kinds = {
        kind
        for template in CHART.glob("templates/**/*.yaml")
        for kind in re.findall(r"^kind: (\w+)", template.read_text("utf-8"), re.MULTILINE)
    }
    kinds |= {"CustomResourceDefinition", "PodMonitor"}
    seen = {one["kind"] for values in VARIANTS.values() for one in helm.rendered(values)}
    assert seen == kinds


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
