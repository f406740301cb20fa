"""Kubernetes and Kafka fail, each in its ways: nothing is lost or stormed, and all is mended by itself."""

import logging
from collections.abc import Callable

import pytest
import pytest_asyncio
from tests.integration.operator.emulated_api import Fault
from tests.integration.operator.lab import Lab
from tests.kafka import Kafka, unique

pytestmark = pytest.mark.asyncio

PATCHED = ("patch", "deployments")


@pytest_asyncio.fixture
async def settled(lab: Lab):
    """A stream with two downloaders that are ready, and an operator."""
    lab.declare("scope", lab.kafka.create_topic(partitions=2))
    async with lab.operator() as operator:
        await lab.until(lambda: lab.is_ready("scope"))
        yield operator


class TestARefusal:
    """What the API server does not take is said in a condition, and asked again with growing pauses."""

    async def test_of_a_deployment(self, lab: Lab):
        lab.rolls_out = False
        fault = lab.api.refuses(422, *PATCHED, times=None, message="no such priority class")
        lab.declare("scope", lab.kafka.create_topic())
        lab.declare("other", lab.kafka.create_topic())
        async with lab.operator() as operator:
            await lab.until(lambda: lab.condition("scope").get("reason") == "ApplyRefused")
            assert "no such priority class" in lab.condition("scope")["message"]
            await lab.readings(operator, 4)
            asked = len(lab.api.asked(*PATCHED, "scope-downloader"))
            assert asked <= 3, "not with each reading"
            await lab.until(lambda: len(lab.api.asked(*PATCHED, "scope-downloader")) > asked)
            assert len(lab.events("scope", "ApplyRefused")) == 1

            fault.end()
            lab.rolls_out = True
            before = len(lab.api.asked(*PATCHED, "scope-downloader"))
            lab.change("scope", downloader={"scaling": {"maxReplicas": 3}})
            await lab.until(lambda: lab.is_ready("scope"), timeout=2)
            assert len(lab.api.asked(*PATCHED, "scope-downloader")) == before + 1
            await lab.until(lambda: lab.is_ready("other"))

    async def test_of_one_stream_holds_no_other_up(self, lab: Lab):
        lab.api.refuses(422, *PATCHED, name="scope-downloader", times=None)
        lab.api.refuses(500, "patch", "directorystreams/status", name="broken", times=None)
        for name in ("scope", "broken", "other"):
            lab.declare(name, lab.kafka.create_topic())
        async with lab.operator():
            await lab.until(lambda: lab.is_ready("other"))
            await lab.until(lambda: lab.replicas("broken") == 1)

    @pytest.mark.parametrize("name", ["scope", "liquid"])
    async def test_of_a_status_is_not_taken_for_the_streams_end(self, name, lab: Lab):
        fault = lab.api.refuses(422, "patch", "directorystreams/status", times=2)
        lab.declare(name, lab.kafka.create_topic())
        async with lab.operator() as operator:
            await lab.until(lambda: fault.met == 2)
            assert await operator.metric("penstock_operator_streams") == 1
            await lab.until(lambda: lab.is_ready(name))


FAULTS: dict[str, Callable[[Lab, str, str], Fault]] = {
    "403": lambda lab, verb, of: lab.api.refuses(403, verb, of),
    "404": lambda lab, verb, of: lab.api.refuses(404, verb, of),
    "409": lambda lab, verb, of: lab.api.refuses(409, verb, of),
    "500": lambda lab, verb, of: lab.api.refuses(500, verb, of),
    "429": lambda lab, verb, of: lab.api.refuses(429, verb, of, retry_after=1),
    "reset": lambda lab, verb, of: lab.api.cuts(verb, of),
    "lost answer": lambda lab, verb, of: lab.api.loses_answers(verb, of),
}
REQUESTS = [
    ("list", "directorystreams"),
    ("watch", "directorystreams"),
    ("list", "deployments"),
    ("watch", "deployments"),
    ("get", "deployments"),
    ("get", "persistentvolumeclaims"),
    ("patch", "deployments"),
    ("patch", "directorystreams/status"),
    ("create", "events"),
]


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_fault_of_any_request_passes(kind, lab: Lab):
    topics = {f"scope-{number}": lab.kafka.create_topic(partitions=2) for number in range(2)}
    faults = [FAULTS[kind](lab, *request) for request in REQUESTS]
    for name, topic in topics.items():
        lab.declare(name, topic)
    async with lab.operator() as operator:

        def all_met() -> bool:
            lab.clock.leap(3)  # for so long an API server that did not answer is not asked again
            return all(fault.met for fault in faults)

        await lab.until(all_met)
        await lab.until(lambda: lab.is_ready(*topics))
        await lab.readings(operator, 3)
        assert [lab.replicas(name) for name in topics] == [2, 2]
        while (await operator.get("/readyz")).status_code != 200:
            await lab.readings(operator, 1)


