"""Streams that read the same topic in the same consumer group: only the first of them may. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from penstock_operator.resource import DirectoryStream


def earlier_rivals(streams: Iterable[DirectoryStream]) -> dict[str, str]:
    """Return, by id, each stream that came after another one with its topic and group, and that one's id.

    Topics are the same if Kafka gives them the same id, however their brokers are addressed, and if their
    brokers' addresses and names are: an id may not be known yet, or be that of a topic that is no more.

    In other namespaces a stream counts only if Kafka has shown it the topic: else whoever may make a stream
    anywhere could stop another's by naming what is not theirs. One that is being deleted counts until it is
    gone: it may still deliver.
    """
    first: dict[_Identity, str] = {}
    found: dict[str, str] = {}
    for stream in sorted(streams, key=_age):
        identities = list(_identities(stream))
        rival = next((first[identity] for identity in identities if identity in first), None)
        if rival is not None:
            found[stream.id] = rival
            continue
        shown = stream.status.topic_id is not None
        for identity in identities:
            if shown or identity.namespace is not None:
                first[identity] = stream.id
    return found


class _Identity(NamedTuple):
    """What two streams must not have in common. Within a namespace, or (None) everywhere."""

    namespace: str | None
    where: str | frozenset[str]
    topic: str
    group: str


def _age(stream: DirectoryStream) -> tuple[str, str]:
    return stream.metadata.creation_timestamp, stream.metadata.uid


def _identities(stream: DirectoryStream) -> Iterator[_Identity]:
    topic, group = stream.spec.topic.name, stream.consumer_group
    if stream.status.topic_id is not None:
        yield _Identity(None, stream.status.topic_id, topic, group)
    brokers = frozenset(address.strip().lower() for address in stream.spec.kafka.bootstrap_servers.split(","))
    yield _Identity(None, brokers, topic, group)
    yield _Identity(stream.metadata.namespace, brokers, topic, group)
