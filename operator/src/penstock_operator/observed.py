"""What is seen of a DirectoryStream before anything is decided: values, gathered by the controller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock_operator.kafka import Observation
from penstock_operator.objects import FIELD_MANAGER, SIDECAR, STREAM_LABEL
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
    starting: int = 0
    """Pods whose sidecar has not failed and just starts, or waits with the pod to be scheduled."""
    not_ready: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def present(self) -> int:
        """How many pods have their sidecar."""
        return self.ready + self.starting + len(self.not_ready)

    @property
    def settled(self) -> bool:
        """Whether all is well, and nothing is about to change."""
        return not (self.starting or self.not_ready or self.missing)


def is_ours(stream: DirectoryStream, live: Object) -> bool:
    """Whether a Deployment of our stream's name was made for this very stream.

    One that nobody controls any more, and that we have made, is taken in again.
    """
    metadata = live["metadata"]
    controllers = [owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")]
    if controllers:
        return any(owner["uid"] == stream.metadata.uid for owner in controllers)
    writers = metadata.get("managedFields") or ()
    return any(one.get("manager") == FIELD_MANAGER and one.get("operation") == "Apply" for one in writers)


def sidecars_of(pods: Iterable[Object]) -> Sidecars:
    """Look at the pods that are to have a stream's sidecar. Those that have ended, or shall, do not count."""
    ready, starting, waiting, missing = 0, 0, [], []
    for pod in pods:
        name, spec, status = pod["metadata"]["name"], pod.get("spec", {}), pod.get("status", {})
        if status.get("phase") in {"Succeeded", "Failed"} or pod["metadata"].get("deletionTimestamp"):
            continue
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        if not any(container["name"] == SIDECAR for container in containers):
            # One of the stream's own is not the pod of a program, whatever the selector says.
            if STREAM_LABEL not in (pod["metadata"].get("labels") or {}):
                missing.append(name)
            continue
        statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        seen: Object = next((one for one in statuses if one["name"] == SIDECAR), {})
        if seen.get("ready"):
            ready += 1
        elif seen.get("started") or _fault(seen) is not None:
            waiting.append(name)
        else:
            starting += 1
    return Sidecars(ready, starting, tuple(sorted(waiting)), tuple(sorted(missing)))


def failing_pods(pods: Iterable[Object]) -> tuple[str, ...]:
    """Say in words what keeps pods from being ready, each reason once; nothing of those that just start.

    The words do not change while the reason stays the same: no counts, no times, and the same ones while the
    kubelet tries, waits and tries again.
    """
    found: dict[str, str] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        if pod["metadata"].get("deletionTimestamp"):
            continue
        for fault, command in _faults(pod):
            where = f"-n {pod['metadata']['namespace']} {pod['metadata']['name']}"
            found.setdefault(fault, f"pod {pod['metadata']['name']} {fault}: kubectl {command} {where}")
    return tuple(found.values())


def _faults(pod: Object) -> Iterator[tuple[str, str]]:
    """Give each thing that is wrong with a pod, and the command that tells more."""
    status = pod.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False" and scheduled.get("message"):
        yield f"cannot be scheduled ({scheduled['message'].rstrip('.')})", "describe pod"
    lost_at = conditions.get("Ready", {}).get("lastTransitionTime") or ""
    for container in status.get("containerStatuses") or ():
        fault = None if container.get("ready") else _fault(container)
        began = ((container.get("state") or {}).get("running") or {}).get("startedAt")
        if fault is not None:
            yield fault
        elif began and not container.get("ready") and lost_at > began:
            # Both are written alike, in UTC. A pod that was never ready has not been since before it ran.
            yield "runs, but is not ready any more", "logs"


def _fault(container: Object) -> tuple[str, str] | None:
    """Give what is wrong with a container that is not ready; None if it just starts."""
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason.startswith("CreateContainer") or reason in {"InvalidImageName", "RunContainerError"}:
        return f"cannot start: {reason}" + (f" ({message})" if message else ""), "describe pod"
    if "Image" in reason:
        # ErrImagePull and ImagePullBackOff take turns.
        return f"cannot get image {container.get('image', '')}", "describe pod"
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended:
        ending = f"{ended.get('reason', 'Error')}, exit code {ended.get('exitCode', '?')}"
        return f"does not stay up (last end: {ending})", "logs --previous"
    if reason in {"", "ContainerCreating", "PodInitializing"}:
        return None
    return f"cannot start: {reason}", "describe pod"
