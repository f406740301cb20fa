"""What holds for every test of the workspace."""

import operator
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# To import operator/tests, pytest would put a package made of our directory in the place of Python's own
# `operator`, unless that looks like a package already.
operator.__path__ = [str(Path(__file__).parent / "operator")]  # type: ignore[attr-defined]

# Two shared cores: a slow draw says something of the neighbours, nothing of the code.
settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("penstock")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape file names that are not UTF-8 in what a test logged: pytest-xdist cannot send them."""
    report = yield
    report.sections = [
        (name, content.encode("utf-8", "backslashreplace").decode()) for name, content in report.sections
    ]
    return report
