"""As many downloaders as there are partitions, as waiting files are worth, as are asked for, or as can be."""

import pytest
from tests.e2e.installed import POLL_SECONDS, apply, claim
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("scaling")]


def test_downloaders_follow_the_partitions_go_when_idle_and_come_back_for_a_file(penstock, declare):
    stream = declare("plates", topic={"partitions": 4})
    stream.until_replicas(4)
    stream.patch(topic={"partitions": 8})
    stream.until_replicas(8, timeout=110)
    assert stream.status["partitions"] == 8
    (more,) = [one for one in stream.events() if "4 -> 8 replicas" in one["message"]]
    assert more["reason"] == "ScaledOut"

    stream.patch(
        downloader={"scaling": {"minReplicas": 0, "idleSeconds": 5, "scaleDownStabilizationSeconds": 0}}
    )
    stream.until_replicas(0)
    stream.until("DownloaderReady", reason="ScaledToZero")
    eventually(lambda: stream.pods() == [], 60, "pods have ended", POLL_SECONDS)

    sent = penstock.desk.write("plates", {"monday.raw": 100_000})
    eventually(lambda: stream.status["desiredReplicas"] == 8, 30, lambda: stream.status, POLL_SECONDS)
    penstock.desk.expect("plates", sent, timeout=90)
    stream.until_replicas(0)
    assert penstock.desk.delivered("plates") == sent


def test_downloaders_follow_the_lag_of_a_backlog(penstock, declare):
    """200 records at one replica for each 50, with 4 partitions: 4, and then none."""
    scaling = {
        "mode": "Lag",
        "lagPerReplica": 50,
        "minReplicas": 0,
        "idleSeconds": 5,
        "scaleDownStabilizationSeconds": 0,
    }
    stream = declare("backlog", topic={"partitions": 4}, suspend=True, downloader={"scaling": scaling})
    stream.until("Ready", "False", "Suspended")
    files = penstock.desk.write("backlog", {f"{number}.raw": 500 for number in range(200)})
    # The uploader rests, too, as long as the stream does; what it finds is worth four downloaders at most.
    stream.patch(suspend=False)
    eventually(lambda: stream.status["desiredReplicas"] > 0, 60, lambda: stream.status, POLL_SECONDS)
    penstock.desk.expect("backlog", files, timeout=110)
    stream.until_replicas(0)


def test_a_claim_for_one_writer_has_one_downloader_and_says_why(penstock, declare):
    apply(penstock.lab, claim("one-writer", "ReadWriteOnce"))
    place = {"persistentVolumeClaim": {"claimName": "one-writer", "subPath": None}}
    stream = declare("one-writer", topic={"partitions": 4}, source=None, downloader={"destination": place})
    limited = stream.until("ScalingLimited", "True", "AccessMode")
    assert limited["message"] == "4 replicas were wanted; the claim's access mode allows 1."
    stream.until_replicas(1)
    stream.until("Ready")
    assert stream.deployment()["spec"]["strategy"]["type"] == "Recreate"


def test_kubectl_scale_says_how_many_in_mode_external_and_suspend_has_the_last_word(penstock, declare):
    stream = declare(
        "asked",
        topic={"partitions": 4},
        source=None,
        downloader={"replicas": 1, "scaling": {"mode": "External"}},
    )
    stream.until_replicas(1)
    scaled = penstock.lab("scale", "dstream", "asked", "--replicas=3")
    assert scaled.ok, scaled.err
    stream.until_replicas(3)
    stream.until("Ready")

    stream.patch(suspend=True)
    stream.until_replicas(0)
    assert stream.until("Ready", "False")["reason"] == "Suspended"
    stream.patch(suspend=False)
    stream.until_replicas(3)
    stream.until("Ready")

    assert penstock.lab("scale", "dstream", "asked", "--replicas=6").ok
    limited = stream.until("ScalingLimited", "True", "Partitions")
    assert "6 replicas were wanted" in limited["message"]
    stream.until_replicas(4)


def test_kubectl_scale_is_refused_while_the_operator_decides(penstock, declare):
    declare("decided", source=None)
    said = penstock.lab("scale", "dstream", "decided", "--replicas=3")
    assert not said.ok
    assert "set scaling.mode: External first" in said.err
