"""What the operator holds on to: what it declared, through foreign edits and its own death; and its peace."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.cluster import Kubectl
from tests.e2e.installed import POLL_SECONDS
from tests.waiting import eventually, throughout

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("scaling")]

QUIET_SECONDS = 60


def test_what_others_change_of_ours_comes_back(penstock, declare):
    stream = declare("edited", topic={"partitions": 2}, source=None)
    stream.until_replicas(2)
    stream.until()
    ours = stream.deployment()
    name, lab = "deployment/edited-downloader", penstock.lab
    assert lab("scale", name, "--replicas=0").ok
    eventually(lambda: stream.deployment()["spec"]["replicas"] == 2, 30, stream.deployment, POLL_SECONDS)
    assert lab("set", "image", name, "downloader=busybox:1.35").ok
    eventually(
        lambda: (
            stream.deployment()["spec"]["template"]["spec"]["containers"]
            == ours["spec"]["template"]["spec"]["containers"]
        ),
        30,
        stream.deployment,
        POLL_SECONDS,
    )
    assert lab("label", name, *(f"{label}-" for label in ours["metadata"]["labels"])).ok
    eventually(
        lambda: ours["metadata"]["labels"].items() <= stream.deployment()["metadata"]["labels"].items(),
        30,
        stream.deployment,
        POLL_SECONDS,
    )
    assert lab("delete", name).ok
    eventually(lambda: lab("get", name).ok, 30, "the Deployment is made again", POLL_SECONDS)
    stream.until_replicas(2)

    told = {one["message"] for one in stream.events() if one["reason"] == "Restored"}
    again = "Deployment edited-downloader; it is again as the DirectoryStream says."
    assert told == {f"Somebody has changed {again}", f"Somebody has deleted {again}"}


def test_annotations_labels_and_fields_of_others_are_left_alone(penstock, declare):
    stream = declare("shared", source=None)
    stream.until()
    name, lab = "deployment/shared-downloader", penstock.lab
    assert lab("annotate", name, "lab.example.org/owner=ada").ok
    assert lab("label", name, "team=optics").ok
    assert lab("patch", name, "--patch", '{"spec": {"minReadySeconds": 1}}').ok
    assert lab("scale", name, "--replicas=3").ok
    eventually(lambda: stream.deployment()["spec"]["replicas"] == 1, 30, stream.deployment, POLL_SECONDS)
    # One more reconciliation that writes the Deployment.
    stream.patch(downloader={"resources": {"requests": {"cpu": "11m"}}})
    eventually(
        lambda: (
            stream.deployment()["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"]
            == "11m"
        ),
        30,
        stream.deployment,
        POLL_SECONDS,
    )
    kept = stream.deployment()
    assert kept["metadata"]["annotations"]["lab.example.org/owner"] == "ada"
    assert kept["metadata"]["labels"]["team"] == "optics"
    assert kept["spec"]["minReadySeconds"] == 1


@contextmanager
def watched(kubectl: Kubectl, deployment: str) -> Iterator[list[tuple[int, int]]]:
    """All that a Deployment's replicas were, wanted and ready, from now on."""
    form = "jsonpath={.spec.replicas}/{.status.readyReplicas}{'\\n'}"
    process = kubectl.start("get", "deployment", deployment, "--watch", "-o", form)
    seen: list[tuple[int, int]] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            wanted, _, ready = line.strip().partition("/")
            seen.append((int(wanted), int(ready or 0)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        eventually(lambda: seen, 30, "the first state")
        yield seen
    finally:
        process.terminate()
        reader.join()
        process.communicate()


@pytest.mark.parametrize("when", ["as it is told", "as it has begun"])
def test_killed_while_it_scales_it_goes_on_and_no_replica_is_lost(penstock, declare, when):
    name = "killed-early" if when == "as it is told" else "killed-late"
    stream = declare(name, topic={"partitions": 2}, source=None)
    stream.until_replicas(2)
    before = {pod["metadata"]["uid"] for pod in penstock.operator_pods()}
    with watched(penstock.lab, f"{name}-downloader") as seen:
        stream.patch(topic={"partitions": 6})
        if when == "as it has begun":
            eventually(lambda: seen[-1][0] == 6, 60, lambda: seen)
        penstock.kill_operator()
        stream.until_replicas(6, timeout=110)
        # It is the next operator that says so.
        stream.until("Ready")
        penstock.operator_ready()
    after = {pod["metadata"]["uid"] for pod in penstock.operator_pods()}
    assert not before & after
    wanted = [one for one, _ in seen]
    assert wanted == sorted(wanted), seen
    assert min(ready for _, ready in seen) == 2, seen


def test_killed_while_it_holds_more_than_are_needed_now_it_goes_on_holding_them(penstock, declare):
    """What was needed within the last minutes is known to nobody any more, so what runs is kept."""
    scaling = {"partitionsPerReplica": 1, "scaleDownStabilizationSeconds": 600}
    stream = declare("killed-holding", topic={"partitions": 4}, source=None, downloader={"scaling": scaling})
    stream.until_replicas(4)
    with watched(penstock.lab, "killed-holding-downloader") as seen:
        stream.patch(downloader={"scaling": {"partitionsPerReplica": 2}})
        stream.until("Ready")
        penstock.kill_operator()
        penstock.operator_ready()
        # The next operator has decided, too: it takes notice of what only it can have seen.
        stream.patch(downloader={"scaling": {"partitionsPerReplica": 4}})
        stream.until("Ready")
    assert {wanted for wanted, _ in seen} == {4}, seen


def resource_versions(penstock) -> dict[str, str]:
    """All objects that the operator writes, its Events included."""
    listed = penstock.lab("get", "dstream,deployments,events", "-o", "json").object["items"]
    return {
        f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for one in listed
        if one["kind"] != "Event" or one["involvedObject"]["kind"] == "DirectoryStream"
    }


def test_a_settled_cluster_sees_no_writes(penstock, declare):
    """Streams of all kinds, good and bad ones: as long as nothing happens, nothing is written."""
    lag = {"mode": "Lag", "lagPerReplica": 100, "minReplicas": 0, "idleSeconds": 0}
    streams = [
        declare("quiet-files"),
        declare("quiet-idle", source=None, topic={"partitions": 4}, downloader={"scaling": lag}),
        declare(
            "quiet-sidecars",
            source={
                "path": "/a",
                "uploader": {
                    "mode": "Sidecar",
                    "claimName": None,
                    "podSelector": {"matchLabels": {"app": "nothing"}},
                },
            },
        ),
        declare("quiet-external", source=None, downloader={"replicas": 2, "scaling": {"mode": "External"}}),
        declare("quiet-suspended", source=None, suspend=True),
    ]
    bad = [
        declare(
            "quiet-no-claim",
            source=None,
            downloader={"destination": {"persistentVolumeClaim": {"claimName": "nowhere"}}},
        ),
        declare(
            "quiet-no-topic",
            source=None,
            topic={"management": "Observe", "partitions": None, "replicationFactor": None},
        ),
        declare("quiet-no-kafka", source=None, kafka={"bootstrapServers": "nowhere:9092"}),
    ]
    sent = penstock.desk.write("quiet-files", {"a": 10, "b": 1_000_000})
    penstock.desk.expect("quiet-files", sent)
    for stream in streams[:-1]:
        stream.until()
    streams[-1].until("Ready", "False", "Suspended")
    streams[1].until_replicas(0)
    streams[3].until("ScalingLimited", "True")
    bad[0].until("DownloaderReady", "False", "ClaimMissing")
    bad[1].until("TopicReady", "False", "TopicMissing")
    bad[2].until("ScalingActive", "False", "KafkaUnavailable")
    for one in penstock.lab("get", "dstream", "-o", "name").out.split():
        # What earlier tests have left goes; nothing of it is under way any more.
        if one.partition("/")[2] not in {stream.name for stream in (*streams, *bad)}:
            eventually(lambda one=one: not penstock.lab("get", one).ok, 120, one, POLL_SECONDS)

    with penstock.metrics() as metrics:
        eventually(lambda: streams[0].status.get("lag") == 0, 30, lambda: streams[0].status, POLL_SECONDS)
        readings = metrics.sum("penstock_operator_kafka_read_seconds_count")
        objects, writes = resource_versions(penstock), metrics.sum("penstock_operator_writes_total")
        assert len([name for name in objects if name.startswith("DirectoryStream/")]) == 8
        assert writes > 16
        throughout(
            QUIET_SECONDS,
            lambda: metrics.sum("penstock_operator_writes_total") == writes,
            f"no more than {writes:g} writes",
        )
        now = resource_versions(penstock)
        assert {
            name: (objects.get(name), version)
            for name, version in now.items()
            if objects.get(name) != version
        } == {}
        assert metrics.sum("penstock_operator_kafka_read_seconds_count") >= readings + QUIET_SECONDS / 4, (
            "it did look at Kafka all the while"
        )
