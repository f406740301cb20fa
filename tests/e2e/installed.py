"""Penstock as people have it: installed by Helm, for namespaces that take restricted pods.

Nothing here speaks to anything but the cluster of a kubeconfig, by `kubectl` and `helm`. The images have
to be there: `make e2e` builds them.
"""

import json
import os
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import Answer, Kubectl
from tests.e2e.forwarding import forwarded
from tests.e2e.kafka import ClusterKafka
from tests.e2e.pods import alive, force_delete, pods_of
from tests.e2e.registry import Registry
from tests.streams import laid_over
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/penstock"
CRD = CHART / "files/crds/directorystreams.yaml"
CRD_NAME = "directorystreams.penstock.dev"

RELEASE = "penstock"
OPERATOR = f"{RELEASE}-operator"
POLL_SECONDS = 0.5
SMALL = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
"""So that many pods find room on a small node."""
USER = 65532
RESTRICTED_POD = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


@dataclass(frozen=True)
class Desk:
    """A pod of somebody who works with the files: it has all sources and all destinations."""

    lab: Kubectl

    SOURCES = "/sources"
    DELIVERIES = "/deliveries"

    def start(self) -> None:
        claims = [claim(name) for name in ("sources", "deliveries")]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "desk"},
            "spec": {
                "securityContext": RESTRICTED_POD,
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": "desk",
                        "image": "busybox:1.35",
                        "command": ["tail", "-f", "/dev/null"],
                        "securityContext": RESTRICTED,
                        "volumeMounts": [
                            {"name": "sources", "mountPath": self.SOURCES},
                            {"name": "deliveries", "mountPath": self.DELIVERIES},
                        ],
                    }
                ],
                "volumes": [
                    {"name": name, "persistentVolumeClaim": {"claimName": name}}
                    for name in ("sources", "deliveries")
                ],
            },
        }
        apply(self.lab, *claims, pod)

    def ready(self) -> None:
        waited = self.lab("wait", "--for=condition=Ready", "pod/desk", "--timeout=90s")
        assert waited.ok, waited.err

    def do(self, script: str) -> str:
        done = self.lab("exec", "desk", "--", "sh", "-euc", script)
        assert done.ok, done.err
        return done.out

    def write(self, source: str, sizes: Mapping[str, int]) -> dict[str, str]:
        """Write files of random bytes; their SHA-256."""
        lines = [f"mkdir -p {self.SOURCES}/{source}", f"cd {self.SOURCES}/{source}"]
        for path, size in sizes.items():
            lines.append(f'mkdir -p "$(dirname {path})"; head -c {size} /dev/urandom > {path}')
        self.do("\n".join(lines))
        return {path: digest for path, digest in self.sent(source).items() if path in sizes}

    def sent(self, source: str) -> dict[str, str]:
        return self._sums(f"{self.SOURCES}/{source}")

    def delivered(self, destination: str) -> dict[str, str]:
        return self._sums(f"{self.DELIVERIES}/{destination}")

    def _sums(self, directory: str) -> dict[str, str]:
        listed = self.do(
            f"mkdir -p {directory}; cd {directory}; "
            "find . -name .penstock -prune -o -type f -print0 | xargs -0 -r sha256sum"
        )
        return sums(listed)

    def expect(self, destination: str, files: Mapping[str, str], timeout: float = 60) -> None:
        """Wait until a destination has exactly these files."""
        eventually(
            lambda: self.delivered(destination) == files,
            timeout,
            lambda: (
                f"files in {destination}: {sorted(files)}; there are {sorted(self.delivered(destination))}"
            ),
            POLL_SECONDS,
        )


def sums(listed: str) -> dict[str, str]:
    """What sha256sum prints, by path."""
    found = (line.split("  ", 1) for line in listed.splitlines() if line)
    return {path.removeprefix("./"): digest for digest, path in found}


def claim(name: str, mode: str = "ReadWriteMany") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}},
    }


def apply(kubectl: Kubectl, *objects: object) -> Answer:
    answer = kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": objects})
    assert answer.ok, answer.err
    return answer


