"""Who scales: our operator, and KEDA's Kafka scaler with the HorizontalPodAutoscaler that it drives."""

from __future__ import annotations

from math import ceil
from typing import Final

import numpy as np
from bench.scaling.queues import Seen
from bench.scaling.traces import Trace

from penstock_operator.reading import Group, Partition, Reading
from penstock_operator.scaling import Inputs, Mode, Policy, State, decide


class Penstock:
    """The operator's own code, in mode `Lag` with its defaults."""

    def __init__(self, trace: Trace) -> None:
        self._policy = Policy(
            mode=Mode.LAG, min_replicas=trace.min_replicas, lag_per_replica=trace.lag_per_replica
        )
        self._state = State()

    def decide(self, seen: Seen, now: float) -> int:
        """Hand over what Kafka would say."""
        ends = np.ceil(seen.produced).astype(int)
        behind = np.ceil(seen.lag).astype(int)
        reading = Reading(
            tuple(Partition(0, int(end), int(end - lag)) for end, lag in zip(ends, behind, strict=True)),
            Group(seen.stable, seen.members),
        )
        decision = decide(
            Inputs(policy=self._policy, reading=reading, replicas=seen.replicas), self._state, now
        )
        self._state = decision.state
        return decision.replicas


class Keda:
    """KEDA between none and one replica, the HPA above, both with their documented defaults.

    https://keda.sh/docs/2.18/scalers/apache-kafka/: the lag of all partitions, capped at lagThreshold for
    each, is an external metric with target AverageValue = lagThreshold.
    https://keda.sh/docs/2.18/reference/scaledobject-spec/: pollingInterval, cooldownPeriod.
    https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/: sync period 15 s,
    tolerance, scale-down stabilisation, at most twice as many or four more pods in 15 s.

    `even` is KEDA's ensureEvenDistributionOfPartitions: only numbers that divide the partitions.
    """

    POLLING_SECONDS: Final = 30
    COOLDOWN_SECONDS: Final = 300
    STABILIZATION_SECONDS: Final = 300
    TOLERANCE: Final = 0.1

    def __init__(self, trace: Trace, *, even: bool = False) -> None:
        self._trace = trace
        self._even = even
        self._recommended: list[tuple[float, int]] = []
        self._active_at = 0.0

    def decide(self, seen: Seen, now: float) -> int:
        """Let both have their turn."""
        lag = ceil(seen.lag.sum())
        replicas = seen.replicas
        if now % self.POLLING_SECONDS == 0:
            if lag > 0:
                self._active_at = now
            if self._trace.min_replicas == 0:
                if lag > 0 and replicas == 0:
                    return 1
                if lag == 0 and now - self._active_at >= self.COOLDOWN_SECONDS:
                    return 0
        # The HPA leaves what has been scaled to zero alone.
        return self._autoscale(lag, replicas, now) if replicas else 0

    def _autoscale(self, lag: int, replicas: int, now: float) -> int:
        threshold = self._trace.lag_per_replica
        partitions = self._trace.partitions
        if self._even:
            factors = [number for number in range(1, partitions + 1) if partitions % number == 0]
            lag = threshold * next((n for n in factors if n * threshold >= lag), partitions)
        metric = min(lag, threshold * partitions)
        if abs(metric / (threshold * replicas) - 1) <= self.TOLERANCE:
            proposed = replicas
        else:
            proposed = ceil(metric / threshold)
        self._recommended = [
            (at, number) for at, number in self._recommended if at > now - self.STABILIZATION_SECONDS
        ]
        if not self._recommended:
            self._recommended.append((now, replicas))
        self._recommended.append((now, proposed))
        if proposed < replicas:
            proposed = min(replicas, max(number for _, number in self._recommended))
        least = max(1, self._trace.min_replicas)
        return max(least, min(proposed, max(2 * replicas, replicas + 4), partitions))
