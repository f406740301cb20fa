"""The CustomResourceDefinition is what the models say, in the words that Kubernetes takes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from penstock_operator.resource import DirectoryStream
from penstock_operator.resource.__main__ import CRD, generated
from penstock_operator.resource.crd import crd, structural_schema
from penstock_operator.resource.reference import EXAMPLES
from penstock_operator.resource.stream import ConditionType

ROOT = Path(__file__).parents[2]
SPEC = structural_schema()["properties"]["spec"]

# What JSONSchemaProps has, less what a structural schema may not have.
ALLOWED = {
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
}


def fields(schema, path="") -> Iterator[tuple[str, dict]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from fields(inner, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from fields(schema["additionalProperties"], f"{path}[*]")


FIELDS = dict(fields(structural_schema()))


@pytest.mark.parametrize("path", generated(ROOT), ids=str)
def test_what_is_committed_is_what_the_models_say(path):
    assert (ROOT / path).read_text("utf-8") == generated(ROOT)[path], (
        "run: python -m penstock_operator.resource"
    )


def test_the_committed_yaml_reads_as_the_definition():
    assert yaml.safe_load((ROOT / CRD).read_text("utf-8")) == crd()


def test_kubectl_can_apply_it_although_it_notes_all_of_it_in_an_annotation():
    assert len(json.dumps(crd())) < 256 * 1024


def test_the_schema_is_structural():
    for path, schema in FIELDS.items():
        if "x-kubernetes-int-or-string" in schema:
            assert set(schema) <= ALLOWED - {"type"} | {"anyOf"}, path
            assert schema["anyOf"] == [{"type": "integer"}, {"type": "string"}], path
        else:
            assert set(schema) <= ALLOWED, path
            assert schema["type"] in {"object", "array", "string", "integer", "boolean"}, path
        assert schema.get("additionalProperties") is not False, path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert set(schema.get("required", ())) <= set(schema.get("properties", ())), path


def test_what_has_to_be_given_has_no_default():
    for path, schema in FIELDS.items():
        for name in schema.get("required", ()):
            assert "default" not in schema["properties"][name], path


def test_all_that_people_write_has_a_bound():
    for path, schema in FIELDS.items():
        if path.partition(".")[0] != "spec":
            continue
        if "x-kubernetes-int-or-string" in schema or schema["type"] == "string":
            assert {"maxLength", "enum"} & set(schema), path
        elif schema["type"] == "array":
            assert {"maxItems", "x-kubernetes-list-type"} <= set(schema), path
        elif isinstance(schema.get("additionalProperties"), dict):
            assert "maxProperties" in schema, path


def test_every_field_is_described():
    for path, schema in FIELDS.items():
        if path.partition(".")[0] in ("spec", "status") and path[-1] != "]":
            assert len(schema.get("description", "")) > 5, path


def defaulted(value, schema):
    """Fill in defaults as the API server does."""
    if isinstance(value, dict) and "properties" in schema:
        for name, inner in schema["properties"].items():
            if name not in value and "default" in inner:
                value[name] = json.loads(json.dumps(inner["default"]))
            if name in value:
                defaulted(value[name], inner)
    elif isinstance(value, list):
        for item in value:
            defaulted(item, schema["items"])
    return value


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_schemas_defaults_are_the_models(name):
    body = yaml.safe_load((ROOT / f"operator/examples/{name}.yaml").read_text())
    stream = DirectoryStream.parse(body)
    assert defaulted(body["spec"], SPEC) == stream.spec.as_kubernetes()
    assert DirectoryStream.parse(body) == stream


def test_people_see_what_matters_at_a_glance():
    (version,) = crd()["spec"]["versions"]
    assert [column["name"] for column in version["additionalPrinterColumns"]] == [
        "Topic",
        "Partitions",
        "Desired",
        "Ready",
        "Reason",
        "Lag",
        "Age",
    ]
    paths = [column["jsonPath"].removeprefix(".") for column in version["additionalPrinterColumns"]]
    for path in paths:
        assert path in FIELDS or path.startswith(("status.conditions[?", "metadata."))


def test_scale_and_status_are_subresources_of_fields_that_exist():
    (version,) = crd()["spec"]["versions"]
    assert version["subresources"]["status"] == {}
    scale = version["subresources"]["scale"]
    assert set(scale) == {"specReplicasPath", "statusReplicasPath", "labelSelectorPath"}
    assert all(path.removeprefix(".") in FIELDS for path in scale.values())


def test_conditions_are_one_of_each_type():
    conditions = FIELDS["status.conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert set(conditions["items"]["required"]) == {
        "type",
        "status",
        "lastTransitionTime",
        "reason",
        "message",
    }
    for kind in ConditionType:
        assert f"`{kind}`" in conditions["description"]


def test_uninstalling_the_chart_leaves_the_definition_and_with_it_every_stream():
    assert crd()["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
