"""What a stream may change of its pods: where they run and what they are called, not what they may do."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from penstock_operator.resource.kubernetes import (
    LEGAL_KEYS,
    LIST_ATOMIC,
    LIST_SET,
    Affinity,
    AnnotationValue,
    Labels,
    Toleration,
    TopologySpreadConstraint,
)
from penstock_operator.resource.rules import Part, Rule

_OUR_LABELS: Final = ("penstock.dev/", "app.kubernetes.io/")
_FORBIDDEN_ANNOTATIONS: Final = (
    "penstock.dev/",
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
)


def _no_key_begins(prefixes: tuple[str, ...], message: str) -> Rule:
    begins = " || ".join(f"key.startsWith('{prefix}')" for prefix in prefixes)
    return Rule(
        f"!self.exists(key, {begins})",
        message,
        lambda mapping: not any(key.startswith(prefixes) for key in mapping),
        reason="FieldValueForbidden",
    )


Id = Annotated[int, Field(ge=1, le=2_147_483_647)]


class PodSecurity(Part):
    """As whom the pod's processes run.

    The rest is fixed, and restricted: no root, no privileges, seccomp's default profile, a read-only root
    file system, all capabilities dropped.
    """

    run_as_user: Id | None = Field(
        None, description="User id, such as the one that may read the instrument's files. Never 0."
    )
    run_as_group: Id | None = Field(None, description="Group id. Never 0.")
    fs_group: Id | None = Field(
        None, description="Group that the volumes' files belong to, and new files on them. Never 0."
    )
    fs_group_change_policy: Literal["OnRootMismatch", "Always"] | None = Field(
        None,
        description="Whether all files of a volume are given to `fsGroup` at each start, or only if its "
        "root is not. By default `OnRootMismatch`: millions of files would take hours.",
    )
    supplemental_groups: tuple[Id, ...] = Field(
        (), max_length=32, description="Further group ids. Never 0.", json_schema_extra=LIST_SET
    )


class PodOverrides(Part):
    """What a stream changes of its pods."""

    labels: Annotated[
        Labels,
        _no_key_begins(
            _OUR_LABELS,
            "labels under penstock.dev/ and app.kubernetes.io/ are the operator's: it finds its pods by "
            "them. Choose another prefix",
        ),
    ] = Field({}, description="Further labels of the pods.")
    annotations: Annotated[
        dict[str, AnnotationValue],
        Field(max_length=64),
        LEGAL_KEYS,
        _no_key_begins(
            _FORBIDDEN_ANNOTATIONS,
            "annotations under penstock.dev/ are the operator's, those of AppArmor and seccomp would loosen "
            "what the pods may do: leave them out",
        ),
    ] = Field({}, description="Further annotations of the pods.")
    node_selector: Labels = Field({}, description="Labels of the nodes that the pods may go to.")
    affinity: Affinity | None = Field(
        None, description="Near to what, and away from what, the pods are scheduled."
    )
    tolerations: tuple[Toleration, ...] = Field(
        (),
        max_length=64,
        description="Taints of nodes that the pods put up with.",
        json_schema_extra=LIST_ATOMIC,
    )
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = Field(
        (),
        max_length=16,
        description="How evenly the pods spread over zones, racks or nodes.",
        json_schema_extra=LIST_ATOMIC,
    )
    priority_class_name: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"),
            Rule(
                "!self.startsWith('system-')",
                "classes that begin with system- are for the cluster's own pods: choose another one",
                lambda name: not name.startswith("system-"),
                reason="FieldValueForbidden",
            ),
        ]
        | None
    ) = Field(None, description="PriorityClass of the pods.")
    security_context: PodSecurity | None = Field(
        None,
        description="As whom the pods' processes run: user and groups, nothing else. By default user, group "
        "and fsGroup 65532, unless the installation leaves them to the cluster. With `runAsUser`, its group "
        "is the same, and there is no fsGroup, if they are not given.",
    )
