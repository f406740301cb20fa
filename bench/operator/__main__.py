"""Many DirectoryStreams on one operator: `python -m bench.operator --streams 200`.

The operator runs as a process on this machine, with a real API server (E2E_KUBECONFIG) and a real Kafka (it
starts one). No downloader has to run: at zero replicas there are no pods, and with `--pending` each stream
has one that no node takes, which is the dearer case, for its pods are then asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penstock.broker import Broker


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.operator", description=__doc__)
    parser.add_argument("--streams", type=int, default=200, help="how many DirectoryStreams (default: 200)")
    parser.add_argument("--quiet-seconds", type=int, default=60, help="how long to watch it at rest")
    parser.add_argument("--pending", action="store_true", help="one pod for each stream, which never runs")
    arguments = parser.parse_args()
    kubeconfig = os.environ.get("E2E_KUBECONFIG")
    if not kubeconfig:
        sys.exit("set E2E_KUBECONFIG to the kubeconfig of a cluster that may be written to")
    measure(kubeconfig, arguments.streams, arguments.quiet_seconds, pending=arguments.pending)


def measure(kubeconfig: str, streams: int, quiet_seconds: int, *, pending: bool) -> None:
    namespace = f"bench-{uuid.uuid4().hex[:8]}"
    kubectl = Kubectl(kubeconfig, namespace)
    with Broker() as broker:
        kubectl("create", "namespace", namespace)
        try:
            _measure(kubectl, broker.bootstrap_servers, streams, quiet_seconds, pending=pending)
        finally:
            kubectl("delete", "namespace", namespace, "--wait=false")


class Kubectl:
    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def __call__(self, *arguments: str, given: object = None) -> str:
        done = subprocess.run(
            ["kubectl", "--kubeconfig", self.kubeconfig, "--namespace", self.namespace, *arguments],
            input=None if given is None else json.dumps(given),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout


def _measure(kubectl: Kubectl, brokers: str, streams: int, quiet_seconds: int, *, pending: bool) -> None:
    kubectl("apply", "-f", "-", given=_claim())
    items = [_stream(number, brokers, pending=pending) for number in range(streams)]
    print(f"{streams} streams, {'a pod each that never runs' if pending else 'no pods'}; load {_load()}")
    with operator(kubectl) as process:
        began = time.monotonic()
        kubectl("create", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": items})
        print(f"created by kubectl in          {time.monotonic() - began:6.1f} s")
        _await(lambda: _settled(kubectl) == streams)
        print(f"settled after                  {time.monotonic() - began:6.1f} s, {process}")
        # A stream is looked at several times after its last write; then nothing has to be written any more.
        _await(lambda: process.resting(5.0))
        print(f"at rest after                  {time.monotonic() - began:6.1f} s, {process}")
        _rest(process, quiet_seconds)
    with operator(kubectl) as process:
        began = time.monotonic()
        _await(lambda: process.writes >= streams)
        _await(lambda: process.resting(5.0))
        print(f"started again, at rest after   {time.monotonic() - began:6.1f} s, {process}")
        _rest(process, quiet_seconds)


def _rest(process: Operator, seconds: int) -> None:
    writes, cpu = process.writes, process.cpu_seconds
    time.sleep(seconds)
    used = 100 * (process.cpu_seconds - cpu) / seconds
    print(f"at rest for {seconds} s: {process.writes - writes:.0f} writes, {used:.1f} % of a core, {process}")


def _claim() -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def _stream(number: int, brokers: str, *, pending: bool) -> dict[str, object]:
    scaling = {"mode": "Lag", "lagPerReplica": 1000, "minReplicas": 1 if pending else 0}
    nowhere = {"pod": {"nodeSelector": {"penstock.dev/nowhere": "true"}}}
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "DirectoryStream",
        "metadata": {"name": f"stream-{number:04}"},
        "spec": {
            "kafka": {"bootstrapServers": brokers},
            "topic": {"name": f"stream-{number:04}", "management": "Create", "partitions": 4},
            "downloader": {
                "destination": {"persistentVolumeClaim": {"claimName": "data", "subPath": f"{number}"}},
                "scaling": scaling,
                **(nowhere if pending else {}),
            },
        },
    }


def _settled(kubectl: Kubectl) -> int:
    """Count the streams whose status tells of their topic, and of scaling by what was read."""
    found = json.loads(kubectl("get", "directorystreams", "-o", "json"))["items"]
    return sum(
        any(
            condition["type"] == "ScalingActive" and condition["status"] == "True"
            for condition in one.get("status", {}).get("conditions", ())
        )
        for one in found
    )


class Operator:
    """A running operator, as its metrics and the kernel tell of it."""

    def __init__(self, pid: int, url: str) -> None:
        self.pid = pid
        self.url = url
        self._seen: tuple[float, float] = (0.0, 0.0)

    def metric(self, name: str) -> float:
        """Sum a metric over its labels; 0 as long as the operator does not answer."""
        try:
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0.0
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} "))
        )

    @property
    def writes(self) -> float:
        return self.metric("penstock_operator_writes_total")

    def resting(self, seconds: float) -> bool:
        """Whether nothing was written for so long."""
        writes, now = self.writes, time.monotonic()
        if writes != self._seen[0]:
            self._seen = (writes, now)
        return now - self._seen[1] >= seconds

    @property
    def cpu_seconds(self) -> float:
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __str__(self) -> str:
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        now, most = (int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        return (
            f"{self.writes:.0f} writes, {self.cpu_seconds:.1f} CPU-s, {now:.0f} MB ({most:.0f} at most), "
            f"{lines['Threads'].strip()} threads"
        )


@contextmanager
def operator(kubectl: Kubectl) -> Iterator[Operator]:
    """Run the operator for this namespace."""
    port = _free_port()
    environment = {
        **os.environ,
        "KUBECONFIG": kubectl.kubeconfig,
        "PENSTOCK_NAMESPACES": kubectl.namespace,
        "PENSTOCK_METRICS_PORT": str(port),
        "PENSTOCK_LOG_LEVEL": "warning",
    }
    command = [os.path.join(os.path.dirname(sys.executable), "penstock-operator")]
    with subprocess.Popen(command, env=environment) as process:
        try:
            yield Operator(process.pid, f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _await(holds: Callable[[], bool], seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"not within {seconds:g} s")
        time.sleep(0.25)


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
