"""When an object has to be applied (again), so that a settled cluster sees no writes. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Object = Mapping[str, Any]

CONTESTED: Final = 5
"""After so many times within `CONTEST_SECONDS` that somebody else's change was taken back, we wait."""
CONTEST_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Applied:
    """What was applied last, and as what the API server has it since then."""

    digest: str
    generation: int
    restored: tuple[float, ...] = ()
    """When somebody else's change was taken back lately."""

    @classmethod
    def of(cls, desired: Object, answered: Object, restored: tuple[float, ...] = ()) -> Applied:
        """Note an apply that the API server has answered with the object."""
        return cls(digest(desired), generation(answered), restored)

    def contested_until(self, now: float) -> float | None:
        """Say until when to leave an object alone that somebody else sets otherwise, again and again."""
        lately = [when for when in self.restored if now - when < CONTEST_SECONDS]
        return lately[0] + CONTEST_SECONDS if len(lately) >= CONTESTED else None


def digest(desired: Object) -> str:
    """Make a text that is the same for the same object."""
    return hashlib.sha256(json.dumps(desired, sort_keys=True).encode()).hexdigest()


def generation(live: Object) -> int:
    """Give the number that grows with each change of what an object's spec says."""
    return int(live["metadata"].get("generation", 0))


def needed(desired: Object, live: Object | None, applied: Applied | None) -> bool:
    """Whether to apply: it is not there, or never was ours in this process, or is not as we left it."""
    if live is None or applied is None or applied.digest != digest(desired):
        return True
    return is_changed(desired, live, applied)


def is_changed(desired: Object, live: Object, applied: Applied) -> bool:
    """Whether somebody else has changed it since: its spec, or what we say of its metadata.

    The generation is enough for the spec. It also grows with fields that are not ours: then applying changes
    nothing, and its answer tells the new one.
    """
    if generation(live) != applied.generation:
        return True
    there, ours = live["metadata"], desired["metadata"]
    labels = there.get("labels") or {}
    owners = [owner["uid"] for owner in there.get("ownerReferences") or ()]
    return any(labels.get(key) != value for key, value in ours["labels"].items()) or any(
        owner["uid"] not in owners for owner in ours["ownerReferences"]
    )
