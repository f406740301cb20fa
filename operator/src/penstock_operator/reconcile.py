"""What to do about a DirectoryStream: what is seen of it in, actions out. Pure.

    plan = reconcile(observed, memory, moment, installation)

Nothing is compared with what Kubernetes has, but for what is to go: applying the same again is for
`apply.needed` to spare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import Any, Final

from penstock_operator import conditions
from penstock_operator.kafka import Deletion
from penstock_operator.levels import ceiling_of_claim
from penstock_operator.objects import (
    Installation,
    downloader_deployment,
    is_co_located,
    selector_text,
    uploader_deployment,
)
from penstock_operator.objects.names import Side
from penstock_operator.observed import Observed, ReadingTaken, is_ours
from penstock_operator.reading import FailedRead, Reading
from penstock_operator.resource import GROUP, ConditionType, DirectoryStream
from penstock_operator.resource.kafka import Kafka
from penstock_operator.resource.topic import Topic
from penstock_operator.scaling import Condition, Decision, Inputs, Mode, Policy, State, decide
from servicekit.topics import TopicInfo

FINALIZER: Final = f"{GROUP}/topic"
"""Keeps a stream with deletionPolicy Delete from going before its topic."""
ORPHAN: Final = "orphan"
"""Kubernetes' own finalizer of what is deleted with `--cascade=orphan`."""
DELETION_SECONDS: Final = 90.0
"""How long a deletion waits for pods to end and for Kafka to answer; then the topic stays."""
PREPARE_SECONDS: Final = 3600.0
"""How often a topic that the operator makes is looked at for more than being there and large enough."""
PREPARE_AGAIN_SECONDS: Final = 60.0
"""How long a topic that could not be made is left, unless what the stream says of it changes."""

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """Now: in seconds of a clock that only goes forward, and as a status has it."""

    seconds: float
    timestamp: str


@dataclass(frozen=True, slots=True)
class Memory:
    """What one reconciliation leaves for the next. A blank one is safe: the operator may restart any time."""

    state: State = field(default_factory=State)
    decision: Decision | None = None
    decided_for: tuple[object, ...] = ()
    prepared_for: tuple[Kafka, Topic] | None = None
    prepared_at: float = 0.0
    deleting_since: float | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """An Event, for `kubectl describe`."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done, in this order; `memory` holds once it was."""

    memory: Memory
    finalizers: tuple[str, ...] | None = None
    """Those of ours that the stream is to have; None: as it is."""
    prepare_topic: bool = False
    apply: Mapping[Side, Object] = field(default_factory=dict)
    delete: tuple[Object, ...] = ()
    delete_topic: bool = False
    status: Mapping[str, Any] | None = None
    notes: tuple[Note, ...] = ()


def reconcile(observed: Observed, memory: Memory, moment: Moment, installation: Installation) -> Plan:
    """Say what has to be done so that what is becomes what the stream says."""
    stream = observed.stream
    if stream.metadata.deletion_timestamp is not None:
        return _deletion(observed, memory, moment)
    wants = (FINALIZER,) if stream.spec.deletion_policy == "Delete" else ()
    finalizers = None if _ours(stream) == wants else wants
    if observed.reading is None:
        return Plan(memory=memory, finalizers=finalizers)

    if _wants_topic(observed, observed.reading, memory, moment):
        # First the topic, and then, with a new reading, all else.
        memory = replace(
            memory, prepared_for=(stream.spec.kafka, stream.spec.topic), prepared_at=moment.seconds
        )
        return Plan(memory=memory, finalizers=finalizers, prepare_topic=True)
    if observed.earlier is None:
        memory = _decided(observed, observed.reading, memory, moment)
    else:
        memory = replace(memory, state=State(), decision=None, decided_for=())
    replicas = 0 if memory.decision is None else memory.decision.replicas
    apply = _deployments(observed, installation, replicas)
    delete = tuple(
        live
        for side, live in observed.deployments.items()
        if side not in apply and observed.earlier is None and is_ours(stream, live)
    )
    status = _status(observed, observed.reading, memory.decision, moment)
    return Plan(
        memory=memory,
        finalizers=finalizers,
        apply=apply,
        delete=delete,
        status=status,
        notes=_notes(stream, status, memory.decision),
    )


def _ours(stream: DirectoryStream) -> tuple[str, ...]:
    return (FINALIZER,) if FINALIZER in stream.metadata.finalizers else ()


# The topic


def _wants_topic(observed: Observed, reading: ReadingTaken, memory: Memory, moment: Moment) -> bool:
    """Whether the topic has to be made or changed, or looked at again."""
    wanted = observed.stream.spec.topic
    if wanted.management != "Create" or observed.earlier is not None:
        return False
    if memory.prepared_for != (observed.stream.spec.kafka, wanted):
        # Not for each generation: an autoscaler writes one with each number.
        return True
    topic = reading.observation.topic
    since = moment.seconds - memory.prepared_at
    missing = (
        topic.reason == "TopicMissing"
        if isinstance(topic, FailedRead)
        else topic.partitions < (wanted.partitions or 1)
    )
    if missing or observed.topic_error is not None:
        return since >= PREPARE_AGAIN_SECONDS
    return since >= PREPARE_SECONDS


