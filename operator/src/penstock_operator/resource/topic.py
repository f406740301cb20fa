"""`spec.topic`: the topic that the files go through."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from chunkproto.native import RECORD_OVERHEAD_BYTES
from chunkproto.plan import DEFAULT_CHUNK_SIZE
from penstock_operator.resource.rules import Part, Rule, immutable, matching, only_in, required_in
from servicekit.events import EVENTS_TOPIC, receipts_topic

RECEIPTS_SUFFIX: Final = receipts_topic("")
MAX_TOPIC_NAME: Final = 249
"""Kafka's limit: a topic's name is a directory's, with the partition's number behind it."""

SMALLEST_RECORD_LIMIT: Final = DEFAULT_CHUNK_SIZE + RECORD_OVERHEAD_BYTES

_OBSERVED: Final = "management Observe takes the topic as it is: leave {0} out, or set management: Create"


def _large_enough(name: str) -> Rule:
    def holds(config: dict[str, str]) -> bool:
        value = config.get(name)
        return value is None or (
            value.isascii() and value.isdigit() and len(value) <= 18 and int(value) >= SMALLEST_RECORD_LIMIT
        )

    return Rule(
        f"!('{name}' in self) || (self['{name}'].matches('^[0-9]{{1,18}}$') && "
        f"int(self['{name}']) >= {SMALLEST_RECORD_LIMIT})",
        f"{name} has to be at least {SMALLEST_RECORD_LIMIT}, for chunks of {DEFAULT_CHUNK_SIZE} bytes and "
        f"what a record has beside them: raise it or leave it out",
        holds,
    )


TopicName = Annotated[
    str,
    StringConstraints(min_length=1),
    Field(max_length=MAX_TOPIC_NAME - len(RECEIPTS_SUFFIX)),
    matching(
        r"[a-zA-Z0-9._-]*[a-zA-Z0-9_-][a-zA-Z0-9._-]*",
        "a topic's name has letters, digits, '.', '_' and '-', and not only dots: choose another one",
    ),
    Rule(
        f"!self.endsWith('{RECEIPTS_SUFFIX}') && !self.startsWith('__') && self != '{EVENTS_TOPIC}'",
        "this name is taken: *.receipts and penstock.events are Penstock's own topics, __* Kafka's: choose "
        "another one",
        lambda name: not (name.endswith(RECEIPTS_SUFFIX) or name.startswith("__") or name == EVENTS_TOPIC),
        reason="FieldValueForbidden",
    ),
    immutable("the topic", "make a DirectoryStream of another name for another topic"),
]

PartitionCount = Annotated[
    int,
    Field(ge=1, le=10_000),
    Rule(
        "self >= oldSelf",
        "partitions can only be added: Kafka cannot take any away",
        None,
        reason="FieldValueForbidden",
    ),
]

TopicConfig = Annotated[
    dict[str, Annotated[str, StringConstraints(max_length=1024)]],
    Field(max_length=64),
    Rule(
        "!('cleanup.policy' in self) || self['cleanup.policy'] == 'delete'",
        "cleanup.policy has to be delete: compaction would destroy all chunks of a file but the last",
        lambda config: config.get("cleanup.policy", "delete") == "delete",
        reason="FieldValueForbidden",
    ),
    _large_enough("max.message.bytes"),
    _large_enough("segment.bytes"),
]


class Topic(Part):
    """The topic that the files go through. Its receipts go through `<name>.receipts`."""

    name: TopicName = Field(
        description="Its name, the same for ever. At most 240 characters, which leaves room for `.receipts`."
    )
    management: Literal["Observe", "Create"] = Field(
        "Observe",
        description="`Observe`: somebody else looks after the topic. `Create`: the operator makes it and its "
        "receipts topic when they are missing, and adds partitions when `partitions` grows.",
    )
    partitions: PartitionCount | None = Field(
        None,
        description="`Create`: how many partitions it has at least. More downloaders than partitions cannot "
        "share the work. It can grow, never shrink; a topic that has more already is left as it is.",
    )
    replication_factor: Annotated[int, Field(ge=1, le=32_767)] | None = Field(
        None,
        description="`Create`: on how many brokers each record is, when the topic is made; by default what "
        "the brokers have as theirs. Less than 2, and what one disk loses is lost.",
    )
    config: TopicConfig | None = Field(
        None,
        description="`Create`: configuration of the topic, such as `retention.ms`; values are text. Files "
        "that retention removes before they are read are lost to the destination (and reported).",
    )
    rules: ClassVar = (
        required_in(
            "management",
            "Create",
            "partitions",
            "management Create needs partitions: as many as downloaders are to share the work at most",
        ),
        only_in("management", ("Create",), "partitions", _OBSERVED.format("partitions")),
        only_in("management", ("Create",), "replication_factor", _OBSERVED.format("replicationFactor")),
        only_in("management", ("Create",), "config", _OBSERVED.format("config")),
    )

    @property
    def receipts(self) -> str:
        """Name of the topic with the stream's receipts."""
        return receipts_topic(self.name)
