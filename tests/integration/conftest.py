"""Fixtures of the integration tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.kafka import Kafka
from tests.stream import Stream


@pytest.fixture
def make_stream(kafka: Kafka, tmp_path: Path) -> Iterator[Callable[..., Stream]]:
    """Make streams whose services end with the test: `make_stream(partitions=2)`."""
    with ExitStack() as stack:

        def make(kafka: Kafka = kafka, **given) -> Stream:
            directory = tmp_path / f"stream-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            return stack.enter_context(closing(Stream(kafka, directory, **given)))

        yield make


@pytest.fixture
def stream(make_stream: Callable[..., Stream]) -> Stream:
    """A stream with one partition."""
    return make_stream()
