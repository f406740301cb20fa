"""A stream's life, in any order: files, commits, rebalances, new partitions, failed reads, restarts, edits.

The model keeps everything and looks at all of it; the operator keeps a few values. They must agree.
"""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.scaling import AWAY, policies

from penstock_operator.levels import balanced
from penstock_operator.reading import Group, Partition, Reading
from penstock_operator.scaling import GROUP_PATIENCE_SECONDS, Inputs, Mode, Policy, State, decide

SCALED = (Mode.PARTITIONS, Mode.LAG)


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
        self.demands: list[tuple[float, int]] = []  # since when, how many; each holds until the next
        self.idle_since: float | None = None
        self.unsettled_since: float | None = None
        self.changed_at: float | None = None
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

    @rule(policy=policies(SCALED))
    def edit(self, policy: Policy):
        self.policy = policy

    @rule(replicas=st.integers(0, 30))
    def change_the_deployment_by_hand(self, replicas: int):
        self.replicas = replicas

    @rule(seconds=st.sampled_from([0, 1, 15, 60, 300, 700]))
    def wait(self, seconds: int):
        self.now += seconds

    @rule(seconds=st.sampled_from([1, 15, 300]))
    def fail_to_read(self, seconds: int):
        self.now += seconds
        before = self.replicas
        decision = decide(self.inputs(AWAY), self.state, self.now)
        limit = min(self.claim or 99, self.policy.max_replicas or 99)
        assert decision.replicas == min(max(before, min(1, self.policy.min_replicas)), limit)
        self.apply(decision)
        self.demands, self.idle_since, self.end = [(self.now, decision.replicas)], None, None

    @rule(seconds=st.sampled_from([1, 15, 60]), times=st.integers(1, 25), follow=st.booleans())
    def read(self, seconds: int, times: int, follow: bool):
        for _ in range(times):
            self.now += seconds
            self.decide_once()
            if follow:
                self.settle()

    @precondition(lambda self: self.parts)
    @rule()
    def suspend_and_resume(self):
        decision = decide(
            replace(self.inputs(AWAY), policy=replace(self.policy, suspend=True)), self.state, self.now
        )
        assert decision.replicas == 0
        self.forget()
        self.replicas = 0

    def inputs(self, reading) -> Inputs:
        return Inputs(policy=self.policy, reading=reading, replicas=self.replicas, claim_ceiling=self.claim)

    def apply(self, decision):
        if decision.replicas != self.replicas:
            self.changed_at = self.now
        self.replicas, self.state = decision.replicas, decision.state

    def decide_once(self):
        reading = Reading(tuple(self.parts), Group(self.stable, self.members))
        count, before = len(self.parts), self.replicas
        lag = sum(part.log_end - (part.committed or 0) for part in self.parts)
        unfinished = sum(part.unfinished for part in self.parts)
        end = sum(part.log_end for part in self.parts)
        arrived = self.end is not None and end != self.end and before > 0
        self.end = end
        if lag or unfinished or arrived:
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = self.now
        if before == 0 or (self.stable and self.members == before):
            self.unsettled_since = None
        elif self.unsettled_since is None:
            self.unsettled_since = self.now
        demand = -(-count // self.policy.partitions_per_replica)
        if self.policy.mode is Mode.LAG:
            demand = max(-(-lag // self.policy.lag_per_replica), min(1, unfinished))
        if not self.demands:
            self.demands.append((0.0, before))
        # A demand is the level that it asked for then; a topic of today may have more partitions.
        self.demands.append((self.now, balanced(demand, count) if demand else 0))

        decision = decide(self.inputs(reading), self.state, self.now)
        after = decision.replicas
        ceiling = min(count, self.claim or 99, self.policy.max_replicas or 99)
        assert after <= ceiling
        if after not in {0, before}:
            assert after == balanced(after, count)
        if lag or unfinished or self.policy.min_replicas:
            assert after > 0
        if after == 0 and before > 0:
            assert self.policy.min_replicas == 0
            assert self.idle_since is not None
            assert self.now - self.idle_since >= self.policy.idle_seconds
        if before == 0 and not (lag or unfinished) and self.policy.min_replicas == 0:
            assert after == 0
        if after > before:
            assert after >= min(self.policy.min_replicas, balanced(ceiling, count)) or demand > before
        if 0 < after < before <= ceiling:
            self.shrank(after, before, count, ceiling)
        if lag and after < before and self.policy.mode is Mode.LAG:
            assert after >= balanced(min(demand, ceiling), count)
        self.apply(decision)

    def shrank(self, after: int, before: int, count: int, ceiling: int):
        begins = self.now - self.policy.scale_down_stabilization_seconds
        ends = [since for since, _ in self.demands[1:]] + [float("inf")]
        within = [number for (_, number), until in zip(self.demands, ends, strict=True) if until > begins]
        assert after >= balanced(max(1, min(max(within), ceiling)), count)
        assert after >= balanced(before - 1, count)
        if self.unsettled_since is not None:
            begun = max(self.unsettled_since, self.changed_at or 0.0)
            assert self.now - begun >= GROUP_PATIENCE_SECONDS


Stream.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestAnyTrace = Stream.TestCase
