"""What is done about a stream, and when: the decisions that people would notice."""

from dataclasses import replace

import pytest
from tests.reconciling import (
    MISSING,
    RWO,
    RWX,
    World,
    changed,
    ending,
    live,
    moment,
    seen,
    with_status,
)
from tests.scaling import AWAY, reading
from tests.streams import INSTALLATION, example, laid_over

from penstock_operator.kafka import Deletion, Observation
from penstock_operator.observed import Observed
from penstock_operator.reading import FailedRead
from penstock_operator.reconcile import (
    DELETION_SECONDS,
    FINALIZER,
    PREPARE_AGAIN_SECONDS,
    PREPARE_SECONDS,
    Memory,
    Note,
    Plan,
    after_deletion,
    after_invalid,
    invalid_status,
    reconcile,
)

LAG = {"mode": "Lag", "lagPerReplica": 10, "minReplicas": 1}
EXTERNAL = {"mode": "External"}
DELETABLE = {
    "topic": {"management": "Create", "partitions": 8},
    "deletionPolicy": "Delete",
}


def minimal(**spec):
    return changed(example("minimal", **spec), generation=1)


def scaled(**scaling):
    return minimal(downloader={"scaling": scaling})


def edited(world, **spec):
    """Somebody applies another spec: only the generation grows."""
    before = world.stream.metadata
    world.stream = with_status(
        changed(minimal(**spec), generation=before.generation + 1, finalizers=before.finalizers), world.status
    )


def condition(status, kind="Ready"):
    (found,) = [one for one in status["conditions"] if one["type"] == kind]
    return found["status"], found["reason"]


def told(plan):
    return [(note.reason, note.warning) for note in plan.notes]


# How many


def test_a_new_stream_gets_a_downloader_for_each_partition():
    world = World(minimal()).settle()
    assert world.deployments["downloader"]["spec"]["replicas"] == 8
    assert world.status["desiredReplicas"] == world.status["readyReplicas"] == world.status["replicas"] == 8
    assert world.status["partitions"] == 8
    assert world.status["lag"] == 0
    assert world.status["topicId"] == "topic-1"
    assert world.status["consumerGroup"] == "lab.balance"
    assert world.status["observedGeneration"] == 1
    assert condition(world.status) == ("True", "AllReady")


def test_nothing_but_the_finalizer_happens_before_kafka_was_asked():
    observed = Observed(
        stream=minimal(**DELETABLE), reading=None, deployments={"downloader": live(minimal())}
    )
    plan = reconcile(observed, Memory(), moment(), INSTALLATION)
    assert plan.finalizers == (FINALIZER,)
    assert (dict(plan.apply), plan.delete, plan.status, plan.prepare_topic) == ({}, (), None, False)


def test_a_restart_takes_the_number_that_runs_for_what_is_needed():
    """The lag of the last minutes is forgotten; what runs was worth it."""
    stream = scaled(**LAG)
    world = World(stream, seen(reading(lag=0)), {"downloader": live(stream, replicas=4)})
    assert world.settle().status["desiredReplicas"] == 4
    assert world.writes == 2, "the first apply, and a status"


def test_a_restart_does_not_take_somebody_elses_number():
    stream = scaled(**LAG)
    world = World(stream, seen(reading(lag=0)), {"downloader": live(stream, replicas=4, ours=False)})
    assert world.step().status["desiredReplicas"] == 1


def test_the_operators_own_number_stands_against_one_set_by_hand():
    """As if nothing had been set: what was needed lately still counts."""
    world = World(scaled(**LAG), seen(reading(lag=35))).settle()
    world.deployments["downloader"] = live(world.stream, replicas=1, generation=9)
    world.read(seen(reading(lag=0)))
    world.settle(5)
    assert world.deployments["downloader"]["spec"]["replicas"] == 4


def test_one_reading_is_decided_on_once():
    """However often something happens in between, a group shrinks by one level for one reading."""
    stream = scaled(**LAG, scaleDownStabilizationSeconds=0)
    world = World(stream, seen(reading(lag=80, members=0))).settle()
    world.read(seen(reading(lag=0, members=8)))
    assert world.settle(20).status["desiredReplicas"] == 4
    assert world.settle(2000).status["desiredReplicas"] == 4
    world.read(seen(reading(lag=0, members=4)))
    assert world.settle(4000).status["desiredReplicas"] == 3


