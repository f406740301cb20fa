"""What a stream's conditions say, and in which words. Pure.

No message has an age or a count of attempts in it: as long as nothing happens, a status stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from penstock_operator.kafka import Observation, topic_condition
from penstock_operator.objects.names import INJECT_LABEL, SIDECAR, Side, deployment_name, selector_text
from penstock_operator.observed import Observed, Sidecars, is_ours
from penstock_operator.reading import FailedRead
from penstock_operator.resource import ConditionType, DirectoryStream
from penstock_operator.scaling import Condition, Decision

GROUP_UNSTABLE: Final = "GroupUnstable"
"""An extra condition, which is there only while it holds."""
BAD_IF_TRUE: Final = frozenset({ConditionType.SCALING_LIMITED.value, GROUP_UNSTABLE})
_CAUSES: Final = (ConditionType.TOPIC_READY, ConditionType.SCALING_ACTIVE)
SHOWN_NAMES: Final = 5
"""How many pods a message names."""


def of_stream(
    observed: Observed, observation: Observation, decision: Decision | None
) -> tuple[Condition, ...]:
    """Give all conditions of a stream, `Ready` first."""
    if observed.earlier is not None:
        return _taken(observed.stream, observed.earlier)
    topic = _topic(observed, observation)
    uploader = _uploader(observed)
    replicas = 0 if decision is None else decision.replicas
    downloader = _downloader(observed, replicas)
    told = [topic, uploader, downloader]
    if decision is not None:
        told += [decision.active, decision.limited]
        if decision.group.status:
            told.append(decision.group)
    return (_ready(observed.stream, told), *told)


def _ready(stream: DirectoryStream, told: list[Condition]) -> Condition:
    """Sum up: not ready if anything is wrong, unknown if something is not known, and why first of all."""
    if stream.spec.suspend:
        return Condition(
            ConditionType.READY,
            False,
            "Suspended",
            "The stream is suspended: nothing is delivered until spec.suspend is false.",
        )
    # Without Kafka pods do not get ready either: what is told of it comes first, being the cause.
    parts = sorted(
        (condition for condition in told if condition.type not in BAD_IF_TRUE),
        key=lambda condition: condition.type not in _CAUSES,
    )
    wrong = [condition for condition in parts if condition.status is not True]
    if wrong:
        status = None if all(condition.status is None for condition in wrong) else False
        return Condition(ConditionType.READY, status, wrong[0].reason, wrong[0].message)
    return Condition(ConditionType.READY, True, "AllReady", "Files are carried and delivered.")


def _taken(stream: DirectoryStream, earlier: str) -> tuple[Condition, ...]:
    message = (
        f"DirectoryStream {earlier} reads topic {stream.spec.topic.name} in consumer group "
        f"{stream.consumer_group} already, and was there first: each would get a part of the files. Delete "
        f"one of them, or make this one anew with another downloader.consumerGroup or topic."
    )
    return tuple(
        Condition(kind, False, "GroupTaken", message)
        for kind in (
            ConditionType.READY,
            ConditionType.UPLOADER_READY,
            ConditionType.DOWNLOADER_READY,
            ConditionType.SCALING_ACTIVE,
        )
    )


def _topic(observed: Observed, observation: Observation) -> Condition:
    topic, error = observation.topic, observed.topic_error
    if error is None:
        return topic_condition(topic, observed.topic_notes)
    if not isinstance(topic, FailedRead):
        return topic_condition(topic, (*observed.topic_notes, f"not as it is wanted: {error.message}"))
    if topic.reason == "TopicMissing" and error.reason != "KafkaUnavailable":
        name = observed.stream.spec.topic.name
        message = f"Topic {name} does not exist, and could not be made: {error.message}"
        return Condition(ConditionType.TOPIC_READY, False, error.reason, message)
    return topic_condition(topic)


# Those who run


def _downloader(observed: Observed, replicas: int) -> Condition:
    return _deployment(observed, "downloader", ConditionType.DOWNLOADER_READY, replicas)


def _uploader(observed: Observed) -> Condition:
    kind = ConditionType.UPLOADER_READY
    mode = observed.stream.spec.source.uploader.mode
    if mode == "Deployment":
        return _deployment(observed, "uploader", kind, 0 if observed.stream.spec.suspend else 1)
    if mode == "External":
        return Condition(kind, True, "External", "Uploaders run outside of this cluster.")
    if observed.sidecars is None:
        return Condition(kind, None, "NotReadYet", "The pods with sidecars were not looked at yet.")
    return _sidecars(kind, observed.stream, observed.sidecars)


def _sidecars(kind: ConditionType, stream: DirectoryStream, found: Sidecars) -> Condition:
    if found.missing:
        return Condition(
            kind,
            False,
            "SidecarMissing",
            f"No uploader sends the files of {_names(found.missing)}: the sidecar is missing. Make them anew "
            f"with label {INJECT_LABEL}={stream.metadata.name} in their template, or with the sidecar pasted "
            f"into it (docs/sidecar.md).",
        )
    if found.not_ready:
        return Condition(
            kind,
            False,
            "SidecarNotReady",
            f"The sidecar of {_names(found.not_ready)} is not ready, so that files may wait there: "
            f"kubectl logs -n {stream.metadata.namespace} {found.not_ready[0]} -c {SIDECAR}",
        )
    pods = found.ready + found.starting
    if not pods:
        return Condition(kind, True, "NoPods", "The podSelector selects no pod now.")
    starting = f", {found.starting} of them starting" if found.starting else ""
    return Condition(kind, True, "AllReady", f"{_pods(pods)} with a sidecar{starting}.")


def _pods(number: int) -> str:
    return "1 pod" if number == 1 else f"{number} pods"


def _names(pods: tuple[str, ...]) -> str:
    shown = ", ".join(pods[:SHOWN_NAMES])
    more = len(pods) - SHOWN_NAMES
    return f"{'pod' if len(pods) == 1 else 'pods'} {shown}" + (f" and {more} more" if more > 0 else "")


def _deployment(observed: Observed, side: Side, kind: ConditionType, wanted: int) -> Condition:
    stream = observed.stream
    name = f"Deployment {deployment_name(stream, side)}"
    live = observed.deployments.get(side)
    if live is not None and not is_ours(stream, live):
        return Condition(
            kind,
            False,
            "NameTaken",
            f"{name} was not made for this DirectoryStream, and is left alone: delete it, or make the "
            f"DirectoryStream anew under another name.",
        )
    if side in observed.refused:
        refused = observed.refused[side].rstrip(".")
        return Condition(
            kind,
            False,
            "ApplyRefused",
            f"{name} was refused: {refused}. It is tried again, and at once when the stream is changed.",
        )
    claims = _claims(stream, side)
    missing = sorted(claim for claim, found in observed.claims.items() if found is None and claim in claims)
    if missing:
        several = len(missing) > 1
        return Condition(
            kind,
            False,
            "ClaimMissing",
            f"PersistentVolumeClaim {' and '.join(missing)} {'do' if several else 'does'} not exist in "
            f"namespace {stream.metadata.namespace}: make {'them' if several else 'it'}, or name "
            f"{'others' if several else 'another one'} in the stream.",
        )
    if wanted == 0:
        return Condition(kind, True, "ScaledToZero", f"No {side} is wanted now.")
    if live is None:
        return Condition(kind, False, "Starting", f"{name} is being made.")
    ready = settled(live, wanted)
    if ready == wanted:
        return Condition(kind, True, "AllReady", f"{ready} of {wanted} ready.")
    failing = [*_not_made(live), *observed.failing.get(side, ())]
    if failing:
        # At the end of each is a command to copy: no full stop behind it.
        said = "; ".join(failing[:SHOWN_NAMES])
        return Condition(kind, False, "PodsFailing", f"{ready} of {wanted} ready; {said}")
    return Condition(
        kind,
        False,
        "Starting",
        f"{ready} of {wanted} ready. Should it stay so: kubectl describe pods "
        f"-n {stream.metadata.namespace} -l {selector_text(stream, side)}",
    )


def _not_made(live: Mapping[str, Any]) -> list[str]:
    """Say why pods are not even made: a quota, a policy."""
    told = (live.get("status") or {}).get("conditions") or ()
    return [
        f"pods are not made ({condition.get('message') or condition.get('reason')})"
        for condition in told
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
    ]


def settled(live: Mapping[str, Any], wanted: int) -> int:
    """Give how many of the wanted pods are ready, and are as the Deployment says now."""
    status = live.get("status") or {}
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return 0
    return int(min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0), wanted))


def _claims(stream: DirectoryStream, side: Side) -> set[str]:
    if side == "downloader":
        destination = stream.spec.downloader.destination.persistent_volume_claim
        return set() if destination is None else {destination.claim_name}
    source = stream.spec.source
    found = set() if source.uploader.claim_name is None else {source.uploader.claim_name}
    return found if source.state is None else found | {source.state.persistent_volume_claim.claim_name}
