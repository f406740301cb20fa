"""What arrives: seven loads, each the same for everyone who scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEP_SECONDS = 5
MINUTE = 60 // STEP_SECONDS
HOUR = 60 * MINUTE

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """A load on a topic. `arrivals` are records in each step, `weights` how they spread over partitions."""

    name: str
    title: str
    arrivals: Array
    weights: Array
    rate: float = 50.0
    """Records that one replica handles in a second."""
    min_replicas: int = 1

    @property
    def partitions(self) -> int:
        """How many there are."""
        return len(self.weights)

    @property
    def lag_per_replica(self) -> int:
        """A minute's work: `lagPerReplica` for us, `lagThreshold` for KEDA."""
        return int(60 * self.rate)


def traces() -> list[Trace]:
    """Give all of them, with the same random numbers each time."""
    random = np.random.default_rng(2016)

    def load(steps: int, per_second: Callable[[int], float]) -> Array:
        rates = np.array([per_second(step) for step in range(steps)])
        return random.poisson(rates * STEP_SECONDS).astype(np.float64)

    def even(partitions: int) -> Array:
        return np.full(partitions, 1 / partitions)

    one = np.zeros(16)
    one[3] = 1.0
    return [
        Trace(
            "step",
            "300 records/s for half an hour, 16 partitions",
            load(80 * MINUTE, lambda step: 300 if 10 * MINUTE <= step < 40 * MINUTE else 10),
            even(16),
        ),
        Trace(
            "bursts",
            "40,000 records within a minute, every 15 minutes, 16 partitions",
            load(2 * HOUR, lambda step: 40_000 / 60 if step % (15 * MINUTE) < MINUTE else 0),
            even(16),
        ),
        Trace(
            "day",
            "10 hours, rising from 10 to 460 records/s and falling again, 12 partitions",
            load(10 * HOUR, lambda step: 10 + 225 * (1 - np.cos(2 * np.pi * step / (10 * HOUR)))),
            even(12),
        ),
        Trace(
            "spike",
            "480,000 records within two minutes, 64 partitions",
            load(60 * MINUTE, lambda step: 4000 if 10 * MINUTE <= step < 12 * MINUTE else 20),
            even(64),
        ),
        Trace(
            "trickle",
            "50 records every 7 minutes, half of each hour nothing, from zero, 8 partitions",
            load(
                4 * HOUR,
                lambda step: 50 / STEP_SECONDS if step % HOUR < HOUR / 2 and step % (7 * MINUTE) == 0 else 0,
            ),
            even(8),
            min_replicas=0,
        ),
        Trace(
            "slow",
            "30 records/s for an hour, replicas that handle 5 records/s, 8 partitions",
            load(2 * HOUR, lambda step: 30 if step < HOUR else 0),
            even(8),
            rate=5.0,
        ),
        Trace(
            "giant",
            "one file of 120,000 chunks: a single one of 16 partitions",
            load(80 * MINUTE, lambda step: 200 if MINUTE <= step < 11 * MINUTE else 0),
            one,
        ),
    ]
