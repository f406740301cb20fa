"""What all tests here that need a Kubernetes cluster share.

    make e2e                                                      # on a cluster that it makes with kind
    E2E_KUBECONFIG=... make e2e BUILD='podman build' LOAD=...     # on one that is there

builds the images, loads them into the cluster, and runs what is here. Where the builder does both, LOAD is
left out. Programs that know nothing of Penstock are busybox:1.35, which the cluster has, or fetches. The
tests speak to E2E_KUBECONFIG alone, by `kubectl` and `helm`. docs/how-to/develop-on-a-cluster.md says more.

Those that use the fixture `penstock` share one installation in namespaces of its own, with a Kafka and a
registry. When a test fails, its report has the streams, Events and logs of its namespaces as they were then;
E2E_EVIDENCE names a directory that gets them, too, in full.
"""

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from tests.cluster import Kubectl, cluster, own_namespace
from tests.e2e import evidence
from tests.e2e.evidence import observed
from tests.e2e.installed import Penstock, Stream, crd_up_to_date, installed, namespaces

from penstock.broker.cache import exclusive

__all__ = ["cluster"]


@pytest.fixture(scope="session")
def crd(
    cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Kubectl:
    """The cluster, with the definition of DirectoryStream as it is now."""
    run = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        run = run.parent  # the run's; each worker has one below it
    with exclusive(run / "crd.lock"):
        crd_up_to_date(cluster)
    return cluster


@pytest.fixture(scope="module")
def kubectl(cluster: Kubectl, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """kubectl in a namespace of this module's own."""
    with own_namespace(cluster) as place, observed(request.config, "kubectl", place):
        yield place


@pytest.fixture(scope="session")
def penstock(
    crd: Kubectl, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Penstock]:
    """Penstock, installed by Helm, with a Kafka, and claims and a desk in the streams' namespace."""
    home = tmp_path_factory.mktemp("helm")
    with (
        namespaces(crd, home) as here,
        observed(request.config, "penstock", here.lab, here.system),
        installed(here),
    ):
        yield here


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
    if report.failed:
        exhibits = evidence.about(item.config, getattr(item, "fixturenames", ()))
        report.sections += [(f"cluster: {one.title}", one.short) for one in exhibits]
        evidence.write(exhibits, f"{item.nodeid} {report.when}")
    return report
