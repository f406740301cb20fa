"""How many replicas a downloader has: each rule, by example."""

from dataclasses import replace

import pytest
from tests.scaling import AWAY, changes, inputs, play, reading, settled

from penstock_operator.levels import balanced, balanced_above, ceiling_of_claim
from penstock_operator.reading import Group, Partition, Reading
from penstock_operator.scaling import Mode, Policy, State, decide

LAG = Policy(mode=Mode.LAG, lag_per_replica=100)
TO_ZERO = replace(LAG, min_replicas=0, idle_seconds=60)


class TestLag:
    def test_is_what_was_produced_since_the_commit(self):
        assert Partition(0, 100, 70).lag == 30

    def test_of_a_group_that_never_committed_is_all_that_the_log_holds(self):
        assert Partition(40, 100).lag == 60

    def test_does_not_count_what_retention_has_taken(self):
        assert Partition(40, 100, 10).lag == 60

    def test_of_an_offset_beyond_the_end_is_that_of_a_new_topic(self):
        assert Partition(0, 5, 900).lag == 5


class TestLevels:
    def test_of_eight_partitions(self):
        assert sorted({balanced(n, 8) for n in range(1, 20)}) == [1, 2, 3, 4, 8]

    @pytest.mark.parametrize("partitions", [1, 2, 7, 8, 12, 60, 64, 100])
    def test_no_smaller_number_is_as_fast_and_no_level_is_left_out(self, partitions: int):
        def busiest(replicas: int) -> int:
            return max(len(range(first, partitions, replicas)) for first in range(replicas))

        levels = [n for n in range(1, partitions + 1) if n == 1 or busiest(n - 1) > busiest(n)]
        for n in range(1, partitions + 5):
            assert balanced(n, partitions) == max(level for level in levels if level <= n)
            assert balanced_above(n, partitions) == next(
                (level for level in levels if level >= n), partitions
            )

    def test_a_claim_that_one_node_mounts_allows_one_replica_unless_they_share_that_node(self):
        assert ceiling_of_claim(["ReadWriteOnce"]) == 1
        assert ceiling_of_claim(["ReadWriteOnce"], co_located=True) is None
        assert ceiling_of_claim(["ReadWriteOncePod"], co_located=True) == 1
        assert ceiling_of_claim(["ReadWriteOnce", "ReadWriteMany"]) is None


class TestDemand:
    @pytest.mark.parametrize(("each", "replicas"), [(1, 8), (2, 4), (3, 3), (5, 2), (100, 1)])
    def test_partitions(self, each: int, replicas: int):
        policy = Policy(mode=Mode.PARTITIONS, partitions_per_replica=each)
        assert decide(inputs(policy, reading(), 1), State(), 0).replicas == replicas

    @pytest.mark.parametrize(
        ("lag", "replicas"), [(0, 1), (1, 1), (100, 1), (101, 2), (500, 4), (701, 8), (10**9, 8)]
    )
    def test_lag(self, lag: int, replicas: int):
        assert decide(inputs(LAG, reading(lag), 1), State(), 0).replicas == replicas

    def test_new_partitions_raise_the_ceiling_by_themselves(self):
        before = decide(inputs(LAG, reading(10**6, partitions=4), 4), State(), 0)
        assert before.replicas == 4
        assert decide(inputs(LAG, reading(10**6, partitions=12), 4), before.state, 15).replicas == 12

    def test_external_is_what_was_asked_for_balanced_or_not(self):
        policy = Policy(mode=Mode.EXTERNAL, min_replicas=0)
        for asked in (0, 1, 5, 8):
            assert decide(inputs(policy, reading(10**6), 3, asked=asked), State(), 0).replicas == asked


