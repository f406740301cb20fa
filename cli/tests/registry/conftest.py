import os

import pytest
from cli.tests.registry.stub import OVERVIEW, Stub


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """Settings of who runs the tests are about another registry."""
    for name in list(os.environ):
        if name.startswith("PENSTOCK_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def registry():
    with Stub() as stub:
        stub.tell("/overview", OVERVIEW)
        yield stub
