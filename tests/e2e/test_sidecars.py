"""Pods whose files a sidecar sends: injected by label, and pasted by hand."""

import copy
import re

import pytest
import yaml
from tests.e2e.installed import POLL_SECONDS, RESTRICTED, RESTRICTED_POD, ROOT, apply, sums
from tests.e2e.pods import pods_of
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("penstock")]

PAGE = (ROOT / "docs/sidecar.md").read_text("utf-8")
WAIT = "until wget -qO- 'http://127.0.0.1:8652/drained?timeout=600'; do sleep 1; done"
PROGRAM = f"""
mkdir -p /results/frames
for i in $(seq 200); do head -c 2000 /dev/urandom > /results/frames/$i.raw; done
head -c 10000000 /dev/urandom > /results/volume.raw
: > /results/done
cd /results; find . -name .penstock -prune -o -type f -print0 | xargs -0 sha256sum
{WAIT} >&2
"""
SIMULATION = {
    "topic": {"partitions": 2},
    "source": {
        "path": "/results",
        "uploader": {
            "mode": "Sidecar",
            "claimName": None,
            "podSelector": {"matchLabels": {"app": "simulation"}},
            "drainSeconds": 20,
        },
    },
}


def pod_template(stream: str | None, program: str) -> dict:
    """A program that knows nothing of Penstock, on an emptyDir; with a sidecar, if a stream is named."""
    inject = {} if stream is None else {"penstock.dev/inject": stream}
    return {
        "metadata": {"labels": {"app": "simulation"} | inject},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": RESTRICTED_POD,
            "containers": [
                {
                    "name": "simulation",
                    "image": "busybox:1.35",
                    "command": ["sh", "-euc", program],
                    "securityContext": RESTRICTED,
                    "volumeMounts": [{"name": "results", "mountPath": "/results"}],
                }
            ],
            "volumes": [{"name": "results", "emptyDir": {}}],
        },
    }


def pod(name: str, stream: str | None, program: str = "tail -f /dev/null") -> dict:
    body = {"apiVersion": "v1", "kind": "Pod", **pod_template(stream, program)}
    body["metadata"] |= {"name": name}
    return body


def finished(lab, job: str) -> str:
    """Wait for a Job's end; the name of its pod."""
    waited = lab("wait", "--for=condition=Complete", f"job/{job}", "--timeout=110s")
    assert waited.ok, waited.err
    (ended,) = lab("get", "pods", "-l", f"job-name={job}", "-o", "json").object["items"]
    return ended["metadata"]["name"]


def test_nothing_is_lost_when_pods_end_with_their_volume(penstock, declare):
    """Three Jobs on an emptyDir: one with many files, and the two of docs/sidecar.md."""
    simulation = declare("simulation", **SIMULATION)
    simulation.until()
    injected = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "injected"},
        "spec": {"backoffLimit": 0, "template": pod_template("simulation", PROGRAM)},
    }
    labelled, pasted = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert WAIT in pasted
    pasted = pasted.replace("kafka.kafka:9092", penstock.kafka.bootstrap_servers)
    pasted = pasted.replace("default.simulation", f"{penstock.lab.namespace}.simulation")
    by_hand, by_label = yaml.safe_load(pasted), yaml.safe_load(labelled)
    by_label["metadata"]["name"] = "labelled"
    apply(penstock.lab, injected, by_hand, by_label)

    name = finished(penstock.lab, "injected")
    said = penstock.lab("logs", name, "-c", "simulation").out.splitlines(keepends=True)
    wrote = sums("".join(line for line in said if re.match("[0-9a-f]{64}  ", line)))
    assert len(wrote) == 202
    expected = {f"{name}/{path}": digest for path, digest in wrote.items()}
    answer = penstock.desk.do("echo 42 | sha256sum").split()[0]
    for name in (finished(penstock.lab, "simulation"), finished(penstock.lab, "labelled")):
        expected[f"{name}/answer.txt"] = answer
    penstock.desk.expect("simulation", expected)

    for job in (injected, by_hand, by_label):
        gone = penstock.lab("delete", "job", job["metadata"]["name"], "--wait=false")
        assert gone.ok, gone.err


INSTRUMENT = """
trap 'exit 0' TERM
number=0
while true; do
  number=$((number + 1)); head -c 3000 /dev/urandom > /results/$(hostname)-$number.raw
  sleep 0.2 & wait $!
done
"""