async def test_a_request_that_is_not_answered_ends(lab: Lab, settled, caplog):
    fault = lab.api.hangs("patch", "deployments")
    lab.change("scope", downloader={"scaling": {"maxReplicas": 1}})
    await lab.until(lambda: fault.met)
    # The 10 s that a client waits are its own clock's.
    await lab.until(lambda: lab.replicas("scope") == 1, timeout=25)
    await lab.until(lambda: lab.is_ready("scope"))
    assert len([one for one in caplog.records if "does not answer" in one.getMessage()]) == 1


class TestWatches:
    """What a watch did not tell is found by looking again."""

    async def test_cut_they_go_on(self, lab: Lab, settled):
        assert lab.api.cut_watches() == 2
        lab.kafka.create_topic(topic := unique("late"))
        lab.declare("late", topic)
        lab.api.edit("deployments", "lab", "scope-downloader", {"spec": {"replicas": 9}})
        await lab.until(lambda: lab.is_ready("late") and lab.replicas("scope") == 2)

    async def test_what_went_while_they_were_cut_is_found(self, lab: Lab, settled):
        lab.kafka.create_topic(topic := unique("kept"))
        lab.declare("kept", topic)
        await lab.until(lambda: lab.is_ready("kept"))
        faults = [
            lab.api.refuses(503, "watch", resource, times=None)
            for resource in ("directorystreams", "deployments")
        ]
        lab.api.cut_watches()
        await lab.until(lambda: all(fault.met for fault in faults))
        lab.api.delete("DirectoryStream", "lab", "scope")
        lab.api.collect_garbage()
        before = lab.deployment("kept")["metadata"]["uid"]
        lab.api.delete("deployments", "lab", "kept-downloader")
        lab.api.forget()
        for fault in faults:
            fault.end()
        await settled.shows("penstock_operator_streams", 1)
        await lab.until(lambda: lab.deployment("kept"))
        assert lab.deployment("kept")["metadata"]["uid"] != before
        await lab.until(lambda: lab.is_ready("kept"))
        assert lab.deployment("scope") is None

    async def test_a_stream_made_again_under_its_name_is_another_one(self, lab: Lab, settled):
        faults = [lab.api.refuses(503, "watch", times=None)]
        lab.api.cut_watches()
        await lab.until(lambda: faults[0].met)
        lab.api.delete("DirectoryStream", "lab", "scope")
        lab.api.collect_garbage()
        lab.declare("scope", topic := lab.kafka.create_topic(partitions=5))
        lab.api.forget()
        faults[0].end()
        await lab.until(lambda: lab.is_ready("scope") and lab.replicas("scope") == 5)
        uid = lab.api.get("DirectoryStream", "lab", "scope")["metadata"]["uid"]
        (owner,) = lab.deployment("scope")["metadata"]["ownerReferences"]
        assert owner["uid"] == uid
        assert await settled.metric("penstock_operator_streams") == 1
        assert topic


