"""Events as records: CloudEvents 1.0 in structured JSON.

A path may hold bytes that are not UTF-8 (as surrogates, see PEP 383). Its JSON then carries `path` for
people, with replacement characters, and `path_base64`, which is exact.
"""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import Final, NoReturn

from pydantic import ValidationError

from servicekit.events.models import RECEIPTS, TELEMETRY, Event, is_utf8
from servicekit.exceptions import NotOurEvent

CONTENT_TYPE: Final = "application/json"
TIME_PATTERN: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
"""RFC 3339, of which Python reads a superset."""

_BY_TYPE: Final = {event.type: event for event in RECEIPTS + TELEMETRY}
_is_time: Final = re.compile(TIME_PATTERN, re.ASCII).fullmatch
_may_be_surrogate: Final = re.compile(r"\\u[dD][89a-fA-F]").search


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


_to_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_from_json: Final = json.JSONDecoder(parse_constant=_no_number).decode


def encode(event: Event) -> tuple[bytes, bytes]:
    """Return key and value of the record that carries the event."""
    # Not model_dump(): this way it takes half the time, and a downloader does it for every file.
    data = {name: value for name, value in event.__dict__.items() if value is not None}
    del data["time"]
    for name in event.paths:
        path = data.get(name)
        if path is not None and not is_utf8(path):
            raw = path.encode("utf-8", "surrogateescape")
            data[name] = raw.decode("utf-8", "replace")
            data[f"{name}_base64"] = base64.b64encode(raw).decode("ascii")
    envelope = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": datetime.fromtimestamp(event.time, UTC).isoformat(),
        "datacontenttype": CONTENT_TYPE,
    }
    subject = event.subject
    if subject is not None:
        envelope["subject"] = subject
    envelope["data"] = data  # type: ignore[assignment]
    # Paths are exact. What else is said, such as a problem, may name a path: that is for people.
    return event.key.encode("utf-8", "surrogateescape"), _to_json(envelope).encode("utf-8", "replace")


def decode(value: bytes | None) -> Event:
    """Return the event in a record's value.

    Fields that we do not know are ignored: newer versions may add some. Raises NotOurEvent, with the
    reason, for anything else.
    """
    envelope = _parse(value)
    if not isinstance(envelope, dict):
        raise NotOurEvent("not a CloudEvent in structured JSON")
    if envelope.get("specversion") != "1.0":
        raise NotOurEvent(f"CloudEvents version {_shown(envelope.get('specversion'))}, not '1.0'")
    name = envelope.get("type")
    kind = _BY_TYPE.get(name) if isinstance(name, str) else None
    if kind is None:
        raise NotOurEvent(f"unknown event type {_shown(name)}")
    try:
        data = _checked_data(envelope)
        for name in kind.paths:
            exact = data.pop(f"{name}_base64", None)
            if exact is not None:
                if not isinstance(exact, str):
                    raise ValueError(f"{name}_base64 is not text")
                data[name] = base64.b64decode(exact, validate=True).decode("utf-8", "surrogateescape")
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotOurEvent(f"{kind.type}: {where}: {first['msg']}") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise NotOurEvent(f"{kind.type}: {error}") from None


def _parse(value: bytes | None) -> object:
    try:
        # Not left to json: it would guess at UTF-16 and let surrogates through, and NaN.
        text = (value or b"").decode("utf-8")
        envelope = _from_json(text)
        if _may_be_surrogate(text):
            _to_json(envelope).encode("utf-8")
    except RecursionError:
        raise NotOurEvent("JSON that is nested too deeply") from None
    except ValueError:
        raise NotOurEvent("not JSON in UTF-8") from None
    return envelope


def _checked_data(envelope: dict[str, object]) -> dict[str, object]:
    """Return the fields of the event, its time among them; raises ValueError for what is no CloudEvent."""
    for name in ("id", "source"):
        text = envelope.get(name)
        if not isinstance(text, str) or not text:
            raise ValueError(f"a CloudEvent needs text as {name}")
    if envelope.get("datacontenttype", CONTENT_TYPE) != CONTENT_TYPE:
        raise ValueError(f"its datacontenttype is not {CONTENT_TYPE}")
    if not isinstance(envelope.get("subject", ""), str):
        raise ValueError("its subject is not text")  # noqa: TRY004 - one kind of error for all of them
    time, data = envelope.get("time"), envelope.get("data")
    if not isinstance(time, str) or not _is_time(time):
        raise ValueError("its time is not a date and time as in RFC 3339")
    if not isinstance(data, dict):
        raise ValueError("its data is not an object")  # noqa: TRY004
    return data | {"time": datetime.fromisoformat(time).timestamp()}


def _shown(value: object) -> str:
    """Say what was found, in few words: it may be anything."""
    if not isinstance(value, str | int | float | None):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
