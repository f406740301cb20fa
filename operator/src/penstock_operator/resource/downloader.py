"""`spec.downloader`: where the files are delivered, and by how many."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from penstock_operator.resource.kubernetes import Claim, Resources
from penstock_operator.resource.pod import PodOverrides
from penstock_operator.resource.rules import (
    LEGAL_GROUP,
    Part,
    Rule,
    exactly_one_of,
    immutable,
    only_in,
    required_in,
)

MAX_REPLICAS: Final = 10_000
"""More than partitions that any topic here can have."""


_NEW_GROUP: Final = "a new group would deliver every file again; make another DirectoryStream"


class Destination(Part):
    """Where files are delivered: exactly one place."""

    persistent_volume_claim: Claim | None = Field(
        None,
        description="A directory on a volume, which all replicas share: its access mode decides how many "
        "there can be. ReadWriteMany lets them be many, ReadWriteOnce one, or many on one node if "
        "`pod.affinity.podAffinity` requires downloaders of this stream to be on one (`topologyKey: "
        "kubernetes.io/hostname`).",
    )
    rules: ClassVar = (
        exactly_one_of(
            "a stream has exactly one destination: give persistentVolumeClaim", "persistent_volume_claim"
        ),
    )


class Scaling(Part):
    """How many downloaders there are: never more than partitions, or than the volume's access mode allows."""

    mode: Literal["Partitions", "Lag", "External"] = Field(
        "Partitions",
        description="`Partitions`: one for every `partitionsPerReplica` partitions. `Lag`: one for every "
        "`lagPerReplica` records that wait to be read. `External`: as many as `downloader.replicas` says, "
        "which `kubectl scale`, a HorizontalPodAutoscaler or KEDA may write.",
    )
    min_replicas: int = Field(
        1,
        ge=0,
        le=MAX_REPLICAS,
        description="`Partitions`, `Lag`: not less than so many. 0: none at all while there is nothing to "
        "do.",
    )
    max_replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)] | None = Field(
        None,
        description="`Partitions`, `Lag`: not more than so many. By default as many as there are partitions.",
    )
    partitions_per_replica: Annotated[int, Field(ge=1, le=MAX_REPLICAS)] | None = Field(
        None,
        description="`Partitions`: how many partitions one replica reads. By default 1, the fastest.",
    )
    lag_per_replica: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        None,
        description="`Lag`: how many waiting records are worth a replica. A record is a chunk: a small "
        "file, or 512 KiB of a larger one; 2000 are about 1 GB.",
    )
    scale_down_stabilization_seconds: int = Field(
        300,
        ge=0,
        le=86_400,
        description="`Partitions`, `Lag`: go down only to the most that were needed within this time, one "
        "step after another. More are started at once.",
    )
    idle_seconds: int = Field(
        300,
        ge=0,
        le=604_800,
        description="`Partitions`, `Lag`, with `minReplicas` 0: how long there has to be nothing to do, no "
        "unfinished file either, before the last replica goes.",
    )
    rules: ClassVar = (
        Rule(
            "!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
            "minReplicas is above maxReplicas: lower the one or raise the other",
            lambda scaling: scaling.max_replicas is None or scaling.min_replicas <= scaling.max_replicas,
            field="minReplicas",
        ),
        required_in(
            "mode",
            "Lag",
            "lag_per_replica",
            "mode Lag needs lagPerReplica: how many waiting records are worth a replica, such as 2000",
        ),
        only_in("mode", ("Lag",), "lag_per_replica", "lagPerReplica is for mode Lag: leave it out"),
        only_in(
            "mode",
            ("Partitions",),
            "partitions_per_replica",
            "partitionsPerReplica is for mode Partitions: leave it out",
        ),
        Rule(
            "self.mode != 'External' || !(has(self.maxReplicas) || self.minReplicas != 1 || "
            "self.scaleDownStabilizationSeconds != 300 || self.idleSeconds != 300)",
            "mode External: whoever writes downloader.replicas knows the limits; leave minReplicas, "
            "maxReplicas, scaleDownStabilizationSeconds and idleSeconds out",
            lambda scaling: scaling.mode != "External" or not scaling.says_more_than("mode"),
            field="mode",
        ),
    )


ConsumerGroup = Annotated[
    str,
    StringConstraints(min_length=1),
    Field(max_length=249),
    LEGAL_GROUP,
    immutable("consumerGroup", _NEW_GROUP),
]


class Downloader(Part):
    """Where the files are delivered, and by how many."""

    destination: Destination = Field(description="Where files are delivered: exactly one place.")
    consumer_group: ConsumerGroup | None = Field(
        None,
        description="Id of the destination, and its consumer group: by default `<namespace>.<name>`. The "
        "same for ever; no other stream may read the same topic under it.",
    )
    on_conflict: Literal["Replace", "KeepBoth", "Skip"] = Field(
        "Replace",
        description="When a file stands at the path already: `Replace` it (by a newer version only), "
        "`KeepBoth` (the new one as `name (2)`), or `Skip` the new one.",
    )
    replicas: Annotated[int, Field(ge=0, le=MAX_REPLICAS)] | None = Field(
        None,
        description="Mode `External`: how many downloaders there are to be. `/scale` reads and writes it. In "
        "the other modes the operator decides, and says so in `status.desiredReplicas`.",
    )
    scaling: Scaling = Field(Scaling(), description="How many downloaders there are.")
    resources: Resources | None = Field(
        None, description="CPU and memory of each downloader. By default the operator's."
    )
    pod: PodOverrides | None = Field(None, description="What is different about the downloaders' pods.")
    rules: ClassVar = (
        Rule(
            "has(self.consumerGroup) == has(oldSelf.consumerGroup)",
            f"consumerGroup cannot be changed: {_NEW_GROUP}",
            None,
            field="consumerGroup",
            reason="FieldValueForbidden",
        ),
        Rule(
            "self.scaling.mode != 'External' || has(self.replicas)",
            "scaling.mode External needs a number to begin with: give replicas, such as 1",
            lambda downloader: downloader.scaling.mode != "External" or downloader.replicas is not None,
            field="replicas",
            reason="FieldValueRequired",
        ),
        Rule(
            "self.scaling.mode == 'External' || !has(self.replicas)",
            "replicas cannot be set while the operator decides: set scaling.mode: External first, or use "
            "scaling.minReplicas and scaling.maxReplicas",
            lambda downloader: downloader.scaling.mode == "External" or downloader.replicas is None,
            field="replicas",
            reason="FieldValueForbidden",
        ),
    )

    @property
    def on_conflict_option(self) -> str:
        """The same as the downloader's option `on_conflict` says it."""
        return {"Replace": "replace", "KeepBoth": "keep-both", "Skip": "skip"}[self.on_conflict]
