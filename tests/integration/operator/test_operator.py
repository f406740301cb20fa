"""What the operator makes of a DirectoryStream, from its declaration to its end."""

import json
import logging
import ssl
from base64 import b64encode
from typing import Any

import httpx2
import pytest
from confluent_kafka import Consumer, TopicPartition
from tests.certificates import Authority
from tests.integration.operator.lab import Lab
from tests.kafka import Kafka, unique

from penstock.broker.ports import free_ports
from servicekit.events import receipts_topic

pytestmark = pytest.mark.asyncio


def commit(kafka: Kafka, group: str, topic: str, offsets: dict[int, int]) -> None:
    """Commit as a downloader that has come so far, and left."""
    consumer = Consumer({**kafka.client_config(), "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, *where) for where in offsets.items()], asynchronous=False)
    consumer.close()


async def test_a_stream_becomes_topics_a_deployment_and_a_status(lab: Lab):
    lab.rolls_out = False
    topic = unique("frames")
    lab.declare("scope", topic, topic={"management": "Create", "partitions": 3})
    async with lab.operator() as operator:
        await lab.until(lambda: lab.replicas("scope") == 3)
        assert len(lab.kafka.partitions(topic)) == 3
        assert len(lab.kafka.partitions(receipts_topic(topic))) >= 1
        await lab.until(lambda: lab.condition("scope", "DownloaderReady").get("reason") == "Starting")
        assert lab.condition("scope")["status"] == "False"

        lab.api.roll_out("lab", "scope-downloader", ready=2)
        await lab.until(lambda: lab.status("scope")["readyReplicas"] == 2)
        assert "2 of 3 ready" in lab.condition("scope")["message"]
        lab.api.roll_out("lab", "scope-downloader")
        await lab.until(lambda: lab.is_ready("scope"))

        status = lab.status("scope")
        assert status["createdTopicId"] == status["topicId"]
        expected = {"partitions": 3, "lag": 0, "desiredReplicas": 3, "replicas": 3, "readyReplicas": 3}
        assert status.items() >= expected.items()
        assert status["consumerGroup"] == "lab.scope"
        assert status["observedGeneration"] == 1
        told = {one["type"]: one["status"] for one in status["conditions"]}
        assert told == {
            "Ready": "True",
            "TopicReady": "True",
            "UploaderReady": "True",
            "DownloaderReady": "True",
            "ScalingActive": "True",
            "ScalingLimited": "False",
        }
        (owner,) = lab.deployment("scope")["metadata"]["ownerReferences"]
        assert owner["uid"] == lab.api.get("DirectoryStream", "lab", "scope")["metadata"]["uid"]
        reasons = [event["reason"] for event in lab.events("scope")]
        assert reasons.count("TopicPrepared") == 2
        of_scope = {"namespace": "lab", "stream": "scope"}
        names = ("ready", "scaling_active", "partitions", "desired_replicas", "ready_replicas", "lag_records")
        found = [await operator.metric(f"penstock_operator_stream_{name}", **of_scope) for name in names]
        assert found == [1, 1, 3, 3, 3, 0]
        info = ("penstock_operator_stream_info", of_scope)
        assert await operator.metric(info[0], **info[1], topic=topic, destination="lab.scope") == 1
        assert await operator.metric("penstock_operator_streams") == 1
        assert (await operator.get("/readyz")).status_code == 200
        assert (await operator.get("/healthz")).status_code == 200

        lab.api.delete("DirectoryStream", "lab", "scope")
        await operator.shows("penstock_operator_streams", 0)
        found = [await operator.metric(f"penstock_operator_stream_{name}", **of_scope) for name in names]
        assert found == [None] * 6
        assert await operator.metric(info[0], **info[1]) is None


async def test_new_partitions_are_followed_whoever_adds_them(lab: Lab):
    topic = lab.kafka.create_topic(partitions=2)
    lab.declare("scope", topic)
    async with lab.operator() as operator:
        await lab.until(lambda: lab.is_ready("scope"))
        grown = await operator.metric("penstock_operator_new_partition_to_ready_seconds_count") or 0
        lab.kafka.create_partitions(topic, 6)
        await lab.until(lambda: lab.is_ready("scope") and lab.status("scope")["readyReplicas"] == 6)
        assert lab.status("scope")["partitions"] == 6
        await operator.shows("penstock_operator_new_partition_to_ready_seconds_count", grown + 1)
    assert lab.replicas_written("scope") == [2, 6]


async def test_lag_is_followed_to_zero_and_back_and_the_idle_groups_offsets_are_renewed(lab: Lab):
    topic, group = lab.kafka.create_topic(partitions=4), unique("group")
    for partition in range(4):
        lab.kafka.send(topic, *[b"x"] * 10, partition=partition)
    scaling = {"mode": "Lag", "minReplicas": 0, "lagPerReplica": 10, "idleSeconds": 3600}
    scaling["scaleDownStabilizationSeconds"] = 60
    lab.declare("scope", topic, downloader={"scaling": scaling, "consumerGroup": group})
    async with lab.operator():
        await lab.until(lambda: lab.is_ready("scope") and lab.status("scope")["lag"] == 40)
        assert lab.replicas("scope") == 4

        commit(lab.kafka, group, topic, dict.fromkeys(range(4), 10))
        await lab.until(lambda: lab.status("scope")["lag"] == 0)
        assert lab.replicas("scope") == 4, "it shrinks only after a while"

        assert is_simple(lab.kafka, group)
        for level, seconds in ((2, 601), (1, 601), (0, 3600)):
            # Ten minutes: nobody plays the group's members, so it never is what its replicas should be.
            lab.clock.leap(seconds)
            await lab.until(lambda level=level: lab.replicas("scope") == level)
        await lab.until(lambda: lab.condition("scope", "DownloaderReady")["reason"] == "ScaledToZero")
        assert lab.is_ready("scope")
        assert lab.replicas_written("scope") == [4, 2, 1, 0]

        lab.clock.leap(300)
        await lab.until(lambda: not is_simple(lab.kafka, group), describe="somebody has joined and left")
        assert {at: found.offset for at, found in lab.kafka.committed(group, topic).items()} == dict.fromkeys(
            range(4), 10
        )
        assert lab.replicas("scope") == 0

        lab.kafka.send(topic, b"x")
        await lab.until(lambda: lab.replicas("scope") == 1)


async def test_an_idle_group_is_let_go_as_soon_as_its_time_is_over(lab: Lab):
    topic, group = lab.kafka.create_topic(partitions=2), unique("group")
    lab.kafka.send(topic, b"x", b"x")
    scaling = {"mode": "Lag", "minReplicas": 0, "lagPerReplica": 10, "idleSeconds": 300}
    lab.declare("scope", topic, downloader={"scaling": scaling, "consumerGroup": group})
    login = {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    async with lab.operator():
        await lab.until(lambda: lab.is_ready("scope") and lab.status("scope")["lag"] == 2)
        assert lab.replicas("scope") == 1
        consumer = Consumer({**lab.kafka.client_config(), **login})
        consumer.subscribe([topic])
        read = []
        await lab.until(lambda: read.extend(consumer.consume(2, 0.05)) or len(read) == 2)
        consumer.commit(asynchronous=False)
        await lab.until(lambda: lab.status("scope")["lag"] == 0)
        assert lab.replicas("scope") == 1
        lab.clock.leap(301)
        await lab.until(lambda: lab.replicas("scope") == 0)
        consumer.close()
        lab.kafka.send(topic, b"x")
        await lab.until(lambda: lab.replicas("scope") == 1)
    assert lab.replicas_written("scope") == [1, 0, 1]


def is_simple(kafka: Kafka, group: str) -> bool:
    """Whether nobody was ever a member of this group: it only has offsets."""
    return bool(kafka.admin.describe_consumer_groups([group])[group].result(10).is_simple_consumer_group)


class TestSecrets:
    """What Secrets hold decides how to log in, and is nowhere to be read."""

    async def test_missing_made_wrong_and_rotated(self, lab: Lab, own_broker, caplog):
        caplog.set_level(logging.DEBUG)
        first, second = "swordfish-4711", "marlin-0815"
        broker = own_broker(users={"operator": first, "other": second})
        super_user = Kafka(broker.client_config())
        topic = super_user.create_topic(partitions=2)
        lab.kafka = Kafka({"bootstrap.servers": broker.client_config()["bootstrap.servers"]})
        login = {"authSecretRef": {"name": "login", "mechanism": "PLAIN"}}
        lab.declare("scope", topic, kafka=login)
        administrator = broker.client_config()
        right = {"username": administrator["sasl.username"], "password": administrator["sasl.password"]}
        async with lab.operator() as operator:
            await lab.until(lambda: lab.condition("scope").get("reason") == "ConnectionInvalid")
            assert "Secret 'login'" in lab.condition("scope")["message"]

            lab.secret("login", username="operator", password="wrong-" + first)
            await lab.until(lambda: lab.condition("scope").get("reason") != "ConnectionInvalid")
            assert not lab.is_ready("scope")
            lab.secret("login", **right)
            lab.clock.leap(61)
            await lab.until(lambda: lab.is_ready("scope"))
            before = revision_of(lab)

            lab.secret("login", **right, unused="something")
            lab.clock.leap(61)
            await lab.until(lambda: revision_of(lab) != before)
            await lab.until(lambda: lab.is_ready("scope"))
            metrics = (await operator.get("/metrics")).text
        said = [caplog.text, metrics, *(json.dumps(one) for kind in ("DirectoryStream", "Event", "Deployment")
                                        for one in lab.api.all(kind))]  # fmt: skip
        said += [json.dumps(asked.body) for asked in lab.api.requests]
        encoded = [b64encode(text.encode()).decode() for text in (first, right["password"])]
        for secret in (first, right["password"], *encoded):
            assert not [text for text in said if secret in text]


def revision_of(lab: Lab) -> str:
    found: str = json.dumps(lab.deployment("scope")["spec"]["template"]["metadata"])
    return found


class TestRivals:
    """Two streams that read one topic in one group would each get a part of the files."""

    @pytest.mark.parametrize("by", ["name", "another address"])
    async def test_the_later_one_is_refused_and_takes_over(self, by, lab: Lab):
        topic, group = lab.kafka.create_topic(partitions=2), unique("group")
        address = lab.kafka.bootstrap_servers
        other = address if by == "name" else address.replace("127.0.0.1", "localhost")
        assert (by == "name") == (other == address)
        lab.declare("first", topic, downloader={"consumerGroup": group})
        async with lab.operator():
            await lab.until(lambda: lab.is_ready("first"))
            await lab.a_second_later("first")
            lab.declare(
                "second", topic, downloader={"consumerGroup": group}, kafka={"bootstrapServers": other}
            )
            await lab.until(lambda: lab.condition("second").get("reason") == "GroupTaken")
            assert "lab.first" in lab.condition("second")["message"]
            assert lab.deployment("second") is None
            assert lab.is_ready("first")
            lab.api.delete("DirectoryStream", "lab", "first")
            lab.api.collect_garbage()
            await lab.until(lambda: lab.is_ready("second"))
            assert lab.replicas("second") == 2


async def test_pods_get_their_sidecar_from_streams_that_are_looked_after(lab: Lab, tmp_path):
    authority = Authority(tmp_path / "authority")
    signed = authority.sign()
    (tmp_path / "tls.crt").write_bytes(signed.certificate)
    (tmp_path / "tls.key").write_bytes(signed.key)
    source = {"uploader": {"mode": "Sidecar", "podSelector": {"matchLabels": {"app": "simulation"}}}}
    lab.declare("scope", lab.kafka.create_topic(), source=source | {"path": "/results"})
    [port] = free_ports(1)
    given = {"webhook_certificates": str(tmp_path), "webhook_host": "127.0.0.1", "webhook_port": port}
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    async with lab.operator(**given), httpx2.AsyncClient(verify=context, trust_env=False) as client:

        async def ask(namespace: str, stream: str) -> dict[str, Any]:
            metadata = {"name": "one", "labels": {"penstock.dev/inject": stream, "app": "simulation"}}
            mounts = [{"name": "results", "mountPath": "/results"}]
            container = {"name": "simulation", "image": "simulation:1", "volumeMounts": mounts}
            volumes = [{"name": "results", "persistentVolumeClaim": {"claimName": "lab-data"}}]
            spec = {"containers": [container], "volumes": volumes}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
            request = {
                "uid": "1",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "operation": "CREATE",
                "namespace": namespace,
                "name": "one",
                "object": pod,
            }
            review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
            answer = await client.post(f"https://127.0.0.1:{port}/inject", json=review)
            found: dict[str, Any] = answer.json()["response"]
            return found

        await lab.until(lambda: lab.status("scope"))
        assert (await ask("lab", "scope"))["allowed"]
        # One that was declared this moment, before the watch could tell.
        lab.declare("late", lab.kafka.create_topic(), source=source | {"path": "/results"})
        assert (await ask("lab", "late"))["allowed"]
        refused = await ask("lab", "nobody")
        assert not refused["allowed"]
        assert "no such DirectoryStream" in refused["status"]["message"]
        elsewhere = await ask("elsewhere", "scope")
        assert not elsewhere["allowed"]
        assert "does not look after namespace elsewhere" in elsewhere["status"]["message"]
        async with lab.api.away():
            assert (await ask("lab", "scope"))["allowed"], "known streams need nobody"
            away = await ask("lab", "unknown")
            assert "does not answer" in away["status"]["message"]
