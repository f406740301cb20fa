"""Releases of the chart on a cluster, in namespaces of their own."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.cluster import Kubectl
from tests.e2e.chart.charts import CHART, Helm
from tests.streams import laid_over

NOT_RUNNING = {"image": {"registry": "registry.invalid"}, "crd": {"install": False}}
"""What most tests install: the CRD is everybody's, and an operator would need Kafka and images."""


@contextlib.contextmanager
def namespace_of(cluster: Kubectl, name: str) -> Iterator[Kubectl]:
    """A namespace that takes restricted pods only; it goes at the end."""
    own = f"chart-{name}-{uuid.uuid4().hex[:8]}"
    assert cluster("create", "namespace", own).ok
    try:
        levels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
        assert cluster("label", "namespace", own, *levels).ok
        yield Kubectl(cluster.kubeconfig, own)
    finally:
        cluster("delete", "namespace", own, "--wait=false")


@contextlib.contextmanager
def release(
    helm: Helm, kubectl: Kubectl, name: str, values: dict[str, Any], chart: Path = CHART
) -> Iterator[Helm]:
    """A release for real, uninstalled at the end."""
    here = replace(helm, kubeconfig=kubectl.kubeconfig, namespace=kubectl.namespace)
    here("install", name, str(chart), values=laid_over(NOT_RUNNING, values))
    try:
        yield here
    finally:
        here("uninstall", name)