def test_a_change_of_the_stream_is_decided_on_without_a_new_reading():
    world = World(minimal()).settle()
    edited(world, downloader={"scaling": {"partitionsPerReplica": 2, "scaleDownStabilizationSeconds": 0}})
    world.settle(1000)
    assert world.status["desiredReplicas"] == 4
    assert world.status["observedGeneration"] == 2


def test_so_is_a_claim_that_allows_more_or_less():
    world = World(minimal(), claims={"lab-data": RWO}).settle()
    assert world.status["desiredReplicas"] == 1
    assert condition(world.status, "ScalingLimited") == ("True", "AccessMode")
    world.claims = {"lab-data": RWX}
    assert world.settle(5).status["desiredReplicas"] == 8
    world.claims = {"lab-data": None}
    assert world.settle(9).status["desiredReplicas"] == 1


@pytest.mark.parametrize(
    ("claim", "replicas"),
    [
        (RWX, 8),
        ({"spec": {"accessModes": ["ReadWriteMany"]}}, 8),
        ({"spec": {"accessModes": ["ReadWriteMany"]}, "status": RWO["status"]}, 1),
        ({"spec": {}}, 1),
        (None, 1),
    ],
    ids=["bound", "pending", "bound as something else", "nothing known", "missing"],
)
def test_what_a_claim_is_counts_and_not_what_it_was_to_be(claim, replicas):
    assert World(minimal(), claims={"lab-data": claim}).step().status["desiredReplicas"] == replicas


def test_a_failed_read_holds_what_runs():
    world = World(scaled(**LAG), seen(reading(lag=35))).settle()
    world.read(Observation(world.observation.topic, AWAY))
    world.settle(15)
    assert world.deployments["downloader"]["spec"]["replicas"] == 4
    assert condition(world.status, "ScalingActive") == ("False", "BrokerUnreachable")
    assert condition(world.status) == ("False", "BrokerUnreachable")
    assert "lag" not in world.status, "an old number would look like a new one"
    assert world.status["partitions"] == 8


def test_what_is_known_of_a_topic_outlasts_a_kafka_that_is_away():
    world = World(minimal()).settle()
    world.read(seen(AWAY))
    world.settle(15)
    assert (world.status["partitions"], world.status["topicId"]) == (8, "topic-1")
    assert "lag" not in world.status


def test_a_lag_without_its_topic_is_not_told():
    world = World(minimal(), Observation(AWAY, reading(lag=5)))
    assert "lag" not in world.step().status


def test_a_suspended_stream_has_no_pods_and_says_so():
    world = World(changed(example("instrument"), generation=1)).settle()
    assert world.deployments["uploader"]["spec"]["replicas"] == 1
    world.stream = with_status(changed(example("instrument", suspend=True), generation=2), world.status)
    plan = world.step(5)
    if plan.status is None:
        plan = world.step(5)
    world.settle(5)
    assert {side: there["spec"]["replicas"] for side, there in world.deployments.items()} == {
        "uploader": 0,
        "downloader": 0,
    }
    assert condition(world.status) == ("False", "Suspended")
    assert world.status["desiredReplicas"] == 0
    assert not any(note.warning for note in plan.notes), "somebody wanted it so"


@pytest.mark.parametrize(("asked", "replicas"), [(0, 0), (3, 3), (99, 8)])
def test_an_external_autoscaler_gets_what_it_asks_for_up_to_the_partitions(asked, replicas):
    world = World(minimal(downloader={"replicas": asked, "scaling": EXTERNAL})).settle()
    assert world.status["desiredReplicas"] == replicas
    edited(world, downloader={"replicas": 2, "scaling": EXTERNAL})
    assert world.settle(5).status["desiredReplicas"] == 2


# The Deployments


def test_an_uploader_that_is_to_be_a_sidecar_now_goes():
    stream = example("sidecar")
    world = World(stream, deployments={"uploader": live(stream, "uploader")}).settle()
    assert world.deployments.keys() == {"downloader"}


def test_an_uploader_of_somebody_else_stays_when_none_is_wanted():
    stream = example("sidecar")
    theirs = live(stream, "uploader", ours=False)
    assert World(stream, deployments={"uploader": theirs}).settle().deployments["uploader"] is theirs


def test_pods_are_replaced_when_their_credentials_change():
    observed = World(example("instrument"), seen(reading(partitions=12))).observed()
    memory = Memory(prepared_for=(observed.stream.spec.kafka, observed.stream.spec.topic))
    first, second = (
        reconcile(replace(observed, revision=revision), memory, moment(), INSTALLATION).apply
        for revision in ("r1", "r2")
    )
    assert first.keys() == {"uploader", "downloader"}
    for side in first:
        assert first[side]["spec"]["template"] != second[side]["spec"]["template"]


