"""From what was seen in the directory to what is ready to be sent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from penstock_uploader.ledger import KnownFile, Ledger, stored
from penstock_uploader.planning import Rest
from penstock_uploader.schedule import Schedule
from penstock_uploader.settle import Settle
from penstock_uploader.transfer import Transfer
from penstock_uploader.watch import Seen, Sighting, is_regular
from servicekit.filesystem import Fingerprint

MAX_WAITING: Final = 20_000
"""Above this many files that wait, scans are held up, so that memory does not grow with the directory."""
_UNSEEN: Final = Fingerprint(-1, 0, 0, 0)


class Discovery:
    """Which files wait until they rest, which are ready, and since when."""

    def __init__(
        self,
        root: str,
        *,
        settle: Settle,
        schedule: Schedule,
        ledger: Ledger,
        active: Mapping[str, Transfer],
        existing: bool,
        trust_times: bool,
        is_hopeless: Callable[[str, Fingerprint], bool],
        ready: Callable[[str, Fingerprint], None],
        gone: Callable[[str], None],
    ) -> None:
        """`active`: what is on its way. `trust_times`: whether the files' times are by this machine's clock.

        `is_hopeless` says whether a file that looks like this was refused before; `ready` and `gone` are told
        of paths.
        """
        self._root = root
        self.settle = settle
        self._schedule = schedule
        self._ledger = ledger
        self._active = active
        self._existing = existing
        self._trust_times = trust_times
        self._is_hopeless = is_hopeless
        self._ready = ready
        self._gone = gone
        self._ready_ns: dict[str, int] = {}
        self._doubted: set[str] = set()
        """Paths closed by a writer, or to be looked at again, since they were opened; they wait for that."""
        self._dirty: set[str] = set()
        """Paths of which something was seen while they were on their way."""

    @property
    def has_room(self) -> bool:
        """Whether more may be seen."""
        return len(self.settle) + len(self._schedule) < MAX_WAITING

    def saw_events(self, events: Iterable[tuple[str, Seen]]) -> None:
        """Take what the system has told."""
        now = time.monotonic()
        for path, seen in events:
            if seen is Seen.CLOSED:
                self._doubted.add(path)
            if path in self._active:
                self._dirty.add(path)
            elif path in self._schedule:
                continue  # it will be opened as it is then
            elif seen is Seen.TOUCHED:
                if path not in self.settle:
                    self.settle.seen(path, _UNSEEN, now)
            elif path in self.settle:
                self.settle.closed(path, now)
            else:
                self.settle.closed(path, now, self.not_before(self._ledger.file(path)))

    def saw_files(self, sightings: Iterable[Sighting]) -> None:
        """Take what a scan has met."""
        now = time.monotonic()
        before_us: list[tuple[str, Fingerprint]] = []
        for sighting in sightings:
            path, fingerprint = sighting.path, sighting.fingerprint
            if (active := self._active.get(path)) is not None:
                if stored(fingerprint) != stored(active.fingerprint):
                    self._dirty.add(path)
                continue
            if path in self._schedule:
                continue
            known = self._ledger.file(path)
            if known is not None and known.fingerprint == stored(fingerprint):
                continue
            if self._is_hopeless(path, fingerprint):
                continue
            if known is None and not self._existing and self._was_before_us(fingerprint):
                before_us.append((path, fingerprint))
                continue
            self.settle.seen(
                path,
                fingerprint,
                now,
                quiet_seconds=self._quiet_seconds(fingerprint),
                not_before=self.not_before(known),
            )
        if before_us:
            self._ledger.remember_existing(before_us)

    def take_due(self, limit: int = 512) -> bool:
        """Let files that rest have their turn; whether there were any."""
        now = time.monotonic()
        due = self.settle.due(now, limit)
        for item in due:
            path = item.path
            if path in self._active:
                self._dirty.add(path)
                continue
            try:
                status = os.lstat(os.path.join(self._root, path))
            except (FileNotFoundError, NotADirectoryError):
                self._doubted.discard(path)
                self._gone(path)
                continue
            except OSError:
                self._schedule.add(path, 0)  # what is wrong will be seen, and said, when it is opened
                continue
            if not is_regular(status):
                self._doubted.discard(path)
                self._gone(path)
                continue
            fingerprint = Fingerprint.of(status)
            if item.unless_changed is not None and item.unless_changed != fingerprint:
                self.settle.seen(path, fingerprint, now, quiet_seconds=self._quiet_seconds(fingerprint))
                continue
            self._ready_ns.setdefault(path, time.time_ns())
            self._schedule.add(path, fingerprint.size)
            self._ready(path, fingerprint)
        return bool(due)

    def rest(self, path: str) -> Rest:
        """Since when a file that is about to be opened rests; forgets it."""
        doubted = path in self._doubted
        self._doubted.discard(path)
        return Rest(self._ready_ns.pop(path, 0) or time.time_ns(), doubted)

    def finished(self, path: str) -> None:
        """Note that a path is no longer on its way: what was seen of it meanwhile counts now."""
        if path in self._dirty:
            self._dirty.discard(path)
            self.settle.closed(path, time.monotonic(), self.not_before(self._ledger.file(path)))

    def retry(self, path: str, seconds: float) -> None:
        """Look at a path again after this time, or when its backoff is over."""
        at = time.monotonic() + seconds
        self._doubted.add(path)
        self.settle.retry(path, max(at, self.not_before(self._ledger.file(path))))

    def not_before(self, known: KnownFile | None) -> float:
        """When the next version may be sent, at the earliest, on the monotonic clock."""
        if known is None or not known.recent:
            return 0.0
        wait = (known.not_before_ms() - time.time_ns() // 1_000_000) / 1000
        # A clock that was set back must not hold a file up for longer than the backoff itself.
        return time.monotonic() + min(wait, 900.0) if wait > 0 else 0.0

    def _quiet_seconds(self, fingerprint: Fingerprint) -> float:
        if not self._trust_times:
            return 0.0
        return time.time() - max(fingerprint.mtime_ns, fingerprint.ctime_ns) / 1e9

    def _was_before_us(self, fingerprint: Fingerprint) -> bool:
        return max(fingerprint.mtime_ns, fingerprint.ctime_ns) < self._ledger.born_ms * 1_000_000
