"""The JSON Schema (draft 2020-12) of each event as it stands in a record: CloudEvents' envelope, and data."""

from __future__ import annotations

from typing import Any, Final

from servicekit.events.coding import CONTENT_TYPE, TIME_PATTERN
from servicekit.events.models import Event

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_BASE64: Final = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


def schema_of(kind: type[Event]) -> Schema:
    """Return the schema of the records that carry events of this kind."""
    text = {"type": "string", "minLength": 1}
    return {
        "$schema": DIALECT,
        "title": kind.type,
        "description": description_of(kind),
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text | {"description": "The same for every repetition of the same event."},
            "source": text | {"description": "Which part of Penstock tells it."},
            "type": {"const": kind.type},
            "time": {
                "type": "string",
                "format": "date-time",
                "pattern": TIME_PATTERN,
                "description": "When it happened.",
            },
            "datacontenttype": {"const": CONTENT_TYPE},
            "subject": {"type": "string", "description": "What it is about: in most cases the upload."},
            "data": data_schema_of(kind),
        },
    }


def data_schema_of(kind: type[Event]) -> Schema:
    """Return the schema of `data`: the fields of the event but its time, which is in the envelope."""
    schema = kind.model_json_schema()
    fields: Schema = {}
    for name, field in schema["properties"].items():
        if name == "time":
            continue
        fields[name] = {key: _one_line(value) for key, value in field.items() if key != "title"}
        if name in kind.paths:
            fields[f"{name}_base64"] = {
                "type": "string",
                "contentEncoding": "base64",
                "pattern": _BASE64,
                "description": f"The bytes of `{name}`, where they are not UTF-8.",
            }
    return {
        "type": "object",
        "required": [name for name in schema["required"] if name != "time"],
        "properties": fields,
    }


def description_of(kind: type[Event]) -> str:
    """Return what the event says, in one line."""
    return " ".join((kind.__doc__ or "").split())


def _one_line(value: object) -> object:
    return " ".join(value.split()) if isinstance(value, str) else value
