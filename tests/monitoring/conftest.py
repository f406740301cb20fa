"""A real Prometheus that scrapes all parts of a real Penstock, in which everything has happened once."""

from collections.abc import Iterator

import pytest
from tests.kafka import Kafka, kafka
from tests.monitoring.scene import Scene

__all__ = ["kafka"]


@pytest.fixture(scope="module")
def scene(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Files were delivered, refused and skipped; partitions were added; a pod got its sidecar."""
    scene = Scene(kafka, tmp_path_factory.mktemp("monitoring"))
    with scene.running():
        scene.act()
        yield scene
