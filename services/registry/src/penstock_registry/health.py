"""How a stream or a program is, from what is known of it and the time: pure.

What a person reads first is decided here, so that the page, `penstock status` and the metrics agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Health = Literal["ok", "idle", "warning", "failing"]
ServiceState = Literal["alive", "silent", "stopped"]

IDLE_SECONDS: Final = 3600.0
"""Nothing happened for so long: the stream is idle."""
STUCK_SECONDS: Final = 300.0
"""A destination that lags may be quiet for so long: large files take their time."""
LOST_SECONDS: Final = 24 * 3600.0
"""For so long a lost range makes a stream fail: a person must have had the chance to see it."""

_FIRST_INTERVAL: Final[Mapping[str, float]] = {"penstock": 10.0, "openmsi": 900.0}
_SILENT_AFTER_INTERVALS: Final = 3
_NEVER_SILENT_BEFORE: Final = 45.0


def service_state(
    kind: str, *, last_at: float, interval_seconds: float | None, stopped: bool, now: float
) -> ServiceState:
    """Say whether a program is alive: heard of within three of its intervals (and 45 s)."""
    if stopped:
        return "stopped"
    interval = interval_seconds or _FIRST_INTERVAL.get(kind, 900.0)
    patience = max(_SILENT_AFTER_INTERVALS * interval, _NEVER_SILENT_BEFORE)
    return "silent" if now - last_at > patience else "alive"


def is_replaced(last_at: float, youngest_at: float) -> bool:
    """Say whether a program that is silent was replaced: another one with its task was new after its end.

    Pods that crash come back under another name; nobody has to look after the old one.
    """
    return youngest_at > last_at


@dataclass(frozen=True, slots=True)
class DestinationFacts:
    """What a destination's health follows from."""

    name: str
    lag_files: int
    last_at: float | None
    """When it last answered; None: never."""
    waiting_since: float | None = None
    """When the first upload of the last hour ended that it may not have answered; None: there is none."""
    lost_at: float | None = None
    """When it last reported lost records."""
    rejected: int = 0
    """Files that it has rejected, as they are now."""
    downloaders: Sequence[ServiceState] = ()
    """How its downloaders are; empty: none is known."""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What a stream's health follows from."""

    topic: str
    last_at: float
    failed: int = 0
    rejected: int = 0
    destinations: Sequence[DestinationFacts] = ()
    silent: Sequence[str] = ()
    """Programs of this stream that have fallen silent, as people know them."""


def waiting_since(minutes: Iterable[int], last_at: float | None) -> float | None:
    """Return when the first upload ended that was not answered by `last_at`, as far as `minutes` tell.

    `minutes` are when the minutes began in which uploads ended, in order. Those of the minute of the answer
    itself were answered, as far as anyone can say.
    """
    return next((float(minute) for minute in minutes if last_at is None or minute >= last_at), None)


def stream_health(facts: StreamFacts, now: float) -> tuple[Health, list[str]]:
    """Return how a stream is, and why it is not well: for each reason one line with what to do."""
    failing = list(_failing(facts, now))
    warning = list(_warning(facts, now))
    if failing:
        return "failing", failing + warning
    if warning:
        return "warning", warning
    return ("idle" if now - facts.last_at > IDLE_SECONDS else "ok"), []


def _failing(facts: StreamFacts, now: float) -> Iterable[str]:
    if facts.failed:
        yield f"{_files(facts.failed)} cannot be sent: the list of failures says why and what to do"
    if facts.rejected:
        # What one of them has rejected may be on its way to it again, or still be sent to the others.
        by = {one.name: min(one.rejected, facts.rejected) for one in facts.destinations if one.rejected}
        for name, rejected in by.items() or {"a destination": facts.rejected}.items():
            yield f"{_files(rejected)} rejected by {name}: the list of failures says why and what to do"
    for destination in facts.destinations:
        if destination.lost_at is not None and now - destination.lost_at <= LOST_SECONDS:
            yield (
                f"records were removed from {facts.topic} before {destination.name} had read them: raise the "
                "topic's retention, or run the downloader more often"
            )


def _warning(facts: StreamFacts, now: float) -> Iterable[str]:
    for destination in facts.destinations:
        if not destination.lag_files:
            continue
        unattended = _unattended(destination)
        if unattended is not None:
            yield unattended
            continue
        quiet_since = destination.waiting_since or destination.last_at or facts.last_at
        if now - quiet_since > STUCK_SECONDS:
            yield (
                f"{destination.name} has not answered for {_duration(now - quiet_since)} while "
                f"{_files(destination.lag_files)} wait for it: see whether its downloader runs and has space"
            )
    for program in facts.silent:
        yield f"{program} is silent: see whether it runs, or stop it properly"


def _unattended(destination: DestinationFacts) -> str | None:
    """Say that files wait where no downloader runs: nobody has to wait to be sure of that."""
    if not destination.downloaders or "alive" in destination.downloaders:
        return None
    waiting = _files(destination.lag_files)
    wait = f"{waiting} {'waits' if destination.lag_files == 1 else 'wait'} for it"
    if "silent" in destination.downloaders:
        return f"{destination.name}: its downloader is silent while {wait}: see whether it runs"
    return f"{destination.name}: its downloader is stopped while {wait}: start it again"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _duration(seconds: float) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{int(seconds)} seconds"