def test_a_deployment_on_a_claim_is_rolled_out_while_it_writes(penstock, declare):
    """The new pod's sidecar waits, ready, for the old one's end, which comes when the new pod is ready."""
    declare("rolling", **SIMULATION)
    template = pod_template("rolling", INSTRUMENT)
    template["spec"]["restartPolicy"] = "Always"
    template["spec"]["volumes"] = [{"name": "results", "persistentVolumeClaim": {"claimName": "sources"}}]
    template["spec"]["containers"][0]["volumeMounts"][0]["subPath"] = "rolling"
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "instrument"},
        "spec": {"selector": {"matchLabels": {"app": "simulation"}}, "template": template},
    }
    # The webhook may not have learnt of the stream yet: the ReplicaSet tries again.
    apply(penstock.lab, deployment)

    def rolled_out() -> str:
        """Wait until one pod is left, and ready; its name."""
        waited = penstock.lab("rollout", "status", "deployment/instrument", "--timeout=110s")
        assert waited.ok, waited.out + waited.err
        eventually(
            lambda: len(pods_of(penstock.lab, "instrument")) == 1, 90, "the old pod has ended", POLL_SECONDS
        )
        (pod,) = pods_of(penstock.lab, "instrument")
        return pod["metadata"]["name"]

    first = rolled_out()
    eventually(lambda: penstock.desk.delivered("rolling"), 60, "files arrive", POLL_SECONDS)
    assert penstock.lab("rollout", "restart", "deployment/instrument").ok
    second = rolled_out()
    assert second != first
    said = penstock.lab("logs", second, "-c", "penstock-uploader").out
    assert "waiting until it ends" in said
    assert "the other uploader has ended" in said
    status = penstock.lab("get", "pod", second, "-o", "json").object["status"]
    assert [one["restartCount"] for one in status["initContainerStatuses"]] == [0]
    eventually(
        lambda: any(path.startswith(second) for path in penstock.desk.delivered("rolling")),
        30,
        "files of the second pod arrive",
        POLL_SECONDS,
    )
    gone = penstock.lab("delete", "deployment", "instrument", "--cascade=foreground", "--timeout=90s")
    assert gone.ok, gone.err
    penstock.desk.expect("rolling", penstock.desk.sent("rolling"))


def test_kubectl_warns_of_what_an_empty_dir_loses(penstock, declare):
    declare("simulation", **SIMULATION)
    said = eventually(
        lambda: penstock.lab("create", "--dry-run=server", "-f", "-", given=pod("once", "simulation")), 30
    )
    assert said.ok, said.err
    (warning,) = [line for line in said.err.splitlines() if line]
    assert warning.startswith(
        "Warning: a Job does not wait for its sidecar, and volume results goes with the pod"
    )
    assert "20 s after its containers have ended" in warning
    assert "http://127.0.0.1:8652/drained" in warning


def test_a_pod_that_names_no_stream_of_its_namespace_is_refused(penstock):
    said = penstock.lab("create", "-f", "-", given=pod("lost", "nowhere"))
    assert not said.ok
    assert 'admission webhook "inject.penstock.dev" denied the request' in said.err
    assert "there is no such DirectoryStream: make it, correct the label" in said.err
    assert f"kubectl get directorystreams -n {penstock.lab.namespace}" in said.err
    assert not penstock.lab("get", "pod", "lost").ok


def test_a_pod_without_its_sidecar_is_named_until_it_is_mended(penstock, declare):
    stream = declare("simulation", **SIMULATION)
    forgotten, mended = pod("forgotten", None), pod("mended", "simulation")
    apply(penstock.lab, forgotten)
    try:
        missing = stream.until("UploaderReady", "False", "SidecarMissing")
        assert "pod forgotten: the sidecar is missing" in missing["message"]
        assert stream.until("Ready", "False")["reason"] == "SidecarMissing"
        warned = [one["message"] for one in stream.events() if one["type"] == "Warning"]
        assert missing["message"] in warned
        assert penstock.lab("delete", "pod", "forgotten", "--wait=false").ok
        apply(penstock.lab, copy.deepcopy(mended))

        def good() -> bool:
            """That it is starting, or the other one ending, may be said before."""
            return stream.until("UploaderReady", "True", "AllReady")["message"] == "1 pod with a sidecar."

        eventually(good, 60, lambda: stream.status, POLL_SECONDS)
        stream.until("Ready")
    finally:
        penstock.lab("delete", "pod", "forgotten", "mended", "--ignore-not-found", "--wait=false")


def test_a_pod_with_a_sidecar_sends_what_it_has_when_it_is_deleted(penstock, declare):
    """The last files are written when the pod is told to end."""
    stream = declare("simulation", **SIMULATION)
    program = "trap 'echo late > /results/late; exit' TERM; while :; do tail -f /dev/null & wait $!; done"
    apply(penstock.lab, pod("deleted", "simulation", program))
    stream.until("TopicReady")
    running = penstock.lab("wait", "--for=condition=Ready", "pod/deleted", "--timeout=60s")
    assert running.ok, running.err
    assert penstock.lab("delete", "pod", "deleted", "--timeout=60s").ok
    late = penstock.desk.do("echo late | sha256sum").split()[0]
    eventually(
        lambda: penstock.desk.delivered("simulation").get("deleted/late") == late, 60, interval=POLL_SECONDS
    )
