"""A Kafka inside of the cluster: the image penstock/broker as a Deployment and a Service.

    from tests.e2e.kafka import kafka_in_cluster        # a fixture of the run, for a conftest.py

    kafka_in_cluster.bootstrap_servers                  # kafka.NAMESPACE.svc:9092, from any pod
    kafka_in_cluster.create_topic("scope", partitions=4)
    kafka_in_cluster.log_ends("scope")                  # {0: 0, 1: 0, 2: 0, 3: 0}

The images have to be in the cluster: docs/images.md says how they get there.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import Kubectl
from tests.e2e.pods import alive, kill, pods_of
from tests.images.pods import container_state, pod_spec
from tests.waiting import eventually

PORT = 9092
SECONDS_TO_START = 180
"""Its volume, its pod and Kafka itself, on a machine that does much else."""
_QUESTIONS = Path(__file__).with_name("kafka_in_pod.py").read_text("utf-8")


class RefusedError(AssertionError):
    """Kafka, or kubectl on the way to it, did not do what a test asked. The message says why."""


class ClusterKafka:
    """A Kafka that tests can arrange and look into; what a method did can be seen when it returns.

    Topics live as long as its claim: its pod may be deleted, and its processes killed.
    """

    def __init__(self, kubectl: Kubectl, name: str = "kafka") -> None:
        self.kubectl = kubectl
        self.name = name

    @property
    def host(self) -> str:
        return f"{self.name}.{self.kubectl.namespace}.svc"

    @property
    def bootstrap_servers(self) -> str:
        """Its address for all pods of the cluster."""
        return f"{self.host}:{PORT}"

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str | int] | None = None
    ) -> str:
        settings = {key: str(value) for key, value in (config or {}).items()}
        self._ask("create_topic", name=name, partitions=partitions, config=settings)
        self._await_partitions(name, partitions)
        return name

    def delete_topic(self, name: str) -> None:
        self._ask("delete_topic", name=name)
        eventually(lambda: name not in self.topics(), describe=f"{name} is gone")

    def add_partitions(self, topic: str, total: int) -> None:
        """Let the topic have `total` partitions."""
        self._ask("add_partitions", topic=topic, total=total)
        self._await_partitions(topic, total)

    def topics(self) -> dict[str, int]:
        """Partitions by topic, without Kafka's own."""
        return self._ask("topics")

    def log_starts(self, topic: str) -> dict[int, int]:
        """The first offset that can be read, by partition."""
        return _by_partition(self._ask("log_starts", topic=topic))

    def log_ends(self, topic: str) -> dict[int, int]:
        """The offset of the next record, by partition."""
        return _by_partition(self._ask("log_ends", topic=topic))

    def committed(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        """What a group has committed, by partition: offset and metadata. Nothing where it has not."""
        found = _by_partition(self._ask("committed", group=group, topic=topic))
        return {partition: (offset, metadata) for partition, (offset, metadata) in found.items()}

    def lag(self, group: str, topic: str) -> int:
        """How many records the group has yet to commit."""
        done, starts = self.committed(group, topic), self.log_starts(topic)
        return sum(
            end - (done[partition][0] if partition in done else starts[partition])
            for partition, end in self.log_ends(topic).items()
        )

    def group_state(self, group: str) -> str:
        """Tell STABLE, EMPTY, DEAD (as one that never was), ..."""
        return self._ask("group", name=group)["state"]

    def members(self, group: str) -> dict[str, set[tuple[str, int]]]:
        """Which partitions, as (topic, partition), each member of the group has."""
        found = self._ask("group", name=group)["members"]
        return {member: {(topic, number) for topic, number in held} for member, held in found.items()}

    def send(self, topic: str, *values: str, partition: int = 0) -> None:
        """Produce texts, and return when they are acknowledged."""
        self._ask("send", topic=topic, values=list(values), partition=partition)

    def penstock(self, *arguments: str) -> str:
        """What the command says in the broker's pod, such as `penstock("create-topic", "scope")`."""
        done = self.kubectl("exec", f"deployment/{self.name}", "--", "penstock", *arguments)
        if not done.ok:
            raise RefusedError(done.err)
        return done.out

    def kill(self) -> None:
        """Let Kafka's processes die as by kill -9; the kubelet starts them again, with their data."""
        (pod,) = alive(pods_of(self.kubectl, self.name))
        kill(self.kubectl, pod["metadata"]["name"])

    def wait_until_ready(self) -> None:
        """Return when it answers under the name that it advertises."""
        eventually(self._answers, timeout=SECONDS_TO_START, describe=self.evidence)

    def evidence(self) -> str:
        """What there is to see when it does not do what it should."""
        return "\n".join(
            f"$ kubectl {' '.join(arguments)}\n{answer.out or answer.err}"
            for arguments in (
                ("get", "pods,pvc,endpoints", "-o", "wide"),
                *(("describe", "pod", pod["metadata"]["name"]) for pod in pods_of(self.kubectl, self.name)),
                ("logs", f"deployment/{self.name}", "--tail=40"),
            )
            for answer in [self.kubectl(*arguments)]
        )

    def _answers(self) -> bool:
        pods = alive(pods_of(self.kubectl, self.name))
        if not any("running" in container_state(pod) for pod in pods):
            return False
        return self._ask("brokers") == [self.bootstrap_servers]

    def _ask(self, question: str, **arguments: object) -> Any:
        done = self.kubectl(
            "exec",
            f"deployment/{self.name}",
            "--",
            "python",
            "-c",
            _QUESTIONS,
            question,
            json.dumps(arguments),
        )
        if not done.ok:
            raise RefusedError(done.err.strip())
        return json.loads(done.out)

    def _await_partitions(self, topic: str, count: int) -> None:
        eventually(
            lambda: len(self.log_ends(topic)) == count,
            describe=f"{topic} with {count} partitions can be used",
        )


def _by_partition(answer: Mapping[str, Any]) -> dict[int, Any]:
    return {int(partition): value for partition, value in answer.items()}


def manifests(kafka: ClusterKafka) -> list[dict[str, Any]]:
    """A claim, a Service and a Deployment, which a namespace that takes restricted pods only accepts."""
    labels = {"app.kubernetes.io/name": kafka.name, "app.kubernetes.io/part-of": "penstock-tests"}
    metadata = {"name": kafka.name, "namespace": kafka.kubectl.namespace, "labels": labels}
    pod = pod_spec(
        "broker",
        args=["broker", "--host", "0.0.0.0", "--advertise", kafka.host, "--data-dir", "/data"],
        volumes={"/data": {"persistentVolumeClaim": {"claimName": kafka.name}}},
        ports=[{"name": "kafka", "containerPort": PORT}],
        readinessProbe={"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        resources={"requests": {"cpu": "100m", "memory": "384Mi"}, "limits": {"memory": "1Gi"}},
    )
    # In its own pod the advertised name is itself, whether or not the network lets a pod reach itself by way
    # of a Service, and before that has an endpoint.
    pod |= {"restartPolicy": "Always", "hostAliases": [{"ip": "127.0.0.1", "hostnames": [kafka.host]}]}
    selector = {"app.kubernetes.io/name": kafka.name}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata,
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": selector, "ports": [{"name": "kafka", "port": PORT}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": selector},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]


def deploy_kafka(kubectl: Kubectl, name: str = "kafka") -> ClusterKafka:
    """Run a Kafka in kubectl's namespace, and return it when it answers. It goes with the namespace."""
    kafka = ClusterKafka(kubectl, name)
    for manifest in manifests(kafka):
        applied = kubectl("apply", "-f", "-", given=manifest)
        assert applied.ok, applied.err
    kafka.wait_until_ready()
    return kafka


@pytest.fixture(scope="module")
def kafka_in_cluster(kubectl: Kubectl) -> ClusterKafka:
    """A Kafka in the namespace of the module, started when its first test asks for it."""
    return deploy_kafka(kubectl)
