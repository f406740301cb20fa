"""Kafka from the event loop: each call runs in a thread of its cluster, and what fails is a value."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from penstock_operator import metrics
from penstock_operator.kafka import (
    Cluster,
    Clusters,
    Connection,
    Deletion,
    Observation,
    Prepared,
    Renewal,
    TopicWanted,
    Watched,
    delete,
    failed_read,
    observe,
    prepare,
    renew_each,
)
from penstock_operator.reading import FailedRead
from penstock_operator.resource import DirectoryStream
from servicekit.exceptions import PenstockError
from servicekit.lifecycle import describe_bug

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class KafkaCalls:
    """What the controller wants of Kafka."""

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters

    async def observe(
        self, connection: Connection, streams: Collection[Watched]
    ) -> Mapping[Watched, Observation]:
        """Read all these streams of one cluster; what fails is in the result."""
        with metrics.READ_SECONDS.time():
            found = await self._call(connection, lambda cluster: observe(cluster, streams))
        if not isinstance(found, FailedRead):
            return found
        return dict.fromkeys(streams, Observation(found, found))

    async def prepare(
        self, connection: Connection, stream: DirectoryStream, created_topic_id: str | None
    ) -> Prepared | FailedRead:
        """Make a stream's topics, or change them to what it wants."""
        wanted = TopicWanted.of(stream.spec.topic)
        return await self._call(connection, lambda cluster: prepare(cluster, wanted, created_topic_id))

    async def delete(
        self, connection: Connection, stream: DirectoryStream, named_by: Collection[str]
    ) -> Deletion | FailedRead:
        """Delete a stream's topics, if they are its own and all was delivered."""
        return await self._call(
            connection,
            lambda cluster: delete(
                cluster,
                stream.spec.topic.name,
                stream.consumer_group,
                created_topic_id=stream.status.created_topic_id,
                named_by=named_by,
            ),
        )

    async def renew(
        self, connection: Connection, streams: Collection[Watched]
    ) -> Mapping[Watched, Renewal | FailedRead]:
        """Keep the offsets of groups that nobody is in."""
        done = await self._call(connection, lambda cluster: renew_each(cluster, streams))
        if isinstance(done, FailedRead):
            return dict.fromkeys(streams, done)
        return {
            watched: failed_read(result) if isinstance(result, PenstockError) else result
            for watched, result in done.items()
        }

    async def _call(self, connection: Connection, call: Callable[[Cluster], _Result]) -> _Result | FailedRead:
        try:
            with self._clusters.use(connection) as cluster:
                return await asyncio.wrap_future(cluster.submit(call, cluster))
        except PenstockError as error:
            metrics.ERRORS.labels("kafka").inc()
            return failed_read(error)
        except Exception as error:
            # A bug; whoever waits for the answer must hear that nothing is known.
            log.warning("Kafka at %s: %s", connection.bootstrap_servers, describe_bug(error))
            log.debug("Kafka at %s", connection.bootstrap_servers, exc_info=error)
            metrics.ERRORS.labels("operator").inc()
            return FailedRead("OperatorFailed", describe_bug(error))
