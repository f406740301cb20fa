"""docs/metrics.md has every metric as the code has it, and its alerts ask for metrics that there are."""

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


def test_what_the_text_and_the_alerts_ask_for_exists_with_these_labels():
    labels = {exposed_name(metric): set(of) for metrics in families().values() for metric, of in metrics}
    expressions = re.findall(r"expr: (.+)", TEXT)
    assert len(expressions) >= 8
    for name in re.findall(r"\bpenstock_[a-z_]+", TEXT):
        assert name in labels, name
    for expression in expressions:
        asked = set(re.findall(r"\bpenstock_[a-z_]+", expression)) or {"up"}
        known = set().union(*(labels.get(name, set()) for name in asked)) | {"job"}
        for selected in re.findall(r"\{([^}]*)\}|(?:by|on) \(([^)]*)\)", expression):
            for part in filter(None, re.split(r", ?", "".join(selected))):
                assert re.split(r"[=!]", part)[0] in known, expression


def test_alerts_have_names_of_their_own_and_are_yaml():
    import yaml

    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    rules = [rule for block in blocks for group in yaml.safe_load(block)["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 8
    assert all(rule["annotations"]["summary"] for rule in rules)
