"""Values for the tests of scaling: short to write, and strategies for all of them."""

from hypothesis import strategies as st

from penstock_operator.reading import FailedRead, Group, Partition, Reading
from penstock_operator.scaling import Decision, Inputs, Mode, Policy, State, decide

AWAY = FailedRead("BrokerUnreachable", "kafka:9092 does not answer.")


def reading(
    lag: int | list[int] = 0,
    *,
    partitions: int = 8,
    unfinished: int = 0,
    members: int | None = None,
    stable: bool = True,
    end: int = 1_000_000,
) -> Reading:
    """A reading of a stream in which this lag waits: in the first partition, or as listed."""
    lags = lag if isinstance(lag, list) else [lag, *[0] * (partitions - 1)]
    return Reading(
        tuple(Partition(0, end, end - lag, unfinished if n == 0 else 0) for n, lag in enumerate(lags)),
        Group(stable, len(lags) if members is None else members),
    )


def inputs(policy: Policy, found: Reading | FailedRead, replicas: int, **more) -> Inputs:
    return Inputs(policy=policy, reading=found, replicas=replicas, **more)


def settled(policy: Policy, found: Reading, replicas: int, **more) -> Inputs:
    """The group has exactly the members that the Deployment asks for."""
    return inputs(policy, Reading(found.partitions, Group(True, replicas)), replicas, **more)


def play(
    policy: Policy,
    found: Reading,
    replicas: int,
    *,
    seconds: float,
    every: float = 15,
    state: State | None = None,
    start: float = 0,
    **more,
) -> list[Decision]:
    """Decide again and again on the same reading, in a group that follows at once."""
    state = state or State()
    decisions = []
    now = start
    while now <= start + seconds:
        decisions.append(decide(settled(policy, found, replicas, **more), state, now))
        replicas, state = decisions[-1].replicas, decisions[-1].state
        now += every
    return decisions


def changes(replicas: int, decisions: list[Decision]) -> list[int]:
    """The numbers that replicas went through, beginning with the one before the first decision."""
    path = [replicas]
    for decision in decisions:
        if decision.replicas != path[-1]:
            path.append(decision.replicas)
    return path


@st.composite
def policies(draw, modes=tuple(Mode)):
    least = draw(st.integers(0, 12))
    return Policy(
        mode=draw(st.sampled_from(modes)),
        min_replicas=least,
        max_replicas=draw(st.none() | st.integers(max(1, least), 80)),
        partitions_per_replica=draw(st.integers(1, 5)),
        lag_per_replica=draw(st.integers(1, 200)),
        scale_down_stabilization_seconds=draw(st.sampled_from([0.0, 10.0, 60.0, 300.0])),
        idle_seconds=draw(st.sampled_from([0.0, 10.0, 60.0, 300.0])),
    )


@st.composite
def partitions(draw):
    start = draw(st.integers(0, 1000))
    end = start + draw(st.integers(0, 500) | st.just(0))
    committed = draw(st.none() | st.integers(max(0, start - 50), end + 50) | st.just(end))
    return Partition(start, end, committed, draw(st.sampled_from([0, 0, 0, 0, 1, 3])))


groups = st.builds(Group, st.booleans(), st.integers(0, 80))
readings = st.builds(Reading, st.lists(partitions(), min_size=1, max_size=20).map(tuple), groups)
quiet = st.builds(
    Reading,
    st.lists(st.just(Partition(0, 7, 7)), min_size=1, max_size=20).map(tuple),
    groups,
)
failures = st.just(AWAY) | st.just(Reading((), Group(True, 0)))


@st.composite
def situations(draw, found=readings | quiet, modes=(Mode.PARTITIONS, Mode.LAG)):
    """Inputs, a state that earlier decisions have left, and the time."""
    policy = draw(policies(modes))
    claim = draw(st.sampled_from([None, None, None, 1]))
    replicas = draw(st.integers(0, 80) | st.sampled_from([0, 1, 8]))
    state, now = State(), 1000.0
    for earlier in draw(
        st.lists(st.tuples(readings | quiet | failures, st.sampled_from([1, 15, 100, 700])), max_size=5)
    ):
        decision = decide(
            Inputs(policy=policy, reading=earlier[0], replicas=replicas, claim_ceiling=claim), state, now
        )
        state, now = decision.state, now + earlier[1]
        replicas = draw(st.sampled_from([decision.replicas, replicas]))
    return (
        Inputs(
            policy=policy,
            reading=draw(found),
            replicas=replicas,
            claim_ceiling=claim,
            asked=draw(st.integers(0, 80)),
        ),
        state,
        now,
    )
