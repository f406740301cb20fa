"""Restricted pods made of our images, and what is wrong when one of them does not start."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import Kubectl

ROOT = Path(__file__).parents[2]
NAMES = ("uploader", "downloader", "registry", "operator", "broker")
VERSION = tomllib.loads((ROOT / "cli/pyproject.toml").read_text("utf-8"))["project"]["version"]
USER = 65532
MISSING = {"ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName"}

SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def image(name: str) -> str:
    return f"penstock/{name}:{VERSION}"


def dockerfile(name: str) -> Path:
    """Where images/build finds it."""
    found = re.search(rf"^ +(?:\w+ \| )*{name}(?: \| \w+)*\) file=(\S+) ;;", _SCRIPT, re.MULTILINE)
    assert found, f"images/build knows no image {name}"
    return ROOT / found[1].replace("$name", name)


_SCRIPT = (ROOT / "images/build").read_text("utf-8")


def pod_spec(
    name: str,
    *,
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    volumes: Mapping[str, Mapping[str, Any]] | None = None,
    **container: Any,
) -> dict[str, Any]:
    """The spec of a pod as the restricted standard has it, whose user the image decides; /tmp can be written.

    `volumes` are by mount path. A file system that nothing else says is read-only.
    """
    mounted = {"/tmp": {"emptyDir": {}}, **(volumes or {})}
    names = {path: path.strip("/").replace("/", "-") for path in mounted}
    return {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": name,
                "image": image(name),
                "imagePullPolicy": "IfNotPresent",
                "args": list(args),
                "env": [{"name": variable, "value": value} for variable, value in (env or {}).items()],
                "securityContext": SECURITY,
                "volumeMounts": [{"name": names[path], "mountPath": path} for path in mounted],
                **container,
            }
        ],
        "volumes": [{"name": names[path], **volume} for path, volume in mounted.items()],
    }


def restrict(kubectl: Kubectl) -> None:
    """Let the namespace take restricted pods only."""
    levels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
    labelled = kubectl("label", "namespace", kubectl.namespace, "--overwrite", *levels)
    assert labelled.ok, labelled.err


def container_state(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a pod's first container: {"running": ...}, for example; {} while there is none.

    Fails the test, and says what to do, when the cluster does not have the image: waiting would be in vain.
    """
    for status in pod.get("status", {}).get("containerStatuses", ()):
        waiting = status["state"].get("waiting", {})
        if waiting.get("reason") in MISSING:
            pytest.fail(
                f"the cluster has no image {status['image']} ({waiting['reason']}): build the images with "
                "`make images`, and load them into the cluster (docs/images.md says how)",
                pytrace=False,
            )
        return status["state"]
    return {}
