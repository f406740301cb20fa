"""Shapes that are Kubernetes' own, as far as a DirectoryStream has them: names, quantities, scheduling."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from penstock_operator.resource.rules import Part, Rule, exactly_one_of

ObjectName = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
"""A name as most objects have one (RFC 1123 subdomain)."""

DataKey = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
"""A key in a Secret or ConfigMap."""

LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317)]
"""The name of a label or annotation, with its prefix."""

_NAME: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_PREFIX: Final = "[a-z0-9][-a-z0-9.]{0,252}/"
_KEY: Final = re.compile(f"({_PREFIX})?{_NAME}")

LEGAL_KEYS: Final = Rule(
    f"self.all(key, key.matches('^({_PREFIX})?{_NAME}$'))",
    "a key is a name of at most 63 letters, digits, '-', '_' and '.', with or without a domain in front: "
    "lab.example.org/team",
    lambda mapping: all(_KEY.fullmatch(key) for key in mapping),
)
"""The rule for the keys of a map of labels or annotations: a schema cannot say it."""

LabelValue = Annotated[
    str, StringConstraints(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
]
Labels = Annotated[dict[str, LabelValue], Field(max_length=64), LEGAL_KEYS]
AnnotationValue = Annotated[str, StringConstraints(max_length=4096)]

_QUANTITY: Final = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
_UNITS: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    StringConstraints(max_length=32, pattern=_QUANTITY),
    BeforeValidator(_text),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": _QUANTITY,
            "maxLength": 32,
        }
    ),
]
"""An amount of a resource: `2`, `500m`, `1.5Gi`."""


def amount(quantity: str) -> Decimal:
    """Give the number that a valid quantity stands for, in whole units (cores, bytes)."""
    found = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", quantity)
    if found is None:
        raise ValueError(f"{quantity!r} is no quantity")
    return Decimal(found[1]) * _UNITS[found[2]]


def list_map(*keys: str) -> dict[str, Any]:
    """Mark a list whose entries are told apart by `keys`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


LIST_ATOMIC: Final[dict[str, Any]] = {"x-kubernetes-list-type": "atomic"}
"""Marks a list that is replaced as a whole."""
LIST_SET: Final[dict[str, Any]] = {"x-kubernetes-list-type": "set"}
"""Marks a list without repetitions, to which several may add."""
ATOMIC: Final[dict[str, Any]] = {"x-kubernetes-map-type": "atomic"}
"""Marks an object that is replaced as a whole."""


class LabelSelectorRequirement(Part):
    """A condition on one label."""

    key: LabelKey = Field(description="The label's name.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="`In` and `NotIn` compare with `values`; `Exists` and `DoesNotExist` ask for the name "
        "alone."
    )
    values: tuple[LabelValue, ...] = Field(
        (),
        max_length=32,
        description="Values to compare with; none for `Exists` and `DoesNotExist`.",
        json_schema_extra=LIST_ATOMIC,
    )
    rules: ClassVar = (
        Rule(
            "(self.operator in ['In', 'NotIn']) == (size(self.values) > 0)",
            "In and NotIn need values, Exists and DoesNotExist must have none",
            lambda part: (part.operator in ("In", "NotIn")) == bool(part.values),
            field="values",
        ),
    )


class LabelSelector(Part):
    """Which pods: those that have all of these labels."""

    match_labels: Labels = Field({}, description="Labels with exactly these values.")
    match_expressions: tuple[LabelSelectorRequirement, ...] = Field(
        (), max_length=32, description="Further conditions on labels.", json_schema_extra=LIST_ATOMIC
    )

    @property
    def is_empty(self) -> bool:
        """Whether it would select every pod."""
        return not self.match_labels and not self.match_expressions


class NodeSelectorRequirement(Part):
    """A condition on one label of a node."""

    key: LabelKey = Field(description="The label's name.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="How to compare; `Gt` and `Lt` compare whole numbers."
    )
    values: tuple[LabelValue, ...] = Field(
        (),
        max_length=32,
        description="Values to compare with; none for `Exists` and `DoesNotExist`, one for `Gt` and `Lt`.",
        json_schema_extra=LIST_ATOMIC,
    )


