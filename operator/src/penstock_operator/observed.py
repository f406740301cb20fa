"""What is seen of a DirectoryStream before anything is decided: values, gathered by the controller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock_operator.kafka import Observation
from penstock_operator.objects import SIDECAR, STREAM_LABEL
from penstock_operator.objects.names import Side
from penstock_operator.reading import FailedRead
from penstock_operator.resource import DirectoryStream

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReadingTaken:
    """What Kafka said, and the how-manieth time it was asked: a decision is made once for each."""

    number: int
    observation: Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that reconciling looks at, but what it remembers and the time."""

    stream: DirectoryStream
    reading: ReadingTaken | None
    """None: Kafka was not asked yet."""
    deployments: Mapping[Side, Object] = field(default_factory=dict)
    """Those that there are, whoever made them."""
    claims: Mapping[str, Object | None] = field(default_factory=dict)
    """By name; None for one that does not exist."""
    revision: str = ""
    """Of the Secrets and ConfigMaps that pods read at their start."""
    earlier: str | None = None
    """The stream that was first to read the same topic in the same group, if it is not this one."""
    topic_notes: tuple[str, ...] = ()
    """What its topic is not as the stream wants it."""
    topic_error: FailedRead | None = None
    """Why the topic could not be made or changed."""
    created_topic_id: str | None = None
    refused: Mapping[Side, str] = field(default_factory=dict)
    """Deployments that the API server has refused, and why."""
    failing: Mapping[Side, tuple[str, ...]] = field(default_factory=dict)
    """What is wrong with pods of a Deployment that is not ready."""
    sidecars: Sidecars | None = None
    """The pods that are to have a sidecar; None if they were not looked for."""


@dataclass(frozen=True, slots=True)
class Sidecars:
    """How many pods of a stream have their sidecar, and which do not."""

    ready: int = 0
    not_ready: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def is_ours(stream: DirectoryStream, live: Object) -> bool:
    """Whether a Deployment of our stream's name was made for this very stream."""
    owners = live["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner["uid"] == stream.metadata.uid for owner in owners)


def sidecars_of(pods: Iterable[Object]) -> Sidecars:
    """Look at the pods that are to have a stream's sidecar. Those that have ended do not count."""
    ready, waiting, missing = 0, [], []
    for pod in pods:
        name, spec, status = pod["metadata"]["name"], pod.get("spec", {}), pod.get("status", {})
        if status.get("phase") in {"Succeeded", "Failed"}:
            continue
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        if not any(container["name"] == SIDECAR for container in containers):
            # One of the stream's own is not the pod of a program, whatever the selector says.
            if STREAM_LABEL not in (pod["metadata"].get("labels") or {}):
                missing.append(name)
            continue
        statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        if any(one["name"] == SIDECAR and one.get("ready") for one in statuses):
            ready += 1
        else:
            waiting.append(name)
    return Sidecars(ready, tuple(sorted(waiting)), tuple(sorted(missing)))


def failing_pods(pods: list[Object]) -> tuple[str, ...]:
    """Say in words what keeps pods from being ready, each reason once; nothing of those that just start.

    The words do not change while the reason stays the same: no counts, no times.
    """
    found: dict[str, str] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        for problem in _problems(pod):
            found.setdefault(problem, pod["metadata"]["name"])
    return tuple(f"pod {name}: {problem}" for problem, name in found.items())


def _problems(pod: Object) -> list[str]:
    if pod["metadata"].get("deletionTimestamp"):
        return []
    status = pod.get("status", {})
    found = [
        f"cannot be scheduled ({condition['message']})"
        for condition in status.get("conditions") or ()
        if condition["type"] == "PodScheduled" and condition["status"] == "False" and condition.get("message")
    ]
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("lastState") or {}).get("terminated") or {}
        reason = waiting.get("reason", "")
        if reason in {"", "ContainerCreating", "PodInitializing"}:
            continue
        said = reason
        if reason == "CrashLoopBackOff":
            ending = f"{ended.get('reason', 'Error')} (exit code {ended.get('exitCode', '?')})"
            said += f", last ended with {ending}"
            said += f": kubectl logs --previous {pod['metadata']['name']}"
        elif reason.startswith(("CreateContainer", "InvalidImage")) and waiting.get("message"):
            said += f" ({waiting['message']})"
        elif "Image" in reason:
            said += f" ({container.get('image', '')})"
        found.append(said)
    return found
