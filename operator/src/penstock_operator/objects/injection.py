"""A sidecar for a pod that asks for one: what an admission webhook answers. Pure.

    injection = inject(pod, stream, installation)    # CannotInject says why the pod has to be refused
    injection.patch                                  # JSON Patch (RFC 6902), [] if there is nothing to do

A pod asks by the label `penstock.dev/inject: NAME`, the name of a stream in its namespace.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from penstock_operator.objects.installation import Installation
from penstock_operator.objects.names import INJECTED_ANNOTATION, SIDECAR
from penstock_operator.objects.selection import selects
from penstock_operator.objects.sidecar import WAIT_DRAINED, WatchedVolume, grace_seconds, sidecar
from penstock_operator.resource import DirectoryStream
from servicekit.exceptions import PenstockError

Pod = Mapping[str, Any]
Operation = dict[str, Any]

_ENDS_WITH_POD: Final = ("emptyDir", "ephemeral", "csi")
"""Kinds of volumes that are made for one pod and go with it."""


class CannotInject(PenstockError):
    """A pod that asks for a sidecar and cannot have one: it is refused, with this as the reason."""


@dataclass(frozen=True, slots=True)
class Injection:
    """What is to be changed in a pod, and what whoever made it should hear."""

    patch: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Mount:
    """A container of the pod, and the volume that the watched directory is on in it."""

    container: Mapping[str, Any]
    mount: Mapping[str, Any]

    @property
    def path(self) -> str:
        return _normal(self.mount["mountPath"])


def inject(pod: Pod, stream: DirectoryStream, installation: Installation) -> Injection:
    """Say what of a pod has to change so that it has the stream's sidecar.

    A pod that has one already is left as it is. Raises CannotInject, in one line, with the way out.
    """
    spec = pod.get("spec", {})
    name = stream.metadata.name
    if any(found["name"] == SIDECAR for found in spec.get("initContainers") or ()):
        return Injection()
    if any(found["name"] == SIDECAR for found in spec.get("containers") or ()):
        raise CannotInject(
            f"the pod has an ordinary container {SIDECAR}, which would keep it from ever completing: make it "
            f"an init container with restartPolicy: Always, or leave it out to have it injected"
        )
    if stream.spec.source.uploader.mode != "Sidecar":
        raise CannotInject(
            f"DirectoryStream {name} has no sidecars (source.uploader.mode is "
            f"{stream.spec.source.uploader.mode}): set it to Sidecar, or take the label off the pod"
        )
    mount = _watched(spec, stream)
    volume = _volume(spec, mount)
    _check_move_to(stream, mount)
    user, group, warnings = _writer(spec, mount)
    made = sidecar(stream, installation, volume, user=user, group=group)
    patch = [
        *_add(pod, ("metadata", "annotations"), {INJECTED_ANNOTATION: name}),
        *_append(spec, "initContainers", [made.container]),
        *_append(spec, "volumes", made.volumes),
        *_append(spec, "imagePullSecrets", _new_pull_secrets(spec, installation)),
        {
            "op": "add",
            "path": "/spec/terminationGracePeriodSeconds",
            "value": grace_seconds(stream, spec.get("terminationGracePeriodSeconds")),
        },
    ]
    warnings += _about_selection(pod, stream)
    warnings += _about_completion(pod, spec, stream, volume)
    return Injection(tuple(patch), tuple(warnings))


# Where the files are


def _normal(path: str) -> str:
    # The kubelet takes a relative mountPath to begin at the root.
    return re.sub("/+", "/", f"/{path}").rstrip("/") or "/"


def _is_on(path: str, mount_path: str) -> bool:
    return posixpath.commonpath((path, mount_path)) == mount_path


def _watched(spec: Pod, stream: DirectoryStream) -> _Mount:
    """Find the volume that the watched directory is on, as the containers of the pod see it."""
    path = _normal(posixpath.normpath(stream.spec.source.watched))
    found = list(_mounts(spec.get("containers") or (), path))
    found = found or list(_mounts(spec.get("initContainers") or (), path))
    if not found:
        raise CannotInject(
            f"no container of the pod has a volume at {path}, the source.path of DirectoryStream "
            f"{stream.metadata.name}: mount one there (an emptyDir, or a PersistentVolumeClaim) in the "
            f"container that writes the files; what is in a container's own file system no other can see"
        )
    places = {
        (
            one.mount["name"],
            posixpath.normpath(
                posixpath.join(one.mount.get("subPath") or "", posixpath.relpath(path, one.path))
            ),
        )
        for one in found
    }
    if len(places) > 1:
        names = ", ".join(f"{one.container['name']} has {one.mount['name']}" for one in found)
        raise CannotInject(
            f"the pod's containers have different volumes at {path} ({names}): one pod has one watched "
            f"directory; mount the others elsewhere"
        )
    return next((one for one in found if not one.mount.get("readOnly")), found[0])


def _mounts(containers: Iterable[Mapping[str, Any]], path: str) -> Iterator[_Mount]:
    for container in containers:
        over = [
            mount
            for mount in container.get("volumeMounts") or ()
            if _is_on(path, _normal(mount["mountPath"]))
        ]
        if over:
            yield _Mount(container, max(over, key=lambda mount: len(_normal(mount["mountPath"]))))


def _volume(spec: Pod, found: _Mount) -> WatchedVolume:
    name = found.mount["name"]
    if found.mount.get("subPathExpr"):
        raise CannotInject(
            f"container {found.container['name']} mounts volume {name} with subPathExpr, which means "
            f"something else in each container: use subPath, or paste the sidecar by hand (docs/sidecar.md)"
        )
    volume = next((one for one in spec.get("volumes") or () if one["name"] == name), None)
    if volume is None:
        raise CannotInject(f"container {found.container['name']} mounts volume {name}, which the pod lacks")
    claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
    # A volume of which nothing but the name is said is an emptyDir.
    ends_with_pod = volume.keys() == {"name"} or any(kind in volume for kind in _ENDS_WITH_POD)
    return WatchedVolume(
        name=name,
        mount_path=found.path,
        sub_path=found.mount.get("subPath") or "",
        claim=claim,
        ends_with_pod=ends_with_pod,
    )


def _check_move_to(stream: DirectoryStream, found: _Mount) -> None:
    target = stream.spec.source.after.move_to
    if target is not None and not _is_on(_normal(posixpath.normpath(target)), found.path):
        raise CannotInject(
            f"source.after.moveTo {target} of DirectoryStream {stream.metadata.name} is not on the volume "
            f"that the pod has at {found.path}: mount that volume further up, so that both directories are "
            f"on it, or leave moveTo out (then files go to .penstock/sent)"
        )


# As whom


def _writer(spec: Pod, found: _Mount) -> tuple[int | None, int | None, list[str]]:
    """Give the user and group of the container that writes the files, where they are not the pod's."""
    of_pod = spec.get("securityContext") or {}
    own = found.container.get("securityContext") or {}
    user, group = own.get("runAsUser"), own.get("runAsGroup")
    if (of_pod.get("runAsUser") if user is None else user) != 0:
        return user, group, []
    warning = (
        f"container {found.container['name']} runs as root, its sidecar does not: files that only root may "
        f"read are not sent"
    )
    return 0, None, [warning]