@dataclass(frozen=True)
class Stream:
    """A DirectoryStream in the lab."""

    lab: Kubectl
    name: str

    @property
    def body(self) -> dict[str, Any]:
        return self.lab("get", "dstream", self.name, "-o", "json").object

    @property
    def status(self) -> dict[str, Any]:
        return self.body.get("status", {})

    def patch(self, **spec: Any) -> None:
        """Change its spec; None takes a field away."""
        changed = self.lab(
            "patch", "dstream", self.name, "--type=merge", "--patch", json.dumps({"spec": spec})
        )
        assert changed.ok, changed.err

    def until(
        self, kind: str = "Ready", status: str = "True", reason: str = "", timeout: float = 90
    ) -> dict[str, Any]:
        """Wait for a condition of the spec as it is now."""

        def seen() -> dict[str, Any] | None:
            body = self.body
            for condition in body.get("status", {}).get("conditions", ()):
                if (
                    condition["type"] == kind
                    and condition["status"] == status
                    and condition["observedGeneration"] == body["metadata"]["generation"]
                    and reason in ("", condition["reason"])
                ):
                    return condition
            return None

        return eventually(
            seen,
            timeout,
            lambda: (
                f"{self.name}: {kind} {status} {reason}; its status is {json.dumps(self.status, indent=1)}"
            ),
            POLL_SECONDS,
        )

    def deployment(self, side: str = "downloader") -> dict[str, Any]:
        return self.lab("get", "deployment", f"{self.name}-{side}", "-o", "json").object

    def pods(self, side: str = "downloader") -> list[dict[str, Any]]:
        """Its pods, those that are ending included."""
        return pods_of(self.lab, f"{self.name}-{side}")

    def until_replicas(self, number: int, timeout: float = 90) -> None:
        """Wait until it has exactly so many downloaders: wanted, there and ready."""

        def settled() -> bool:
            spec, status = self.deployment()["spec"], self.status
            wanted, ready = status["desiredReplicas"], status["readyReplicas"]
            return (spec["replicas"], wanted, ready, len(alive(self.pods()))) == (number,) * 4

        eventually(
            settled,
            timeout,
            lambda: f"{self.name}: {number} replicas; its status is {json.dumps(self.status, indent=1)}",
            POLL_SECONDS,
        )

    def events(self) -> list[dict[str, Any]]:
        """What `kubectl describe` says happened to it."""
        chosen = f"--field-selector=involvedObject.kind=DirectoryStream,involvedObject.name={self.name}"
        return self.lab("get", "events", chosen, "-o", "json").object["items"]


@dataclass(frozen=True)
class Release:
    """The chart in a namespace. Each command of Helm has directories of its own, below `home`."""

    system: Kubectl
    home: Path

    def install(self, values: Mapping[str, Any], chart: Path = CHART) -> None:
        self._helm("install", RELEASE, str(chart), values=values)

    def upgrade(self, values: Mapping[str, Any], chart: Path = CHART) -> None:
        self._helm("upgrade", RELEASE, str(chart), values=values)

    def uninstall(self) -> None:
        self._helm("uninstall", RELEASE, "--ignore-not-found")

    def _helm(self, *arguments: str, values: Mapping[str, Any] | None = None) -> None:
        place = ("--namespace", self.system.namespace)
        helm(self.system.kubeconfig, self.home, *arguments, *place, values=values)


@dataclass(frozen=True)
class Penstock:
    """An installation: operator, registry and perhaps a Kafka in one namespace, streams in another one."""

    system: Kubectl
    lab: Kubectl
    release: Release
    kafka: ClusterKafka

    @property
    def cluster(self) -> Kubectl:
        """kubectl for what is in no namespace, or in any."""
        return Kubectl(self.system.kubeconfig)

    @property
    def desk(self) -> Desk:
        return Desk(self.lab)

    @property
    def registry(self) -> Registry:
        return Registry(self.system, f"{RELEASE}-registry")

    def values(self, **changes: Any) -> dict[str, Any]:
        """Values of the chart, for a cluster that has the CRD."""
        given = {
            "crd": {"install": False},
            "operator": {
                "namespaces": [self.lab.namespace],
                "readSeconds": 2,
                "resources": {"requests": {"cpu": "50m"}},
            },
            "streams": {"uploader": {"resources": SMALL}, "downloader": {"resources": SMALL}},
        }
        return laid_over(given, changes)

    def spec(self, name: str, **changes: Any) -> dict[str, Any]:
        """A stream that makes its topic, and reads and writes directories of its own name."""
        place = {"persistentVolumeClaim": {"claimName": "deliveries", "subPath": name}}
        given = {
            "kafka": {"bootstrapServers": self.kafka.bootstrap_servers},
            "topic": {"name": name, "management": "Create", "partitions": 1, "replicationFactor": 1},
            "source": {"path": f"/{name}", "uploader": {"mode": "Deployment", "claimName": "sources"}},
            "downloader": {"destination": place},
        }
        return laid_over(given, changes)

    def declare(self, name: str, **changes: Any) -> Stream:
        """Make a stream, and the directories that it names."""
        self.desk.do(f"mkdir -p {Desk.SOURCES}/{name} {Desk.DELIVERIES}/{name}")
        stream = {
            "apiVersion": "penstock.dev/v1alpha1",
            "kind": "DirectoryStream",
            "metadata": {"name": name},
            "spec": self.spec(name, **changes),
        }
        apply(self.lab, stream)
        return Stream(self.lab, name)

    def operator_pods(self) -> list[dict[str, Any]]:
        return pods_of(self.system, OPERATOR)

    def operator_log(self) -> list[str]:
        """What the operator that runs now has said."""
        said = self.system("logs", f"deployment/{OPERATOR}", "--tail=-1")
        assert said.ok, said.err
        return said.out.splitlines()

    def kill_operator(self) -> None:
        """Have its pod forgotten, and what runs in it killed."""
        force_delete(self.system, *(pod["metadata"]["name"] for pod in self.operator_pods()))

    def operator_ready(self) -> None:
        waited = self.system("rollout", "status", f"deployment/{OPERATOR}", "--timeout=90s")
        assert waited.ok, waited.err

    @contextmanager
    def metrics(self) -> Iterator["Metrics"]:
        """The operator's metrics, through a port-forward."""
        with forwarded(self.system, f"deployment/{OPERATOR}", "metrics") as url:
            yield Metrics(url)


