"""Which numbers of replicas make sense for a number of partitions, and which a claim allows."""

from __future__ import annotations

from collections.abc import Collection


def ceiling_of_claim(access_modes: Collection[str], *, co_located: bool = False) -> int | None:
    """Say how many replicas can mount a claim: None is any number.

    `co_located`: an affinity keeps all replicas on one node, which is all that ReadWriteOnce asks for.
    """
    if "ReadWriteMany" in access_modes or (co_located and "ReadWriteOnce" in access_modes):
        return None
    return 1


def balanced(replicas: int, partitions: int) -> int:
    """Give the highest balanced level that is not above `replicas`: as fast as that many, and none too many.

    A level is a number of replicas that one less would slow down: the busiest would have more partitions.
    Both numbers are 1 or more.
    """
    return round_up(partitions, round_up(partitions, replicas))


def balanced_above(replicas: int, partitions: int) -> int:
    """Give the lowest balanced level that is not below `replicas` (at most all partitions)."""
    level = balanced(replicas, partitions)
    if level >= min(replicas, partitions):
        return level
    return round_up(partitions, round_up(partitions, level) - 1)


def round_up(number: int, divisor: int) -> int:
    """Divide, and round up."""
    return -(-number // divisor)
