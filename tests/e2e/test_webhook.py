"""The webhook as a real API server meets it: what becomes of pods, and what people read who are refused.

It runs in this process, so the API server has to reach this machine: at 127.0.0.1, or where E2E_HOST says
(for kind: the gateway of its Docker network).
"""

import asyncio
import base64
import copy
import json
import os
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from tests.certificates import Authority
from tests.cluster import Kubectl
from tests.streams import EXAMPLES, INSTALLATION, laid_over
from tests.waiting import eventually

from penstock_operator.certificates import Certificates
from penstock_operator.objects import INJECT_LABEL, INJECTED_ANNOTATION, SIDECAR
from penstock_operator.resource import DirectoryStream
from penstock_operator.webhook import Webhook
from servicekit.exceptions import PenstockError
from servicekit.http import is_loopback

ROOT = Path(__file__).parents[2]
HOST = os.environ.get("E2E_HOST", "127.0.0.1")
LISTEN = HOST if is_loopback(HOST) else "0.0.0.0"
CONFIGURATION = "mutatingwebhookconfiguration"

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("webhook")]

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "simulation", "labels": {"app": "simulation", INJECT_LABEL: "simulation"}},
    "spec": {
        "restartPolicy": "Never",
        "containers": [
            {
                "name": "simulation",
                "image": "busybox:1.35",
                "command": ["true"],
                "volumeMounts": [{"name": "results", "mountPath": "/results"}],
            }
        ],
        "volumes": [{"name": "results"}],
    },
}


def pod(name: str, **changes: Any) -> dict[str, Any]:
    return laid_over(copy.deepcopy(POD), {"metadata": {"name": name}} | changes)


def job(name: str, template: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    }


@dataclass
class Served:
    """The webhook's event loop, in a thread of its own, and what it was asked for."""

    loop: asyncio.AbstractEventLoop
    directory: Path
    streams: dict[tuple[str, str], DirectoryStream] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def find(self, namespace: str, name: str) -> DirectoryStream | None:
        self.asked.append((namespace, name))
        if name == "elsewhere":
            raise PenstockError(f"namespace {namespace} is not looked after: add it to watchNamespaces")
        return self.streams.get((namespace, name))

    @contextmanager
    def webhook(self) -> Iterator[Webhook]:
        made = Webhook(
            self.find,
            INSTALLATION,
            certificates=str(self.directory),
            host=LISTEN,
            port=0,
        )
        self.run(made.__aenter__())
        try:
            yield made
        finally:
            self.run(made.__aexit__(None, None, None))

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "made")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("certificates")
    pair = authority.sign(names=f"IP:{HOST}")
    (directory / "tls.crt").write_bytes(pair.certificate)
    (directory / "tls.key").write_bytes(pair.key)
    selector = selectors.DefaultSelector()
    loop = asyncio.SelectorEventLoop(selector)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield Served(loop, directory)
    # The API server takes its leave of each connection; what remains is the loop's own.
    eventually(lambda: len(selector.get_map()) == 1, timeout=60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def api(crd: Kubectl, kubectl: Kubectl, authority: Authority, served: Served) -> Iterator[Kubectl]:
    """kubectl in a namespace whose labelled pods meet the webhook, and with a stream called simulation."""
    body = yaml.safe_load((EXAMPLES / "sidecar.yaml").read_text("utf-8"))
    body["metadata"]["namespace"] = kubectl.namespace
    made = kubectl("apply", "--server-side", "-o", "json", "-f", "-", given=body)
    served.streams[kubectl.namespace, "simulation"] = DirectoryStream.parse(made.object)
    with served.webhook() as webhook, configured(kubectl, authority, webhook.port):
        eventually(lambda: reached(kubectl), describe=f"the API server reaches {HOST} (E2E_HOST)")
        yield kubectl


@contextmanager
def configured(
    kubectl: Kubectl, authority: Authority, port: int, *, suffix: str = "", label: str = INJECT_LABEL
) -> Iterator[None]:
    """A webhook for pods with a label, in the tests' namespace alone; otherwise as in the chart."""
    webhook = {
        "name": f"inject{suffix}.penstock.dev",
        "clientConfig": {
            "url": f"https://{HOST}:{port}/inject",
            "caBundle": base64.b64encode(authority.certificate).decode(),
        },
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "resources": ["pods"],
                "operations": ["CREATE"],
                "scope": "Namespaced",
            }
        ],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": kubectl.namespace}},
        "objectSelector": {"matchExpressions": [{"key": label, "operator": "Exists"}]},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 10,
    }
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": f"{kubectl.namespace}{suffix}"},
        "webhooks": [webhook],
    }
    applied = kubectl("apply", "--server-side", "-f", "-", given=body)
    assert applied.ok, applied.err
    try:
        yield
    finally:
        assert kubectl("delete", CONFIGURATION, body["metadata"]["name"]).ok