class NodeSelectorTerm(Part):
    """Conditions on a node, all of which have to hold."""

    match_expressions: tuple[NodeSelectorRequirement, ...] = Field(
        (), max_length=16, description="Conditions on the node's labels.", json_schema_extra=LIST_ATOMIC
    )
    match_fields: tuple[NodeSelectorRequirement, ...] = Field(
        (), max_length=16, description="Conditions on the node's fields.", json_schema_extra=LIST_ATOMIC
    )


class NodeSelector(Part):
    """Which nodes: those that meet any of the terms."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = Field(
        min_length=1,
        max_length=16,
        description="Terms, one of which has to hold.",
        json_schema_extra=LIST_ATOMIC,
    )


Weight = Annotated[int, Field(ge=1, le=100)]


class PreferredSchedulingTerm(Part):
    """Nodes to prefer."""

    weight: Weight = Field(description="How much it counts, 1 to 100.")
    preference: NodeSelectorTerm = Field(description="The nodes that are preferred.")


class NodeAffinity(Part):
    """Which nodes the pods go to."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        None,
        description="Nodes that the pods have to go to.",
    )
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredSchedulingTerm, ...] = Field(
        (), max_length=16, description="Nodes to prefer.", json_schema_extra=LIST_ATOMIC
    )


class PodAffinityTerm(Part):
    """Pods to be near to, or away from."""

    label_selector: LabelSelector | None = Field(None, description="Those pods, by their labels.")
    topology_key: LabelKey = Field(
        description="Label of nodes that says what near means: `kubernetes.io/hostname`, the same node."
    )
    namespaces: tuple[ObjectName, ...] = Field(
        (),
        max_length=16,
        description="Their namespaces; by default the stream's own.",
        json_schema_extra=LIST_ATOMIC,
    )
    namespace_selector: LabelSelector | None = Field(
        None, description="Their namespaces, by labels of the namespaces; `{}` is all."
    )


class WeightedPodAffinityTerm(Part):
    """Pods to be near to, or away from, if possible."""

    weight: Weight = Field(description="How much it counts, 1 to 100.")
    pod_affinity_term: PodAffinityTerm = Field(description="Those pods.")


class PodAffinity(Part):
    """Pods to be near to (`podAffinity`), or away from (`podAntiAffinity`)."""

    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = Field(
        (), max_length=16, description="What has to hold.", json_schema_extra=LIST_ATOMIC
    )
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = Field(
        (), max_length=16, description="What is preferred.", json_schema_extra=LIST_ATOMIC
    )


class Affinity(Part):
    """Near to what, and away from what, pods are scheduled."""

    node_affinity: NodeAffinity | None = Field(None, description="Which nodes.")
    pod_affinity: PodAffinity | None = Field(None, description="Near to which pods.")
    pod_anti_affinity: PodAffinity | None = Field(None, description="Away from which pods.")


class Toleration(Part):
    """A taint of nodes that the pods put up with."""

    key: Annotated[str, StringConstraints(max_length=317)] | None = Field(
        None, description="The taint's key; none, with `Exists`, is every taint."
    )
    operator: Literal["Equal", "Exists"] = Field(
        "Equal", description="`Equal` compares with `value`; `Exists` takes any value."
    )
    value: LabelValue | None = Field(None, description="The taint's value, for `Equal`.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="The taint's effect; none is every effect."
    )
    toleration_seconds: int | None = Field(
        None,
        ge=0,
        description="With `NoExecute`: how long the pods stay on such a node. By default for ever.",
    )
    rules: ClassVar = (
        Rule(
            "has(self.key) || self.operator == 'Exists'",
            "a toleration without key tolerates every taint: give operator: Exists, or the key",
            lambda part: part.key is not None or part.operator == "Exists",
            field="operator",
        ),
        Rule(
            "self.operator != 'Exists' || !has(self.value)",
            "operator Exists takes any value: leave value out",
            lambda part: part.operator != "Exists" or part.value is None,
            field="value",
            reason="FieldValueForbidden",
        ),
    )


