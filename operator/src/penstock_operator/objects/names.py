"""What the objects of a stream are called, how they are found, and whose they are."""

from __future__ import annotations

from typing import Any, Final, Literal

from penstock_operator.resource import GROUP, KIND, VERSION, DirectoryStream

Side = Literal["uploader", "downloader"]

FIELD_MANAGER: Final = "penstock-operator"
"""As whom objects are applied."""

STREAM_LABEL: Final = f"{GROUP}/stream"
"""Label of all that belongs to a stream: its name."""
INJECT_LABEL: Final = f"{GROUP}/inject"
"""Label that asks for a sidecar in a pod: the name of the stream, in the pod's namespace."""
INJECTED_ANNOTATION: Final = f"{GROUP}/injected"
"""Annotation of a pod that got its sidecar by injection: the stream's name."""
REVISION_ANNOTATION: Final = f"{GROUP}/credentials-revision"
"""Annotation of pods that changes with the Secrets and ConfigMaps that they read at their start."""

SIDECAR: Final = "penstock-uploader"
"""Name of the sidecar container."""


def deployment_name(stream: DirectoryStream, side: Side) -> str:
    """Name of the Deployment of one side."""
    return f"{stream.metadata.name}-{side}"


def host_name(stream: DirectoryStream) -> str:
    """Host name of the uploader's pod, the same for every pod that follows another: `{host}` in a prefix.

    A label of the DNS: the name of a stream may have dots, and has at most 52 characters.
    """
    return deployment_name(stream, "uploader").replace(".", "-")


def selector(stream: DirectoryStream, side: Side) -> dict[str, str]:
    """Labels that the pods of one side are found by. A Deployment's can never change."""
    return {
        "app.kubernetes.io/name": "penstock",
        "app.kubernetes.io/component": side,
        STREAM_LABEL: stream.metadata.name,
    }


def selector_text(stream: DirectoryStream, side: Side) -> str:
    """Give the selector as `status.selector` has it, for autoscalers and `kubectl get pods -l`."""
    return ",".join(f"{key}={value}" for key, value in selector(stream, side).items())


def labels(stream: DirectoryStream, side: Side) -> dict[str, str]:
    """Labels of the objects of one side, those of the selector among them."""
    return {
        **selector(stream, side),
        "app.kubernetes.io/instance": stream.metadata.name,
        "app.kubernetes.io/part-of": "penstock",
        "app.kubernetes.io/managed-by": FIELD_MANAGER,
    }


def owner_reference(stream: DirectoryStream) -> dict[str, Any]:
    """Say that an object is the stream's, and goes with it."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": stream.metadata.name,
        "uid": stream.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
