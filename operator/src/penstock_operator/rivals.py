"""Streams that read the same topic in the same consumer group: only the first of them may. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from penstock_operator.resource import DirectoryStream


def earlier_rivals(streams: Iterable[DirectoryStream]) -> dict[str, str]:
    """Return, by id, each stream that came after another one with its topic and group, and that one's id.

    Topics are the same if Kafka gives them the same id, however their brokers are addressed, and if their
    brokers' addresses and names are: an id may not be known yet, or be that of a topic that is no more.
    """
    first: dict[tuple[object, ...], str] = {}
    found: dict[str, str] = {}
    for stream in sorted(streams, key=_age):
        if stream.metadata.deletion_timestamp is not None:
            continue
        identities = list(_identities(stream))
        rival = next((first[identity] for identity in identities if identity in first), None)
        if rival is not None:
            found[stream.id] = rival
            continue
        for identity in identities:
            first[identity] = stream.id
    return found


def _age(stream: DirectoryStream) -> tuple[str, str]:
    return stream.metadata.creation_timestamp, stream.metadata.uid


def _identities(stream: DirectoryStream) -> Iterator[tuple[object, ...]]:
    topic, group = stream.spec.topic.name, stream.consumer_group
    if stream.status.topic_id is not None:
        yield "id", stream.status.topic_id, topic, group
    brokers = {address.strip().lower() for address in stream.spec.kafka.bootstrap_servers.split(",")}
    yield "address", frozenset(brokers), topic, group
