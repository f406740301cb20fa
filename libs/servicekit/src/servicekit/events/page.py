"""Writes docs/events.md and docs/schemas from the models: `python -m servicekit.events.page docs`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

from servicekit.events.coding import encode
from servicekit.events.models import (
    RECEIPTS,
    TELEMETRY,
    Event,
    FileAborted,
    FileDelivered,
    FileDiscovered,
    FileFailed,
    FileRejected,
    FileSkipped,
    FileUploaded,
    FileUploading,
    RangeLost,
    ServiceHeartbeat,
)
from servicekit.events.schemas import Schema, description_of, schema_of

_INTRODUCTION: Final = """\
<!-- Written by `make docs` from libs/servicekit/src/servicekit/events: change it there. -->
# Events and receipts

What Penstock's services say, each as a [CloudEvents 1.0](https://github.com/cloudevents/spec) event in
structured JSON, one to a record. Readers ignore fields that they do not know; new ones may be added. What
lacks a field, or has one of another type, is no event: readers count it and read on. The schema at the end of
each section is also a file, in `schemas`.

Common to all: `specversion` `"1.0"`, `type`, `id` (the same for every repetition of the same event),
`source`, `time`, `datacontenttype`, often `subject` (the upload id), and `data`, below. In `data` a path that
is not valid UTF-8 is shown with replacement characters and stands exactly in `<field>_base64` beside it.

An upload is one sending of a file. Each upload of a source has a higher id than those before, so ids order
uploads. Uploads of the same content (a destination has asked for the file again) share a *version*: the id of
the first of them.
"""

_RECEIPTS: Final = """\
## Receipts: `<topic>.receipts`

Said by destinations. Acknowledged by the brokers before the destination's commit passes the file; never
dropped. Only that stream's destinations may write the topic. Key: `source_id`; of a lost range, the
destination. Retention at least the stream's (30 days by default).
"""

_TELEMETRY: Final = """\
## Telemetry: `penstock.events`

Said by sources and services. May be dropped (counted in `penstock_events_dropped_total`); no service waits
for it. Key: `source_id`; of a heartbeat, the program's id.
"""

_AT: Final = 1767225600.25
_READ: Final[dict[str, Any]] = {
    "destination": "archive-raw-5d1c",
    "topic": "microscope",
    "topic_id": "4dJQhVJ0TkqmJ0cUeA9GPw",
    "partition": 3,
}
_FILE: Final[dict[str, Any]] = {
    "upload_id": "019b76da-a800-7000-8000-5f1e2d3c4b5a",
    "source_id": "lab.microscope",
    "path": "run 12/größe.raw",
    "size": 1048576,
}
_LATER: Final = {
    "version": "019b76da-a800-7000-8000-5f1e2d3c4b5a",
    "upload_id": "019b76db-9260-7000-8000-0a1b2c3d4e5f",
}
_DIGEST: Final = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"

EXAMPLES: Final[tuple[Event, ...]] = (
    FileDelivered(
        time=_AT, **_READ, **_FILE, offset=118, digest=_DIGEST, closed_at=_AT - 0.5, visible_at=_AT
    ),
    FileRejected(time=_AT, **_READ, **_FILE, offset=118, reason="digest", detail="its bytes were changed"),
    FileSkipped(time=_AT, **_READ, **_FILE, offset=118, reason="filtered", detail="excluded by '*.raw'"),
    RangeLost(time=_AT, **_READ, from_offset=90, to_offset=117),
    FileDiscovered(time=_AT, **(_FILE | {"upload_id": ""}), topic="microscope"),
    FileUploading(time=_AT, **_FILE, topic="microscope", bytes_done=524288),
    FileUploaded(
        time=_AT,
        **(_FILE | _LATER),
        topic="microscope",
        digest=_DIGEST,
        partition=3,
        first_offset=116,
        last_offset=118,
        seconds=0.125,
        to=("archive-raw-5d1c",),
    ),
    FileAborted(time=_AT, **_FILE, topic="microscope", reason="changed"),
    FileFailed(
        time=_AT,
        **(_FILE | {"upload_id": ""}),
        topic="microscope",
        reason="unreadable",
        detail="Permission denied",
    ),
    ServiceHeartbeat(
        time=_AT,
        program_id="lab.microscope",
        service="uploader",
        host="lab-pc-7",
        version="0.1.0",
        n_bytes_read=1048576,
        n_messages_processed=3,
        n_bytes_processed=1048576,
        n_messages_produced=3,
        n_bytes_produced=1048576,
        status={
            "topic": "microscope",
            "source_id": "lab.microscope",
            "directory": "/data/runs",
            "interval_seconds": 10.0,
            "state": "running",
            "problems": {},
            "files_in_flight": 1,
            "files_waiting": 12,
            "files_failed": 0,
        },
    ),
)
"""One of each kind, in the order of RECEIPTS and TELEMETRY."""


def page() -> str:
    """Return docs/events.md."""
    parts = [_INTRODUCTION]
    for introduction, kinds in ((_RECEIPTS, RECEIPTS), (_TELEMETRY, TELEMETRY)):
        parts.append(introduction)
        parts += ["\n".join(_section(kind)) for kind in kinds]
    return "\n".join(parts)


def schema_files() -> dict[str, str]:
    """Return the files of docs/schemas by name."""
    return {f"{kind.type}.json": f"{_pretty(schema_of(kind))}\n" for kind in RECEIPTS + TELEMETRY}


def _section(kind: type[Event]) -> Iterator[str]:
    schema = schema_of(kind)
    yield f"### `{kind.type}`\n"
    yield f"{description_of(kind)}\n"
    yield "| field | type | |"
    yield "|---|---|---|"
    data = schema["properties"]["data"]
    for name, field in data["properties"].items():
        if name.endswith("_base64"):
            continue
        needed = "" if name in data["required"] else ", optional"
        yield f"| `{name}` | {_type_of(field)}{needed} | {field['description']} |"
    [example] = [event for event in EXAMPLES if type(event) is kind]
    yield f"\n```json\n{_pretty(json.loads(encode(example)[1]))}\n```\n"
    file = f"schemas/{kind.type}.json"
    yield f"<details><summary>JSON Schema</summary>\n\n```json\n{_pretty(schema)}\n```\n\n</details>\n"
    yield f"[{file}]({file})\n"


def _type_of(field: Schema) -> str:
    if "anyOf" in field:
        return " or ".join(_type_of(one) for one in field["anyOf"] if one.get("type") != "null")
    if field["type"] == "array":
        return f"list of {_type_of(field['items'])}s"
    return str(field["type"])


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def write(directory: str) -> None:
    """Write the page and the schemas below this directory; schemas of events that are no more go."""
    schemas = os.path.join(directory, "schemas")
    os.makedirs(schemas, exist_ok=True)
    files = schema_files()
    for name in set(os.listdir(schemas)) - files.keys():
        os.unlink(os.path.join(schemas, name))
    for path, text in [
        (os.path.join(directory, "events.md"), page()),
        *((os.path.join(schemas, name), text) for name, text in files.items()),
    ]:
        with open(path, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m servicekit.events.page DIRECTORY")
    write(sys.argv[1])
