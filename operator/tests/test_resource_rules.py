"""Each rule refuses what it is there for, names the field and the way out, and takes what it recommends.

The examples are in rules.yaml. tests/e2e/test_crd_rules.py lets a real API server judge the same ones.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from penstock_operator.resource import DirectoryStream, InvalidResource
from penstock_operator.resource.crd import structural_schema

HERE = Path(__file__).parent
MINIMAL = yaml.safe_load((HERE.parent / "examples/minimal.yaml").read_text())
EXAMPLES = yaml.safe_load((HERE / "rules.yaml").read_text())
OF_ONE_OBJECT = [example for example in EXAMPLES if "before" not in example]


def laid_over(base, change):
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    merged = base | {name: laid_over(base.get(name), value) for name, value in change.items()}
    return {name: value for name, value in merged.items() if value is not None}


def rules(schema, path="") -> Iterator[tuple[str, dict]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path + rule.get("fieldPath", ""), rule
    for name, inner in schema.get("properties", {}).items():
        yield from rules(inner, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from rules(schema["items"], f"{path}[0]")


RULES = list(rules(structural_schema()))


def title(example):
    return f"{example['at'] or 'metadata.name'}: {example['rule']}"


@pytest.mark.parametrize("example", OF_ONE_OBJECT, ids=title)
def test_what_a_rule_refuses_is_one_line_with_the_field_and_the_way_out(example):
    (message,) = {rule["message"] for _, rule in RULES if rule["message"].startswith(example["rule"])}
    with pytest.raises(InvalidResource) as refused:
        DirectoryStream.parse(laid_over(MINIMAL, example["refused"]))
    assert refused.value.problems == [f"{example['at']}: {message}" if example["at"] else message]


@pytest.mark.parametrize("example", EXAMPLES, ids=title)
def test_what_a_rule_recommends_is_taken(example):
    DirectoryStream.parse(laid_over(MINIMAL, example["instead"]))


@pytest.mark.parametrize("message", sorted({rule["message"] for _, rule in RULES}))
def test_every_rule_has_an_example(message):
    assert any(message.startswith(example["rule"]) for example in EXAMPLES)


def test_a_rule_that_compares_with_what_was_is_one_that_only_the_server_can_judge():
    compared = {rule["message"] for _, rule in RULES if "oldSelf" in rule["rule"]}
    with_before = {
        message
        for message in {rule["message"] for _, rule in RULES}
        for example in EXAMPLES
        if "before" in example and message.startswith(example["rule"])
    }
    assert compared == with_before


def test_every_rule_says_in_one_line_what_to_do_and_not_its_expression():
    for path, rule in RULES:
        assert rule["message"], path
        assert "\n" not in rule["message"] + rule["rule"], path
        assert "self." not in rule["message"], path