class TestLimits:
    def test_more_than_partitions_would_idle(self):
        decision = decide(inputs(LAG, reading(10**6), 8), State(), 0)
        assert (decision.replicas, decision.limited.status, decision.limited.reason) == (
            8,
            True,
            "Partitions",
        )

    def test_under_max_replicas_the_next_balanced_level(self):
        decision = decide(inputs(replace(LAG, max_replicas=7), reading(10**6), 1), State(), 0)
        assert (decision.replicas, decision.limited.reason) == (4, "MaxReplicas")

    def test_a_claim_for_one_is_stronger_than_min_replicas(self):
        policy = replace(LAG, min_replicas=3)
        decision = decide(inputs(policy, reading(), 3, claim_ceiling=1), State(), 0)
        assert (decision.replicas, decision.limited.status, decision.limited.reason) == (
            1,
            True,
            "AccessMode",
        )

    def test_min_replicas_goes_up_to_a_balanced_level(self):
        decision = decide(inputs(replace(LAG, min_replicas=5), reading(), 1), State(), 0)
        assert (decision.replicas, decision.limited.status) == (8, False)

    def test_min_replicas_that_no_level_can_meet_is_not_met_and_says_so(self):
        policy = replace(LAG, min_replicas=5, max_replicas=6)
        decision = decide(inputs(policy, reading(), 1), State(), 0)
        assert (decision.replicas, decision.limited.status, decision.limited.reason) == (
            4,
            True,
            "UnevenMinimum",
        )

    def test_fewer_partitions_than_min_replicas(self):
        decision = decide(inputs(replace(LAG, min_replicas=5), reading(partitions=3), 1), State(), 0)
        assert (decision.replicas, decision.limited.reason) == (3, "Partitions")

    def test_what_is_over_a_new_ceiling_goes_at_once(self):
        busy = play(LAG, reading(10**6), 8, seconds=60)[-1].state
        assert decide(settled(replace(LAG, max_replicas=2), reading(10**6), 8), busy, 61).replicas == 2

    def test_and_no_further_in_the_same_step(self):
        calm = play(LAG, reading(), 8, seconds=285)[-1].state
        assert decide(settled(replace(LAG, max_replicas=4), reading(), 8), calm, 300).replicas == 4

    def test_external_stays_under_the_ceilings_too_and_has_no_floor(self):
        policy = Policy(mode=Mode.EXTERNAL)
        decision = decide(inputs(policy, reading(), 3, asked=9), State(), 0)
        assert (decision.replicas, decision.limited.reason) == (8, "Partitions")
        decision = decide(inputs(policy, reading(), 3, asked=3, claim_ceiling=1), State(), 0)
        assert (decision.replicas, decision.limited.reason) == (1, "AccessMode")
        decision = decide(inputs(policy, reading(), 3, asked=0), State(), 0)
        assert (decision.replicas, decision.limited.status) == (0, False)

    @pytest.mark.parametrize("wrong", [
        {"min_replicas": -1}, {"max_replicas": 0}, {"min_replicas": 3, "max_replicas": 2},
        {"partitions_per_replica": 0}, {"lag_per_replica": 0}, {"idle_seconds": float("nan")},
        {"scale_down_stabilization_seconds": -1},
    ])  # fmt: skip
    def test_a_policy_that_makes_no_sense_is_refused(self, wrong: dict):
        with pytest.raises(ValueError, match=r"Replica|Seconds"):
            Policy(**wrong)


class TestFailedReads:
    @pytest.mark.parametrize("replicas", [1, 5, 8])
    def test_keep_what_runs_and_say_why(self, replicas: int):
        decision = decide(inputs(LAG, AWAY, replicas), State(), 0)
        assert decision.replicas == replicas
        assert (decision.active.status, decision.active.reason) == (False, "BrokerUnreachable")
        assert (decision.group.status, decision.group.reason) == (None, "NotRead")

    def test_a_topic_without_partitions_is_one(self):
        decision = decide(inputs(LAG, Reading((), Group(True, 3)), 3), State(), 0)
        assert (decision.replicas, decision.active.reason) == (3, "NoPartitions")

    def test_do_not_keep_a_new_stream_from_the_one_replica_that_it_wants_in_any_case(self):
        assert decide(inputs(replace(LAG, min_replicas=5), AWAY, 0), State(), 0).replicas == 1
        assert decide(inputs(TO_ZERO, AWAY, 0), State(), 0).replicas == 0

    def test_do_not_undo_a_ceiling(self):
        assert decide(inputs(LAG, AWAY, 3, claim_ceiling=1), State(), 0).replicas == 1
        assert decide(inputs(replace(LAG, max_replicas=2), AWAY, 3), State(), 0).replicas == 2

    def test_begin_the_window_and_the_idle_time_anew(self):
        quiet = play(replace(TO_ZERO, idle_seconds=400), reading(), 8, seconds=290)[-1]
        assert quiet.replicas == 8
        held = decide(inputs(replace(TO_ZERO, idle_seconds=400), AWAY, 8), quiet.state, 300)
        after = play(
            replace(TO_ZERO, idle_seconds=400), reading(), 8, seconds=290, state=held.state, start=301
        )
        assert changes(8, after) == [8]

    def test_in_external_mode_less_is_obeyed_and_more_waits_for_the_number_of_partitions(self):
        policy = Policy(mode=Mode.EXTERNAL, min_replicas=0)
        assert decide(inputs(policy, AWAY, 3, asked=0), State(), 0).replicas == 0
        assert decide(inputs(policy, AWAY, 3, asked=9), State(), 0).replicas == 3
        assert decide(inputs(policy, AWAY, 0, asked=9), State(), 0).replicas == 1