@dataclass(frozen=True)
class Metrics:
    """What Prometheus reads, at an address of this machine."""

    url: str

    def sum(self, name: str) -> float:
        """The sum of all series of this name."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split()[:1] == [name]
        )


def helm(kubeconfig: str, home: Path, *arguments: str, values: Mapping[str, Any] | None = None) -> None:
    """Run Helm, with directories of its own."""
    homes = {f"HELM_{kind}_HOME": str(home / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
    done = subprocess.run(
        ["helm", *arguments, *([] if values is None else ["--values", "-"])],
        input=json.dumps(values),
        env={**kept, **homes, "KUBECONFIG": kubeconfig},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def restricted_namespace(cluster: Kubectl, name: str) -> Iterator[Kubectl]:
    assert cluster("create", "namespace", name).ok
    try:
        labels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
        assert cluster("label", "namespace", name, *labels).ok
        yield Kubectl(cluster.kubeconfig, name)
    finally:
        cluster("delete", "namespace", name, "--wait=false")


@contextmanager
def namespaces(cluster: Kubectl, home: Path, kafka: ClusterKafka | None = None) -> Iterator[Penstock]:
    """The place for an installation, where nothing is yet; with another one's Kafka, or the chart's own."""
    run = uuid.uuid4().hex[:6]
    with (
        restricted_namespace(cluster, f"e2e-{run}-system") as system,
        restricted_namespace(cluster, f"e2e-{run}-lab") as lab,
    ):
        own = ClusterKafka(system, f"{RELEASE}-kafka")
        yield Penstock(system, lab, Release(system, home), kafka or own)


@contextmanager
def installed(penstock: Penstock) -> Iterator[None]:
    """Install the chart as docs/operator.md says, with its Kafka, and what streams need.

    Leaves nothing at the end but the cluster's CRD, which has to be there before.
    """
    penstock.desk.start()
    try:
        small = {"resources": {"requests": {"cpu": "50m"}}}
        penstock.release.install(penstock.values(demoKafka={"enabled": True} | small, registry=small))
        penstock.operator_ready()
        penstock.kafka.wait_until_ready()
        penstock.registry.wait_until_ready()
        penstock.desk.ready()
        yield
    finally:
        removed(penstock)


def removed(penstock: Penstock) -> None:
    """Take all streams away, and then the release: the operator has to see the end of the streams."""
    try:
        _remove_streams(penstock.lab)
    finally:
        penstock.release.uninstall()


def crd_up_to_date(cluster: Kubectl) -> None:
    """Let the cluster have our CRD. It has one, which belongs to all who use the cluster, and stays."""
    updated = cluster("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    assert updated.ok, updated.err
    established = cluster("wait", "--for=condition=Established", f"crd/{CRD_NAME}", "--timeout=30s")
    assert established.ok, established.err
    eventually(lambda: cluster("get", "dstream").ok, 30, "the API server serves DirectoryStreams")


def _remove_streams(lab: Kubectl) -> None:
    removed = lab("delete", "dstream", "--all", "--timeout=110s")
    if not removed.ok:
        for left in lab("get", "dstream", "-o", "name").out.split():
            # Without it the namespace would stay for ever.
            lab("patch", left, "--type=merge", "--patch", '{"metadata": {"finalizers": null}}')
    assert removed.ok, f"streams did not go: {removed.err}"
