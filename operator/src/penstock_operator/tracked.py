"""What the controller keeps of each DirectoryStream, from one look at it to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from penstock_operator.changes import Applied
from penstock_operator.kafka import Deletion, Prepared
from penstock_operator.objects.names import Side
from penstock_operator.observed import ReadingTaken, Sidecars
from penstock_operator.reading import FailedRead
from penstock_operator.reconcile import Memory
from penstock_operator.resource import DirectoryStream

Key = tuple[str, str]
"""Namespace and name of a stream."""
Object = Mapping[str, Any]
SIDES: Final[tuple[Side, ...]] = ("uploader", "downloader")


def version(body: Object | None) -> int:
    """Give an object's resource version: a number that grows, as KEP-5504 promises."""
    if body is None:
        return -1
    text = body["metadata"].get("resourceVersion", "0")
    return int(text) if text.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A Deployment that the API server does not take: it is not asked again too soon, unless it changes."""

    digest: str
    message: str
    tries: int
    until: float


@dataclass(slots=True)
class Tracked:
    """One stream: what is known of it, and what was done last."""

    body: Object
    stream: DirectoryStream | None
    invalid: str = ""
    deployments: dict[Side, Object] = field(default_factory=dict)
    deployments_known: bool = False
    deployments_ended: dict[Side, int] = field(default_factory=dict)
    """The version with which a Deployment went: an answer that was on its way does not bring it back."""
    reading: ReadingTaken | None = None
    read_wanted: bool = True
    memory: Memory = field(default_factory=Memory)
    applied: dict[Side, Applied] = field(default_factory=dict)
    refused: dict[Side, Refusal] = field(default_factory=dict)
    prepared: Prepared | None = None
    topic_error: FailedRead | None = None
    topic_changed_at: float = float("-inf")
    """Readings that began before know nothing of it."""
    deleting_topic: bool = False
    deletion: Deletion | FailedRead | None = None
    """What came of an attempt to delete the topic."""
    sidecars: Sidecars | None = None
    sidecars_at: float = float("-inf")
    failing: dict[Side, tuple[str, ...]] = field(default_factory=dict)
    failures: int = 0
    renewed_at: float | None = None
    grew_at: float | None = None
    partitions: int | None = None

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.body["metadata"]["namespace"], self.body["metadata"]["name"]

    def deployment_seen(self, side: Side, body: Object) -> bool:
        """Take notice of a Deployment; whether it is news."""
        known = max(version(self.deployments.get(side)) + 1, self.deployments_ended.get(side, 0))
        if version(body) < known:
            return False
        self.deployments[side] = body
        return True

    def deployment_gone(self, side: Side, body: Object) -> None:
        """Take notice that a Deployment is gone, or is no stream's any more, unless more is known since."""
        self.deployments_ended[side] = max(version(body), self.deployments_ended.get(side, 0))
        live = self.deployments.get(side)
        if live is not None and version(live) <= version(body):
            del self.deployments[side]

    @property
    def generation(self) -> int:
        """Which spec it is: the number grows with each change."""
        return int(self.body["metadata"].get("generation", 0))
