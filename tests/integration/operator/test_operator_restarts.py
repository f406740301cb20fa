"""The operator may end at any moment, and another one goes on; and how its process begins, lives and ends."""

import asyncio
import os
import signal
import socket
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.integration.operator.lab import Lab
from tests.kafka import unique

from penstock_operator.controller import Controller

pytestmark = pytest.mark.asyncio

SCRIPT = Path(sys.executable).parent / "penstock-operator"


@asynccontextmanager
async def process(lab: Lab, log: Path, **environment: str):
    """Run the operator as a container does; kill it at the end if it still runs."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    given = {"PENSTOCK_NAMESPACES": "lab", "PENSTOCK_READ_SECONDS": "0.2", "KUBECONFIG": str(lab.kubeconfig)}
    given |= {"PENSTOCK_METRICS_PORT": "0"} | environment
    with log.open("ab") as output:
        running = await asyncio.create_subprocess_exec(
            SCRIPT, env=clean | given, stdout=output, stderr=output
        )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


def told(lab: Lab, name: str) -> dict:
    """What a stream and its Deployments have come to, without what differs from stream to stream.

    That is also whether it knows that it has made its topic: who ends between the two takes it for another's.
    """
    differing = ("topicId", "createdTopicId", "consumerGroup", "selector")
    status = {key: value for key, value in lab.status(name).items() if key not in differing}
    conditions = [(one["type"], one["status"], one["reason"]) for one in status.pop("conditions")]
    live = {side: lab.deployment(name, side) for side in ("uploader", "downloader")}
    return {
        "status": status,
        "conditions": conditions,
        "replicas": {side: one and one["spec"]["replicas"] for side, one in live.items()},
    }


async def settle(lab: Lab, name: str) -> dict:
    async with lab.operator() as operator:
        await lab.until(lambda: lab.is_ready(name))
        await lab.readings(operator, 3)
        return told(lab, name)


CREATED = {"topic": {"management": "Create", "partitions": 3}, "deletionPolicy": "Delete"}
BOTH = {"source": {"path": "/data", "uploader": {"mode": "Deployment", "claimName": "lab-data"}}}


@pytest.mark.parametrize(
    ("answered", "first"), [(False, 1), (True, 4)], ids=["before the answer", "after it"]
)
async def test_stopped_after_some_requests_another_one_ends_up_at_the_same(answered, first, lab: Lab):
    """After each eighth, so that it takes seconds."""
    lab.declare("model", unique("model"), **CREATED, **BOTH)
    model = await settle(lab, "model")
    lab.api.delete("DirectoryStream", "lab", "model")
    lab.api.edit("DirectoryStream", "lab", "model", {"metadata": {"finalizers": None}})
    lab.api.collect_garbage()
    for number in range(first, 60, 8):
        name = f"scope-{number}"
        lab.declare(name, unique(name), **CREATED, **BOTH)
        begin = len(lab.api.requests)

        def so_many(begin: int = begin, number: int = number) -> bool:
            return sum(one.answered is not None or not answered for one in lab.api.requests[begin:]) >= number

        async with lab.operator():
            await lab.until(lambda: so_many() or lab.is_ready(name))  # noqa: B023
            ended_early = not lab.is_ready(name)
        found = await settle(lab, name)
        assert found == model, number
        lab.api.edit("DirectoryStream", "lab", name, {"metadata": {"finalizers": None}})
        lab.api.delete("DirectoryStream", "lab", name)
        lab.api.collect_garbage()
        if not ended_early:
            break
    assert number > 8, "it was stopped on its way"


async def test_a_restart_lets_what_runs_run(lab: Lab):
    topic = lab.kafka.create_topic(partitions=4)
    lag = {"scaling": {"mode": "Lag", "lagPerReplica": 1, "minReplicas": 0}}
    lab.kafka.send(topic, *[b"x"] * 4)
    lab.declare("scope", topic, downloader=lag | {"consumerGroup": unique("group")})
    lab.declare("steady", lab.kafka.create_topic(partitions=3))
    async with lab.operator():
        await lab.until(lambda: lab.is_ready("scope", "steady") and lab.replicas("scope") == 4)
    before = lab.api.writes
    for _ in range(3):
        async with lab.operator() as operator:
            await asyncio.wait_for(operator.known.wait(), 20)
            await lab.readings(operator, 3)
    written = lab.api.writes - before
    assert written == {"patch deployments": 6}, "each Deployment is applied once, which changes nothing"
    assert set(lab.replicas_written("scope")) == {4}
    assert set(lab.replicas_written("steady")) == {3}


async def test_killed_at_some_moments_another_one_goes_on(lab: Lab, tmp_path):
    lab.declare("model", unique("model"), **CREATED)
    model = await settle(lab, "model")
    for number, resource in enumerate(("directorystreams", "deployments", "directorystreams/status")):
        name = f"scope-{number}"
        fault = lab.api.hangs("patch", resource, name=None if resource == "deployments" else name)
        lab.declare(name, unique(name), **CREATED)
        async with process(lab, tmp_path / "log") as running:
            await lab.until(lambda: fault.met)  # noqa: B023
            running.kill()
            await running.wait()
        fault.end()
        found = await settle(lab, name)
        assert found == model


async def test_asked_to_end_it_ends_soon_whatever_it_waits_for(lab: Lab, tmp_path):
    silent = socket.create_server(("127.0.0.1", 0))  # takes connections, and never says a word
    host, port = silent.getsockname()
    lab.declare("scope", lab.kafka.create_topic())
    lab.declare("silent", "any", kafka={"bootstrapServers": f"{host}:{port}"})
    async with process(lab, tmp_path / "log") as running:
        await lab.until(lambda: lab.is_ready("scope"))
        hanging = lab.api.hangs("patch", "deployments", times=None)
        lab.change("scope", suspend=True)
        await lab.until(lambda: hanging.met)
        running.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(running.wait(), 8)
        hanging.end()
        silent.close()
        assert code == 0, (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("kind", ["missing", "broken"])
async def test_without_a_cluster_it_says_so_and_ends(kind, lab: Lab, tmp_path):
    wrong = tmp_path / "wrong"
    if kind == "broken":
        wrong.write_text("{")
    async with process(lab, tmp_path / "log", KUBECONFIG=str(wrong)) as running:
        code = await asyncio.wait_for(running.wait(), 20)
    lines = (tmp_path / "log").read_text().splitlines()
    assert code != 0
    (line,) = [line for line in lines if line.startswith("penstock-operator: ")]
    assert "KUBECONFIG" in line
    assert not [line for line in lines if "Traceback" in line]


async def test_an_event_loop_that_hangs_is_told_to_the_kubelet(lab: Lab, monkeypatch):
    # No input can do that: a callback that does not return.
    go_on = threading.Event()
    beat = Controller.listed_anew
    monkeypatch.setattr(Controller, "listed_anew", lambda self: (go_on.wait(20), beat(self)))
    lab.declare("scope", lab.kafka.create_topic())
    async with lab.operator() as operator:
        try:
            while (await operator.get("/healthz")).status_code == 200:
                lab.clock.leap(20)
                await asyncio.sleep(0.05)
            assert "the event loop has not turned for" in (await operator.get("/healthz")).text
        finally:
            go_on.set()
        await lab.until(lambda: lab.is_ready("scope"))
        while (await operator.get("/healthz")).status_code != 200:
            await asyncio.sleep(0.05)


async def test_what_is_gone_is_forgotten(lab: Lab):
    async with lab.operator() as operator:
        for round_ in range(3):
            names = [f"gone-{round_}-{number}" for number in range(5)]
            for name in names:
                lab.declare(name, lab.kafka.create_topic())
            await lab.until(lambda: lab.is_ready(*names))  # noqa: B023
            for name in names:
                lab.api.delete("DirectoryStream", "lab", name)
            lab.api.collect_garbage()
            await operator.shows("penstock_operator_streams", 0)
        text = (await operator.get("/metrics")).text
        assert 'stream="gone-' not in text
        await lab.api.quiet(0.5)  # a write that was on its way when the last one went
        before = lab.api.writes
        lab.clock.leap(601)
        asked = len(lab.api.asked("list", "deployments"))
        await lab.until(lambda: len(lab.api.asked("list", "deployments")) > asked)
        assert lab.api.writes == before
