"""When a broker that has started can be used."""

import time
from collections.abc import Callable, Mapping
from typing import cast

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

_CLIENT_SETTINGS: Mapping[str, str | int] = {
    "log_level": 0,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 200,
    "socket.timeout.ms": 5000,
}
_ATTEMPT_SECONDS = 3.0


class NotReadyError(Exception):
    """The deadline passed. The message says what was waited for."""


def wait_until_usable(
    client_config: Mapping[str, str],
    *,
    cluster_id: str,
    node_id: int,
    nodes: int,
    deadline: float,
    check_alive: Callable[[], None],
) -> None:
    """Return once clients can use what the brokers have, at once and without errors.

    Partitions that have no replica on any broker that runs are left out.

    An open port is not enough: after a restart, leaders are not elected yet, and a group's first question of
    its coordinator creates and loads the offsets topic. So wait until `nodes` brokers of the cluster are
    known, `node_id` among them, and each partition tells its offsets, and ask for a coordinator once.

    `deadline` is in the time of `time.monotonic`. `check_alive` raises when waiting longer is in vain. (The
    coordinator is asked with a consumer: AdminClient.list_consumer_group_offsets can crash Python while there
    is none.)
    """
    config: dict[str, str | int | float | bool] = {**_CLIENT_SETTINGS, **client_config}
    admin = AdminClient(config)

    def every_partition_has_a_leader() -> None:
        metadata = admin.list_topics(timeout=_ATTEMPT_SECONDS)
        answering = cast("str", metadata.cluster_id)  # the stubs say that it is None
        if answering != cluster_id:
            # Another broker was quicker to take the port; ours is about to end because of it.
            raise NotReadyError(f"cluster {answering} answers, not {cluster_id}")
        if len(metadata.brokers) < nodes:
            raise NotReadyError(f"{len(metadata.brokers)} of {nodes} brokers are there")
        if node_id not in metadata.brokers:
            raise NotReadyError(f"broker {node_id} is not known yet")
        partitions = {
            TopicPartition(topic, number): OffsetSpec.latest()  # type: ignore[no-untyped-call]
            for topic, description in metadata.topics.items()
            for number, partition in description.partitions.items()
            if any(replica in metadata.brokers for replica in partition.replicas)
        }
        if partitions:
            answers = admin.list_offsets(partitions, request_timeout=_ATTEMPT_SECONDS)
            for answer in answers.values():
                answer.result()

    def groups_have_a_coordinator() -> None:
        consumer = Consumer({**config, "group.id": "penstock-ready"})
        try:
            consumer.committed([TopicPartition("penstock-ready", 0)], timeout=_ATTEMPT_SECONDS)
        finally:
            consumer.close()

    for step in (every_partition_has_a_leader, groups_have_a_coordinator):
        _repeat(step, deadline, check_alive)


def _repeat(step: Callable[[], None], deadline: float, check_alive: Callable[[], None]) -> None:
    while True:
        check_alive()
        try:
            return step()
        except (KafkaException, NotReadyError) as error:
            if time.monotonic() > deadline:
                raise NotReadyError(f"{step.__name__.replace('_', ' ')}: {error}") from error
        time.sleep(0.05)
