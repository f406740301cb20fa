"""Helm with and without a cluster, and namespaces to install into.

The CRD belongs to all who test on this cluster: it is only asked about (dry runs). What install, upgrade and
uninstall do to a CRD is seen on a copy of the chart, whose CRD has a name of its own.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.cluster import Kubectl
from tests.e2e.chart.charts import Helm
from tests.e2e.chart.releases import namespace_of, release


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    if shutil.which("helm") is None:
        pytest.fail("needs Helm, 3 or 4: there is no helm in PATH")
    return Helm(os.devnull, tmp_path_factory.mktemp("helm"), "lab")


HELMS = ["helm", *(name for name in ("helm3", "helm4") if shutil.which(name))]
"""Those that are in PATH: helm, and others that are called by their version."""


@pytest.fixture(params=HELMS)
def any_helm(helm: Helm, request: pytest.FixtureRequest) -> Helm:
    return replace(helm, program=request.param)


@pytest.fixture(scope="module")
def lab(cluster: Kubectl) -> Iterator[Kubectl]:
    """A namespace where the operator is installed."""
    with namespace_of(cluster, "lab") as own:
        yield own


@pytest.fixture(scope="module")
def office(cluster: Kubectl) -> Iterator[Kubectl]:
    """Another namespace."""
    with namespace_of(cluster, "office") as own:
        yield own


@pytest.fixture(scope="module")
def installed(helm: Helm, lab: Kubectl) -> Iterator[Kubectl]:
    """The chart with its defaults."""
    with release(helm, lab, "penstock", {}):
        yield lab
