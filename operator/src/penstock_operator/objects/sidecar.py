"""The uploader as a native sidecar: a container in the pod of the program that writes the files.

A native sidecar is an init container that is restarted always (Kubernetes 1.29). It starts before the pod's
other containers, once its start-up probe has answered, and ends after them.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

import yaml

from penstock_operator.objects import kafka, pods
from penstock_operator.objects.environment import Variable, from_field, literal, setting, settings
from penstock_operator.objects.installation import USER, Installation
from penstock_operator.objects.names import SIDECAR
from penstock_operator.objects.uploader import SOURCE, STATE, only_reads, variables
from penstock_operator.resource import DirectoryStream

POD_NAME: Final = "POD_NAME"
STATE_VOLUME: Final = "penstock-state"
MAX_SOURCE_ID: Final = 249
"""As long as the setting `source_id` may be."""
WAIT_DRAINED: Final = (
    f"until wget -qO- 'http://127.0.0.1:{pods.CONTROL_PORT}/drained?timeout=600'; do sleep 1; done"
)
"""Last command of a Job: it goes on once all its files are with Kafka. (wget's own patience is 900 s.)"""
DEFAULT_GRACE_SECONDS: Final = 30
"""What Kubernetes gives a pod to end, if nothing is said."""


@dataclass(frozen=True, slots=True)
class WatchedVolume:
    """The volume in an application's pod that has the watched directory."""

    name: str
    mount_path: str
    """Where the application's container has it."""
    sub_path: str = ""
    """Which directory of the volume that is."""
    claim: str | None = None
    """Its PersistentVolumeClaim."""
    ends_with_pod: bool = False
    """Whether it is the pod's own and goes with it, as an emptyDir."""

    def location(self, path: str) -> str:
        """Say where on the volume a directory of the application is; empty is the volume's root."""
        inside = posixpath.normpath(posixpath.join(self.sub_path, posixpath.relpath(path, self.mount_path)))
        return "" if inside == "." else inside


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a pod needs to have for its sidecar."""

    container: dict[str, Any]
    """An entry of `initContainers`, the last one."""
    volumes: tuple[dict[str, Any], ...]


def sidecar(
    stream: DirectoryStream,
    installation: Installation,
    volume: WatchedVolume,
    *,
    user: int | None = None,
    group: int | None = None,
) -> Sidecar:
    """Give the sidecar for a pod that has the watched directory on `volume`.

    `user` and `group` are those of the container that writes the files, if it does not run as its pod does.
    """
    source = stream.spec.source
    prefix = "{pod}" if source.prefix is None and volume.ends_with_pod else source.prefix
    env = [
        from_field(POD_NAME, "metadata.name"),
        *variables(stream, mount_path=volume.mount_path, prefix=prefix),
        # It ends after all who write, and there may never be another pod with this volume.
        *settings(send_all_on_stop="true"),
        # A rolling update has the new pod ready before it ends the old one.
        *([] if volume.ends_with_pod else settings(wait_for_other="true")),
        *_source_id(stream, volume),
    ]
    mounts: list[pods.Object] = [
        {
            "name": volume.name,
            "mountPath": SOURCE,
            **({"subPath": volume.sub_path} if volume.sub_path else {}),
            **({"readOnly": True} if only_reads(stream) else {}),
        }
    ]
    volumes = [*kafka.volumes(stream.spec.kafka), pods.tmp_volume()]
    if source.state is not None:
        claim = source.state.persistent_volume_claim
        volumes.append(pods.claim_volume(STATE_VOLUME, claim.claim_name))
        own = _own_directory(stream, volume)
        path = posixpath.join(literal(claim.sub_path or ""), own)
        mounts.append({"name": STATE_VOLUME, "mountPath": STATE, "subPathExpr": path})
    container = pods.container(
        SIDECAR,
        installation,
        "uploader",
        env=env,
        mounts=[*mounts, *kafka.mounts(stream.spec.kafka)],
        resources=source.uploader.resources,
    )
    container = {
        "name": SIDECAR,
        "restartPolicy": "Always",
        **container,
        "ports": [{**port, "name": "penstock"} for port in container["ports"]],
        "securityContext": container["securityContext"] | pods.IDENTITY | _ids(user, group),
    }
    return Sidecar(container, tuple(volumes))


def grace_seconds(stream: DirectoryStream, own: int | None = None) -> int:
    """Give a pod's grace period: its own, and after that the sidecar's.

    The sidecar is told to end only when the other containers have ended, which may take all of `own`.
    """
    own = DEFAULT_GRACE_SECONDS if own is None else own
    return own + stream.spec.source.uploader.drain_seconds + pods.SECONDS_TO_END


def to_paste(
    stream: DirectoryStream,
    installation: Installation,
    volume: WatchedVolume,
    part: Literal["initContainers", "volumes", "terminationGracePeriodSeconds"],
) -> str:
    """Give one part of a pod's spec as YAML for people who add the sidecar by hand."""
    made = sidecar(stream, installation, volume)
    values: dict[str, object] = {
        "terminationGracePeriodSeconds": grace_seconds(stream),
        "initContainers": [made.container],
        "volumes": list(made.volumes),
    }
    return yaml.dump({part: values[part]}, Dumper=_Dumper, sort_keys=False, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes each value where it stands: no anchors and aliases, which nobody could edit."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _ids(user: int | None, group: int | None) -> pods.Object:
    # The files may belong to root, but nobody has to run as root to read them.
    if user == 0:
        user, group = USER, USER
    ids = {"runAsUser": user, "runAsGroup": group}
    return {name: value for name, value in ids.items() if value is not None}


def _source_id(stream: DirectoryStream, volume: WatchedVolume) -> list[Variable]:
    """Name the source after what lives as long as its files: the pod, or the claim and the directory on it.

    So two pods never send as one source, whose files of the same path would replace each other. Of a volume
    that is known too little of, or where the name would be too long, the uploader makes an id and keeps it
    there.
    """
    watched = stream.spec.source.watched
    if volume.ends_with_pod:
        name = setting("source_id", f"{stream.id}/")
        return [name | {"value": f"{name['value']}$({POD_NAME})"}]
    if volume.claim is None:
        return []
    source_id = _joined(stream.id, volume.claim, quote(volume.location(watched)))
    return settings(source_id=source_id) if len(source_id) <= MAX_SOURCE_ID else []


def _own_directory(stream: DirectoryStream, volume: WatchedVolume) -> str:
    """Give this sidecar's directory among those that keep their ledgers on one volume."""
    if volume.claim is None:
        return f"$({POD_NAME})"
    return literal(_joined(volume.claim, volume.location(stream.spec.source.watched)))


def _joined(*parts: str) -> str:
    return "/".join(filter(None, parts))
