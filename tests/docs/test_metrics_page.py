"""docs/metrics.md has every metric as the code has it, and its text speaks of no other."""

import re

import pytest
from tests.docs.metrics_tables import PAGE, exposed_name, families, with_tables

TEXT = PAGE.read_text(encoding="utf-8")


def test_its_tables_are_the_codes():
    assert with_tables(TEXT) == TEXT, "run: .venv/bin/python -m tests.docs.metrics_tables"


@pytest.mark.parametrize("name", families())
def test_every_part_has_a_table(name):
    assert TEXT.count(f"<!-- table: {name} -->") == 1


def test_every_metric_has_a_meaning_of_a_sentence():
    for metrics in families().values():
        for metric, _ in metrics:
            assert metric.documentation.endswith("."), metric.name
            assert metric.name.startswith("penstock_")


def test_what_the_text_asks_for_exists():
    known = {exposed_name(metric) for metrics in families().values() for metric, _ in metrics}
    asked = set(re.findall(r"\bpenstock_[a-z_]+", TEXT))
    assert asked <= known
    assert asked >= known
