"""What all tests here that need a Kubernetes cluster share."""

import pytest
from tests.cluster import VARIABLE, cluster, kubectl

__all__ = ["cluster", "kubectl"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"cluster: needs a Kubernetes cluster, named by {VARIABLE}")