def test_somebody_elses_pods_are_not_counted():
    stream = minimal()
    status = World(stream, deployments={"downloader": live(stream, replicas=5, ours=False)}).step().status
    assert (status["replicas"], status["readyReplicas"]) == (0, 0)


def test_who_comes_second_makes_nothing():
    plan = World(example("instrument"), seen(MISSING), earlier="lab.first").step()
    assert (dict(plan.apply), plan.prepare_topic) == ({}, False)


def test_who_comes_second_stops_both_sides_and_deletes_neither():
    stream, other = example("instrument"), example("sidecar")
    world = World(stream, deployments={"uploader": live(stream, "uploader")}, earlier="lab.first").settle()
    assert world.deployments["uploader"]["spec"]["replicas"] == 0
    world = World(other, deployments={"uploader": live(other, "uploader")}, earlier="lab.first").settle()
    assert "uploader" in world.deployments


def test_who_turns_out_to_be_second_stops_and_begins_again_when_the_first_is_gone():
    world = World(minimal()).settle()
    world.earlier = "lab.first"
    world.settle(2)
    assert world.deployments["downloader"]["spec"]["replicas"] == 0
    assert world.status["desiredReplicas"] == 0
    assert world.memory.decision is None
    world.earlier = None
    plan = world.step(5)
    assert plan.status["desiredReplicas"] == 8


# The topic


def creating(partitions=8, **topic):
    return minimal(topic={"management": "Create", "partitions": partitions, **topic})


def test_a_topic_is_made_before_anything_reads_it():
    world = World(creating(), seen(MISSING))
    plan = world.step()
    assert plan.prepare_topic
    assert (dict(plan.apply), plan.status) == ({}, None)
    world.read(seen())
    plan = world.step()
    assert not plan.prepare_topic
    assert plan.status["createdTopicId"] == "topic-1"


def test_a_topic_that_somebody_else_looks_after_is_never_touched():
    assert not World(minimal(), seen(MISSING)).step().prepare_topic


@pytest.mark.parametrize(
    ("observation", "error", "after"),
    [
        (seen(), None, PREPARE_SECONDS),
        (seen(reading(partitions=12)), None, PREPARE_SECONDS),
        (seen(reading(partitions=7)), None, PREPARE_AGAIN_SECONDS),
        (seen(MISSING), None, PREPARE_AGAIN_SECONDS),
        (seen(), FailedRead("NotAuthorized", "No."), PREPARE_AGAIN_SECONDS),
        (seen(AWAY), None, PREPARE_SECONDS),
    ],
    ids=["fine", "larger", "too small", "gone", "failed", "not seen"],
)
def test_how_often_a_topic_is_looked_after(observation, error, after):
    world = World(creating(), observation, topic_error=error)
    assert world.step().prepare_topic
    assert not world.step(after - 1).prepare_topic
    assert world.step(after).prepare_topic
    assert not world.step(2 * after - 1).prepare_topic


@pytest.mark.parametrize(
    "change",
    [{"topic": {"partitions": 9}}, {"topic": {"config": {"retention.ms": "1"}}}, {"kafka": {"tls": {}}}],
    ids=["partitions", "configuration", "connection"],
)
def test_what_the_stream_says_of_its_topic_is_done_at_once(change):
    world = World(creating()).settle()
    created = {"topic": {"management": "Create", "partitions": 8}}
    edited(world, **laid_over(created, change))
    assert world.step(1).prepare_topic
    assert not world.step(1).prepare_topic


def test_an_autoscaler_that_writes_a_number_does_not_wait_for_the_topic():
    topic = {"management": "Create", "partitions": 8}
    world = World(minimal(topic=topic, downloader={"replicas": 1, "scaling": EXTERNAL})).settle()
    edited(world, topic=topic, downloader={"replicas": 5, "scaling": EXTERNAL})
    assert world.step(1).status["desiredReplicas"] == 5


def test_whose_topic_it_is_stays_known_after_a_restart():
    world = World(creating()).settle()
    world.prepared, world.memory = 0, replace(world.memory)
    assert world.step(5).status["createdTopicId"] == "topic-1"


# What people read


def test_a_stream_that_comes_up_tells_how_many_it_has_and_nothing_else():
    world = World(minimal()).settle()
    assert [(note.reason, note.message) for note in world.events] == [
        ("ScaledOut", "0 -> 8 replicas: partitions 8, partitionsPerReplica 1")
    ]


