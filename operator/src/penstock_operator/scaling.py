"""How many replicas a stream's downloader has. Pure: values and the time in, a number and reasons out.

    policy (spec)  +  reading (Kafka)  +  what runs  ->  demand -> fit -> pace -> Decision

*demand* is what the load asks for, *fit* makes it a balanced level under the ceilings, *pace* lets it grow
at once and shrink slowly. Why each rule is as it is, and what it costs: docs/design/scaling.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from penstock_operator.levels import balanced, balanced_above, round_up
from penstock_operator.reading import FailedRead, Group, Reading

GROUP_PATIENCE_SECONDS: Final = 600.0
"""How long a group that does not settle holds scaling in back; from then on it is a condition."""


class Mode(StrEnum):
    """What the number of replicas follows (`downloader.scaling.mode`)."""

    PARTITIONS = "Partitions"
    LAG = "Lag"
    EXTERNAL = "External"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the author of a stream wants. Raises ValueError for what the CRD refuses, too."""

    mode: Mode = Mode.PARTITIONS
    min_replicas: int = 1
    """Zero lets an idle stream have no replica at all. `External` does not look at it."""
    max_replicas: int | None = None
    """None: as many as there are partitions."""
    partitions_per_replica: int = 1
    lag_per_replica: int = 1000
    """Records."""
    scale_down_stabilization_seconds: float = 300.0
    idle_seconds: float = 300.0
    """How long there must have been nothing to do before the last replicas go."""
    suspend: bool = False

    def __post_init__(self) -> None:
        if self.min_replicas < 0 or (self.max_replicas is not None and self.max_replicas < 1):
            raise ValueError("minReplicas is 0 or more, maxReplicas 1 or more")
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise ValueError(f"minReplicas {self.min_replicas} is above maxReplicas {self.max_replicas}")
        if self.partitions_per_replica < 1 or self.lag_per_replica < 1:
            raise ValueError("partitionsPerReplica and lagPerReplica are 1 or more")
        if not (self.scale_down_stabilization_seconds >= 0 and self.idle_seconds >= 0):
            raise ValueError("scaleDownStabilizationSeconds and idleSeconds are 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All that a decision depends on, but what was decided before and the time."""

    policy: Policy
    reading: Reading | FailedRead
    replicas: int
    """What the Deployment asks for now; 0 when there is none yet."""
    claim_ceiling: int | None = None
    """See `levels.ceiling_of_claim`."""
    asked: int = 0
    """What was set through /scale. Only `External` listens to it."""


class Demand(NamedTuple):
    """A number of replicas that the load asked for, and the last moment when it did."""

    replicas: int
    until: float


@dataclass(frozen=True, slots=True)
class State:
    """What one decision hands to the next. A blank one is safe: nothing shrinks before a whole window."""

    history: tuple[Demand, ...] = ()
    """Newest last, each smaller than the one before: what a maximum over any window needs, and no more."""
    idle_since: float | None = None
    unsettled_since: float | None = None
    changed_at: float | None = None
    group_at_change: Group | None = None
    """What Kafka said of the group when the number last changed, until it says something else."""
    log_end: int | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A status condition. No message has an age in it: a quiet stream's status never changes."""

    type: str
    status: bool | None
    """None is `Unknown`."""
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How many replicas there should be, why, and what the next decision must know."""

    replicas: int
    state: State
    reason: str
    message: str
    active: Condition
    limited: Condition
    group: Condition


def decide(inputs: Inputs, state: State, now: float) -> Decision:
    """Decide on the number of replicas at `now` (seconds of any clock), given what was decided before.

    Never more replicas than partitions, `maxReplicas` or the claim allow. A failed read changes nothing but
    what can be known without reading.
    """
    policy, reading = inputs.policy, inputs.reading
    if policy.suspend:
        return _suspended()
    if isinstance(reading, Reading) and not reading.partitions:
        reading = FailedRead("NoPartitions", "Kafka names no partition of the topic: does it exist?")
    if isinstance(reading, FailedRead):
        return _held(inputs, reading, state, now)
    if policy.mode is Mode.EXTERNAL:
        return _external(inputs, reading, state, now)
    return _scaled(inputs, reading, state, now)


def _scaled(inputs: Inputs, reading: Reading, state: State, now: float) -> Decision:
    policy, partitions = inputs.policy, len(reading.partitions)
    ceiling = _Ceiling.of(inputs, partitions)
    demand = _demand(policy, reading)
    state = _observed(inputs, reading, state, now)
    state = replace(state, history=_remembered(state.history, demand, partitions, inputs.replicas, now))
    wanted = _fit(demand, policy, partitions, ceiling.replicas)
    current = inputs.replicas
    if current > ceiling.replicas:
        current = balanced(ceiling.replicas, partitions)

    idle = state.idle_since is not None and policy.min_replicas == 0
    if idle and (current == 0 or now - _since(state.idle_since, now) >= policy.idle_seconds):
        replicas, reason = 0, "Idle"
        why = f"nothing to read and no unfinished upload for {policy.idle_seconds:g} s"
    elif wanted >= current:
        # A stream that is about to go to zero does not grow first.
        replicas = current if idle else wanted
        reason, why = "DemandMet", _because(policy, reading)
    elif current < inputs.replicas:
        replicas, reason, why = current, "DemandMet", ceiling.message
    else:
        highest = _highest(state.history, now - policy.scale_down_stabilization_seconds)
        target = _fit(highest, policy, partitions, ceiling.replicas)
        if target >= current:
            replicas, reason = current, "Stabilizing"
            why = f"{wanted} would do now, but not for all of scaleDownStabilizationSeconds"
        elif not _may_shrink(state, now):
            replicas, reason = current, "WaitingForGroup"
            why = f"{target} would do; the group has to settle first"
        else:
            replicas, reason = balanced(current - 1, partitions), "DemandMet"
            why = _because(policy, reading)
    return _decision(
        inputs,
        state,
        now,
        replicas,
        reason,
        why,
        active=Condition("ScalingActive", True, "OffsetsRead", "Partitions and offsets were read."),
        limited=ceiling.limits(
            max(demand, policy.min_replicas) if replicas else 0, replicas, policy.min_replicas
        ),
        group=reading.group,
    )


def _external(inputs: Inputs, reading: Reading, state: State, now: float) -> Decision:
    ceiling = _Ceiling.of(inputs, len(reading.partitions))
    replicas = min(inputs.asked, ceiling.replicas)
    state = replace(_observed(inputs, reading, state, now), history=())
    return _decision(
        inputs,
        state,
        now,
        replicas,
        "AsAsked",
        f"{inputs.asked} were asked for through /scale",
        active=Condition("ScalingActive", True, "External", "Replicas are set through /scale."),
        limited=ceiling.limits(inputs.asked, replicas),
        group=reading.group,
    )


def _held(inputs: Inputs, failed: FailedRead, state: State, now: float) -> Decision:
    """Keep what runs, within what needs no reading: the ceilings of spec and claim, one replica if any."""
    policy = inputs.policy
    ceiling = _Ceiling.of(inputs, None)
    external = policy.mode is Mode.EXTERNAL
    least = inputs.asked if external else policy.min_replicas
    replicas = min(max(inputs.replicas, min(1, least)), ceiling.replicas)
    if external:
        replicas = min(replicas, inputs.asked)
    state = State(
        history=(Demand(replicas, now),),  # nobody knows what is needed: until someone does, what runs is
        changed_at=state.changed_at,
        unsettled_since=state.unsettled_since,
    )
    return _decision(
        inputs,
        state,
        now,
        replicas,
        failed.reason,
        failed.message,
        active=Condition("ScalingActive", False, failed.reason, failed.message),
        limited=ceiling.limits(inputs.replicas, replicas),
        group=None,
    )


def _suspended() -> Decision:
    message = "The stream is suspended: it has no replicas until `suspend` is false."
    return Decision(
        replicas=0,
        state=State(),
        reason="Suspended",
        message=message,
        active=Condition("ScalingActive", False, "Suspended", message),
        limited=_NOT_LIMITED,
        group=_SETTLED,
    )


def _demand(policy: Policy, reading: Reading) -> int:
    if policy.mode is Mode.PARTITIONS:
        return round_up(len(reading.partitions), policy.partitions_per_replica)
    return round_up(reading.lag, policy.lag_per_replica)


def _fit(demand: int, policy: Policy, partitions: int, ceiling: int) -> int:
    """Give the balanced level for a demand: under the ceiling, and from `minReplicas` up if there is one."""
    lowest = balanced_above(max(1, min(policy.min_replicas, ceiling)), partitions)
    return max(
        balanced(max(1, min(demand, ceiling)), partitions),
        lowest if lowest <= ceiling else balanced(ceiling, partitions),
    )


def _remembered(
    history: tuple[Demand, ...], demand: int, partitions: int, running: int, now: float
) -> tuple[Demand, ...]:
    """Add a demand to the history, and forget the earlier ones that it exceeds.

    A demand holds from its reading until the next one, so that a window shorter than the time between two
    readings still looks at both. The first reading follows what runs: a restart knows nothing better.
    None is too old: the author may lengthen the window.
    """
    level = balanced(demand, partitions) if demand else 0
    *older, last = [Demand(entry.replicas, min(entry.until, now)) for entry in history] or [
        Demand(running, now)
    ]
    kept = [*older, last._replace(until=now)]
    while kept and kept[-1].replicas <= level:
        kept.pop()
    return (*kept, Demand(level, now))


def _highest(history: tuple[Demand, ...], since: float) -> int:
    """Give the highest demand since then; the newest counts also without any window."""
    *older, newest = history
    return next((entry.replicas for entry in older if entry.until > since), newest.replicas)


def _observed(inputs: Inputs, reading: Reading, state: State, now: float) -> State:
    """Note since when there is nothing to do, and since when the group is not what it should be."""
    # Files that come and go between two readings leave no lag behind; only the log end tells of them.
    arrived = state.log_end is not None and reading.log_end != state.log_end
    busy = reading.lag > 0 or reading.unfinished > 0 or (arrived and inputs.replicas > 0)
    settled = inputs.replicas == 0 or (reading.group.stable and reading.group.members == inputs.replicas)
    return replace(
        state,
        log_end=reading.log_end,
        idle_since=None if busy else _since(state.idle_since, now),
        unsettled_since=None if settled else _since(state.unsettled_since, now),
        changed_at=None if state.changed_at is None else min(state.changed_at, now),
        group_at_change=state.group_at_change if state.group_at_change == reading.group else None,
    )


def _since(before: float | None, now: float) -> float:
    """Keep the beginning of what goes on, also with a clock that was set back."""
    return now if before is None else min(before, now)


def _may_shrink(state: State, now: float) -> bool:
    """Say whether a group may lose members: it has settled, or has had its time since the last change."""
    # What Kafka said before it may fit the new number by chance; decisions come faster than readings.
    noticed = state.group_at_change is None
    if state.unsettled_since is None and noticed:
        return True
    times = [time for time in (state.unsettled_since, state.changed_at) if time is not None]
    return now - max(times) >= GROUP_PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class _Ceiling:
    """The lowest of the ceilings, and which it is."""

    replicas: int
    reason: str
    message: str

    @classmethod
    def of(cls, inputs: Inputs, partitions: int | None) -> _Ceiling:
        ceilings = [
            (inputs.claim_ceiling, "AccessMode", "the claim's access mode allows {}"),
            (inputs.policy.max_replicas, "MaxReplicas", "maxReplicas is {}"),
            (partitions, "Partitions", "more than the {} that the topic has partitions would idle"),
        ]
        known = [cls(number, reason, text.format(number)) for number, reason, text in ceilings if number]
        return min(known, key=lambda ceiling: ceiling.replicas, default=cls(2**31 - 1, "", ""))

    def limits(self, wanted: int, replicas: int, min_replicas: int = 0) -> Condition:
        """Say whether the load or `minReplicas` wants more than there may be."""
        if wanted > self.replicas:
            return Condition(
                "ScalingLimited", True, self.reason, f"{wanted} replicas were wanted; {self.message}."
            )
        if 0 < replicas < wanted == min_replicas:
            return Condition(
                "ScalingLimited",
                True,
                "UnevenMinimum",
                f"minReplicas {wanted} would be no faster than {replicas}, and {self.message}.",
            )
        return _NOT_LIMITED


_NOT_LIMITED: Final = Condition("ScalingLimited", False, "WithinLimits", "No limit holds replicas back.")
_SETTLED: Final = Condition("GroupUnstable", False, "Settled", "The group has settled, or has time to.")


def _decision(
    inputs: Inputs,
    state: State,
    now: float,
    replicas: int,
    reason: str,
    why: str,
    *,
    active: Condition,
    limited: Condition,
    group: Group | None,
) -> Decision:
    before = inputs.replicas
    if replicas != before:
        state = replace(state, changed_at=now, group_at_change=group)
        reason = "ScaledOut" if replicas > before else "ScaledIn" if replicas else "ScaledToZero"
        message = f"{before} -> {replicas} replicas: {why}"
    else:
        message = f"{replicas} replicas: {why}"
    if limited.status:
        message += f"; {limited.message.rstrip('.')}"
    return Decision(
        replicas=replicas,
        state=state,
        reason=reason,
        message=message,
        active=active,
        limited=limited,
        group=_group_condition(group, before, state, now),
    )


def _group_condition(group: Group | None, replicas: int, state: State, now: float) -> Condition:
    if group is None:
        return Condition("GroupUnstable", None, "NotRead", "The group could not be read.")
    if state.unsettled_since is None or now - state.unsettled_since < GROUP_PATIENCE_SECONDS:
        return _SETTLED
    for_long = f"for {GROUP_PATIENCE_SECONDS / 60:g} minutes or more: look at the replicas' pods and logs."
    if not group.stable:
        return Condition("GroupUnstable", True, "Rebalancing", f"The group has been rebalancing {for_long}")
    return Condition(
        "GroupUnstable",
        True,
        "MembersMissing" if group.members < replicas else "ForeignMembers",
        f"The group has had {group.members} members for {replicas} replicas {for_long}",
    )


def _because(policy: Policy, reading: Reading) -> str:
    if policy.mode is Mode.PARTITIONS:
        return f"partitions {len(reading.partitions)}, partitionsPerReplica {policy.partitions_per_replica}"
    return f"lag {reading.lag}, lagPerReplica {policy.lag_per_replica}"