def reached(api: Kubectl) -> bool:
    """Whether the API server asks the webhook by now; it learns of configurations after a moment."""
    answer = create(api, pod("is-it-there"), dry_run=True)
    return answer.ok and INJECTED_ANNOTATION in answer.object["metadata"].get("annotations", {})


def create(api: Kubectl, body: dict[str, Any], *, dry_run: bool = False) -> Any:
    options = ["--dry-run=server"] if dry_run else []
    return api("create", *options, "-o", "json", "-f", "-", given=body)


def sidecars(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in body["spec"].get("initContainers", ()) if one["name"] == SIDECAR]


# Injected


def test_a_labelled_pod_is_stored_with_its_sidecar(api):
    assert create(api, pod("stored")).ok
    stored = api("get", "pod/stored", "-o", "json").object
    (sidecar,) = sidecars(stored)
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["terminationMessagePath"]  # the server's defaults came after us
    assert {"name": "results", "mountPath": "/source"} in sidecar["volumeMounts"]
    assert stored["spec"]["terminationGracePeriodSeconds"] == 30 + 300 + 10
    assert stored["metadata"]["annotations"][INJECTED_ANNOTATION] == "simulation"
    # Nothing of what is validated, admitted and defaulted later takes its place away.
    assert [one["name"] for one in stored["spec"]["containers"]] == ["simulation"]


def test_the_author_is_warned_and_a_dry_run_is_answered_too(api):
    answer = create(api, pod("warned"), dry_run=True)
    assert sidecars(answer.object)
    assert "Warning: a Job does not wait for its sidecar" in answer.err
    assert "/drained" in answer.err


def test_the_pods_of_a_job_get_theirs(api):
    template = {"metadata": {"labels": POD["metadata"]["labels"]}, "spec": POD["spec"]}
    assert create(api, job("run", template)).ok

    def pods():
        return api("get", "pods", "-l", "job-name=run", "-o", "json").object["items"]

    (made,) = eventually(pods)
    assert len(sidecars(made)) == 1


def test_a_name_that_the_server_makes(api):
    body = pod("", metadata={"name": None, "generateName": "made-"})
    made = create(api, body).object
    assert made["metadata"]["name"].startswith("made-")
    assert sidecars(made)


def test_asked_again_it_changes_nothing(api, authority, served):
    """Another webhook that changes the pod makes the API server ask again (reinvocationPolicy)."""
    served.streams[api.namespace, "twice"] = served.streams[api.namespace, "simulation"]
    body = pod("twice", metadata={"name": "twice", "labels": {INJECT_LABEL: "twice", "other": "yes"}})
    with annotating(served) as port, configured(api, authority, port, suffix="-other", label="other"):

        def made():
            served.asked.clear()
            answer = create(api, body, dry_run=True)
            return answer.ok and "other" in answer.object["metadata"]["annotations"] and answer.object

        injected = eventually(made)
    assert served.asked == [(api.namespace, "twice")] * 2
    assert len(sidecars(injected)) == 1
    assert injected["spec"]["terminationGracePeriodSeconds"] == 30 + 300 + 10


