"""What goes with a stream, and what stays; and that nothing keeps it from going."""

import time

import pytest
from tests.e2e.installed import POLL_SECONDS, Stream
from tests.e2e.kafka import deploy_kafka
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("penstock")]

DELETION_SECONDS = 120
"""Within this time a stream is gone, whatever is away."""


@pytest.fixture(scope="module")
def stranded(penstock) -> tuple[Stream, float]:
    """A stream that is to go with its topic, whose Kafka is away; and when it was deleted.

    All that is deleted here meanwhile has to go, whatever becomes of this one.
    """
    away = deploy_kafka(penstock.system, "kafka-away")
    stream = penstock.declare(
        "stranded", source=None, deletionPolicy="Delete", kafka={"bootstrapServers": away.bootstrap_servers}
    )
    stream.until("Ready")
    assert stream.status["createdTopicId"]
    gone = penstock.system("delete", "deployment", away.name, "--cascade=foreground", "--timeout=60s")
    assert gone.ok, gone.err
    began = time.monotonic()
    assert penstock.lab("delete", "dstream", "stranded", "--wait=false").ok
    return stream, began


def test_topic_and_files_stay_unless_asked(penstock, declare, stranded):
    stream = declare("kept")
    sent = penstock.desk.write("kept", {"a.raw": 1000})
    penstock.desk.expect("kept", sent)
    stream.until("Ready")
    assert penstock.lab("delete", "dstream", "kept", "--timeout=30s").ok
    for side in ("uploader", "downloader"):
        gone = penstock.lab("wait", "--for=delete", f"deployment/kept-{side}", "--timeout=30s")
        assert gone.ok, gone.err
    assert {"kept", "kept.receipts"} <= penstock.kafka.topics().keys()
    assert penstock.desk.delivered("kept") == sent
    assert penstock.desk.sent("kept") == sent
    for name in ("sources", "deliveries"):
        assert penstock.lab("get", "persistentvolumeclaim", name).ok


def test_asked_to_the_topic_goes_once_all_was_delivered_and_files_stay(penstock, declare, stranded):
    stream = declare("goes", deletionPolicy="Delete")
    sent = penstock.desk.write("goes", {"a.raw": 1000})
    penstock.desk.expect("goes", sent)
    stream.until("Ready")
    eventually(lambda: stream.status.get("lag") == 0, 30, lambda: stream.status, POLL_SECONDS)
    assert penstock.lab("delete", "dstream", "goes", "--timeout=110s").ok
    assert not {"goes", "goes.receipts"} & penstock.kafka.topics().keys()
    told = {one["reason"]: one["message"] for one in stream.events()}
    assert "goes" in told["TopicDeleted"]
    assert penstock.desk.delivered("goes") == sent
    assert penstock.lab("get", "dstream", stranded[0].name).ok, "the one whose Kafka is away still goes"


def test_what_was_not_delivered_keeps_the_topic(penstock, declare, stranded):
    stream = declare("unread", deletionPolicy="Delete")
    stream.until("Ready")
    stream.patch(downloader={"replicas": 0, "scaling": {"mode": "External"}})
    # One that is about to end could still deliver the file.
    eventually(lambda: stream.pods() == [], 60, "the downloader has ended", POLL_SECONDS)
    penstock.desk.write("unread", {"a.raw": 1000})
    eventually(lambda: stream.status.get("lag"), 60, lambda: stream.status, POLL_SECONDS)
    assert penstock.lab("delete", "dstream", "unread", "--timeout=110s").ok
    told = {one["reason"]: one for one in stream.events()}
    assert told["TopicKept"]["type"] == "Warning"
    assert "has not read 1 records of it" in told["TopicKept"]["message"]
    assert "unread" in penstock.kafka.topics()


def test_a_kafka_that_is_away_keeps_no_stream(penstock, stranded):
    stream, began = stranded
    left = DELETION_SECONDS - (time.monotonic() - began)
    gone = penstock.lab("wait", "--for=delete", f"dstream/{stream.name}", f"--timeout={max(1, left):.0f}s")
    assert gone.ok, gone.err
    told = {one["reason"]: one for one in stream.events()}
    assert told["TopicKept"]["type"] == "Warning"
    assert "Topic stranded stays" in told["TopicKept"]["message"]
