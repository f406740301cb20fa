"""docs/design/scaling.md says what the code does."""

import re
from pathlib import Path

import pytest
from bench.scaling.page import PAGE, PLOTS, compare, rewrite, table

from penstock_operator import scaling

comparisons = compare()


def test_the_numbers_on_the_page_are_those_of_the_code():
    page = PAGE.read_text()
    assert rewrite(page, table(comparisons)) == page, "python -m bench.scaling writes them again"


@pytest.mark.parametrize("name", [comparison.trace.name for comparison in comparisons])
def test_there_is_a_plot_of_every_load(name: str):
    assert (PLOTS / f"{name}.svg").read_text().startswith("<?xml")


def test_the_loads_are_the_same_each_time_and_none_is_lost():
    for comparison in comparisons:
        for run in comparison.runs.values():
            assert run.lag[-1] <= run.trace.lag_per_replica
            assert run.replicas.max() <= run.trace.partitions


def test_every_reason_is_on_the_page():
    page = PAGE.read_text()
    # A reason is the only kind of text in there that is one CamelCase word.
    reasons = set(re.findall(r'"([A-Z][a-z]+(?:[A-Z][a-z]+)*)"', Path(scaling.__file__).read_text()))
    assert reasons >= {"ScaledOut", "AccessMode", "Idle"}
    assert {reason for reason in reasons if f"`{reason}`" not in page} == set()