# What to hear


def _about_selection(pod: Pod, stream: DirectoryStream) -> list[str]:
    selector = stream.spec.source.uploader.pod_selector
    labels = pod.get("metadata", {}).get("labels") or {}
    if selector is None or selects(selector, labels):
        return []
    warning = (
        f"the podSelector of DirectoryStream {stream.metadata.name} does not select this pod: it gets its "
        f"sidecar, but the stream's status says nothing of it"
    )
    return [warning]


def _about_completion(pod: Pod, spec: Pod, stream: DirectoryStream, volume: WatchedVolume) -> list[str]:
    completes = spec.get("restartPolicy", "Always") != "Always" or "Job" in _owners(pod)
    if not (completes and volume.ends_with_pod):
        return []
    seconds = stream.spec.source.uploader.drain_seconds
    warning = (
        f"a Job does not wait for its sidecar, and volume {volume.name} goes with the pod: what is not sent "
        f"{seconds} s after its containers have ended is lost. Let its command end with: {WAIT_DRAINED}"
    )
    return [warning]


def _owners(pod: Pod) -> set[str]:
    """Give the kinds of those that made the pod."""
    owners = pod.get("metadata", {}).get("ownerReferences") or ()
    return {owner.get("kind", "") for owner in owners}


# The patch


def _new_pull_secrets(spec: Pod, installation: Installation) -> list[Operation]:
    known = {secret.get("name") for secret in spec.get("imagePullSecrets") or ()}
    return [{"name": name} for name in installation.image_pull_secrets if name not in known]


def _append(spec: Pod, field: str, entries: Iterable[Mapping[str, Any]]) -> list[Operation]:
    """Put entries at a list's end: an init container comes after those that prepare the volume for it."""
    added = [dict(entry) for entry in entries]
    if not added:
        return []
    if not spec.get(field):
        return [{"op": "add", "path": f"/spec/{field}", "value": added}]
    return [{"op": "add", "path": f"/spec/{field}/-", "value": entry} for entry in added]


def _add(pod: Pod, where: tuple[str, str], entries: Mapping[str, str]) -> list[Operation]:
    """Put entries into a map, which may not be there yet."""
    path = "/" + "/".join(where)
    if not (pod.get(where[0]) or {}).get(where[1]):
        return [{"op": "add", "path": path, "value": dict(entries)}]
    return [
        {"op": "add", "path": f"{path}/{key.replace('~', '~0').replace('/', '~1')}", "value": value}
        for key, value in entries.items()
    ]
