"""The objects of a stream on a real API server: accepted under "restricted", and applying them is quiet."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster import Kubectl
from tests.pods import environment, patched
from tests.streams import EXAMPLES, INSTALLATION, laid_over
from tests.waiting import eventually

from penstock_operator.objects import (
    FIELD_MANAGER,
    downloader_deployment,
    inject,
    uploader_deployment,
)
from penstock_operator.resource import DirectoryStream

ROOT = Path(__file__).parents[2]
MANIFESTS = [path.stem for path in sorted(EXAMPLES.glob("*.yaml"))]
EVERYTHING = {
    "kafka": {
        "properties": {"client.id": "$(HOME) a\nb", "linger.ms": "20"},
        "authSecretRef": {"name": "login"},
        "tls": {"ca": {"secret": {"name": "ca"}, "configMap": None}, "clientSecretRef": {"name": "client"}},
    },
    "downloader": {
        "resources": {
            "requests": {"cpu": "0.5", "memory": "1000Mi"},
            "limits": {"memory": "1.5Gi", "cpu": 2},
        },
        "pod": {
            "labels": {"team": "imaging"},
            "annotations": {"a": "b"},
            "nodeSelector": {"zone": "lab"},
            "tolerations": [{"key": "lab"}, {"operator": "Exists", "effect": "NoExecute"}],
            "affinity": {
                "nodeAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 3,
                            "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
                        }
                    ]
                },
                "podAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"topologyKey": "zone", "labelSelector": {}, "namespaceSelector": {}}
                    ]
                },
                "podAntiAffinity": {},
            },
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
            ],
            "securityContext": {"runAsUser": 7, "fsGroup": 8, "supplementalGroups": [9, 10]},
        },
    },
}

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("objects")]


@pytest.fixture(scope="module")
def api(crd: Kubectl, kubectl: Kubectl) -> Kubectl:
    """kubectl in a namespace that takes restricted pods only, on a server that has the CRD."""
    levels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
    assert kubectl("label", "namespace", kubectl.namespace, "--overwrite", *levels).ok
    return kubectl


def made(api: Kubectl, example: str, name: str, spec: dict[str, Any] | None = None) -> DirectoryStream:
    """A stream as the server has it: with a uid, and defaults filled in."""
    body = yaml.safe_load((EXAMPLES / f"{example}.yaml").read_text("utf-8"))
    body = laid_over(body, {"metadata": {"name": name, "namespace": api.namespace}, "spec": spec or {}})
    created = api("apply", "--server-side", "--force-conflicts", "-o", "json", "-f", "-", given=body)
    return DirectoryStream.parse(created.object)


def deployments(stream: DirectoryStream, replicas: int = 0) -> list[dict[str, Any]]:
    """Without pods by default: there are no images, and whoever scales to none leaves the server quiet."""
    found = [
        downloader_deployment(stream, INSTALLATION, replicas=replicas, revision="r"),
        uploader_deployment(stream, INSTALLATION, revision="r"),
    ]
    return [deployment for deployment in found if deployment is not None]


def apply(api: Kubectl, body: dict[str, Any], *options: str) -> dict[str, Any]:
    """What is there after an apply as the operator does it; the server has nothing to warn of."""
    manager = f"--field-manager={FIELD_MANAGER}"
    options = ("--server-side", "--force-conflicts", manager, "-o", "json", *options)
    done = api("apply", *options, "-f", "-", given=body)
    assert done.err.strip() == "", done.err
    return done.object


@pytest.mark.parametrize("name", MANIFESTS)
@pytest.mark.parametrize("spec", [{}, EVERYTHING], ids=["as it is", "with everything"])
def test_every_example_is_accepted_and_its_pods_are_restricted(api, name, spec):
    stream = made(api, name, f"{name}-{len(spec)}", spec)
    for deployment in deployments(stream, replicas=3):
        apply(api, deployment, "--dry-run=server")
        template = deployment["spec"]["template"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "as-the-deployment-makes-it", **template["metadata"]},
            "spec": template["spec"],
        }
        created = api("create", "--dry-run=server", "-f", "-", given=pod)
        assert created.ok, created.err


@pytest.mark.parametrize("spec", [{}, EVERYTHING], ids=["as it is", "with everything"])
def test_applying_the_same_again_changes_nothing(api, spec):
    stream = made(api, "instrument", f"quiet-{len(spec)}", spec)
    for deployment in deployments(stream):
        apply(api, deployment)

        def is_quiet(deployment=deployment):
            # The controller writes the status once or twice; whatever an apply writes, it writes each time.
            where = (
                f"deployment/{deployment['metadata']['name']}",
                "-o",
                "jsonpath={.metadata.resourceVersion}",
            )
            before = api("get", *where).out
            apply(api, deployment)
            return before == api("get", *where).out

        eventually(is_quiet)


def said(there: Any, wanted: Any) -> Any:
    """What there is, without what the server has filled in beside what we say."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        return {name: said(there.get(name), value) for name, value in wanted.items()}
    return there


def spec_of(api: Kubectl, deployment: dict[str, Any]) -> Any:
    return api("get", f"deployment/{deployment['metadata']['name']}", "-o", "json").object["spec"]


