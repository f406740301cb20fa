"""What a registry counts of itself. What it knows of streams and programs is in `known_metrics`."""

from __future__ import annotations

import time

from prometheus_client import Counter, Gauge, Histogram

from penstock_registry.records import TopicKind

RECORDS = Counter(
    "penstock_registry_records_read", "Records read, by what is said on their topic.", ["topic_kind"]
)
ASIDE = Counter(
    "penstock_registry_records_kept_aside",
    "Records that are no events, by what is said on their topic; /api/v1/problems shows them.",
    ["topic_kind"],
)
MISSED = Counter(
    "penstock_registry_records_missed",
    "Records that were deleted from their topic before they were read.",
    ["topic_kind"],
)
PARTITIONS = Gauge("penstock_registry_partitions", "Partitions that this process is assigned.")
BATCH_SECONDS = Histogram(
    "penstock_registry_batch_seconds",
    "Seconds that the database took for a batch of records.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
BEHIND_SECONDS = Gauge(
    "penstock_registry_behind_seconds",
    "Age of the newest record that was read; 0 while there is nothing to read, and nothing stands still.",
)
FORGOTTEN = Counter(
    "penstock_registry_forgotten_files", "Files that were forgotten: nothing was heard of them for long."
)

for _kind in TopicKind:  # 0 before the first record, which else no rate would show
    RECORDS.labels(_kind)
    ASIDE.labels(_kind)
    MISSED.labels(_kind)


class Behind:
    """How far reading is behind what is said."""

    def __init__(self) -> None:
        self._newest: float | None = None
        self._is_behind = False
        self._still_since: float | None = None

    def learned(self, newest: float) -> None:
        """Note that a record of this time was read, and maybe there are more."""
        self._newest = newest
        self._is_behind = True

    def caught_up(self) -> None:
        """Note that there was nothing more to read."""
        self._is_behind = False

    def cannot_read(self) -> None:
        """Note that from now on nobody knows what there is to read."""
        if not self._is_behind:
            self._newest, self._is_behind = time.time(), True

    def stands_still(self, is_still: bool) -> None:
        """Note whether some partition cannot be read now, however much comes from others."""
        if not is_still:
            self._still_since = None
        elif self._still_since is None:
            self._still_since = time.time()

    @property
    def seconds(self) -> float:
        """Age of the newest record that was read; 0 after there was nothing to read.

        While a partition stands still: at least for how long.
        """
        now = time.time()
        since = now if self._still_since is None else self._still_since
        if self._is_behind and self._newest is not None:
            since = min(since, self._newest)
        return max(0.0, now - since)


behind = Behind()
BEHIND_SECONDS.set_function(lambda: behind.seconds)
