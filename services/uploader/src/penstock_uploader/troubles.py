"""The files that cannot be sent as things are, and why."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from servicekit.filesystem import Fingerprint

_MAX_RETRY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a file cannot be sent. `permanent`: as long as the file looks like this."""

    reason: str
    message: str
    permanent: bool
    fingerprint: Fingerprint | None
    tries: int

    @property
    def retry_seconds(self) -> float:
        """How long to wait until the next try: longer each time."""
        return min(_MAX_RETRY_SECONDS, 2.0**self.tries)


class Troubles:
    """Troubles by path, relative to `root`."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._by_path: dict[str, Trouble] = {}

    def __len__(self) -> int:
        return len(self._by_path)

    def note(self, path: str, reason: str, message: str, *, permanent: bool) -> tuple[Trouble, bool]:
        """Note trouble with a file; gives it, and whether that is news."""
        known = self._by_path.get(path)
        fingerprint = None
        with contextlib.suppress(OSError):
            fingerprint = Fingerprint.of(os.lstat(os.path.join(self._root, path)))
        trouble = Trouble(reason, message, permanent, fingerprint, known.tries + 1 if known else 1)
        self._by_path[path] = trouble
        return trouble, known is None or known.message != message

    def over(self, path: str) -> bool:
        """Note that nothing is wrong with this file (any more); whether there was."""
        return self._by_path.pop(path, None) is not None

    def keeps(self, path: str, fingerprint: Fingerprint) -> bool:
        """Whether a scan that meets this file need not look at it: it is hopeless, or tried again anyway."""
        trouble = self._by_path.get(path)
        return trouble is not None and (not trouble.permanent or trouble.fingerprint == fingerprint)

    def forgive(self) -> list[str]:
        """Forget what was permanent, for its reason may be gone; gives the paths."""
        paths = [path for path, trouble in self._by_path.items() if trouble.permanent]
        for path in paths:
            del self._by_path[path]
        return paths

    def forget_gone(self) -> None:
        """Forget files that are gone."""
        for path in [p for p in self._by_path if not os.path.lexists(os.path.join(self._root, p))]:
            del self._by_path[path]

    def listed(self, limit: int) -> Iterator[tuple[str, Trouble]]:
        """Give at most so many of them, with their paths."""
        yield from list(self._by_path.items())[:limit]

    @property
    def all_permanent(self) -> bool:
        """Whether none of them may mend itself."""
        return all(trouble.permanent for trouble in self._by_path.values())