# Scaling


def _decided(observed: Observed, reading: ReadingTaken, memory: Memory, moment: Moment) -> Memory:
    """Decide on the number of downloaders, once for each reading and each change of the stream."""
    stream = observed.stream
    ceiling = _claim_ceiling(observed)
    decided_for = (reading.number, stream.metadata.generation, ceiling)
    if memory.decision is not None and memory.decided_for == decided_for:
        return memory
    if memory.decision is not None:
        replicas = memory.decision.replicas
    else:
        live = observed.deployments.get("downloader")
        known = live is not None and is_ours(stream, live)
        replicas = int(live["spec"].get("replicas", 1)) if live is not None and known else 0
    asked = stream.spec.downloader.replicas
    inputs = Inputs(
        policy=policy_of(stream),
        reading=reading.observation.reading,
        replicas=replicas,
        claim_ceiling=ceiling,
        asked=1 if asked is None else asked,
    )
    decision = decide(inputs, memory.state, moment.seconds)
    return replace(memory, state=decision.state, decision=decision, decided_for=decided_for)


def policy_of(stream: DirectoryStream) -> Policy:
    """Read what the author wants of `spec.downloader.scaling`."""
    said = stream.spec.downloader.scaling
    return Policy(
        mode=Mode(said.mode),
        min_replicas=said.min_replicas,
        max_replicas=said.max_replicas,
        partitions_per_replica=said.partitions_per_replica or 1,
        lag_per_replica=said.lag_per_replica or 1,
        scale_down_stabilization_seconds=said.scale_down_stabilization_seconds,
        idle_seconds=said.idle_seconds,
        suspend=stream.spec.suspend,
    )


def _claim_ceiling(observed: Observed) -> int | None:
    """Give what the destination's claim allows; one, as long as it is not there to be asked."""
    destination = observed.stream.spec.downloader.destination.persistent_volume_claim
    if destination is None:
        return None
    claim = observed.claims.get(destination.claim_name)
    if claim is None:
        return 1
    modes = (claim.get("status") or {}).get("accessModes") or claim["spec"].get("accessModes") or ()
    return ceiling_of_claim(modes, co_located=is_co_located(observed.stream))


# The Deployments


def _deployments(observed: Observed, installation: Installation, replicas: int) -> Mapping[Side, Object]:
    stream = observed.stream
    made: dict[Side, Object | None] = {
        "downloader": downloader_deployment(
            stream, installation, replicas=replicas, revision=observed.revision
        ),
        "uploader": uploader_deployment(stream, installation, revision=observed.revision),
    }
    found: dict[Side, Object] = {}
    for side, body in made.items():
        live = observed.deployments.get(side)
        if body is None or (live is not None and not is_ours(stream, live)):
            continue
        if observed.earlier is not None:
            # What is not to be is not made; what was made before is stopped.
            if live is None:
                continue
            body = {**body, "spec": {**body["spec"], "replicas": 0}}
        found[side] = body
    return found


# The status


def _status(
    observed: Observed, reading: ReadingTaken, decision: Decision | None, moment: Moment
) -> dict[str, Any]:
    stream = observed.stream
    before = stream.status
    topic, read = reading.observation.topic, reading.observation.reading
    live = observed.deployments.get("downloader")
    seen = (live or {}).get("status") or {} if live is None or is_ours(stream, live) else {}
    known = isinstance(topic, TopicInfo)
    values = {
        "observedGeneration": stream.metadata.generation,
        "topicId": topic.topic_id if isinstance(topic, TopicInfo) else before.topic_id,
        "createdTopicId": observed.created_topic_id or before.created_topic_id,
        "consumerGroup": stream.consumer_group,
        "partitions": topic.partitions if isinstance(topic, TopicInfo) else before.partitions,
        "lag": read.lag if known and isinstance(read, Reading) else None,
        "desiredReplicas": 0 if decision is None else decision.replicas,
        "replicas": seen.get("replicas", 0),
        "readyReplicas": seen.get("readyReplicas", 0),
        "selector": selector_text(stream, "downloader"),
    }
    told = conditions.of_stream(observed, reading.observation, decision)
    return {
        **{name: value for name, value in values.items() if value is not None},
        "conditions": [_dated(stream, condition, moment) for condition in told],
    }


def invalid_status(status: Mapping[str, Any], generation: int, message: str, moment: Moment) -> Object:
    """Give the status of a DirectoryStream that cannot be understood: the rest of it stays as it was."""
    ready = Condition(ConditionType.READY, False, "InvalidSpec", message)
    return {
        **{name: value for name, value in status.items() if name != "conditions"},
        "observedGeneration": generation,
        "conditions": [_written(ready, generation, _since(status, ready) or moment.timestamp)],
    }