class TopologySpreadConstraint(Part):
    """How evenly pods spread over zones, racks or nodes."""

    max_skew: int = Field(ge=1, description="How many pods more one place may have than another.")
    topology_key: LabelKey = Field(
        description="Label of nodes that names the place: `topology.kubernetes.io/zone`."
    )
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        description="What happens to a pod that would break it."
    )
    label_selector: LabelSelector | None = Field(
        None, description="Which pods are counted. By default the stream's own of this side."
    )
    min_domains: int | None = Field(
        None, ge=1, description="How many places there have to be, with `DoNotSchedule`."
    )
    node_affinity_policy: Literal["Honor", "Ignore"] | None = Field(
        None, description="Whether nodes that the pods cannot go to count."
    )
    node_taints_policy: Literal["Honor", "Ignore"] | None = Field(
        None, description="Whether nodes with taints that the pods do not tolerate count."
    )


class ResourceAmounts(Part):
    """Amounts of CPU, memory and disk."""

    cpu: Quantity | None = Field(None, description="CPU cores: `2`, `500m`.")
    memory: Quantity | None = Field(None, description="Memory in bytes: `256Mi`, `1Gi`.")
    ephemeral_storage: Quantity | None = Field(
        None, alias="ephemeral-storage", description="The node's disk in bytes: logs, temporary files."
    )


def _below(name: str, attribute: str) -> Rule:
    """Return the rule that what is requested of a resource is not above its limit."""

    def holds(part: Resources) -> bool:
        request, limit = getattr(part.requests, attribute), getattr(part.limits, attribute)
        return request is None or limit is None or amount(request) <= amount(limit)

    field = name.replace("-", "__dash__")
    return Rule(
        f"!has(self.requests.{field}) || !has(self.limits.{field}) || "
        f"quantity(string(self.requests.{field})).compareTo(quantity(string(self.limits.{field}))) <= 0",
        f"the request of {name} is above its limit: raise the limit or lower the request",
        holds,
        field="requests" if "-" in name else f"requests.{name}",
    )


class Resources(Part):
    """What a container is guaranteed (`requests`) and may use (`limits`)."""

    requests: ResourceAmounts = Field(
        ResourceAmounts(),
        description="What is set aside on the node; by default what `limits` has, if anything.",
    )
    limits: ResourceAmounts = Field(
        ResourceAmounts(),
        description="What may be used. Above its CPU limit a container is slowed, above its memory limit "
        "killed.",
    )
    rules: ClassVar = (
        _below("cpu", "cpu"),
        _below("memory", "memory"),
        _below("ephemeral-storage", "ephemeral_storage"),
    )


class KeyOfObject(Part):
    """One key of a Secret or ConfigMap in the stream's namespace."""

    name: ObjectName = Field(description="The object's name.")
    key: DataKey = Field("ca.crt", description="Which key of it.")


class SecretOrConfigMap(Part):
    """Where something that is public stands: a Secret or a ConfigMap."""

    secret: KeyOfObject | None = Field(None, description="A key of a Secret.")
    config_map: KeyOfObject | None = Field(None, description="A key of a ConfigMap.")
    rules: ClassVar = (
        exactly_one_of("name one place, secret or configMap, and not both", "secret", "config_map"),
    )


class Claim(Part):
    """A directory on a volume."""

    claim_name: ObjectName = Field(
        description="Name of the PersistentVolumeClaim, in the stream's own namespace."
    )
    sub_path: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=1024),
            Rule(
                "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
                "must be a path inside the volume: relative, without '..'",
                lambda path: not path.startswith("/") and ".." not in path.split("/"),
            ),
        ]
        | None
    ) = Field(
        None,
        description="Directory in the volume, made if it is missing; by default the volume's root. "
        "Streams that share a volume need one each.",
    )


ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(Part):
    """One thing about the stream that holds or does not, as Kubernetes' `metav1.Condition`."""

    type: Annotated[
        str,
        StringConstraints(
            max_length=316,
            pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        ),
    ] = Field(description="What it is about.")
    status: ConditionStatus = Field(description="Whether it holds; `Unknown` while that cannot be seen.")
    observed_generation: int | None = Field(
        None, ge=0, description="The `metadata.generation` that it was seen for."
    )
    last_transition_time: datetime = Field(description="When `status` changed last.")
    reason: Annotated[
        str,
        StringConstraints(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ] = Field(description="Why, in one word for programs.")
    message: Annotated[str, StringConstraints(max_length=32768)] = Field(
        description="Why, in a sentence for people, with what to do."
    )
