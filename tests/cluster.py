"""A Kubernetes cluster for tests. E2E_KUBECONFIG names the kubeconfig of one that may be written to.

No other is ever spoken to: neither KUBECONFIG nor ~/.kube/config is read.
"""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

VARIABLE = "E2E_KUBECONFIG"


@dataclass(frozen=True)
class Answer:
    """What kubectl said."""

    ok: bool
    out: str
    err: str

    @property
    def object(self) -> dict[str, Any]:
        assert self.ok, self.err
        return json.loads(self.out)


@dataclass(frozen=True)
class Kubectl:
    """kubectl on the cluster of the tests; `namespace` is this test's own, if it has one."""

    kubeconfig: str
    namespace: str = "default"

    def __call__(self, *arguments: str, given: object = None) -> Answer:
        """Run it, with `given` as the manifest on its standard input."""
        done = subprocess.run(
            ["kubectl", "--kubeconfig", self.kubeconfig, "--namespace", self.namespace, *arguments],
            input=None if given is None else json.dumps(given),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Answer(done.returncode == 0, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start what goes on until it is told to end: a watch, a port-forward."""
        return subprocess.Popen(
            ["kubectl", "--kubeconfig", self.kubeconfig, "--namespace", self.namespace, *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="session")
def cluster() -> Kubectl:
    """The cluster, with nothing promised about what is in it."""
    kubeconfig = os.environ.get(VARIABLE)
    if not kubeconfig:
        pytest.fail(f"needs a Kubernetes cluster: set {VARIABLE} to its kubeconfig")
    if shutil.which("kubectl") is None:
        pytest.fail(f"{VARIABLE} is set, but there is no kubectl in PATH")
    return Kubectl(os.path.abspath(kubeconfig))


@contextmanager
def own_namespace(cluster: Kubectl) -> Iterator[Kubectl]:
    """kubectl in a new namespace: what somebody leaves there, or runs, must not meet others."""
    name = f"penstock-{uuid.uuid4().hex[:8]}"
    assert cluster("create", "namespace", name).ok
    yield Kubectl(cluster.kubeconfig, name)
    cluster("delete", "namespace", name, "--wait=false")
