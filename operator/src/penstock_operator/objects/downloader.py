"""The downloader's Deployment."""

from __future__ import annotations

from typing import Final

from penstock_operator.objects import kafka, pods
from penstock_operator.objects.environment import settings
from penstock_operator.objects.installation import Installation
from penstock_operator.objects.names import labels
from penstock_operator.objects.selection import selects
from penstock_operator.resource import DirectoryStream
from penstock_operator.resource.pod import PodOverrides

DESTINATION: Final = "/destination"
"""Where the destination is mounted."""
DRAIN_SECONDS: Final = 20
"""How long a stop waits for deliveries under way; their next owner does the rest."""

_VOLUME: Final = "destination"
_HOST: Final = "kubernetes.io/hostname"


def downloader_deployment(
    stream: DirectoryStream, installation: Installation, *, replicas: int, revision: str = ""
) -> pods.Object:
    """Give the Deployment with so many replicas; with none while the stream is suspended.

    `revision` is any text that changes with what the pods read at their start: `references.revision`.
    """
    downloader = stream.spec.downloader
    claim = downloader.destination.persistent_volume_claim
    assert claim is not None, "a stream has exactly one destination"
    overrides = downloader.pod or PodOverrides()
    env = [
        *kafka.variables(stream.spec.kafka),
        *settings(
            topic=stream.spec.topic.name,
            directory=DESTINATION,
            group=stream.consumer_group,
            group_protocol=kafka.group_protocol(stream.spec.kafka),
            on_conflict=downloader.on_conflict_option,
            drain_timeout_seconds=DRAIN_SECONDS,
        ),
    ]
    container = pods.container(
        "downloader",
        installation,
        "downloader",
        env=env,
        mounts=[pods.claim_mount(_VOLUME, claim, DESTINATION), *kafka.mounts(stream.spec.kafka)],
        resources=downloader.resources,
    )
    return pods.deployment(
        stream,
        "downloader",
        installation,
        replicas=0 if stream.spec.suspend else replicas,
        overrides=overrides,
        revision=revision,
        pod={
            **_spread(stream, overrides),
            "terminationGracePeriodSeconds": DRAIN_SECONDS + pods.SECONDS_TO_END,
            "containers": [container],
            "volumes": [
                pods.claim_volume(_VOLUME, claim.claim_name),
                *kafka.volumes(stream.spec.kafka),
                pods.tmp_volume(),
            ],
        },
    )


def is_co_located(stream: DirectoryStream) -> bool:
    """Say whether the stream asks for all downloaders on one node, where they can share ReadWriteOnce.

    It does so by an affinity that is required, of downloaders to each other, by the node's host name::

        downloader:
          pod:
            affinity:
              podAffinity:
                requiredDuringSchedulingIgnoredDuringExecution:
                  - topologyKey: kubernetes.io/hostname
                    labelSelector:
                      matchLabels: {penstock.dev/stream: NAME, app.kubernetes.io/component: downloader}
    """
    overrides = stream.spec.downloader.pod
    affinity = None if overrides is None or overrides.affinity is None else overrides.affinity.pod_affinity
    if overrides is None or affinity is None:
        return False
    own = {**overrides.labels, **labels(stream, "downloader")}
    return any(
        term.topology_key == _HOST
        and not term.namespaces
        and term.namespace_selector is None
        and term.label_selector is not None
        and selects(term.label_selector, own)
        for term in affinity.required_during_scheduling_ignored_during_execution
    )


def _spread(stream: DirectoryStream, overrides: PodOverrides) -> pods.Object:
    """Spread downloaders over nodes if that is possible, unless the stream says where they go."""
    if overrides.topology_spread_constraints or overrides.affinity is not None:
        return {}
    evenly = {"maxSkew": 1, "topologyKey": _HOST, "whenUnsatisfiable": "ScheduleAnyway"}
    return {"topologySpreadConstraints": [pods.spread(stream, "downloader", evenly)]}
