"""What all pods and containers of ours have in common: what they may do, how they are asked if they live.

A pod's template depends on the stream, the installation and the revision of its credentials alone, never on
how many pods there are or what was seen: whatever changes it, replaces the pods.
"""

from __future__ import annotations

from typing import Any, Final

from penstock_operator.objects.environment import Variable, settings
from penstock_operator.objects.installation import Installation
from penstock_operator.objects.names import (
    REVISION_ANNOTATION,
    Side,
    deployment_name,
    labels,
    owner_reference,
    selector,
)
from penstock_operator.resource import DirectoryStream
from penstock_operator.resource.kubernetes import Claim, Resources
from penstock_operator.resource.pod import PodOverrides, PodSecurity
from penstock_operator.resource.rules import Part

Object = dict[str, Any]

METRICS_PORT: Final = 8651
"""Where a service answers /metrics, /healthz, /readyz. A sidecar shares its pod's ports: not a usual one."""
CONTROL_PORT: Final = 8652
"""Where an uploader answers /drained, /ledger and /resend, on loopback: to its own pod only."""
TMP_VOLUME: Final = "penstock-tmp"

SECONDS_TO_END: Final = 10
"""What a service may take, after its own deadline for finishing, until its process has ended: closing files
and connections is bounded in each of them, by 5 s at most."""

_SECURITY: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}

IDENTITY: Final[Object] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
"""What the restricted Pod Security Standard asks of a pod, or of each of its containers."""


def given(part: Part) -> Object:
    """Give what was said as Kubernetes writes it, without what only has its default.

    So nothing is said that the API server would leave out, and an empty selector that somebody wrote, which
    means everything, stays one.
    """
    return part.model_dump(by_alias=True, exclude_defaults=True, exclude_none=True, mode="json")


def container(
    name: str,
    installation: Installation,
    side: Side,
    *,
    env: list[Variable],
    mounts: list[Object],
    resources: Resources | None,
) -> Object:
    """Give a service's container, with the settings that every service has."""
    uploads = side == "uploader"
    default = installation.uploader_resources if uploads else installation.downloader_resources
    amounts = given(resources or default)
    return {
        "name": name,
        "image": installation.uploader_image if uploads else installation.downloader_image,
        "imagePullPolicy": installation.image_pull_policy,
        "env": [
            *env,
            *settings(
                metrics_host="0.0.0.0",  # noqa: S104 - the pod's own address, which the kubelet asks
                metrics_port=METRICS_PORT,
                log_format="json",
                log_level=installation.log_level,
            ),
        ],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/healthz", every=1, failures=120),
        "livenessProbe": _probe("/healthz", every=10, failures=6),
        "readinessProbe": _probe("/readyz", every=5, failures=2),
        "securityContext": {**_SECURITY},
        "volumeMounts": [*mounts, {"name": TMP_VOLUME, "mountPath": "/tmp"}],  # noqa: S108 - in the container
        **({"resources": amounts} if amounts else {}),
    }


def _probe(path: str, *, every: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": METRICS_PORT},
        "periodSeconds": every,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def claim_volume(name: str, claim: str) -> Object:
    """Give a volume that is a PersistentVolumeClaim."""
    return {"name": name, "persistentVolumeClaim": {"claimName": claim}}


def claim_mount(name: str, claim: Claim, path: str) -> Object:
    """Give the mount of such a volume's directory."""
    sub_path = {} if claim.sub_path is None else {"subPath": claim.sub_path}
    return {"name": name, "mountPath": path, **sub_path}


def tmp_volume() -> Object:
    """Give the volume for temporary files: the rest of the file system is read-only."""
    return {"name": TMP_VOLUME, "emptyDir": {}}


def deployment(
    stream: DirectoryStream,
    side: Side,
    installation: Installation,
    *,
    replicas: int,
    overrides: PodOverrides,
    revision: str,
    pod: Object,
) -> Object:
    """Give the Deployment of one side; `pod` is what is special about its pods' spec.

    With one replica the old pod goes before the new one comes: a volume that only one node or pod may have,
    a ledger that only one may open. With more, some go and as many come: never more than there are to be,
    which could have no partitions.
    """
    annotations = {**overrides.annotations, **({REVISION_ANNOTATION: revision} if revision else {})}
    # Its numbers are always said: who says nothing of them cannot take them back either, and Recreate with
    # numbers is refused.
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(stream, side),
            "namespace": stream.metadata.namespace,
            "labels": labels(stream, side),
            "ownerReferences": [owner_reference(stream)],
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "Recreate"} if replicas <= 1 else rolling,
            "selector": {"matchLabels": selector(stream, side)},
            "template": {
                "metadata": {
                    "labels": {**overrides.labels, **labels(stream, side)},
                    **({"annotations": annotations} if annotations else {}),
                },
                "spec": {
                    "automountServiceAccountToken": False,
                    # A Service called penstock-... must not set variables that look like settings.
                    "enableServiceLinks": False,
                    "securityContext": _pod_security(overrides.security_context, installation),
                    **_pull_secrets(installation),
                    **_scheduling(stream, side, overrides),
                    **pod,
                },
            },
        },
    }


def _pull_secrets(installation: Installation) -> Object:
    names = [{"name": name} for name in installation.image_pull_secrets]
    return {"imagePullSecrets": names} if names else {}


def _pod_security(security: PodSecurity | None, installation: Installation) -> Object:
    """Say as whom the pod runs.

    Who names a user gets its group too (else it were root's), and no fsGroup: volumes that belong to that
    user are not given to others.
    """
    if security is None:
        user = installation.user
        security = PodSecurity(run_as_user=user, run_as_group=user, fs_group=user)
    user = security.run_as_user or installation.user
    ids = {
        "runAsUser": user,
        "runAsGroup": security.run_as_group or user,
        "fsGroup": security.fs_group,
        "fsGroupChangePolicy": (security.fs_group_change_policy or "OnRootMismatch")
        if security.fs_group
        else None,
        "supplementalGroups": list(security.supplemental_groups) or None,
    }
    return {**IDENTITY, **{name: value for name, value in ids.items() if value is not None}}


def _scheduling(stream: DirectoryStream, side: Side, overrides: PodOverrides) -> Object:
    found = {
        "nodeSelector": dict(overrides.node_selector),
        "affinity": given(overrides.affinity) if overrides.affinity is not None else {},
        "tolerations": [given(toleration) for toleration in overrides.tolerations],
        "topologySpreadConstraints": [
            spread(stream, side, given(constraint)) for constraint in overrides.topology_spread_constraints
        ],
        "priorityClassName": overrides.priority_class_name,
    }
    return {name: value for name, value in found.items() if value}


def spread(stream: DirectoryStream, side: Side, constraint: Object) -> Object:
    """Let a constraint that names no pods count the stream's own of this side."""
    return {"labelSelector": {"matchLabels": selector(stream, side)}, **constraint}