async def test_an_api_server_that_is_away_is_told_once_and_costs_nothing(lab: Lab, settled, caplog):
    caplog.set_level(logging.INFO)
    for number in range(5):
        lab.declare(f"more-{number}", lab.kafka.create_topic())
    await lab.until(lambda: lab.is_ready(*(f"more-{number}" for number in range(5))))
    await lab.readings(settled, 2)
    caplog.clear()
    before = lab.api.writes
    async with lab.api.away():
        lab.clock.leap(61)  # what was looked up is old
        while (await settled.get("/readyz")).status_code == 200:
            await lab.readings(settled, 1)
        lab.api.delete("DirectoryStream", "lab", "more-0")
        lab.api.collect_garbage()
        lab.change("more-1", downloader={"scaling": {"maxReplicas": 1, "partitionsPerReplica": 3}})
        lab.declare("late", lab.kafka.create_topic())
        await lab.readings(settled, 10)
        told = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
        assert len(told) == 1, told
        assert "the API server does not answer" in told[0]
        assert (await settled.get("/healthz")).status_code == 200
    caplog.clear()
    await lab.until(lambda: lab.is_ready("late"))
    await settled.shows("penstock_operator_streams", 6)
    while (await settled.get("/readyz")).status_code != 200:
        await lab.readings(settled, 1)
    assert [one.getMessage() for one in caplog.records].count("the API server answers again") == 1
    written = lab.api.writes - before
    assert written["patch deployments"] <= 4, written
    assert written.total() < 20, written


class TestKafka:
    """One cluster's absence concerns its own streams, and them only as far as it has to."""

    @pytest.fixture
    def other(self, own_broker):
        return own_broker()

    async def test_away_at_the_start_and_later(self, lab: Lab, other):
        theirs = Kafka(other.client_config())
        at = {"kafka": {"bootstrapServers": theirs.bootstrap_servers}}
        topic = theirs.create_topic(partitions=2)
        other.stop()
        lab.declare("here", here := lab.kafka.create_topic(partitions=2))
        lab.declare("there", topic, **at)
        async with lab.operator():
            await lab.until(lambda: lab.is_ready("here"))
            await lab.until(lambda: lab.condition("there").get("reason") == "KafkaUnavailable")
            assert lab.condition("there", "ScalingActive")["status"] == "False"
            other.start()
            await lab.until(lambda: lab.is_ready("there") and lab.replicas("there") == 2)

            other.stop()
            await lab.until(lambda: lab.condition("there").get("reason") == "KafkaUnavailable")
            assert lab.replicas("there") == 2, "nothing is decided on a guess"
            lab.kafka.create_partitions(here, 4)
            await lab.until(lambda: lab.is_ready("here") and lab.replicas("here") == 4)
            other.start()
            await lab.until(lambda: lab.is_ready("there"))
            reasons = [event["reason"] for event in lab.events("there")]
            assert reasons.count("KafkaUnavailable") <= 4, reasons

    async def test_away_it_does_not_hold_up_a_deletion(self, lab: Lab, other):
        theirs = Kafka(other.client_config())
        at = {"kafka": {"bootstrapServers": theirs.bootstrap_servers}}
        created = {"topic": {"management": "Create", "partitions": 1}}
        lab.declare("kept", unique("kept"), **at)
        lab.declare("scope", unique("scope"), deletionPolicy="Delete", **at, **created)
        async with lab.operator():
            await lab.until(lambda: lab.is_ready("scope"))
            other.stop()
            lab.api.delete("DirectoryStream", "lab", "scope")
            lab.api.delete("DirectoryStream", "lab", "kept")
            assert lab.api.find("DirectoryStream", "lab", "kept") is None
            await lab.until(lambda: lab.deployment("scope") is None)
            assert lab.api.get("DirectoryStream", "lab", "scope")["metadata"]["finalizers"]
            lab.clock.leap(91)
            await lab.until(lambda: lab.api.find("DirectoryStream", "lab", "scope") is None)
            (event,) = await lab.until(lambda: lab.events("scope", "TopicKept"))
            assert "stays" in event["message"]

    async def test_a_topic_goes_with_its_stream(self, lab: Lab):
        topic = unique("scope")
        created = {"topic": {"management": "Create", "partitions": 1}}
        lab.declare("scope", topic, deletionPolicy="Delete", **created)
        async with lab.operator() as operator:
            await lab.until(lambda: lab.is_ready("scope"))
            lab.api.delete("DirectoryStream", "lab", "scope")
            await lab.until(lambda: lab.api.find("DirectoryStream", "lab", "scope") is None)
            await lab.until(lambda: lab.events("scope", "TopicDeleted"))
            assert topic not in lab.kafka.admin.list_topics(timeout=10).topics
            await operator.shows("penstock_operator_streams", 0)
