"""Pods of a Deployment, and how they die."""

from collections.abc import Sequence
from typing import Any

from tests.cluster import Kubectl
from tests.waiting import eventually

KILLED = 137
"""The exit code of a container that SIGKILL has ended."""


def pods_of(kubectl: Kubectl, deployment: str) -> list[dict[str, Any]]:
    """Its pods, those that are ending included."""
    body = kubectl("get", "deployment", deployment, "-o", "json").object
    chosen = ",".join(f"{key}={value}" for key, value in body["spec"]["selector"]["matchLabels"].items())
    return kubectl("get", "pods", "-l", chosen, "-o", "json").object["items"]


def alive(pods: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that nobody has told to end."""
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def ready(pod: dict[str, Any]) -> bool:
    conditions = {one["type"]: one["status"] for one in pod.get("status", {}).get("conditions", ())}
    return conditions.get("Ready") == "True"


def kill(kubectl: Kubectl, pod: str) -> None:
    """Let all processes of a pod's container die as by kill -9; the kubelet starts it again, in the same pod.

    Waits until the kubelet has seen it. The first process of a container cannot be killed from inside: it is
    tini, which ends with its child. A second death soon after costs a pause that the kubelet makes longer
    each time.
    """
    before = _restarts(kubectl, pod)
    # -1 is everybody but the first process and who asks. The answer may be lost with the container.
    kubectl("exec", pod, "--", "python", "-c", "import os, signal; os.kill(-1, signal.SIGKILL)")
    eventually(
        lambda: _restarts(kubectl, pod) > before,
        60,
        lambda: f"{pod} is started again; {kubectl('describe', 'pod', pod).out}",
        0.2,
    )
    (status,) = kubectl("get", "pod", pod, "-o", "json").object["status"]["containerStatuses"]
    assert status["lastState"]["terminated"]["exitCode"] == KILLED, status


def force_delete(kubectl: Kubectl, *pods: str) -> None:
    """Have pods forgotten at once: others are made while what ran in these is still being killed."""
    gone = kubectl("delete", "pod", *pods, "--grace-period=0", "--force", "--wait=false")
    assert gone.ok, gone.err


def _restarts(kubectl: Kubectl, pod: str) -> int:
    body = kubectl("get", "pod", pod, "-o", "json").object
    return sum(status["restartCount"] for status in body["status"].get("containerStatuses", ()))
