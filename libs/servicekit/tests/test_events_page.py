"""docs/events.md and docs/schemas say what the models are, and records are what the schemas say."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from servicekit.events import RECEIPTS, TELEMETRY, Event, decode, encode
from servicekit.events.models import MAX_TIME
from servicekit.events.page import EXAMPLES, page, schema_files, write
from servicekit.events.schemas import schema_of
from servicekit.exceptions import NotOurEvent

DOCS = Path(__file__).parents[3] / "docs"
VALIDATORS = {kind: Draft202012Validator(schema_of(kind)) for kind in RECEIPTS + TELEMETRY}

kinds = st.sampled_from(RECEIPTS + TELEMETRY)
text = st.text(st.characters(codec="utf-8"), max_size=20)
# What os.fsdecode() gives for any bytes.
paths = st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


def values_of(field: dict) -> st.SearchStrategy:
    """What a field of this schema may hold."""
    if "anyOf" in field:
        return st.one_of([values_of(one) for one in field["anyOf"]])
    if "pattern" in field:
        return st.from_regex(field["pattern"].replace("$", r"\Z"))
    match field["type"]:
        case "null":
            return st.none()
        case "integer":
            return st.integers(field.get("minimum"), field["exclusiveMaximum"] - 1)
        case "number":
            return st.floats(field.get("minimum"), field.get("maximum"), allow_infinity=False)
        case "string":
            shortest, longest = field.get("minLength", 0), field.get("maxLength", 20)
            return st.text(st.characters(codec="utf-8"), min_size=shortest, max_size=min(longest, 20))
        case "array":
            return st.lists(values_of(field["items"]), max_size=3).map(tuple)
        case "object":
            return st.dictionaries(text, json_values, max_size=3)
    raise AssertionError(field)


@st.composite
def events(draw) -> Event:
    """Any event that the models can hold."""
    kind = draw(kinds)
    data = schema_of(kind)["properties"]["data"]
    given = {"time": draw(st.floats(0, MAX_TIME))}
    for name, field in data["properties"].items():
        if name.removesuffix("_base64") in kind.paths and name.endswith("_base64"):
            continue
        if name in data["required"] or draw(st.booleans()):
            given[name] = draw(paths if name in kind.paths else values_of(field))
    return kind(**given)


def test_the_page_and_the_schemas_are_those_of_the_models():
    written = {"events.md": page(), **{f"schemas/{name}": text for name, text in schema_files().items()}}

    found = {name: (DOCS / name).read_text("utf-8") for name in written if (DOCS / name).exists()}

    assert found == written, "they are older than the models: run `make docs`"
    assert {f"schemas/{path.name}" for path in (DOCS / "schemas").iterdir()} < written.keys()


def test_writing_them_removes_schemas_of_events_that_are_no_more(tmp_path):
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "dev.penstock.old.json").write_text("{}")

    write(str(tmp_path))

    assert {path.name for path in (tmp_path / "schemas").iterdir()} == set(schema_files())
    assert (tmp_path / "events.md").read_text("utf-8") == page()


@pytest.mark.parametrize("kind", VALIDATORS, ids=lambda kind: kind.type)
def test_each_event_has_a_schema_an_example_and_words_for_every_field(kind: type[Event]):
    schema = schema_of(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["description"]
    assert all(field["description"] for field in schema["properties"]["data"]["properties"].values())
    assert [type(example) for example in EXAMPLES].count(kind) == 1


@given(events())
def test_every_event_that_can_be_is_what_its_schema_says_and_comes_back(event: Event):
    value = encode(event)[1]

    VALIDATORS[type(event)].validate(json.loads(value))
    assert decode(value) == event


@given(st.sampled_from(EXAMPLES), st.data())
def test_what_a_schema_refuses_is_refused(event: Event, data: st.DataObject):
    record = json.loads(encode(event)[1])
    where = data.draw(st.sampled_from([record, record["data"]]))
    name = data.draw(st.sampled_from(sorted(where)))
    if data.draw(st.booleans()):
        del where[name]
    else:
        where[name] = data.draw(json_values)
    refused = not VALIDATORS[type(event)].is_valid(record)

    if refused:
        with pytest.raises(NotOurEvent):
            decode(json.dumps(record).encode())
