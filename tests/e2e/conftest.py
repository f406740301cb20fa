"""What all tests here that need a Kubernetes cluster share."""

from tests.cluster import cluster, kubectl

__all__ = ["cluster", "kubectl"]
