"""Fixtures of the registry's tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.integration.registry.running import Registry
from tests.kafka import Kafka


@pytest.fixture
def make_registry(kafka: Kafka, tmp_path: Path) -> Iterator[Callable[..., Registry]]:
    """Make registries that end with the test: `make_registry(streams=[topic], events=topic)`."""
    with ExitStack() as stack:
        numbers = iter(range(100))

        def make(kafka: Kafka = kafka, **given) -> Registry:
            directory = tmp_path / f"registry-{next(numbers)}"
            return stack.enter_context(closing(Registry(kafka, directory, **given)))

        yield make


@pytest.fixture
def events(kafka: Kafka) -> str:
    """A topic for telemetry that no other test uses."""
    return kafka.create_topic()


@pytest.fixture
def topic(kafka: Kafka) -> str:
    """The topic of a stream, with its topic for receipts."""
    name = kafka.create_topic()
    kafka.create_topic(f"{name}.receipts")
    return name