def test_what_breaks_is_told_once_as_a_warning_and_its_mending_once():
    world = World(minimal()).settle()
    world.events.clear()
    world.read(seen(AWAY))
    first = world.step(15)
    assert told(first) == [("BrokerUnreachable", True)], "one reason, however many conditions have it"
    world.read(seen(AWAY))
    assert told(world.step(30)) == []
    world.read(seen())
    assert told(world.step(45)) == [("CanCarry", False), ("OffsetsRead", False)]


def test_another_reason_is_told_though_the_condition_stays_false():
    world = World(minimal(), healthy=False).settle()
    assert condition(world.status, "DownloaderReady") == ("False", "Starting")
    failing = replace(world.observed(), failing={"downloader": ("pod a cannot get image x",)})
    plan = reconcile(failing, world.memory, moment(5), INSTALLATION)
    assert told(plan) == [("PodsFailing", True)]
    again = replace(failing, stream=with_status(world.stream, plan.status))
    assert told(reconcile(again, plan.memory, moment(6), INSTALLATION)) == []


def test_a_topic_with_a_risk_is_no_news_each_time_the_risk_is_another():
    world = World(minimal()).settle()
    world.events.clear()
    world.read(seen(replication_factor=1))
    world.settle(5)
    assert condition(world.status, "TopicReady") == ("True", "CanCarryWithRisk")
    assert world.events == []


def test_a_number_that_a_failed_read_holds_is_not_told_as_a_decision():
    world = World(minimal(), seen(AWAY))
    assert told(world.step()) == [("BrokerUnreachable", True)]


def test_who_came_second_is_told_why():
    plan = World(minimal(), earlier="lab.first").step()
    assert told(plan) == [("GroupTaken", True)]
    assert "lab.first" in plan.notes[0].message


def test_a_condition_has_the_time_of_its_last_change_and_not_of_its_reason():
    def times(seconds, observation):
        world.read(observation)
        told = world.settle(seconds).status["conditions"]
        return {one["type"]: one["lastTransitionTime"] for one in told}

    world = World(minimal())
    begin, away, other, back = (moment(seconds).timestamp for seconds in (0, 15, 30, 45))
    assert set(times(0, seen()).values()) == {begin}
    changed_at = times(15, seen(AWAY))
    assert changed_at == {
        **dict.fromkeys(("Ready", "TopicReady", "ScalingActive"), away),
        **dict.fromkeys(("UploaderReady", "DownloaderReady", "ScalingLimited"), begin),
    }
    assert times(30, seen(FailedRead("NotAuthorized", "No."))) == changed_at
    assert other not in changed_at.values()
    assert times(45, seen())["Ready"] == back


def test_a_condition_keeps_its_time_as_kubernetes_writes_it():
    world = World(minimal()).settle()
    offset = [
        {**one, "lastTransitionTime": "2026-03-01T13:00:00+02:00"} for one in world.status["conditions"]
    ]
    world.stream = with_status(world.stream, {**world.status, "conditions": offset})
    times = {one["lastTransitionTime"] for one in world.step(5).status["conditions"]}
    assert times == {"2026-03-01T11:00:00Z"}


def test_a_message_is_as_long_as_kubernetes_takes():
    world = World(minimal(), refused={"downloader": "x" * 40_000})
    assert max(len(one["message"]) for one in world.step().status["conditions"]) == 32_768


# A stream that cannot be understood


def test_an_invalid_stream_keeps_its_numbers_and_says_what_is_wrong():
    before = World(minimal()).settle().status
    status = invalid_status(before, 7, "spec.topic: name is missing", moment(60))
    assert (status["desiredReplicas"], status["observedGeneration"]) == (8, 7)
    (ready,) = status["conditions"]
    assert ready == {
        "type": "Ready",
        "status": "False",
        "observedGeneration": 7,
        "lastTransitionTime": moment(60).timestamp,
        "reason": "InvalidSpec",
        "message": "spec.topic: name is missing",
    }
    again = invalid_status(status, 7, "spec.topic: name is missing", moment(90))
    assert again == status


def test_so_does_one_that_never_was_valid():
    assert [one["reason"] for one in invalid_status({}, 1, "wrong", moment())["conditions"]] == [
        "InvalidSpec"
    ]


# The end


def test_a_finalizer_is_there_exactly_while_the_topic_is_to_go_with_the_stream():
    world = World(minimal(**DELETABLE))
    assert world.plan().finalizers == (FINALIZER,)
    world.stream = changed(world.stream, finalizers=("other", FINALIZER))
    assert world.plan().finalizers is None
    world.stream = changed(minimal(), finalizers=("other", FINALIZER))
    assert world.plan().finalizers == ()
    world.stream = changed(minimal(), finalizers=("other",))
    assert world.plan().finalizers is None