class TestPace:
    def test_out_at_once(self):
        assert changes(1, play(LAG, reading(10**6), 1, seconds=3000)) == [1, 8]

    def test_in_level_by_level_after_the_window(self):
        decisions = play(LAG, reading(), 8, seconds=600)
        assert changes(8, decisions) == [8, 4, 3, 2, 1]
        assert {decision.replicas for decision in decisions[:20]} == {8}  # 300 s, 15 s each
        assert decisions[0].reason == "Stabilizing"
        assert decisions[20].replicas == 4

    def test_a_burst_within_the_window_keeps_what_it_needed(self):
        state = play(LAG, reading(10**6), 8, seconds=0)[-1].state
        assert {d.replicas for d in play(LAG, reading(), 8, seconds=299, state=state, start=1)} == {8}

    def test_a_window_shorter_than_the_time_between_readings_still_waits_for_a_second_one(self):
        policy = replace(LAG, scale_down_stabilization_seconds=5)
        state = decide(settled(policy, reading(10**6), 8), State(), 0).state
        first = decide(settled(policy, reading(), 8), state, 60)
        assert first.replicas == 8
        assert decide(settled(policy, reading(), 8), first.state, 120).replicas == 4

    def test_a_window_that_is_made_longer_looks_back_over_all_of_it(self):
        short = replace(LAG, scale_down_stabilization_seconds=0)
        busy = decide(settled(short, reading(10**6), 8), State(), 0).state
        quiet = decide(inputs(short, reading(stable=False), 8), busy, 15).state
        assert decide(settled(short, reading(), 8), quiet, 30).replicas == 4
        for now, replicas in ((30, 8), (314, 8), (315, 4)):
            assert decide(settled(LAG, reading(), 8), quiet, now).replicas == replicas

    def test_without_a_window_in_at_once_but_still_level_by_level(self):
        policy = replace(LAG, scale_down_stabilization_seconds=0)
        assert changes(8, play(policy, reading(), 8, seconds=60)) == [8, 4, 3, 2, 1]

    def test_an_unsettled_group_loses_no_member(self):
        waiting = play(LAG, reading(), 8, seconds=300)[-2].state
        for group in (Group(False, 8), Group(True, 7), Group(True, 9)):
            found = Reading(reading().partitions, group)
            decision = decide(inputs(LAG, found, 8), waiting, 310)
            assert (decision.replicas, decision.reason) == (8, "WaitingForGroup")

    def test_a_group_that_never_settles_is_a_condition_and_loses_a_level_every_ten_minutes(self):
        found = reading(stable=False)
        replicas, state, when = 8, State(), []
        for now in range(0, 2000, 15):
            decision = decide(inputs(LAG, found, replicas), state, now)
            assert decision.group.status is (now >= 600)
            if decision.replicas != replicas:
                when.append(now)
            replicas, state = decision.replicas, decision.state
        assert when == [600, 1200, 1800]

    @pytest.mark.parametrize(
        ("policy", "members"),
        [
            (replace(LAG, scale_down_stabilization_seconds=0), 8),
            (LAG, 8),
            (LAG, 4),  # four pods have long been missing: by chance those that there are to be
            (replace(LAG, max_replicas=4), 4),
        ],
    )
    def test_one_reading_takes_one_level_however_often_it_is_decided_upon(self, policy: Policy, members: int):
        found = reading(members=members)
        replicas, state, path = 8, decide(inputs(LAG, found, 8), State(), 0).state, [8]
        for moment in range(1000):
            decision = decide(inputs(policy, found, replicas), state, 600 + moment / 1000)
            replicas, state = decision.replicas, decision.state
            path.append(replicas)
        assert path == [8, *[4] * 1000]

    def test_a_group_that_says_something_else_has_noticed_the_change(self):
        found = reading(members=4)
        state = decide(inputs(LAG, found, 8), State(), 0).state
        state = decide(inputs(LAG, found, 8), state, 600).state
        decision = decide(inputs(LAG, found, 4), state, 615)
        assert (decision.replicas, decision.reason) == (4, "WaitingForGroup")
        leaving = decide(inputs(LAG, reading(members=4, stable=False), 4), decision.state, 630)
        assert decide(inputs(LAG, found, 4), leaving.state, 645).replicas == 3
        # One that never does has its ten minutes, too.
        assert decide(inputs(LAG, found, 4), decision.state, 1199).replicas == 4
        assert decide(inputs(LAG, found, 4), decision.state, 1200).replicas == 3

    def test_new_partitions_within_the_window_do_not_make_the_old_number_uneven_for_good(self):
        state = play(LAG, reading(10**6, partitions=8), 8, seconds=0)[-1].state
        after = play(LAG, reading(partitions=12), 8, seconds=600, state=state, start=15)
        assert changes(8, after) == [8, 6, 4, 3, 2, 1]

    def test_a_slowly_falling_lag_is_remembered_by_its_levels_alone(self):
        state = State()
        for now in range(64):
            found = reading(100 * (64 - now), partitions=64)
            state = decide(inputs(LAG, found, 64), state, now).state
        assert [entry.replicas for entry in state.history] == sorted(
            {balanced(n, 64) for n in range(1, 65)}, reverse=True
        )

    def test_a_clock_that_was_set_back_delays_and_changes_nothing(self):
        state = play(LAG, reading(), 8, seconds=0, start=10**6)[-1].state
        assert changes(8, play(LAG, reading(), 8, seconds=299, state=state)) == [8]
        assert changes(8, play(LAG, reading(), 8, seconds=600, state=state)) == [8, 4, 3, 2, 1]

    @pytest.mark.parametrize(
        ("group", "reason"),
        [
            (Group(False, 8), "Rebalancing"),
            (Group(True, 7), "MembersMissing"),
            (Group(True, 9), "ForeignMembers"),
        ],
    )
    def test_what_keeps_a_group_from_settling_is_named(self, group: Group, reason: str):
        found = Reading(reading(10**6).partitions, group)
        state = decide(inputs(LAG, found, 8), State(), 0).state
        assert decide(inputs(LAG, found, 8), state, 599).group.status is False
        late = decide(inputs(LAG, found, 8), state, 600).group
        assert (late.status, late.reason) == (True, reason)

    def test_after_external_the_window_begins_anew(self):
        calm = play(LAG, reading(), 8, seconds=285)[-1].state
        external = replace(LAG, mode=Mode.EXTERNAL)
        between = decide(settled(external, reading(), 8, asked=8), calm, 290).state
        assert decide(settled(LAG, reading(), 8), between, 300).replicas == 8

    def test_a_clock_that_was_set_back_does_not_stretch_ten_minutes(self):
        found = reading(stable=False)
        state = decide(inputs(LAG, found, 8), State(changed_at=10.0**6), 10**6).state
        state = decide(inputs(LAG, found, 8), state, 0).state
        assert decide(inputs(LAG, found, 8), state, 599).replicas == 8
        assert decide(inputs(LAG, found, 8), state, 600).replicas == 4

    def test_after_a_restart_nothing_shrinks_for_a_whole_window(self):
        ready = play(LAG, reading(), 8, seconds=285)[-1].state
        assert decide(settled(LAG, reading(), 8), ready, 300).replicas == 4
        assert decide(settled(LAG, reading(), 8), State(), 300).replicas == 8