def test_what_a_stream_takes_back_is_gone(api):
    plain = made(api, "instrument", "changing")
    rich = laid_over(plain.model_dump(by_alias=True, exclude_none=True, mode="json"), {"spec": EVERYTHING})
    for first, second in zip(deployments(plain), deployments(DirectoryStream.parse(rich), 3), strict=True):
        apply(api, first)
        before = spec_of(api, first)
        apply(api, second | {"spec": second["spec"] | {"replicas": 0}})
        assert spec_of(api, first) != before
        apply(api, first)
        assert spec_of(api, first) == before


def test_the_strategy_follows_the_number_both_ways(api):
    stream = made(api, "minimal", "scaled")
    for replicas in (1, 4, 1, 0, 2):
        (deployment,) = deployments(stream, replicas)
        strategy = apply(api, deployment, "--validate=strict")["spec"]["strategy"]
        assert strategy == deployment["spec"]["strategy"]


def test_foreign_edits_of_our_fields_come_back_and_others_are_left_alone(api):
    stream = made(api, "minimal", "edited")
    (deployment,) = deployments(stream)
    apply(api, deployment)
    where = f"deployment/{deployment['metadata']['name']}"
    edit = {
        "metadata": {"annotations": {"lab.example.org/note": "kept"}},
        "spec": {"replicas": 1, "minReadySeconds": 3, "template": {"spec": {"hostNetwork": False}}},
    }
    assert api("patch", where, "--type=merge", "-p", json.dumps(edit)).ok
    after = apply(api, deployment)
    assert after["spec"]["replicas"] == 0
    assert after["spec"]["minReadySeconds"] == 3
    assert after["metadata"]["annotations"]["lab.example.org/note"] == "kept"


APPLICATION = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "simulation", "labels": {"app": "simulation"}},
    "spec": {
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "simulation",
                "image": "busybox:1.35",
                "command": ["true"],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "results", "mountPath": "/results"}],
            }
        ],
        "volumes": [{"name": "results", "emptyDir": {}}],
    },
}


@pytest.mark.parametrize("spec", [{}, EVERYTHING], ids=["as it is", "with everything"])
@pytest.mark.parametrize(
    "volume", [{"emptyDir": {}}, {"persistentVolumeClaim": {"claimName": "results"}}], ids=str
)
def test_an_injected_pod_is_accepted(api, spec, volume):
    state = {"source": {"state": {"persistentVolumeClaim": {"claimName": "ledgers"}}}} if spec else {}
    stream = made(api, "sidecar", f"injecting-{len(spec)}", spec | state)
    # As the webhook sees it: defaults filled in.
    pod = laid_over(copy.deepcopy(APPLICATION), {"spec": {"volumes": [{"name": "results", **volume}]}})
    pod = api("create", "--dry-run=server", "-o", "json", "-f", "-", given=pod).object
    pod = {name: value for name, value in pod.items() if name != "status"}
    injected = patched(pod, inject(pod, stream, INSTALLATION).patch)
    created = api("create", "--dry-run=server", "-o", "json", "-f", "-", given=injected)
    assert created.err.strip() == "", created.err
    assert created.object["spec"]["initContainers"][-1]["restartPolicy"] == "Always"
    assert inject(created.object, stream, INSTALLATION).patch == ()


def test_a_container_sees_what_was_meant(api):
    """The kubelet fills in references as tests.pods does, which the other tests rely on."""
    stream = made(
        api,
        "sidecar",
        "expanded",
        {
            "kafka": {"properties": {"client.id": '$(HOME) $$x $ a\nb "c"'}},
            "source": {"prefix": None, "include": ["$(POD_NAME),$$"]},
        },
    )
    pod = patched(APPLICATION, inject(APPLICATION, stream, INSTALLATION).patch)
    (sidecar,) = pod["spec"]["initContainers"]
    own = pod["spec"]["containers"][0] | {"command": ["env", "-0"], "env": sidecar["env"]}
    pod["spec"] |= {"initContainers": [], "containers": [own]}
    pod["metadata"]["name"] = "shows-its-environment"
    assert api("create", "-f", "-", given=pod).ok
    phase = ("get", "pod/shows-its-environment", "-o", "jsonpath={.status.phase}")
    eventually(
        lambda: api(*phase).out == "Succeeded",
        timeout=90,
        describe=lambda: api("get", "pod", "-o", "yaml").out,
    )
    shown = api("logs", "shows-its-environment").out
    seen = dict(variable.partition("=")[::2] for variable in shown.split("\0"))
    expected = environment(own, fields={"metadata.name": "shows-its-environment"}, secrets={})
    assert {name: seen.get(name) for name in expected} == expected


def test_the_jobs_in_the_docs_are_accepted(api):
    page = (ROOT / "docs/sidecar.md").read_text("utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    labelled, pasted = map(yaml.safe_load, blocks)
    pod = {"apiVersion": "v1", "kind": "Pod", **pasted["spec"]["template"]}
    pod["metadata"] |= {"name": "as-the-job-makes-it"}
    for given in (labelled, pasted, pod):
        created = api("create", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-", given=given)
        assert created.ok, created.err
        assert created.err.strip() == ""
