"""What holds for any stream in any cluster, whatever Kafka says and whoever was there before."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.reconciling import MISSING, OBSERVATIONS, World, ending, moment, worlds
from tests.scaling import AWAY

from penstock_operator.kafka import Deletion
from penstock_operator.objects import is_co_located
from penstock_operator.observed import is_ours
from penstock_operator.reading import Reading
from penstock_operator.reconcile import DELETION_SECONDS, FINALIZER, Memory, Plan, after_deletion
from penstock_operator.resource import Status

UNLUCKY = [HealthCheck.too_slow, HealthCheck.filter_too_much]
examples = settings(max_examples=50, suppress_health_check=UNLUCKY)
FIELDS = {field.alias for field in Status.model_fields.values()}


def by_type(status):
    return {condition["type"]: condition for condition in status["conditions"]}


@examples
@given(worlds())
def test_a_plan_that_was_carried_out_leaves_nothing_to_do_and_nothing_to_tell(world: World):
    world.settle()
    again = world.plan(seconds=45)
    assert again.status == world.status
    assert again.notes == ()
    assert again.delete == ()
    assert again.finalizers is None
    assert again.memory == world.memory
    assert not again.prepare_topic
    assert not again.delete_topic
    for side, body in again.apply.items():
        assert side in world.refused or world.deployments[side]["spec"] == body["spec"]


@examples
@given(worlds())
def test_a_restart_never_stops_a_downloader(world: World):
    """It knows of no earlier load, so it may keep more for a while; on a guess it changes nothing."""
    before = world.settle().status["desiredReplicas"]
    world.memory = Memory()
    world.read(world.observation)
    after = world.settle(30).status["desiredReplicas"]
    if isinstance(world.observation.reading, Reading):
        assert after >= before
    else:
        assert after == before


@examples
@given(worlds(), OBSERVATIONS, st.integers(1, 900))
def test_a_status_is_one_that_kubernetes_takes_and_a_time_changes_with_its_condition(
    world: World, next_observation, later
):
    for observation, now in ((world.observation, 0), (next_observation, later)):
        world.read(observation)
        for _ in range(4):
            was = by_type(world.status or {"conditions": []})
            status = world.step(now).status
            if status is None:
                continue
            assert status.keys() <= FIELDS
            Status.model_validate(status)
            assert len(by_type(status)) == len(status["conditions"])
            assert status["conditions"][0]["type"] == "Ready"
            for kind, condition in by_type(status).items():
                assert condition["message"].strip() == condition["message"] != ""
                same = kind in was and was[kind]["status"] == condition["status"]
                when = was[kind]["lastTransitionTime"] if same else moment(now).timestamp
                assert condition["lastTransitionTime"] == when


@examples
@given(worlds(), st.lists(st.integers(1, 2000), min_size=2, max_size=5))
def test_no_message_tells_for_how_long(world: World, pauses):
    """As long as Kafka says the same of as many downloaders, only a condition that has changed is another."""
    world.settle()
    now, settled = 0, False
    for pause in pauses:
        now += pause
        before, as_before = world.status, settled
        world.read(world.observation)
        world.settle(now)
        was, told = by_type(before), by_type(world.status)
        # What is said of a group is about the number before.
        settled = world.status["desiredReplicas"] == before["desiredReplicas"]
        if not (settled and as_before):
            continue
        for kind in was.keys() & told.keys():
            if (was[kind]["status"], was[kind]["reason"]) == (told[kind]["status"], told[kind]["reason"]):
                assert was[kind] == told[kind]


@examples
@given(worlds(), st.lists(st.tuples(OBSERVATIONS, st.integers(1, 900)), max_size=3))
def test_there_are_never_more_downloaders_than_anything_allows(world: World, then):
    now = 0
    for observation, pause in [(world.observation, 0), *then]:
        now += pause
        world.read(observation)
        plan = world.step(now)
        if plan.status is None:
            plan = world.step(now)
        scaling = world.stream.spec.downloader.scaling
        ceilings = [scaling.max_replicas]
        if isinstance(observation.reading, Reading):
            ceilings.append(len(observation.reading.partitions))
        claim = world.claims[world.stream.spec.downloader.destination.persistent_volume_claim.claim_name]
        modes = (claim or {}).get("status", {}).get("accessModes", [])
        if modes != ["ReadWriteMany"] and not (modes and is_co_located(world.stream)):
            ceilings.append(1)
        for body in plan.apply.values():
            assert body["spec"]["replicas"] <= min((one for one in ceilings if one is not None), default=999)
        if "downloader" in plan.apply:
            assert plan.apply["downloader"]["spec"]["replicas"] == plan.status["desiredReplicas"]
        if world.earlier is not None or world.stream.spec.suspend:
            assert plan.status["desiredReplicas"] == 0
            assert all(body["spec"]["replicas"] == 0 for body in plan.apply.values())
            assert plan.status["conditions"][0]["status"] == "False"


@examples
@given(worlds())
def test_what_is_not_ours_is_left_alone_and_told(world: World):
    foreign = {side: live for side, live in world.deployments.items() if not is_ours(world.stream, live)}
    world.settle()
    for side, there in foreign.items():
        assert world.deployments[side] is there
    if "downloader" in foreign and world.earlier is None:
        told = by_type(world.status)
        assert told["DownloaderReady"]["reason"] == "NameTaken"
        assert told["Ready"]["status"] == "False"
        assert (world.status["replicas"], world.status["readyReplicas"]) == (0, 0)


@examples
@given(worlds(), st.booleans())
def test_a_stream_that_came_second_only_stops_what_runs(world: World, ran):
    if ran:
        world.earlier = None
        world.settle()
    world.earlier = "lab.first"
    ours = {side for side, live in world.deployments.items() if is_ours(world.stream, live)}
    plan = world.step()
    assert plan.apply.keys() <= ours
    assert plan.delete == ()
    assert not plan.prepare_topic
    assert {condition["reason"] for condition in plan.status["conditions"]} == {"GroupTaken"}
    assert plan.status["desiredReplicas"] == 0


OUTCOMES = (
    st.sampled_from([AWAY, MISSING])
    | st.builds(Deletion, kept=st.just("Topic scope stays: why."), again=st.booleans())
    | st.just(Deletion(("scope", "scope.receipts")))
    | st.just(Deletion())
)


@settings(max_examples=150, suppress_health_check=UNLUCKY)
@given(
    worlds(),
    st.booleans(),
    st.lists(OUTCOMES, min_size=1, max_size=4),
    st.sampled_from([1.0, 2.0, 15.0, 60.0]),
    st.lists(st.just(FINALIZER) | st.just("foregroundDeletion"), max_size=2, unique=True),
)
def test_a_deletion_ends_whatever_happens(world: World, stuck, outcomes, pause, finalizers):
    world.stream, world.stuck = ending(world.stream, *finalizers), stuck
    wants = world.stream.spec.deletion_policy == "Delete"
    now, tries = 0.0, 0
    while FINALIZER in world.stream.metadata.finalizers:
        assert now <= DELETION_SECONDS + pause
        ours = [live for live in world.deployments.values() if is_ours(world.stream, live)]
        plan = world.step(now)
        assert not plan.apply
        assert not plan.prepare_topic
        if plan.delete_topic:
            assert wants
            assert not ours
            topic = world.stream.spec.topic.name
            then = after_deletion(outcomes[min(tries, len(outcomes) - 1)], plan.memory, moment(now), topic)
            tries += 1
            world.memory = then.memory
            if then.finalizers is not None:
                assert then.finalizers == ()
                assert then.notes
                return
        now += pause
    assert not wants or stuck or FINALIZER not in finalizers
    # Held by others, it is theirs now, and what ran of it goes.
    left = tuple(live for live in world.deployments.values() if is_ours(world.stream, live))
    assert world.plan(now) == Plan(memory=world.memory, delete=left)