class TestZero:
    def test_after_idle_seconds_at_once_from_any_number(self):
        decisions = play(TO_ZERO, reading(), 8, seconds=60)
        assert changes(8, decisions) == [8, 0]
        assert [d.replicas for d in decisions[:4]] == [8, 8, 8, 8]  # 0, 15, 30, 45 s
        assert decisions[-1].reason == "ScaledToZero"

    def test_also_at_second_zero_of_the_clock(self):
        assert play(TO_ZERO, reading(), 1, seconds=60, every=60)[-1].replicas == 0

    def test_not_with_min_replicas(self):
        assert changes(1, play(replace(TO_ZERO, min_replicas=1), reading(), 1, seconds=900)) == [1]

    def test_not_while_someone_must_expire_an_upload(self):
        assert changes(1, play(TO_ZERO, reading(unfinished=1), 1, seconds=900)) == [1]

    def test_not_while_files_come_and_go_between_two_readings(self):
        replicas, state = 1, State()
        for now in range(0, 900, 15):
            decision = decide(settled(TO_ZERO, reading(end=now + 1), replicas), state, now)
            replicas, state = decision.replicas, decision.state
        assert replicas == 1

    @pytest.mark.parametrize("found", [reading(1), reading(unfinished=1)])
    @pytest.mark.parametrize("mode", [Mode.LAG, Mode.PARTITIONS])
    def test_back_as_soon_as_there_is_anything(self, found: Reading, mode: Mode):
        policy = replace(TO_ZERO, mode=mode)
        idle = play(policy, reading(), 1, seconds=60)[-1]
        assert idle.replicas == 0
        decision = decide(settled(policy, found, 0), idle.state, 75)
        assert (decision.replicas, decision.reason) == (8 if mode is Mode.PARTITIONS else 1, "ScaledOut")

    def test_stays_zero_after_a_restart(self):
        decision = decide(settled(TO_ZERO, reading(), 0), State(), 0)
        assert (decision.replicas, decision.reason) == (0, "Idle")

    def test_is_not_woken_by_records_that_another_member_of_its_group_has_read(self):
        idle = play(TO_ZERO, reading(end=5), 1, seconds=60)[-1]
        assert decide(settled(TO_ZERO, reading(end=6), 0), idle.state, 75).replicas == 0

    def test_is_not_grown_to_on_the_way(self):
        policy = replace(TO_ZERO, mode=Mode.PARTITIONS)
        assert changes(2, play(policy, reading(), 2, seconds=60)) == [2, 0]

    def test_does_not_wait_for_a_group_that_never_settles(self):
        state = decide(inputs(TO_ZERO, reading(stable=False), 1), State(), 0).state
        assert decide(inputs(TO_ZERO, reading(stable=False), 1), state, 60).replicas == 0

    def test_comes_after_idle_seconds_of_a_clock_that_was_set_back(self):
        state = decide(settled(TO_ZERO, reading(), 1), State(), 10**6).state
        state = decide(settled(TO_ZERO, reading(), 1), state, 0).state
        assert decide(settled(TO_ZERO, reading(), 1), state, 59).replicas == 1
        assert decide(settled(TO_ZERO, reading(), 1), state, 60).replicas == 0

    def test_expects_no_group(self):
        found = reading(stable=False, members=1)
        state = decide(inputs(TO_ZERO, found, 0), State(), 0).state
        assert decide(inputs(TO_ZERO, found, 0), state, 900).group.status is False

    def test_is_no_limit(self):
        policy = replace(TO_ZERO, mode=Mode.PARTITIONS, max_replicas=4)
        assert decide(settled(policy, reading(10), 0), State(), 0).limited.status is True
        assert decide(settled(policy, reading(), 0), State(), 0).limited.status is False

    def test_at_once_when_suspended_whatever_else_holds(self):
        for found in (reading(10**6), reading(unfinished=1), AWAY):
            decision = decide(inputs(replace(LAG, suspend=True, min_replicas=3), found, 3), State(), 0)
            assert (decision.replicas, decision.reason) == (0, "Suspended")
            assert (decision.active.status, decision.active.reason) == (False, "Suspended")


def test_a_quiet_stream_says_the_same_words_for_ever():
    after = play(LAG, reading(), 1, seconds=3600)
    assert {(d.reason, d.message, d.active, d.limited, d.group) for d in after} == {
        (after[0].reason, after[0].message, after[0].active, after[0].limited, after[0].group)
    }
