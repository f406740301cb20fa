"""Clusters are shared, counted, and closed when nobody has used them for a while."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock_operator.kafka import Cluster, Clusters, References, connect
from penstock_operator.resource.kafka import Kafka


class Noted(Cluster):
    """A cluster that notes that it was closed; no broker is asked for."""

    closed = False

    def close(self) -> None:
        self.closed = True
        super().close()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def connection(port: int = 9092):
    return connect(Kafka.model_validate({"bootstrapServers": f"127.0.0.1:{port}"}), References())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clusters(clock):
    clusters = Clusters(unused_seconds=60, make=Noted, clock=clock)
    yield clusters
    clusters.close()


def test_one_that_was_used_lately_is_used_again(clusters, clock):
    with clusters.use(connection()) as first:
        pass
    clock.now += 59
    with clusters.use(connection()) as second:
        assert second is first
    assert not first.closed


def test_one_that_nobody_uses_is_closed_after_a_while(clusters, clock):
    with clusters.use(connection()) as cluster:
        pass
    clock.now += 60
    clusters.close_unused()
    assert cluster.closed
    assert len(clusters) == 0


def test_one_in_use_stays_however_long_that_takes(clusters, clock):
    with clusters.use(connection()) as cluster:
        with clusters.use(connection()):
            pass
        clock.now += 10_000
        clusters.close_unused()
        assert not cluster.closed
    clock.now += 59
    clusters.close_unused()
    assert not cluster.closed


def test_use_of_one_closes_others(clusters, clock):
    with clusters.use(connection(1)) as old:
        pass
    clock.now += 61
    with clusters.use(connection(2)):
        pass
    assert old.closed
    assert len(clusters) == 1


def test_all_who_come_at_once_share_one(clusters):
    made = set()
    with ThreadPoolExecutor(8) as threads:

        def use(_: int) -> None:
            with clusters.use(connection()) as cluster:
                made.add(id(cluster))

        list(threads.map(use, range(200)))
    assert len(made) == 1
