"""`spec.source`: the directory that is watched, and who watches it."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from penstock_operator.resource.kubernetes import LIST_ATOMIC, Claim, LabelSelector, ObjectName, Resources
from penstock_operator.resource.pod import PodOverrides
from penstock_operator.resource.rules import (
    LEGAL_GROUP,
    Part,
    Rule,
    matching,
    only_in,
    required_in,
)

AbsolutePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024),
    Rule(
        "self.startsWith('/') && !self.split('/').exists(part, part == '..')",
        "must be an absolute path, without '..'",
        lambda path: path.startswith("/") and ".." not in path.split("/"),
    ),
]

Glob = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024),
    matching(r"[^\x00]*[^/\x00][^\x00]*", "a glob of slashes alone matches nothing: '*.raw', 'run1/**'"),
]

Prefix = Annotated[
    str,
    StringConstraints(max_length=1024),
    matching(
        r"([^{}\x00]|\{host\}|\{user\}|\{pod\})*",
        "a prefix may have {host}, {user} and {pod} in it and no other braces",
    ),
    Rule(
        "!self.split('/').exists(part, part == '..' || part == '.')",
        "must be a path that stays inside the destination: without '.' and '..'",
        lambda prefix: not {".", ".."} & set(prefix.split("/")),
    ),
]

SomePods = Annotated[
    LabelSelector,
    Rule(
        "size(self.matchLabels) > 0 || size(self.matchExpressions) > 0",
        "podSelector would select every pod of the namespace: give matchLabels or matchExpressions",
        lambda selector: not selector.is_empty,
    ),
]

Destination = Annotated[str, StringConstraints(min_length=1, max_length=249), LEGAL_GROUP]


class After(Part):
    """What becomes of a file in the watched directory once it was sent."""

    action: Literal["Keep", "Move", "Delete"] = Field(
        "Keep", description="`Keep` it, `Move` it to `moveTo`, or `Delete` it."
    )
    when: Literal["Acknowledged", "Delivered"] = Field(
        "Acknowledged",
        description="`Acknowledged`: once Kafka has it. `Delivered`: only once every destination of "
        "`receiptFrom` has said that it has this very file, whole and durable.",
    )
    receipt_from: tuple[Destination, ...] = Field(
        (),
        max_length=32,
        description="Destinations (consumer groups) whose receipts `Delivered` waits for, all of them. By "
        "default this stream's own. Name it too if you name others.",
        json_schema_extra=LIST_ATOMIC,
    )
    move_to: AbsolutePath | None = Field(
        None,
        description="Where `Move` puts files: a directory on the same volume, outside of the watched one. By "
        "default `.penstock/sent` in the watched directory.",
    )
    rules: ClassVar = (
        Rule(
            "size(self.receiptFrom) == 0 || self.when == 'Delivered'",
            "receiptFrom needs when: Delivered. As it is, files would go as soon as Kafka has them, whoever "
            "has received them; if that is meant, leave receiptFrom out",
            lambda after: not after.receipt_from or after.when == "Delivered",
            field="when",
        ),
        only_in("action", ("Move",), "move_to", "moveTo needs action: Move"),
    )

    def receipts_required(self, own: str) -> tuple[str, ...]:
        """Give the destinations whose receipts are waited for; `own` is the stream's consumer group."""
        if self.when != "Delivered":
            return ()
        return self.receipt_from or (own,)


class State(Part):
    """Where an uploader keeps its ledger."""

    persistent_volume_claim: Claim = Field(description="A directory on a volume of its own.")


