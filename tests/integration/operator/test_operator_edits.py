"""What others do to the operator's Deployments: what is ours comes back, what is theirs stays."""

import pytest
import pytest_asyncio
from tests.integration.operator.lab import Lab

pytestmark = pytest.mark.asyncio

NAME = ("deployments", "lab", "scope-downloader")


@pytest_asyncio.fixture
async def settled(lab: Lab):
    """A stream with two downloaders that are ready, and an operator."""
    lab.declare("scope", lab.kafka.create_topic(partitions=2))
    async with lab.operator() as operator:
        await lab.until(lambda: lab.is_ready("scope"))
        yield operator


def without(name: str) -> dict:
    return {"metadata": {"labels": {name: None}}}


CHANGES = {
    "replicas": {"spec": {"replicas": 7}},
    "image": [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "other:1"}],
    "changed label": {"metadata": {"labels": {"penstock.dev/stream": "other"}}},
    "removed label": without("penstock.dev/stream"),
    "label that is not watched": without("app.kubernetes.io/managed-by"),
    "owner": {"metadata": {"ownerReferences": None}},
}


def said(live) -> dict:
    """What an object says, but for what changes with each write."""
    metadata = live["metadata"]
    kept = {name: metadata.get(name) for name in ("labels", "annotations", "ownerReferences", "uid")}
    return {"spec": live["spec"], "metadata": kept}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_what_is_ours_comes_back(change, lab: Lab, settled):
    before = said(lab.deployment("scope"))
    lab.api.edit(*NAME, change)
    assert said(lab.deployment("scope")) != before
    await lab.until(lambda: said(lab.deployment("scope")) == before)
    await lab.until(lambda: lab.is_ready("scope"))
    (event,) = await lab.until(lambda: lab.events("scope", "Restored"))
    assert "Somebody has changed Deployment scope-downloader" in event["message"]


async def test_a_deployment_that_was_deleted_comes_back(lab: Lab, settled):
    before = lab.deployment("scope")["metadata"]["uid"]
    lab.api.delete(*NAME)
    await lab.until(
        lambda: (lab.deployment("scope") or {"metadata": {"uid": before}})["metadata"]["uid"] != before
    )
    await lab.until(lambda: lab.is_ready("scope"))
    assert lab.replicas("scope") == 2
    (event,) = await lab.until(lambda: lab.events("scope", "Restored"))
    assert "Somebody has deleted Deployment scope-downloader" in event["message"]


async def test_what_is_not_ours_stays(lab: Lab, settled):
    theirs = {"labels": {"team": "x"}, "annotations": {"note": "y"}}
    lab.api.edit(*NAME, {"metadata": theirs, "spec": {"minReadySeconds": 3}})
    lab.api.edit(*NAME, {"spec": {"replicas": 5}})
    await lab.until(lambda: lab.replicas("scope") == 2)
    live = lab.deployment("scope")
    assert (live["metadata"]["labels"]["team"], live["metadata"]["annotations"]["note"]) == ("x", "y")
    assert live["spec"]["minReadySeconds"] == 3


INSISTING = {
    "who scales": lambda lab: lab.replicas("scope") == 2 and lab.api.edit(*NAME, {"spec": {"replicas": 9}}),
    "who takes labels away": lambda lab: (
        lab.deployment("scope")
        and "penstock.dev/stream" in lab.deployment("scope")["metadata"]["labels"]
        and lab.api.edit(*NAME, without("penstock.dev/stream"))
    ),
    "who deletes": lambda lab: lab.deployment("scope") and lab.api.delete(*NAME),
}


@pytest.mark.parametrize("insist", INSISTING.values(), ids=INSISTING.keys())
async def test_who_insists_wears_nobody_out(insist, lab: Lab, settled):
    lab.rolls_out = False
    before = len(lab.replicas_written("scope"))

    def contested() -> int:
        insist(lab)
        return len(lab.replicas_written("scope")) - before >= 5

    await lab.until(contested)
    insist(lab)
    # What was on its way is answered, and then nothing is said for some readings.
    await lab.readings(settled, 8, meanwhile=lambda: insist(lab))
    assert len(lab.replicas_written("scope")) - before == 5

    lab.clock.leap(61)
    await lab.until(lambda: lab.replicas("scope") == 2)
    await lab.readings(settled, 3)
    assert lab.replicas("scope") == 2


async def test_somebody_elses_deployment_of_our_name_is_left_alone(lab: Lab):
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "scope-downloader", "namespace": "lab", "labels": {"app": "theirs"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "theirs"}}, "template": {}},
    }
    lab.api.create(theirs)
    before = lab.deployment("scope")
    lab.rolls_out = False
    lab.declare("scope", lab.kafka.create_topic(partitions=2))
    async with lab.operator() as operator:
        await lab.until(lambda: lab.condition("scope").get("reason") == "NameTaken")
        await lab.readings(operator, 3)
        assert lab.deployment("scope") == before
        assert not lab.api.asked("patch", "deployments")
        lab.api.delete(*NAME)
        lab.rolls_out = True
        await lab.until(lambda: lab.is_ready("scope"))
        assert lab.replicas("scope") == 2


async def test_what_is_not_wanted_any_more_goes_and_comes_again(lab: Lab, settled):
    uploader = {"mode": "Deployment", "claimName": "lab-data"}
    lab.change("scope", source={"path": "/data", "uploader": uploader})
    await lab.until(lambda: lab.deployment("scope", "uploader") and lab.is_ready("scope"))
    lab.change("scope", source={"path": None, "uploader": {"mode": "External", "claimName": None}})
    await lab.until(lambda: lab.deployment("scope", "uploader") is None)
    lab.change("scope", source={"path": "/data", "uploader": uploader})
    await lab.until(lambda: lab.deployment("scope", "uploader") and lab.is_ready("scope"))
    assert not lab.events("scope", "Restored"), "nobody has taken it from us"
