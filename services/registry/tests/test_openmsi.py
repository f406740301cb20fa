"""OpenMSIStream's heartbeats are understood as its programs write them, and nothing else is."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_registry import openmsi
from servicekit.events import COUNTERS
from servicekit.exceptions import NotOurEvent

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


def beat(key=b"reconstructor-1_heartbeat", **told):
    return openmsi.decode("msi-beats", key, json.dumps({"timestamp": "2026-01-31T12:00:00", **told}).encode())


def test_a_heartbeat_says_who_when_and_how_much():
    heard = beat(n_messages_read=5, n_bytes_read=500, n_messages_processed=4, n_bytes_processed=400)

    assert (heard.kind, heard.program_id, heard.service) == ("openmsi", "reconstructor-1", "msi-beats")
    assert heard.at == NOON
    assert dict(zip(COUNTERS, heard.counters, strict=True)) == {
        "n_messages_read": 5,
        "n_bytes_read": 500,
        "n_messages_processed": 4,
        "n_bytes_processed": 400,
        "n_messages_produced": 0,
        "n_bytes_produced": 0,
    }
    assert not heard.stopped


@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00.000000",
        "2026-01-31T12:00:00Z",
        "2026-01-31T13:00:00+01:00",
        "2026-01-31T12:00:00.000000+00:00",
    ],
)
def test_a_time_without_a_zone_is_utc(timestamp, monkeypatch):
    monkeypatch.setenv("TZ", "Australia/Eucla")

    assert beat(timestamp=timestamp).at == NOON


def test_counters_may_be_missing_or_floats():
    heard = beat(n_messages_read=None, n_bytes_read=12.0, n_bytes_produced=1e15)

    assert heard.counters == (0, 12, 0, 0, 0, 10**15)


def test_a_program_may_have_any_printable_name():
    assert beat(key=b"Mikroskop_3 ('; DROP TABLE files)_heartbeat").program_id == (
        "Mikroskop_3 ('; DROP TABLE files)"
    )


@pytest.mark.parametrize(
    "key",
    [None, b"", b"_heartbeat", b"program", b"program_log", b"\xff\xfe_heartbeat", b"a\x00_heartbeat",
     b"a\x1b[31m_heartbeat", b"x" * 300 + b"_heartbeat"],
)  # fmt: skip
def test_another_key_is_no_heartbeat(key):
    with pytest.raises(NotOurEvent):
        beat(key=key)


@pytest.mark.parametrize(
    "told",
    [
        {"timestamp": None},
        {"timestamp": 1700000000.5},
        {"timestamp": "yesterday"},
        {"timestamp": "0001-01-01T00:00:00"},
        {"timestamp": "9999-12-31T23:59:59+00:00"},
        {"n_bytes_read": -1},
        {"n_bytes_read": "12"},
        {"n_bytes_read": True},
        {"n_bytes_read": [1]},
        {"n_bytes_read": 2**63},
        {"n_bytes_read": 1e300},
        {"n_bytes_read": float("nan")},
        {"n_bytes_read": float("inf")},
    ],
)
def test_what_cannot_be_is_no_heartbeat(told):
    with pytest.raises(NotOurEvent):
        beat(**told)


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}'])
def test_garbage_is_no_heartbeat(value):
    with pytest.raises(NotOurEvent):
        openmsi.decode("msi-beats", b"p_heartbeat", value)


@given(st.binary(), st.binary())
def test_no_record_at_all_breaks_it(key, value):
    with pytest.raises(NotOurEvent):
        openmsi.decode("msi-beats", key, value)
