"""What there is to see of an installation when a test has failed: resources, Events and logs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.cluster import Kubectl
from tests.e2e.installed import Penstock

TAIL = 60
"""Lines of each container's log."""


def collect(penstock: Penstock) -> Iterator[tuple[str, str]]:
    """Give titles and texts, the more telling ones first."""
    lab, system = penstock.lab, penstock.system
    yield "streams", _said(lab, "get", "dstream", "-o", "yaml", "--show-managed-fields=false")
    yield "events", _said(lab, "get", "events", "--sort-by=.lastTimestamp")
    for title, kubectl in (("lab", lab), ("system", system)):
        yield (
            f"objects of the {title}",
            _said(kubectl, "get", "deployments,jobs,pods,persistentvolumeclaims,services", "-o", "wide"),
        )
    containers = [one for kubectl in (system, lab) for one in _containers(kubectl)]
    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(_log, containers)


def _containers(kubectl: Kubectl) -> Iterator[tuple[Kubectl, str, str, bool]]:
    for pod in kubectl("get", "pods", "-o", "json").object["items"]:
        status: dict[str, Any] = pod.get("status", {})
        for one in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
            yield kubectl, pod["metadata"]["name"], one["name"], False
            if one["restartCount"]:
                yield kubectl, pod["metadata"]["name"], one["name"], True


def _log(container: tuple[Kubectl, str, str, bool]) -> tuple[str, str]:
    kubectl, pod, name, previous = container
    options = ["--previous"] if previous else []
    title = f"log of {pod}/{name}" + (" before it was restarted" if previous else "")
    return title, _said(kubectl, "logs", pod, "-c", name, f"--tail={TAIL}", *options)


def _said(kubectl: Kubectl, *arguments: str) -> str:
    answer = kubectl(*arguments)
    return answer.out + answer.err
