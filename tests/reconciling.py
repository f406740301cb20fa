"""What is seen of DirectoryStreams, as values: short to write, or any; and plans carried out in memory."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from tests.scaling import AWAY, quiet, reading, readings
from tests.streams import INSTALLATION, STREAMS

from penstock_operator.kafka import Observation
from penstock_operator.objects import claims, deployment_name
from penstock_operator.objects.names import Side, labels, owner_reference
from penstock_operator.observed import Observed, ReadingTaken, Sidecars, is_ours
from penstock_operator.reading import FailedRead, Reading
from penstock_operator.reconcile import Memory, Moment, Note, Plan, reconcile
from penstock_operator.resource import DirectoryStream, Status
from servicekit.topics import TopicInfo

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
SAFE = {"cleanup.policy": "delete", "max.message.bytes": "1048588", "min.insync.replicas": "2"}
MISSING = FailedRead("TopicMissing", "Topic 'scope' does not exist.")
RWX = {"spec": {"accessModes": ["ReadWriteMany"]}, "status": {"accessModes": ["ReadWriteMany"]}}
RWO = {"spec": {"accessModes": ["ReadWriteOnce"]}, "status": {"accessModes": ["ReadWriteOnce"]}}


def moment(seconds: float = 0.0) -> Moment:
    """So many seconds after the test's begin."""
    return Moment(1000.0 + seconds, (BEGIN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ"))


def seen(found: Reading | FailedRead | None = None, **topic: Any) -> Observation:
    """What Kafka says: by default of eight partitions that hold nothing new."""
    found = reading() if found is None else found
    if isinstance(found, FailedRead):
        return Observation(found, found)
    told = {"replication_factor": 3, "config": SAFE, "topic_id": "topic-1"} | topic
    return Observation(TopicInfo("scope", partitions=len(found.partitions), **told), found)


def changed(stream: DirectoryStream, **metadata: Any) -> DirectoryStream:
    """The stream with other metadata."""
    return stream.model_copy(update={"metadata": stream.metadata.model_copy(update=metadata)})


def with_status(stream: DirectoryStream, status: Any) -> DirectoryStream:
    """The stream with a status as a plan has it."""
    return stream.model_copy(update={"status": Status.model_validate(status)})


def ending(stream: DirectoryStream, *finalizers: str) -> DirectoryStream:
    """The stream as it is after `kubectl delete`, held by finalizers."""
    return changed(stream, finalizers=finalizers, deletion_timestamp="2026-03-01T11:59:58Z")


def live(
    stream: DirectoryStream,
    side: Side = "downloader",
    *,
    replicas: int = 1,
    ready: int | None = None,
    ours: bool = True,
    generation: int = 1,
    **status: Any,
) -> dict[str, Any]:
    """A Deployment that runs, as Kubernetes gives it."""
    ready = replicas if ready is None else ready
    owner = owner_reference(stream) if ours else {**owner_reference(stream), "uid": "somebody-else"}
    return {
        "metadata": {
            "name": deployment_name(stream, side),
            "namespace": stream.metadata.namespace,
            "labels": labels(stream, side),
            "generation": generation,
            "ownerReferences": [owner],
        },
        "spec": {"replicas": replicas},
        "status": {
            "observedGeneration": generation,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        | status,
    }


@dataclass
class World:
    """A cluster with one stream: what a plan says is done at once, and Deployments follow at once."""

    stream: DirectoryStream
    observation: Observation = field(default_factory=seen)
    deployments: dict[Side, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    refused: dict[Side, str] = field(default_factory=dict)
    earlier: str | None = None
    sidecars: Sidecars | None = field(default_factory=Sidecars)
    healthy: bool = True
    """Whether pods become ready."""
    topic_error: FailedRead | None = None
    """What every try to make the topic ends with."""
    stuck: bool = False
    """Whether Deployments stay when they are deleted."""
    memory: Memory = field(default_factory=Memory)
    number: int = 1
    prepared: int = 0
    status: Any = None
    writes: int = 0
    events: list[Note] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.claims:
            self.claims = dict.fromkeys(claims(self.stream), RWX)

    def read(self, observation: Observation) -> None:
        """Kafka is asked again."""
        self.observation, self.number = observation, self.number + 1

    def observed(self) -> Observed:
        """All that reconciling looks at."""
        made = self.prepared and self.topic_error is None
        return Observed(
            stream=self.stream,
            reading=ReadingTaken(self.number, self.observation),
            deployments=dict(self.deployments),
            claims=self.claims,
            earlier=self.earlier,
            topic_error=self.topic_error if self.prepared else None,
            created_topic_id="topic-1" if made else None,
            refused=self.refused,
            sidecars=self.sidecars,
        )

    def plan(self, seconds: float = 0.0) -> Plan:
        """Reconcile, and change nothing."""
        return reconcile(self.observed(), self.memory, moment(seconds), INSTALLATION)

    def step(self, seconds: float = 0.0) -> Plan:
        """Reconcile, and do what is to be done; count what Kubernetes is told."""
        plan = self.plan(seconds)
        if plan.finalizers is not None:
            self.stream = changed(self.stream, finalizers=plan.finalizers)
            self.writes += 1
        if plan.prepare_topic:
            self.prepared += 1
            self.number += 1
        for side, body in plan.apply.items():
            self._apply(side, body)
        for gone in plan.delete:
            assert is_ours(self.stream, gone)
            self.writes += 1
            if not self.stuck:
                names = {one["metadata"]["name"]: side for side, one in self.deployments.items()}
                del self.deployments[names[gone["metadata"]["name"]]]
        self.memory = plan.memory
        if plan.status is not None and plan.status != self.status:
            self.status, self.writes = plan.status, self.writes + 1
            self.stream = with_status(self.stream, plan.status)
        self.events += plan.notes
        return plan

    def settle(self, seconds: float = 0.0) -> "World":
        """Go on until nothing more is said, which takes a few steps at most."""
        for _ in range(5):
            before = self.writes, self.prepared
            self.step(seconds)
            if before == (self.writes, self.prepared):
                return self
        raise AssertionError("it never settles")

    def _apply(self, side: Side, body: Any) -> None:
        there = self.deployments.get(side)
        assert there is None or is_ours(self.stream, there), "somebody else's was applied"
        if side in self.refused or (there is not None and there["spec"] == body["spec"]):
            return
        generation = 1 if there is None else there["metadata"]["generation"] + 1
        replicas = body["spec"]["replicas"]
        made = live(
            self.stream,
            side,
            replicas=replicas,
            ready=replicas if self.healthy else 0,
            generation=generation,
        )
        self.deployments[side] = {**made, "spec": body["spec"]}
        self.writes += 1


# Any of them

FAILURES = st.sampled_from(
    [AWAY, MISSING, FailedRead("KafkaUnavailable", "No answer."), FailedRead("NotAuthorized", "Not allowed.")]
)
OBSERVATIONS = (
    (readings | quiet).map(seen)
    | FAILURES.map(seen)
    | FAILURES.map(lambda failed: Observation(seen().topic, failed))
)
_WORDS = st.sampled_from(["", "quota exceeded", "admission webhook denied it."])


@st.composite
def worlds(draw, streams=STREAMS, taken=st.just(None) | st.just("lab.first")):  # noqa: B008
    """Any stream in any cluster: what it names may be there or not, somebody may have been at it before."""
    stream = draw(streams)
    sides: tuple[Side, ...] = ("uploader", "downloader")
    deployments = {}
    for side in sides:
        if draw(st.booleans()):
            replicas = draw(st.integers(0, 20))
            deployments[side] = live(
                stream,
                side,
                replicas=replicas,
                ready=draw(st.integers(0, replicas)),
                ours=draw(st.sampled_from([True, True, False])),
            )
            if draw(st.booleans()):
                del deployments[side]["status"]
    claim = st.sampled_from([None, RWX, RWX, RWO, {"spec": {}}])
    pods = st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True).map(tuple)
    counts = st.integers(0, 2)
    return World(
        stream,
        draw(OBSERVATIONS),
        deployments,
        {name: draw(claim) for name in claims(stream)},
        refused=draw(st.dictionaries(st.sampled_from(sides), _WORDS, max_size=2)),
        earlier=draw(taken),
        sidecars=draw(st.none() | st.builds(Sidecars, counts, counts, pods, pods)),
        healthy=draw(st.booleans()),
        topic_error=draw(st.none() | FAILURES),
    )
