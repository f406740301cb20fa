"""What all tests here that need a Kubernetes cluster share.

    make e2e E2E_KUBECONFIG=... BUILD='docker build' LOAD='kind load docker-image'

builds the images, loads them into the cluster, and runs what is here. Where the builder does both, LOAD is
left out. Programs that know nothing of Penstock are busybox:1.35, which the cluster has, or fetches. The
tests speak to E2E_KUBECONFIG alone, by `kubectl` and `helm`.

Those that use the fixture `penstock` share one installation in namespaces of its own, with a Kafka; when one
fails, its report has the streams, Events and logs as they were then.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.cluster import Kubectl, cluster, kubectl
from tests.e2e import evidence
from tests.e2e.installed import Penstock, Stream, installed, namespaces

__all__ = ["cluster", "kubectl"]

INSTALLATION = pytest.StashKey[Penstock]()
SEEN = pytest.StashKey[list[tuple[str, str]]]()
"""What there was to see when the installation failed, which is gone now."""


@pytest.fixture(scope="session")
def penstock(
    cluster: Kubectl, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Penstock]:
    """Penstock, installed by Helm, with a Kafka, and claims and a desk in the streams' namespace."""
    stash = request.config.stash
    with namespaces(cluster) as here, ExitStack() as stack:
        try:
            stack.enter_context(installed(here, tmp_path_factory.mktemp("helm")))
        except AssertionError:
            stash[SEEN] = list(evidence.collect(here))
            raise
        stash[INSTALLATION] = here
        yield here
        del stash[INSTALLATION]


@pytest.fixture
def declare(penstock: Penstock) -> Iterator[Callable[..., Stream]]:
    """Makes streams, which go with the test; see Penstock.declare."""
    made: list[Stream] = []

    def make(name: str, **changes: Any) -> Stream:
        stream = penstock.declare(name, **changes)
        made.append(stream)
        return stream

    yield make
    found = [line for line in penstock.operator_log() if "this is a bug" in line]
    assert found == [], "whatever a stream is like, the operator knows what to say"
    if made:
        names = [stream.name for stream in made]
        penstock.lab("delete", "dstream", *names, "--ignore-not-found", "--wait=false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failure what the cluster shows."""
    report = yield
    if report.failed and "penstock" in getattr(item, "fixturenames", ()):
        here = item.config.stash.get(INSTALLATION, None)
        seen = item.config.stash.get(SEEN, []) if here is None else evidence.collect(here)
        report.sections += [(f"cluster: {title}", text) for title, text in seen]
    return report
