"""A stream's life, in any order: files, commits, rebalances, new partitions, failed reads, restarts, edits.

The model keeps everything and looks at all of it; the operator keeps a few values. They must agree on every
number, not only on what it may not be: a rule that is too slow is as wrong as one that is too quick.
"""

import os
from dataclasses import replace
from functools import cache

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.scaling import AWAY, policies

from penstock_operator.reading import Group, Partition, Reading
from penstock_operator.scaling import Inputs, Mode, Policy, State, decide

SCALED = (Mode.PARTITIONS, Mode.LAG)
TEN_MINUTES = 600.0
MOMENT = 1 / 1024
"""Seconds between two decisions on one reading. Readings stay whole seconds apart, so that limits are met."""


@cache
def levels(partitions: int) -> list[int]:
    """All numbers of replicas that one less would slow down."""

    def busiest(replicas: int) -> int:
        return -(-partitions // replicas)

    return [n for n in range(1, partitions + 1) if n == 1 or busiest(n - 1) > busiest(n)]


def under(most: int, partitions: int) -> int:
    return max(level for level in levels(partitions) if level <= max(1, most))


class Stream(RuleBasedStateMachine):
    @initialize(policy=policies(SCALED), count=st.integers(1, 20), claim=st.sampled_from([None, None, 1]))
    def begin(self, policy: Policy, count: int, claim: int | None):
        self.policy, self.claim = policy, claim
        self.parts = [Partition(0, 0)] * count
        self.replicas, self.members, self.stable = 0, 0, True
        self.now = 100.0
        self.forget()

    @rule()
    def forget(self):
        """The operator restarts."""
        self.state = State()
        self.reading: Reading | None = None
        self.stepped = False
        self.demands: list[tuple[float, int]] = []  # since when, how many; each holds until the next
        self.idle_since: float | None = None
        self.unsettled_since: float | None = None
        self.changed_at: float | None = None
        self.groups: list[Group] | None = None  # what was read at the last change, and since
        self.end: int | None = None

    @rule(data=st.data(), records=st.integers(1, 1000))
    def produce(self, data, records: int):
        at = data.draw(st.integers(0, len(self.parts) - 1))
        self.parts[at] = replace(self.parts[at], log_end=self.parts[at].log_end + records)

    @rule()
    def deliver_everything(self):
        self.parts = [replace(part, committed=part.log_end, unfinished=0) for part in self.parts]

    @rule(data=st.data())
    def commit_in_mid_file(self, data):
        at = data.draw(st.integers(0, len(self.parts) - 1))
        self.parts[at] = replace(self.parts[at], committed=self.parts[at].log_end, unfinished=1)

    @rule(more=st.integers(1, 20))
    def add_partitions(self, more: int):
        self.parts += [Partition(0, 0)] * more

    @rule(members=st.integers(0, 20), stable=st.booleans())
    def rebalance(self, members: int, stable: bool):
        self.members, self.stable = members, stable

    @rule()
    def settle(self):
        self.members, self.stable = self.replicas, True

    @rule(steps=st.integers(1, 3))
    def lose_pods(self, steps: int):
        """As many members are left as there would be replicas a few levels further down."""
        self.members, self.stable = self.replicas, True
        for _ in range(steps):
            self.members = under(self.members - 1, len(self.parts))

    @rule(policy=policies(SCALED))
    def edit(self, policy: Policy):
        self.policy = policy

    @rule(seconds=st.sampled_from([0.0, 10.0, 60.0, 300.0]))
    def edit_the_window(self, seconds: float):
        self.policy = replace(self.policy, scale_down_stabilization_seconds=seconds)

    @rule(replicas=st.integers(0, 30))
    def change_the_deployment_by_hand(self, replicas: int):
        self.replicas = replicas

    @rule(seconds=st.sampled_from([1, 15, 60, 300, 700]))
    def wait(self, seconds: int):
        self.now += seconds

    @rule(seconds=st.sampled_from([1, 60, 700]))
    def set_the_clock_back(self, seconds: int):
        self.now -= seconds

    @rule(seconds=st.sampled_from([1, 15, 300]))
    def fail_to_read(self, seconds: int):
        self.now += seconds
        self.reading, self.stepped = None, False
        before = self.replicas
        decision = decide(self.inputs(AWAY), self.state, self.now)
        limit = min(self.claim or 99, self.policy.max_replicas or 99)
        assert decision.replicas == min(max(before, min(1, self.policy.min_replicas)), limit)
        self.demands, self.idle_since, self.end = [(self.now, decision.replicas)], None, None
        if decision.replicas != before:
            self.changed_at = self.now
        self.groups = None
        self.replicas, self.state = decision.replicas, decision.state

    @rule(
        seconds=st.sampled_from([1, 15, 60]),
        times=st.integers(1, 25),
        decisions=st.integers(1, 3),
        follow=st.booleans(),
    )
    def read(self, seconds: int, times: int, decisions: int, follow: bool):
        for _ in range(times):
            self.now += seconds
            self.look()
            self.decide_once()
            for _ in range(decisions - 1):
                self.decide_on_the_same_reading()
            if follow:
                self.settle()

    @rule(
        partitions=st.integers(4, 20),
        window=st.sampled_from([0.0, 10.0, 300.0]),
        members=st.integers(0, 20),
        stable=st.booleans(),
        seconds=st.sampled_from([15, 60, 300]),
        decisions=st.integers(1, 2),
    )
    def run_too_many(
        self, partitions: int, window: float, members: int, stable: bool, seconds: int, decisions: int
    ):
        """All that there may be run, nothing asks for them, and the group is what it is."""
        self.deliver_everything()
        self.parts += self.parts[:1] * (partitions - len(self.parts))
        self.claim = None
        self.policy = Policy(mode=Mode.LAG, scale_down_stabilization_seconds=window)
        self.replicas, self.members, self.stable = len(self.parts), members, stable
        self.read(seconds, 1500 // seconds, decisions, follow=False)

    @precondition(lambda self: self.reading)
    @rule()
    def decide_on_the_same_reading(self):
        """Something else has changed, or seems to have."""
        before = self.now
        self.now += MOMENT
        self.decide_once()
        self.now = before

    @rule()
    def suspend_and_resume(self):
        decision = decide(
            replace(self.inputs(AWAY), policy=replace(self.policy, suspend=True)), self.state, self.now
        )
        assert decision.replicas == 0
        self.forget()
        self.replicas = 0

    def teardown(self):
        """However it went: left alone, it grows at once or shrinks step by step, and comes to rest."""
        if not hasattr(self, "parts"):
            return
        path = [self.replicas]
        seconds = self.policy.scale_down_stabilization_seconds + self.policy.idle_seconds + TEN_MINUTES
        for _ in range(int(seconds / 60) + len(levels(len(self.parts))) + 3):
            self.settle()
            self.now += 60
            self.look()
            self.decide_once()
            path.append(self.replicas)
        assert path in (sorted(path), sorted(path, reverse=True))
        assert path[-1] <= path[0] or set(path) == {path[0], path[-1]}
        assert path[-1] == (
            0 if self.policy.min_replicas == 0 and not self.work() else self.fit(self.demand())
        )

    def inputs(self, reading) -> Inputs:
        return Inputs(policy=self.policy, reading=reading, replicas=self.replicas, claim_ceiling=self.claim)

    def look(self):
        self.reading, self.stepped = Reading(tuple(self.parts), Group(self.stable, self.members)), False
        if self.groups is not None:
            self.groups.append(self.reading.group)

    def lag(self) -> int:
        return sum(part.log_end - (part.committed or 0) for part in self.reading.partitions)

    def work(self) -> bool:
        return self.lag() > 0 or any(part.unfinished for part in self.reading.partitions)

    def demand(self) -> int:
        if self.policy.mode is Mode.LAG:
            return -(-self.lag() // self.policy.lag_per_replica)
        return -(-len(self.reading.partitions) // self.policy.partitions_per_replica)

    def ceiling(self) -> int:
        limits = (len(self.reading.partitions), self.claim, self.policy.max_replicas)
        return min(limit for limit in limits if limit is not None)

    def fit(self, demand: int) -> int:
        """The demand's level under the ceiling, and not under the lowest that minReplicas allows."""
        count = len(self.reading.partitions)
        possible = [level for level in levels(count) if level <= self.ceiling()]
        enough = [level for level in possible if level >= self.policy.min_replicas] or possible[-1:]
        return max(under(min(demand, self.ceiling()), count), enough[0])

    def note(self):
        """What is known now that was not before. No time lies ahead: the clock may have been set back."""
        before, group = self.replicas, self.reading.group
        self.demands = [(min(since, self.now), number) for since, number in self.demands] or [
            (min(0.0, self.now), before)
        ]
        # A demand is the level that it asked for then; a topic of today may have more partitions.
        demand = self.demand()
        self.demands.append((self.now, under(demand, len(self.reading.partitions)) if demand else 0))
        end = sum(part.log_end for part in self.reading.partitions)
        arrived = self.end is not None and end != self.end and before > 0
        self.end = end
        busy = self.work() or arrived
        self.idle_since = None if busy else self.earlier(self.idle_since)
        settled = before == 0 or (group.stable and group.members == before)
        self.unsettled_since = None if settled else self.earlier(self.unsettled_since)
        if self.changed_at is not None:
            self.changed_at = self.earlier(self.changed_at)

    def earlier(self, since: float | None) -> float:
        return self.now if since is None else min(since, self.now)

    def idle(self) -> bool:
        return self.idle_since is not None and self.policy.min_replicas == 0

    def needed(self) -> int:
        """The most that was demanded within the window."""
        begins = self.now - self.policy.scale_down_stabilization_seconds
        ends = [since for since, _ in self.demands[1:]] + [float("inf")]
        return max(number for (_, number), until in zip(self.demands, ends, strict=True) if until > begins)

    def group_may_shrink(self) -> bool:
        # A group that only ever said what it said when its number was changed need not know of that yet.
        unaware = self.groups is not None and len(set(self.groups)) == 1
        if self.unsettled_since is None and not unaware:
            return True
        begun = max(t for t in (self.unsettled_since, self.changed_at) if t is not None)
        return self.now - begun >= TEN_MINUTES

    def expected(self) -> int:
        before, count = self.replicas, len(self.reading.partitions)
        wanted, highest = self.fit(self.demand()), under(self.ceiling(), count)
        if self.idle() and (before == 0 or self.now - self.idle_since >= self.policy.idle_seconds):
            return 0
        if before > self.ceiling():
            return highest
        if wanted >= before:
            return before if self.idle() else wanted
        target = self.fit(self.needed())
        if target >= before or not self.group_may_shrink():
            return before
        return max(target, under(before - 1, count))

    def decide_once(self):
        self.note()
        before, expected = self.replicas, self.expected()
        decision = decide(self.inputs(self.reading), self.state, self.now)
        after = decision.replicas
        assert after == expected
        long = self.unsettled_since is not None and self.now - self.unsettled_since >= TEN_MINUTES
        assert decision.group.status is long

        if self.work() or self.policy.min_replicas:
            assert after > 0
        if 0 < after < before <= self.ceiling():
            # At most one step on one reading; after ten minutes what a group says, or not, no longer blocks.
            waited = self.changed_at is None or self.now - self.changed_at >= TEN_MINUTES
            assert waited or not self.stepped
            self.stepped = True
        if after != before:
            self.changed_at, self.groups = self.now, [self.reading.group]
        self.replicas, self.state = after, decision.state


# What decides whether a change lands tries the same traces each time; anywhere else they are others.
Stream.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, derandomize="CI" in os.environ
)
TestAnyTrace = Stream.TestCase
