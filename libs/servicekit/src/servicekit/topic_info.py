"""What a topic is like, whether it can carry our records, and how one should be configured. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chunkproto.native import RECORD_OVERHEAD_BYTES
from servicekit.exceptions import TopicRefused


@dataclass(frozen=True)
class LogRange:
    """The offsets of one partition: `start` of the first record there is, `end` of the next one to come."""

    start: int
    end: int


@dataclass(frozen=True)
class TopicInfo:
    """A topic as it is now."""

    name: str
    topic_id: str
    """22 characters of URL-safe Base64; another one when a topic is deleted and made again."""
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)
    """Its effective configuration; empty if `config_error` is set."""
    config_error: str | None = None
    """Why the configuration could not be read (ACL DescribeConfigs is missing), else None."""

    @property
    def retention_seconds(self) -> float | None:
        """Age at which records are deleted; None: never, or unknown."""
        milliseconds = int(self.config.get("retention.ms", -1))
        return None if milliseconds < 0 or "delete" not in self._policy else milliseconds / 1000

    @property
    def retention_bytes(self) -> int | None:
        """Size of ONE partition above which its oldest records are deleted; None: no limit, or unknown."""
        size = int(self.config.get("retention.bytes", -1))
        return None if size < 0 or "delete" not in self._policy else size

    @property
    def max_batch_bytes(self) -> int:
        """What a producer's `batch.size` may be: it does not split a batch that the topic refuses."""
        return min(1_000_000, int(self.config.get("max.message.bytes", 1_000_000)))

    @property
    def _policy(self) -> str:
        return self.config.get("cleanup.policy", "delete")


@dataclass(frozen=True)
class TopicProblem:
    """Something about a topic to know. `refused`: it would destroy or refuse our records."""

    refused: bool
    message: str


def check_topic_can_carry(
    info: TopicInfo, chunk_size: int, *, overhead: int = RECORD_OVERHEAD_BYTES
) -> list[TopicProblem]:
    """Return what stands against sending chunks of `chunk_size` bytes to this topic. Pure.

    `overhead` is what a record may have beside its chunk, in bytes.
    """
    name = info.name
    problems = []
    if info.config_error is not None:
        problems.append(
            TopicProblem(
                False,
                f"topic {name!r}: its configuration cannot be read, so that it may compact, or refuse "
                f"large records, unnoticed: allow DescribeConfigs on it ({info.config_error})",
            )
        )
    policy = info.config.get("cleanup.policy", "delete")
    if "compact" in policy:
        problems.append(
            TopicProblem(
                True,
                f"topic {name!r} is compacted (cleanup.policy={policy}): Kafka would delete all chunks of a "
                f"path but the last; set cleanup.policy=delete or use another topic",
            )
        )
    needed = chunk_size + overhead
    for key in ("max.message.bytes", "segment.bytes"):
        limit = int(info.config.get(key, needed))
        if limit < needed:
            problems.append(
                TopicProblem(
                    True,
                    f"topic {name!r} has {key}={limit}, too small for chunks of {chunk_size} bytes: raise "
                    f"it to at least {needed}, or lower the chunk size to "
                    f"{max(0, limit - overhead)} (--chunk-size)",
                )
            )
    if info.replication_factor < 2:
        problems.append(
            TopicProblem(
                False,
                f"topic {name!r} has replication factor {info.replication_factor}: what one "
                f"broker's disk loses is lost",
            )
        )
    elif int(info.config.get("min.insync.replicas", 2)) < 2:
        problems.append(
            TopicProblem(
                False,
                f"topic {name!r} has min.insync.replicas=1: a record can be acknowledged by one broker "
                f"alone and lost with it; set it to 2",
            )
        )
    return problems


def require_topic_can_carry(
    info: TopicInfo, chunk_size: int, *, overhead: int = RECORD_OVERHEAD_BYTES
) -> list[str]:
    """Raise TopicRefused if the topic cannot carry chunks of `chunk_size` bytes; else return the warnings."""
    problems = check_topic_can_carry(info, chunk_size, overhead=overhead)
    refused = [problem.message for problem in problems if problem.refused]
    if refused:
        raise TopicRefused("; ".join(refused))
    return [problem.message for problem in problems]


STREAM_RETENTION_SECONDS: Final = 7 * 86_400
"""How long a destination may be away before it misses files, unless somebody says otherwise."""


def stream_config(retention_seconds: float = STREAM_RETENTION_SECONDS) -> dict[str, str]:
    """Give the configuration of a topic that is safe for files, whatever the brokers' defaults are."""
    return {"cleanup.policy": "delete", "retention.ms": str(int(retention_seconds * 1000))}


RECEIPTS_RETENTION_SECONDS: Final = 30 * 86_400
"""A source may be away for a month and still find out what has arrived."""


def receipts_config(stream: TopicInfo) -> dict[str, str]:
    """Give the configuration of the topic with a stream's receipts: kept as long as the stream at least."""
    keep = stream.retention_seconds
    for_ever = keep is None and bool(stream.config)
    milliseconds = -1 if for_ever else int(max(keep or 0, RECEIPTS_RETENTION_SECONDS) * 1000)
    return {"cleanup.policy": "delete", "retention.ms": str(milliseconds)}
