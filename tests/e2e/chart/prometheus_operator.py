"""prometheus-operator's definitions (CRDs), as its Go module carries them: what a PodMonitor may say.

They are Apache-2.0 and not ours, so they are not kept here; `go` fetches and checks them.
"""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import Kubectl

MODULE = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
SUM = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="
DEFINITIONS = ("podmonitors", "prometheusrules")


def definition(name: str) -> Path:
    """The file with the definition of `podmonitors`, for example."""
    if shutil.which("go") is None:
        pytest.fail("needs Go, which fetches the definitions of prometheus-operator: there is no go in PATH")
    done = subprocess.run(
        ["go", "mod", "download", "-json", MODULE],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["Sum"] == SUM, f"{MODULE} is not what it was"
    return Path(found["Dir"]) / f"example/prometheus-operator-crd/monitoring.coreos.com_{name}.yaml"


@contextlib.contextmanager
def defined(cluster: Kubectl) -> Iterator[None]:
    """Let the cluster know PodMonitors and PrometheusRules; those that it did not know go at the end."""
    with contextlib.ExitStack() as at_the_end:
        for name in DEFINITIONS:
            crd = f"{name}.monitoring.coreos.com"
            if cluster("get", "crd", crd).ok:
                continue
            created = cluster("create", "-f", str(definition(name)))
            assert created.ok or "AlreadyExists" in created.err, created.err
            at_the_end.callback(cluster, "delete", "crd", crd, "--wait=false")
            waited = cluster("wait", "--for=condition=Established", f"crd/{crd}", "--timeout=60s")
            assert waited.ok, waited.err
        yield
