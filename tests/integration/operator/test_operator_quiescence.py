"""A settled cluster sees no writes."""

import pytest
from tests.integration.operator.lab import Lab

pytestmark = pytest.mark.asyncio


async def test_settled_streams_cause_no_writes(lab: Lab):
    lab.claim("single", "ReadWriteOnce")
    single = {"destination": {"persistentVolumeClaim": {"claimName": "single"}}}
    lag = {"scaling": {"mode": "Lag", "lagPerReplica": 5, "minReplicas": 0}}
    missing = {"destination": {"persistentVolumeClaim": {"claimName": "missing"}}}
    source = {"path": "/data", "uploader": {"mode": "Deployment", "claimName": "lab-data"}}
    busy = lab.kafka.create_topic(partitions=3)
    lab.kafka.send(busy, b"x", b"x")
    kinds = [
        ("plain", lab.kafka.create_topic(partitions=3), {}),
        ("created", lab.kafka.create_topic(), {"topic": {"management": "Create", "partitions": 2}}),
        ("single", lab.kafka.create_topic(partitions=3), {"downloader": single}),
        ("busy", busy, {"downloader": lag}),
        ("both", lab.kafka.create_topic(partitions=3), {"source": source}),
        ("suspended", lab.kafka.create_topic(), {"suspend": True}),
        ("noclaim", lab.kafka.create_topic(), {"downloader": missing}),
        ("notopic", "there-is-none", {}),
        ("away", "away", {"kafka": {"bootstrapServers": "127.0.0.1:1"}}),
        ("nosecret", "any", {"kafka": {"authSecretRef": {"name": "missing", "mechanism": "PLAIN"}}}),
        ("wrong", "any", {"kafka": {"properties": {"ssl.engine.location": "/x"}}}),
    ]
    for name, topic, spec in kinds:
        lab.declare(name, topic, **spec)
    for number in range(10):
        lab.declare(f"also-{number}", kinds[0][1], downloader={"consumerGroup": f"{kinds[0][1]}-{number}"})
    async with lab.operator() as operator:
        names = [one["metadata"]["name"] for one in lab.api.all("DirectoryStream")]
        ready = {*names} - {"suspended", "noclaim", "notopic", "away", "nosecret", "wrong"}
        await lab.until(lambda: lab.is_ready(*ready))
        await lab.until(lambda: all(lab.condition(name).get("status") for name in names))
        await lab.until(lambda: lab.condition("away").get("reason") == "KafkaUnavailable")
        await lab.readings(operator, 3)
        before = lab.api.writes
        written = await operator.metric("penstock_operator_writes_total", kind="DirectoryStream")
        await lab.readings(operator, 10)
        assert lab.api.writes - before == {}
        assert await operator.metric("penstock_operator_writes_total", kind="DirectoryStream") == written

        lab.clock.leap(601)
        # All is looked at anew, and what takes ten minutes is told: nobody plays the groups' members.
        await lab.until(lambda: all(lab.condition(name, "GroupUnstable") for name in ready - {"busy"}))
        await lab.readings(operator, 5)
        told = lab.api.writes
        await lab.readings(operator, 5)
        assert lab.api.writes - told == {}
        assert lab.api.writes["patch deployments"] == before["patch deployments"]
