"""The uploader: its settings, and its Deployment."""

from __future__ import annotations

import posixpath
from typing import Final

from penstock_operator.objects import kafka, pods
from penstock_operator.objects.environment import Variable, settings
from penstock_operator.objects.installation import Installation
from penstock_operator.objects.names import host_name
from penstock_operator.resource import DirectoryStream
from penstock_operator.resource.pod import PodOverrides

SOURCE: Final = "/source"
"""Where the volume with the watched directory is mounted: paths of files are relative to that directory, so
it does not matter where it is."""
STATE: Final = "/state"
"""Where the volume for the ledger is mounted, if there is one."""

_SOURCE_VOLUME: Final = "source"
_STATE_VOLUME: Final = "state"


def uploader_deployment(
    stream: DirectoryStream, installation: Installation, *, revision: str = ""
) -> pods.Object | None:
    """Give the uploader's Deployment; None if uploaders run as sidecars or elsewhere.

    It has one replica, none while the stream is suspended. `revision` is as a downloader's.
    """
    uploader = stream.spec.source.uploader
    if uploader.mode != "Deployment" or uploader.claim_name is None:
        return None
    volumes = [pods.claim_volume(_SOURCE_VOLUME, uploader.claim_name)]
    mounts: list[pods.Object] = [
        {
            "name": _SOURCE_VOLUME,
            "mountPath": SOURCE,
            **({"readOnly": True} if only_reads(stream) else {}),
        }
    ]
    state = stream.spec.source.state
    if state is not None:
        volumes.append(pods.claim_volume(_STATE_VOLUME, state.persistent_volume_claim.claim_name))
        mounts.append(pods.claim_mount(_STATE_VOLUME, state.persistent_volume_claim, STATE))
    env = [
        *variables(stream, mount_path="/", prefix=stream.spec.source.prefix),
        # One that was evicted may still be sending when the one in its place starts.
        *settings(source_id=stream.id, wait_for_other="true"),
    ]
    container = pods.container(
        "uploader",
        installation,
        "uploader",
        env=env,
        mounts=[*mounts, *kafka.mounts(stream.spec.kafka)],
        resources=uploader.resources,
    )
    return pods.deployment(
        stream,
        "uploader",
        installation,
        replicas=0 if stream.spec.suspend else 1,
        overrides=uploader.pod or PodOverrides(),
        revision=revision,
        pod={
            # So that {host} and {pod} in a prefix are not other ones after each restart.
            "hostname": host_name(stream),
            "terminationGracePeriodSeconds": uploader.drain_seconds + pods.SECONDS_TO_END,
            "containers": [container],
            "volumes": [*volumes, *kafka.volumes(stream.spec.kafka), pods.tmp_volume()],
        },
    )


def only_reads(stream: DirectoryStream) -> bool:
    """Whether nothing is ever written into the watched directory: its volume may be, and is, read-only."""
    source = stream.spec.source
    return source.state is not None and source.after.action == "Keep"


def mounted(path: str, mount_path: str) -> str:
    """Say where a path of a volume that others have at `mount_path` is, where we have it at `SOURCE`."""
    return posixpath.normpath(posixpath.join(SOURCE, posixpath.relpath(path, mount_path)))


def variables(stream: DirectoryStream, *, mount_path: str, prefix: str | None) -> list[Variable]:
    """Give the settings of an uploader whose volume's root is called `mount_path` in the stream.

    The id of the source is not among them.
    """
    source = stream.spec.source
    return [
        *kafka.variables(stream.spec.kafka),
        *settings(
            topic=stream.spec.topic.name,
            directory=mounted(source.watched, mount_path),
            prefix=prefix,
            include=source.include,
            exclude=source.exclude,
            after=None if source.after.action == "Keep" else source.after.action.lower(),
            after_when=None if source.after.when == "Acknowledged" else source.after.when.lower(),
            after_receipt_from=stream.receipts_required,
            after_move_to=None if source.after.move_to is None else mounted(source.after.move_to, mount_path),
            state_dir=None if source.state is None else STATE,
            drain_seconds=source.uploader.drain_seconds,
            control_port=pods.CONTROL_PORT,
        ),
    ]