def test_first_the_deployments_go_and_then_the_topic():
    world = World(minimal(**DELETABLE)).settle()
    world.stream = ending(world.stream, FINALIZER)
    (gone,) = world.step(5).delete
    assert gone["metadata"]["name"] == "balance-downloader"
    plan = world.step(7)
    assert (plan.delete, plan.delete_topic, plan.finalizers) == ((), True, None)


def test_somebody_elses_deployment_does_not_hold_a_deletion():
    stream = ending(minimal(**DELETABLE), FINALIZER)
    world = World(stream, deployments={"downloader": live(stream, ours=False)})
    plan = world.step()
    assert (plan.delete, plan.delete_topic) == ((), True)


def test_a_deployment_that_does_not_go_holds_a_deletion_for_some_time_only():
    stream = ending(minimal(**DELETABLE), FINALIZER)
    world = World(stream, deployments={"downloader": live(stream)}, stuck=True)
    world.step()
    assert world.step(DELETION_SECONDS - 1).finalizers is None
    plan = world.step(DELETION_SECONDS)
    assert plan.finalizers == ()
    assert not plan.delete_topic
    assert plan.notes == (
        Note("TopicKept", "Topic balance stays: Deployment balance-downloader would not go.", warning=True),
    )


def test_what_runs_goes_at_once_though_others_hold_the_stream():
    """With somebody's finalizer it may be there for long; it must not deliver meanwhile."""
    stream = ending(minimal(**DELETABLE), "example.org/audit")
    runs = live(stream)
    world = World(stream, deployments={"downloader": runs})
    assert world.plan() == Plan(memory=Memory(), delete=(runs,))


def test_what_its_deletion_is_to_leave_behind_stays():
    """As `kubectl delete --cascade=orphan` asks for."""
    stream = ending(minimal(**DELETABLE), "orphan")
    world = World(stream, deployments={"downloader": live(stream)})
    assert world.plan() == Plan(memory=Memory())


@pytest.mark.parametrize("finalizers", [(FINALIZER,), ("other", FINALIZER)])
def test_a_stream_that_is_not_understood_is_let_go(finalizers):
    plan = after_invalid({"metadata": {"finalizers": [*finalizers]}}, Memory())
    assert plan.finalizers == ()
    assert [note.reason for note in plan.notes] == ["TopicKept"]
    assert after_invalid({"metadata": {}}, Memory()) == Plan(memory=Memory())


def test_a_change_of_mind_during_a_deletion_keeps_the_topic():
    world = World(ending(minimal(), FINALIZER))
    plan = world.step()
    assert (plan.finalizers, plan.delete_topic) == ((), False)


@pytest.mark.parametrize(
    ("outcome", "last"),
    [
        (AWAY, "Topic scope stays: kafka:9092 does not answer."),
        (Deletion(kept="Topic scope stays: downloaders are still reading it.", again=True), None),
    ],
    ids=["failed", "may pass"],
)
def test_what_may_pass_is_tried_again_for_some_time(outcome, last):
    memory = Memory(deleting_since=moment().seconds)
    again = after_deletion(outcome, memory, moment(DELETION_SECONDS - 1), "scope")
    assert (again.finalizers, again.notes, again.memory) == (None, (), memory)
    end = after_deletion(outcome, memory, moment(DELETION_SECONDS), "scope")
    assert end.finalizers == ()
    assert end.notes == (Note("TopicKept", last or outcome.kept, warning=True),)


def test_the_first_try_after_a_restart_is_not_the_last():
    assert after_deletion(AWAY, Memory(), moment(5000), "scope").finalizers is None


@pytest.mark.parametrize(
    ("outcome", "note"),
    [
        (
            Deletion(kept="Topic scope stays: lab.b names it."),
            Note("TopicKept", "Topic scope stays: lab.b names it.", True),
        ),
        (
            Deletion(("scope", "scope.receipts")),
            Note("TopicDeleted", "Topics deleted: scope, scope.receipts."),
        ),
        (Deletion(), Note("TopicDeleted", "Topics deleted: none was there any more.")),
    ],
    ids=["kept", "deleted", "gone"],
)
def test_what_is_final_ends_a_deletion_at_once(outcome, note):
    plan = after_deletion(outcome, Memory(deleting_since=moment().seconds), moment(1), "scope")
    assert (plan.finalizers, plan.notes) == ((), (note,))
