"""Fixtures of the tests that break things."""

from tests.integration.conftest import make_stream, stream

__all__ = ["make_stream", "stream"]