class Uploader(Part):
    """Who watches the directory, and how."""

    mode: Literal["Sidecar", "Deployment", "External"] = Field(
        "External",
        description="`Sidecar`: a container beside the program that writes the files, in its own pod. "
        "`Deployment`: a pod of its own, which the operator runs, on the volume of `claimName`. `External`: "
        "an uploader outside of this cluster, such as `penstock upload` on an instrument's PC.",
    )
    pod_selector: SomePods | None = Field(
        None,
        description="`Sidecar`: the pods that are to have it. One of them without a sidecar is reported; "
        "this gives none. A pod gets its sidecar by the label `penstock.dev/inject: NAME`, or by hand.",
    )
    claim_name: ObjectName | None = Field(
        None, description="`Deployment`: PersistentVolumeClaim with the files, in the stream's namespace."
    )
    drain_seconds: int = Field(
        20,
        ge=0,
        le=86_400,
        description="How long a pod that ends may take to send what is on its way (its grace period). Give a "
        "sidecar as long as its largest file takes.",
    )
    resources: Resources | None = Field(
        None, description="CPU and memory of the uploader. By default the operator's."
    )
    pod: PodOverrides | None = Field(
        None, description="`Deployment`: what is different about the uploader's pod."
    )
    rules: ClassVar = (
        required_in(
            "mode",
            "Sidecar",
            "pod_selector",
            "mode Sidecar needs podSelector: the labels of the pods that have the sidecar",
        ),
        only_in("mode", ("Sidecar",), "pod_selector", "podSelector is for mode Sidecar: leave it out"),
        required_in(
            "mode",
            "Deployment",
            "claim_name",
            "mode Deployment needs claimName: the PersistentVolumeClaim with the files",
        ),
        only_in("mode", ("Deployment",), "claim_name", "claimName is for mode Deployment: leave it out"),
        only_in(
            "mode",
            ("Deployment",),
            "pod",
            "pod is for mode Deployment, where the operator makes the pod: leave it out",
        ),
        only_in(
            "mode",
            ("Sidecar", "Deployment"),
            "resources",
            "mode External: nothing of the uploader runs here; leave resources out",
        ),
    )


_ELSEWHERE: Final = (
    "uploader.mode is External: the uploader is told its options where it runs; leave path, prefix, include, "
    "exclude, after and state out, or choose another mode"
)


def _moves_outside(source: Source) -> bool:
    if source.after.move_to is None:
        return True
    inside = source.watched.rstrip("/") + "/"
    return not (source.after.move_to + "/").startswith(inside)


class Source(Part):
    """The directory that is watched. Without any of it: uploaders outside of this cluster."""

    path: AbsolutePath | None = Field(
        None,
        description="The watched directory, with all that is below it. `Sidecar`: as the pod's containers "
        "see it, on a volume that they share. `Deployment`: on the volume of `uploader.claimName`, whose "
        "root is `/`, the default.",
    )
    prefix: Prefix | None = Field(
        None,
        description="Directory that all paths get on their way, such as `{host}/raw`; `{host}`, `{user}` and "
        "`{pod}` are filled in; both `{host}` and `{pod}` are always `<name>-uploader` in a Deployment. By "
        "default none; for a sidecar whose volume ends with its pod, `{pod}`.",
    )
    include: tuple[Glob, ...] = Field(
        (),
        max_length=64,
        description="Send only files that match one of these globs: `*.raw` by name, `run1/**` by path. By "
        "default all.",
        json_schema_extra=LIST_ATOMIC,
    )
    exclude: tuple[Glob, ...] = Field(
        (),
        max_length=64,
        description="Do not send files that match one of these globs.",
        json_schema_extra=LIST_ATOMIC,
    )
    after: After = Field(After(), description="What becomes of a file once it was sent.")
    state: State | None = Field(
        None,
        description="Where the uploader keeps its ledger. By default `.penstock/uploader` in the watched "
        "directory; a directory that cannot be written needs this, and `after.action: Keep`.",
    )
    uploader: Uploader = Field(Uploader(), description="Who watches the directory, and how.")
    rules: ClassVar = (
        Rule(
            "self.uploader.mode != 'External' || !(has(self.path) || has(self.prefix) || has(self.state) || "
            "size(self.include) > 0 || size(self.exclude) > 0 || self.after.action != 'Keep' || "
            "self.after.when != 'Acknowledged')",
            _ELSEWHERE,
            lambda source: source.uploader.mode != "External" or not source.says_more_than("uploader"),
            field="uploader.mode",
        ),
        Rule(
            "self.uploader.mode != 'Sidecar' || has(self.path)",
            "uploader.mode Sidecar needs path: the directory, as the pod's containers see it",
            lambda source: source.uploader.mode != "Sidecar" or source.path is not None,
            field="path",
            reason="FieldValueRequired",
        ),
        Rule(
            "!has(self.after.moveTo) || !has(self.path) || "
            "!(self.after.moveTo + '/').startsWith(self.path.endsWith('/') ? self.path : self.path + '/')",
            "moveTo has to be outside of path: what is moved there would be sent again",
            lambda source: source.path is None or _moves_outside(source),
            field="after.moveTo",
        ),
        Rule(
            "!has(self.after.moveTo) || has(self.path)",
            "moveTo needs a path: without one, all of the volume is watched, and nothing is outside",
            lambda source: source.after.move_to is None or source.path is not None,
            field="after.moveTo",
        ),
    )

    @property
    def watched(self) -> str:
        """The watched directory; of a Deployment, on its volume."""
        return re.sub("/+", "/", self.path) if self.path is not None else "/"