def _since(status: Mapping[str, Any], condition: Condition) -> str | None:
    """Say since when a condition has the status that it has."""
    for before in status.get("conditions") or ():
        if before["type"] == condition.type and before["status"] == _word(condition):
            return str(before["lastTransitionTime"])
    return None


def _dated(stream: DirectoryStream, condition: Condition, moment: Moment) -> Object:
    before = next((one for one in stream.status.conditions if one.type == condition.type), None)
    same = before is not None and before.status == _word(condition)
    when = moment.timestamp
    if same and before is not None:
        when = before.last_transition_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _written(condition, stream.metadata.generation, when)


def _written(condition: Condition, generation: int, when: str) -> Object:
    return {
        "type": str(condition.type),
        "status": _word(condition),
        "observedGeneration": generation,
        "lastTransitionTime": when,
        "reason": condition.reason,
        "message": condition.message[:32768],
    }


def _word(condition: Condition) -> str:
    return "Unknown" if condition.status is None else str(condition.status)


# What people read in `kubectl describe`

_UNREMARKABLE: Final = frozenset({"Starting", "NotReadYet"})
"""Reasons that every stream goes through."""


def _notes(stream: DirectoryStream, status: Mapping[str, Any], decision: Decision | None) -> tuple[Note, ...]:
    notes = []
    before = stream.status
    if decision is not None and decision.active.status and before.desired_replicas != decision.replicas:
        notes.append(Note(decision.reason, decision.message))
    for condition in status["conditions"]:
        kind, now = condition["type"], condition["status"]
        was = next((one for one in before.conditions if one.type == kind), None)
        if condition["reason"] in _UNREMARKABLE:
            continue
        if was is not None and was.status == now and (now == "True" or was.reason == condition["reason"]):
            continue
        if kind == ConditionType.READY or kind in conditions.BAD_IF_TRUE:
            # Ready says again what another one says; a limit is told with the number that it limits.
            continue
        if now == "True" and (was is None or was.reason in _UNREMARKABLE):
            continue
        warning = now != "True" and condition["reason"] != "Suspended"
        notes.append(Note(condition["reason"], condition["message"], warning))
    return tuple(dict.fromkeys(notes))  # several conditions may have one reason


# The end


def _deletion(observed: Observed, memory: Memory, moment: Moment) -> Plan:
    """Let go of a stream; of its topic, if it is to go with it, once nobody reads or writes it any more."""
    stream = observed.stream
    ours = tuple(live for live in observed.deployments.values() if is_ours(stream, live))
    if ORPHAN in stream.metadata.finalizers:
        ours = ()  # whoever deletes it wants them to stay
    if not _ours(stream):
        # It may be held by somebody else's finalizer: it does not deliver meanwhile.
        return Plan(memory=memory, delete=ours)
    since = memory.deleting_since if memory.deleting_since is not None else moment.seconds
    memory = replace(memory, deleting_since=since)
    if stream.spec.deletion_policy != "Delete":
        return Plan(memory=memory, finalizers=(), delete=ours)
    if ours and moment.seconds - since >= DELETION_SECONDS:
        names = " and ".join(sorted(live["metadata"]["name"] for live in ours))
        topic = stream.spec.topic.name
        note = Note("TopicKept", f"Topic {topic} stays: Deployment {names} would not go.", warning=True)
        return Plan(memory=memory, finalizers=(), notes=(note,))
    return Plan(memory=memory, delete=ours, delete_topic=not ours)


def after_invalid(body: Object, memory: Memory) -> Plan:
    """Let go of a stream that cannot be understood, and of nothing else."""
    if FINALIZER not in (body["metadata"].get("finalizers") or ()):
        return Plan(memory=memory)
    message = "Its topics stay: the stream cannot be understood, see its condition Ready."
    return Plan(memory=memory, finalizers=(), notes=(Note("TopicKept", message, warning=True),))


def after_deletion(outcome: Deletion | FailedRead, memory: Memory, moment: Moment, topic: str) -> Plan:
    """Say what follows from the attempt to delete the topic: another one, or the stream may go."""
    since = memory.deleting_since if memory.deleting_since is not None else moment.seconds
    in_time = moment.seconds - since < DELETION_SECONDS
    if isinstance(outcome, FailedRead):
        if in_time:
            return Plan(memory=memory)
        note = Note("TopicKept", f"Topic {topic} stays: {outcome.message}", warning=True)
    elif outcome.kept is not None:
        if outcome.again and in_time:
            return Plan(memory=memory)
        note = Note("TopicKept", outcome.kept, warning=True)
    else:
        deleted = ", ".join(outcome.deleted) or "none was there any more"
        note = Note("TopicDeleted", f"Topics deleted: {deleted}.")
    return Plan(memory=memory, finalizers=(), notes=(note,))
