"""DirectoryStream: the resource itself."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from penstock_operator.resource.downloader import Downloader
from penstock_operator.resource.kafka import Kafka
from penstock_operator.resource.kubernetes import Condition, list_map
from penstock_operator.resource.rules import Part, Rule, explain
from penstock_operator.resource.source import Source
from penstock_operator.resource.topic import Topic
from servicekit.exceptions import PenstockError

GROUP: Final = "penstock.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "DirectoryStream"
PLURAL: Final = "directorystreams"
SINGULAR: Final = "directorystream"
SHORT_NAME: Final = "dstream"

MAX_NAME: Final = 52
"""Objects made for a stream are called `<name>-uploader` and `<name>-downloader`, and a label holds at most
63 characters."""


class InvalidResource(PenstockError):
    """A DirectoryStream that says something it may not; the message has one line for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ConditionType(StrEnum):
    """What the conditions of a stream are about."""

    READY = "Ready"
    TOPIC_READY = "TopicReady"
    UPLOADER_READY = "UploaderReady"
    DOWNLOADER_READY = "DownloaderReady"
    SCALING_ACTIVE = "ScalingActive"
    SCALING_LIMITED = "ScalingLimited"


class Spec(Part):
    """What is wanted."""

    suspend: bool = Field(
        False,
        description="Stop: no downloader, no uploader Deployment. Topic, files and everything else stay, "
        "and it goes on where it was when this is false again. Sidecars end only with their pods.",
    )
    kafka: Kafka = Field(description="Which Kafka the files go through, and as whom.")
    topic: Topic = Field(description="The topic that the files go through.")
    source: Source = Field(
        Source(),
        description="The directory that is watched. Without it: uploaders outside of this cluster.",
    )
    downloader: Downloader = Field(description="Where the files are delivered, and by how many.")
    deletion_policy: Literal["Retain", "Delete"] = Field(
        "Retain",
        description="What else goes when the DirectoryStream is deleted. `Retain`: nothing. `Delete`: the "
        "topic, its receipts topic and the consumer group, if the operator made that topic, no other "
        "DirectoryStream names it, and this destination has read all that it holds; else they stay, and an "
        "Event says why. Directories, volumes and files always stay.",
    )
    rules: ClassVar = (
        Rule(
            "self.deletionPolicy != 'Delete' || self.topic.management == 'Create'",
            "deletionPolicy Delete needs topic.management: Create: a topic that somebody else looks after "
            "is not ours to delete",
            lambda spec: spec.deletion_policy != "Delete" or spec.topic.management == "Create",
            field="deletionPolicy",
        ),
    )


_Count = Annotated[int, Field(ge=0)]


class Status(Part):
    """What is. Written by the operator alone."""

    observed_generation: _Count | None = Field(
        None, description="The `metadata.generation` that this status is about."
    )
    conditions: tuple[Condition, ...] = Field(
        (),
        max_length=16,
        description="`Ready`: all is well. `TopicReady`: the topic is there and can carry files. "
        "`UploaderReady`, `DownloaderReady`: they run. `ScalingActive`: the number of downloaders follows "
        "what is seen; `False` holds it. `ScalingLimited`: something keeps it from being what it should be.",
        json_schema_extra=list_map("type"),
    )
    topic_id: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        None,
        description="The topic's id in Kafka: another one when it was deleted and made again.",
    )
    created_topic_id: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        None,
        description="That of the topic which the operator made, if it made one: no other is ever deleted.",
    )
    consumer_group: Annotated[str, StringConstraints(max_length=249)] | None = Field(
        None, description="Id of the destination, and its consumer group."
    )
    partitions: _Count | None = Field(None, description="How many partitions the topic has.")
    lag: _Count | None = Field(
        None, description="How many records of the topic the destination has not yet read for good."
    )
    desired_replicas: _Count | None = Field(None, description="How many downloaders there are to be.")
    replicas: _Count | None = Field(None, description="How many downloaders there are.")
    ready_replicas: _Count | None = Field(None, description="How many of them are ready.")
    selector: Annotated[str, StringConstraints(max_length=4096)] | None = Field(
        None, description="Labels of the downloaders' pods, as a HorizontalPodAutoscaler asks for them."
    )

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return the condition of this type, if it was ever set."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


class Metadata(Part):
    """The object's own data, as far as it matters here."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str = ""
    labels: dict[str, str] = Field({})
    annotations: dict[str, str] = Field({})
    finalizers: tuple[str, ...] = ()
    deletion_timestamp: str | None = None


class DirectoryStream(Part):
    """A directory whose files are carried through Kafka to a destination."""

    api_version: Literal["penstock.dev/v1alpha1"] = "penstock.dev/v1alpha1"
    kind: Literal["DirectoryStream"] = "DirectoryStream"
    metadata: Metadata
    spec: Spec = Field(description="What is wanted.")
    status: Status = Field(Status(), description="What is. Written by the operator alone.")
    rules: ClassVar = (
        Rule(
            f"size(self.metadata.name) <= {MAX_NAME}",
            f"the name has more than {MAX_NAME} characters, which leaves no room for -downloader behind it: "
            f"choose a shorter one",
            lambda stream: len(stream.metadata.name) <= MAX_NAME,
        ),
    )

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> DirectoryStream:
        """Read an object as Kubernetes gives it. Raises InvalidResource, with one line for each problem."""
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise InvalidResource(explain(error)) from None

    @property
    def id(self) -> str:
        """The stream's name in all of the cluster, `<namespace>.<name>`: also its source's id."""
        return f"{self.metadata.namespace}.{self.metadata.name}"

    @property
    def consumer_group(self) -> str:
        """Id of the destination, and its consumer group."""
        return self.spec.downloader.consumer_group or self.id

    @property
    def receipts_required(self) -> tuple[str, ...]:
        """Destinations whose receipts have to be there before a file is moved or deleted."""
        return self.spec.source.after.receipts_required(self.consumer_group)