@contextmanager
def annotating(served: Served) -> Iterator[int]:
    """A webhook of somebody else, which gives pods an annotation; its port."""

    async def annotate(request: web.Request) -> web.Response:
        patch = [{"op": "add", "path": "/metadata/annotations/other", "value": "was here"}]
        response = {
            "uid": (await request.json())["request"]["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
        }
        return web.json_response(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        )

    app = web.Application()
    app.router.add_post("/inject", annotate)
    runner = web.AppRunner(app)

    async def start() -> int:
        await runner.setup()
        context = Certificates(str(served.directory)).context
        await web.TCPSite(runner, LISTEN, 0, ssl_context=context).start()
        return runner.addresses[0][1]

    try:
        yield served.run(start())
    finally:
        served.run(runner.cleanup())


# Refused


def refusal(answer: Any) -> str:
    """What kubectl prints, without what it says of the file."""
    assert not answer.ok
    denied = 'admission webhook "inject.penstock.dev" denied the request: '
    before, _, message = answer.err.partition(denied)
    assert before == 'Error from server: error when creating "STDIN": '
    return message


def test_no_such_stream_is_refused_in_words(api):
    body = pod("lost", metadata={"name": "lost", "labels": {INJECT_LABEL: "simulatoin"}})
    assert refusal(create(api, body)) == (
        f"no sidecar of DirectoryStream {api.namespace}/simulatoin for this pod: there is no such "
        f"DirectoryStream: make it, correct the label penstock.dev/inject (kubectl get directorystreams -n "
        f"{api.namespace} lists those that there are), or take the label off\n"
    )
    assert not api("get", "pod/lost").ok


def test_a_pod_without_the_volume_is_refused_in_words(api):
    message = refusal(
        create(
            api,
            pod(
                "no-volume",
                spec=POD["spec"]
                | {"volumes": None}
                | {"containers": [{"name": "a", "image": "busybox:1.35"}]},
            ),
        )
    )
    assert "no container of the pod has a volume at /results" in message
    assert "mount one there" in message


def test_a_namespace_that_is_not_looked_after_is_the_reason(api):
    body = pod("elsewhere", metadata={"name": "elsewhere", "labels": {INJECT_LABEL: "elsewhere"}})
    assert "is not looked after: add it to watchNamespaces" in refusal(create(api, body))


@pytest.mark.parametrize("label", ["", "../x"])
def test_a_label_that_is_no_name_is_refused(api, served, label):
    served.asked.clear()
    body = pod("odd", metadata={"name": "odd", "labels": {INJECT_LABEL: label}})
    assert "has to be the name of a DirectoryStream" in refusal(create(api, body))
    assert served.asked == []


def test_a_jobs_events_say_why_it_has_no_pods(api):
    template = {"metadata": {"labels": {INJECT_LABEL: "simulatoin"}}, "spec": POD["spec"]}
    assert create(api, job("refused", template)).ok

    def said():
        return "there is no such DirectoryStream" in api("describe", "job/refused").out

    eventually(said, describe=lambda: api("describe", "job/refused").out)
    assert api("delete", "job/refused").ok


# The webhook is away


@pytest.fixture(scope="module")
def away(kubectl: Kubectl, authority: Authority) -> Iterator[Kubectl]:
    """kubectl in a namespace whose webhook is configured, and does not listen."""
    there = Kubectl(kubectl.kubeconfig, f"{kubectl.namespace}-away")
    assert there("create", "namespace", there.namespace).ok
    with socket.socket() as nobody:
        nobody.bind((LISTEN, 0))
        with configured(there, authority, nobody.getsockname()[1]):
            eventually(lambda: not create(there, pod("labelled"), dry_run=True).ok)
            yield there
    assert there("delete", "namespace", there.namespace, "--wait=false").ok


def test_a_labelled_pod_is_refused_while_the_webhook_is_away(away):
    answer = create(away, pod("labelled"))
    assert not answer.ok
    assert 'failed calling webhook "inject.penstock.dev"' in answer.err
    assert not away("get", "pod/labelled").ok


def test_others_never_meet_it(away, api, served):
    for number, kubectl in enumerate((away, api)):
        served.asked.clear()
        body = pod(
            "other", metadata={"name": f"other-{number}", "labels": {"app": "simulation", INJECT_LABEL: None}}
        )
        made = create(kubectl, body, dry_run=True)
        assert made.ok, made.err
        assert sidecars(made.object) == []
        assert served.asked == []
