"""A consumer group as queues: partitions fill, their owners empty them, and what moves stands still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from bench.scaling.traces import STEP_SECONDS, Array, Trace
from numpy.typing import NDArray

START_SECONDS: Final = 20
"""From a higher number in the Deployment to a member of the group."""
MOVE_SECONDS: Final = 10
"""How long a partition that changes its owner is read by nobody: flush, commit, join, fetch."""


@dataclass(frozen=True)
class Seen:
    """What a scaler can ask Kafka and Kubernetes for."""

    produced: Array
    lag: Array
    replicas: int
    members: int
    stable: bool


class Scaler(Protocol):
    """Something that sets the number of replicas."""

    def decide(self, seen: Seen, now: float) -> int:
        """Say how many there should be; asked every 15 s."""


DECISION_SECONDS: Final = 15


@dataclass(frozen=True)
class Run:
    """What came of it, step by step."""

    trace: Trace
    lag: Array
    replicas: Array
    rebalances: int

    @property
    def longest_backlog_seconds(self) -> int:
        """The longest time in which more waited than one replica does in six seconds."""
        longest = running = 0
        for behind in self.lag > self.trace.lag_per_replica / 10:
            running = running + STEP_SECONDS if behind else 0
            longest = max(longest, running)
        return longest

    @property
    def mean_wait_seconds(self) -> float:
        """How long a record waits on average (Little's law)."""
        return float(self.lag.sum() * STEP_SECONDS / self.trace.arrivals.sum())

    @property
    def replica_seconds(self) -> int:
        """What it costs, pods that are starting included."""
        return int(self.replicas.sum() * STEP_SECONDS)


def simulate(trace: Trace, scaler: Scaler) -> Run:
    """Play a trace against a scaler."""
    partitions = trace.partitions
    lag, produced = np.zeros(partitions), np.zeros(partitions)
    owner = np.full(partitions, -1)
    paused_until = np.zeros(partitions)
    joins: list[float] = [0.0] * trace.min_replicas  # of each pod: when it becomes a member
    members = rebalances = 0
    lags, counts = np.zeros(len(trace.arrivals)), np.zeros(len(trace.arrivals))
    for step, arriving in enumerate(trace.arrivals):
        now = float(step * STEP_SECONDS)
        produced += arriving * trace.weights
        lag += arriving * trace.weights

        joined = sum(at <= now for at in joins)
        if joined != members:
            rebalances += 1
            moved = reassign(owner, joined)
            paused_until[moved] = now + MOVE_SECONDS
            members = joined
        if members:
            active = np.where(now >= paused_until, lag, 0.0)
            waiting = np.bincount(owner, weights=active, minlength=members)
            share = np.minimum(1.0, trace.rate * STEP_SECONDS / np.maximum(waiting, 1e-9))
            lag -= active * share[owner]
            lag[lag < 1e-6] = 0.0

        if now % DECISION_SECONDS == 0:
            stable = bool(np.all(now >= paused_until))
            wanted = scaler.decide(Seen(produced, lag, len(joins), members, stable), now)
            joins = [*joins, *[now + START_SECONDS] * (wanted - len(joins))][:wanted]
        lags[step], counts[step] = lag.sum(), len(joins)
    return Run(trace, lags, counts, rebalances)


def reassign(owner: NDArray[np.int_], members: int) -> NDArray[np.bool_]:
    """Share the partitions out evenly, moving as few as possible; say which moved."""
    before = owner.copy()
    if members == 0:
        owner[:] = -1
        return np.not_equal(before, owner)
    least, extra = divmod(len(owner), members)
    owner[owner >= members] = -1
    held = [np.flatnonzero(owner == member) for member in range(members)]
    # Those that hold the most keep one more than the others.
    most_first = sorted(range(members), key=lambda member: -len(held[member]))
    room = {member: least + (rank < extra) for rank, member in enumerate(most_first)}
    for member in range(members):
        owner[held[member][room[member] :]] = -1
        room[member] -= min(len(held[member]), room[member])
    free = iter([member for member in most_first for _ in range(room[member])])
    for partition in np.flatnonzero(owner == -1):
        owner[partition] = next(free)
    return np.not_equal(before, owner)
