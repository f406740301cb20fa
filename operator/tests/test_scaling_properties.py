"""What holds for every stream, every reading and every past."""

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.scaling import changes, failures, inputs, play, policies, quiet, readings, situations

from penstock_operator.levels import balanced, balanced_above
from penstock_operator.reading import Group, Partition, Reading
from penstock_operator.scaling import Inputs, Mode, Policy, State, decide

SCALED = (Mode.PARTITIONS, Mode.LAG)


def ceiling(given: Inputs) -> int:
    assert isinstance(given.reading, Reading)
    limits = (len(given.reading.partitions), given.policy.max_replicas, given.claim_ceiling)
    return min(limit for limit in limits if limit is not None)


def work(given: Inputs) -> bool:
    assert isinstance(given.reading, Reading)
    return given.reading.lag > 0 or given.reading.unfinished > 0


@given(situations(modes=tuple(Mode)))
def test_never_more_than_partitions_max_replicas_or_the_claim_allow(situation):
    given, state, now = situation
    assert 0 <= decide(given, state, now).replicas <= ceiling(given)


@given(situations(found=failures, modes=tuple(Mode)))
def test_a_failed_read_never_adds_a_replica_where_one_runs_and_never_exceeds_the_spec(situation):
    given, state, now = situation
    decision = decide(given, state, now)
    least = given.asked if given.policy.mode is Mode.EXTERNAL else given.policy.min_replicas
    assert decision.replicas <= max(given.replicas, min(1, least))
    assert decision.replicas <= min(given.claim_ceiling or 99, given.policy.max_replicas or 99)
    assert decision.active.status is False


@given(situations(found=failures))
def test_a_failed_read_never_changes_what_the_spec_allows(situation):
    given, state, now = situation
    assume(min(1, given.policy.min_replicas) <= given.replicas)
    assume(given.replicas <= min(given.claim_ceiling or 99, given.policy.max_replicas or 99))
    assert decide(given, state, now).replicas == given.replicas


@given(situations())
def test_a_new_number_is_a_balanced_level_or_zero(situation):
    given, state, now = situation
    replicas = decide(given, state, now).replicas
    if replicas not in {0, given.replicas}:
        assert replicas == balanced(replicas, len(given.reading.partitions))


@given(situations())
def test_at_least_min_replicas_where_a_level_below_the_ceiling_is(situation):
    given, state, now = situation
    lowest = balanced_above(max(1, given.policy.min_replicas), len(given.reading.partitions))
    if given.policy.min_replicas and lowest <= ceiling(given):
        assert decide(given, state, now).replicas >= lowest


@given(situations(), st.integers(0, 69), st.integers(1, 5000))
def test_more_lag_never_means_fewer_replicas(situation, where, more):
    given, state, now = situation
    found = list(given.reading.partitions)
    part = found[where % len(found)]
    # The same partition with its offset further back: nothing else differs.
    back = max(part.log_start, part.log_end - part.lag - more)
    found[where % len(found)] = replace(part, committed=back)
    behind = replace(given, reading=Reading(tuple(found), given.reading.group))
    assume(behind.reading.lag >= given.reading.lag)
    assert decide(behind, state, now).replicas >= decide(given, state, now).replicas


@given(situations())
def test_in_by_one_level_at_the_most_but_to_zero_and_under_a_ceiling(situation):
    given, state, now = situation
    replicas = decide(given, state, now).replicas
    if 0 < replicas < given.replicas:
        lowest = balanced(max(1, given.replicas - 1), len(given.reading.partitions))
        assert replicas >= min(lowest, balanced(ceiling(given), len(given.reading.partitions)))


@given(situations(found=readings | quiet | failures))
def test_zero_only_where_the_author_allows_it_and_nothing_is_left_to_do(situation):
    given, state, now = situation
    if decide(given, state, now).replicas == 0 and given.replicas > 0:
        assert given.policy.min_replicas == 0
        assert not work(given)


@given(situations(found=readings | quiet))
def test_whatever_there_is_to_do_has_a_replica_at_once(situation):
    given, state, now = situation
    if work(given):
        assert decide(given, state, now).replicas >= 1


@given(situations())
def test_after_a_restart_nothing_shrinks_within_the_window(situation):
    given, _, now = situation
    if given.policy.scale_down_stabilization_seconds > 0:
        level = min(given.replicas, balanced(ceiling(given), len(given.reading.partitions)))
        allowed = given.policy.min_replicas == 0 and not given.policy.idle_seconds and not work(given)
        assert decide(given, State(), now).replicas >= (0 if allowed else min(level, given.replicas))


@given(situations(), st.integers(-5000, 5000))
def test_only_differences_of_times_matter(situation, shift):
    given, state, now = situation
    shifted = replace(
        state,
        history=tuple(entry._replace(until=entry.until + shift) for entry in state.history),
        **{
            name: None if getattr(state, name) is None else getattr(state, name) + shift
            for name in ("idle_since", "unsettled_since", "changed_at")
        },
    )
    assert decide(given, shifted, now + shift).replicas == decide(given, state, now).replicas


@given(policies(SCALED), readings | quiet, st.integers(0, 80), st.sampled_from([None, 1]))
@settings(max_examples=60)
def test_constant_input_leads_to_one_number_and_stays_there(
    policy: Policy, found: Reading, replicas: int, claim: int | None
):
    """Growing takes one change; shrinking goes down through neighbouring levels; neither ever turns back."""
    there = inputs(policy, found, replicas, claim_ceiling=claim)
    highest, count = ceiling(there), len(found.partitions)
    levels = sorted({balanced(n, count) for n in range(1, count + 1)})
    seconds = policy.scale_down_stabilization_seconds + policy.idle_seconds + 15 * (len(levels) + 5)
    path = changes(replicas, play(policy, found, replicas, seconds=seconds, claim_ceiling=claim))
    end = path[-1]

    # It is the right number: the demand's level between the limits, or zero.
    if policy.min_replicas == 0 and not work(there):
        assert end == 0
    else:
        demand = -(-count // policy.partitions_per_replica)
        if policy.mode is Mode.LAG:
            demand = max(1, -(-found.lag // policy.lag_per_replica))
        under = [level for level in levels if level <= highest]
        enough = [level for level in under if level >= policy.min_replicas] or under[-1:]
        assert end == max(balanced(min(demand, highest), count), enough[0])

    # The way there.
    if end > replicas:
        assert path == [replicas, end]
    else:
        assert path == sorted(set(path), reverse=True)
        forced = [step for step in path[1:] if step not in {0, balanced(highest, count)}]
        for step in forced:
            assert step == balanced(path[path.index(step) - 1] - 1, count)

    # And it stays.
    long = play(policy, found, end, seconds=5000, every=250, claim_ceiling=claim)
    assert changes(end, long) == [end]


@given(policies(SCALED), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 90)), max_size=60))
def test_the_history_is_bounded_by_the_number_of_levels(policy: Policy, trace):
    state, now, count = State(), 0.0, 64
    for lag, seconds in trace:
        now += seconds
        found = Reading((Partition(0, lag, 0), *[Partition(0, 0, 0)] * (count - 1)), Group(True, 8))
        state = decide(inputs(policy, found, 8), state, now).state
        sizes = [entry.replicas for entry in state.history]
        assert sizes == sorted(set(sizes), reverse=True)
        assert len(sizes) <= 2 * count**0.5 + 1
        assert all(entry.until <= now for entry in state.history)
