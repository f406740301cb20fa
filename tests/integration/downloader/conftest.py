"""Fixtures of the downloader's tests."""

import pytest
from tests.integration.downloader.sender import Sender
from tests.stream import Stream


@pytest.fixture
def sender(stream: Stream) -> Sender:
    """Something that sends to the stream's topic."""
    return Sender(stream.kafka, stream.topic)
