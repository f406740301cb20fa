"""OpenMSIStream's heartbeats: what its programs say of themselves, on a topic that their users choose.

A record's key is `<program_id>_heartbeat`; its value is JSON with `timestamp` (ISO 8601, UTC) and, as far as
the program has them, the counters since its last heartbeat:

    b"reconstructor-1_heartbeat"   {"timestamp": "2026-01-31T12:00:00.123456", "n_messages_read": 12, ...}
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime

from penstock_registry.knowledge.checking import check_beat
from penstock_registry.store.batch import Beat
from servicekit.events import COUNTERS
from servicekit.exceptions import NotOurEvent

KIND = "openmsi"

_KEY_SUFFIX = "_heartbeat"
_PROGRAM_ID_CHARACTERS = 249


def decode(topic: str, key: bytes | None, value: bytes | None) -> Beat:
    """Return the heartbeat in a record of `topic`. Raises NotOurEvent, with the reason, for anything else."""
    program_id = _program_id(key)
    try:
        told = json.loads(value or b"")
    except (ValueError, RecursionError):
        raise NotOurEvent("not JSON") from None
    if not isinstance(told, dict):
        raise NotOurEvent("no heartbeat of OpenMSIStream: its JSON is no object")
    beat = Beat(
        kind=KIND,
        program_id=program_id,
        service=topic,
        host="",
        version="",
        at=_time(told),
        counters=tuple(_count(name, told.get(name)) for name in COUNTERS),
        status={},
        stopped=False,
    )
    check_beat(beat.at, (beat.program_id, beat.service), beat.counters, beat.status)
    return beat


def _program_id(key: bytes | None) -> str:
    try:
        name = (key or b"").decode()
    except UnicodeDecodeError:
        raise NotOurEvent("no heartbeat of OpenMSIStream: its key is not UTF-8") from None
    program_id = name.removesuffix(_KEY_SUFFIX)
    if program_id == name or not program_id:
        raise NotOurEvent(f"no heartbeat of OpenMSIStream: its key does not end with {_KEY_SUFFIX}")
    if len(program_id) > _PROGRAM_ID_CHARACTERS or not program_id.isprintable():
        raise NotOurEvent("the program's id is too long, or holds characters that cannot be printed")
    return program_id


def _time(told: Mapping[str, object]) -> float:
    text = told.get("timestamp")
    if not isinstance(text, str):
        raise NotOurEvent("no heartbeat of OpenMSIStream: it has no timestamp")
    try:
        moment = datetime.fromisoformat(text.strip())
        # Without a zone it is UTC, as all that OpenMSIStream writes.
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise NotOurEvent("its timestamp is not ISO 8601") from None


def _count(name: str, told: object) -> int:
    """Return a counter; one that is missing is 0: the program does not count that."""
    if told is None:
        return 0
    if isinstance(told, float) and math.isfinite(told):
        told = round(told)
    if not isinstance(told, int) or isinstance(told, bool):
        raise NotOurEvent(f"its {name} is no count")
    return told
