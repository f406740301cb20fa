"""What holds for every test of the workspace."""

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

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
