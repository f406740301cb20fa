"""What Kafka says of a stream, as values: partitions, offsets and the group, or why nothing is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Partition:
    """Where the group stands in one partition; `committed` is None when it has no offset there."""

    log_start: int
    log_end: int
    committed: int | None = None
    unfinished: int = 0
    """Uploads in the committed metadata: begun, and neither delivered nor expired."""

    @property
    def lag(self) -> int:
        """Records that a replica would still read.

        Without an offset it begins at the log start. One beyond the end was committed in another topic of
        this name, and counts as none. What retention has taken can't be read any more.
        """
        if self.committed is None or self.committed > self.log_end:
            return max(0, self.log_end - self.log_start)
        return max(0, self.log_end - max(self.committed, self.log_start))


@dataclass(frozen=True, slots=True)
class Group:
    """The consumer group: whether Kafka calls it stable, and how many members it has."""

    stable: bool
    members: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What Kafka said, all of it: a reading that misses a partition or the group is a `FailedRead`."""

    partitions: tuple[Partition, ...]
    group: Group

    @property
    def lag(self) -> int:
        """Records that wait, in all partitions."""
        return sum(partition.lag for partition in self.partitions)

    @property
    def unfinished(self) -> int:
        """Uploads that someone must finish or expire."""
        return sum(partition.unfinished for partition in self.partitions)

    @property
    def log_end(self) -> int:
        """Records ever produced, more or less: it changes whenever something arrives."""
        return sum(partition.log_end for partition in self.partitions)


@dataclass(frozen=True, slots=True)
class FailedRead:
    """Why nothing is known: a CamelCase word, and a sentence that says what to do."""

    reason: str
    message: str
