"""Events as CloudEvents: what is sent is what is read, paths included, and nothing else is taken for ours."""

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit import events
from servicekit.events import (
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
    decode,
    encode,
)
from servicekit.exceptions import NotOurEvent

READ = {
    "destination": "lab-archive-1f2e",
    "topic": "raw",
    "topic_id": "tIdtIdtIdtIdtIdtIdtIdA",
    "partition": 3,
}
UPLOAD = {
    "upload_id": "018f0e7c-0000-7000-8000-000000000001",
    "source_id": "microscope",
    "path": "run 1/größe.raw",
    "size": 42,
}
AT = {"time": 1767225600.123456}

EVERY = [
    FileDelivered(**AT, **READ, **UPLOAD, offset=7, digest="ab" * 32, closed_at=1.5, visible_at=2.5),
    FileRejected(**AT, **READ, **UPLOAD, offset=7, reason="digest", detail="is x, should be y"),
    FileRejected(**AT, **READ, offset=7, reason="undecodable"),
    FileSkipped(**AT, **READ, **UPLOAD, offset=7, reason="filter"),
    RangeLost(**AT, **READ, from_offset=5, to_offset=9),
    FileDiscovered(**AT, source_id="microscope", path="a", size=1, topic="raw"),
    FileUploading(**AT, **UPLOAD, topic="raw", bytes_done=41),
    FileUploaded(**AT, **UPLOAD, topic="raw", digest="ab" * 32, partition=3, first_offset=1, last_offset=7),
    FileUploaded(
        time=1767225600.5,
        **UPLOAD,
        topic="raw",
        digest="ab" * 32,
        partition=3,
        first_offset=1,
        last_offset=7,
        version="018f0e7c-0000-7000-8000-000000000000",
        to=("b", "c"),
    ),
    FileAborted(**AT, **UPLOAD, topic="raw", reason="changed"),
    FileFailed(**AT, **UPLOAD, topic="raw", destination="b", reason="digest", detail="twice"),
    ServiceHeartbeat(
        **AT, program_id="p-1", service="uploader", host="h", version="0.1", n_bytes_read=5, status={"lag": 3}
    ),
]
each = pytest.mark.parametrize("event", EVERY, ids=lambda event: event.type)

# What os.fsdecode() gives for any bytes.
paths = st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@each
def test_what_is_decoded_is_what_was_encoded(event):
    _, value = encode(event)

    assert decode(value) == event
    assert type(decode(value)) is type(event)


@each
def test_the_envelope_is_cloudevents_1_0(event):
    _, value = encode(event)
    envelope = json.loads(value.decode("utf-8"))

    assert envelope["specversion"] == "1.0"
    assert envelope["type"].startswith("dev.penstock.")
    assert envelope["datacontenttype"] == "application/json"
    assert envelope["time"].startswith("2026-01-01T00:00:00.")
    for name in ("id", "source"):
        assert isinstance(envelope[name], str)
        assert envelope[name]
    assert envelope.get("subject") != ""
    assert isinstance(envelope["data"], dict)
    assert set(envelope) <= {
        "specversion",
        "id",
        "source",
        "type",
        "time",
        "subject",
        "datacontenttype",
        "data",
    }


@given(path=paths, delivered_as=st.none() | paths, time=st.floats(0, 4e9))
def test_any_path_and_any_time_survive(path, delivered_as, time):
    event = EVERY[0].model_copy(update={"path": path, "delivered_as": delivered_as})
    event = FileDelivered(**event.model_dump() | {"time": time})

    key, value = encode(event)

    assert decode(value) == event
    value.decode("utf-8")
    assert key == b"microscope"


def test_a_path_that_is_not_utf_8_is_readable_and_exact():
    _, value = encode(EVERY[0].model_copy(update={"path": "a\udcff.raw"}))
    data = json.loads(value)["data"]

    assert data["path"] == "a\ufffd.raw"
    assert data["path_base64"] == "Yf8ucmF3"


def test_a_path_that_is_utf_8_needs_no_second_copy():
    _, value = encode(EVERY[0])

    assert "path_base64" not in json.loads(value)["data"]


class TestIds:
    def identity(self, event):
        envelope = json.loads(encode(event)[1])
        return envelope["source"], envelope["id"]

    @pytest.mark.parametrize("event", EVERY[:5], ids=lambda event: event.type)
    def test_a_receipt_given_again_later_is_the_same_event(self, event):
        assert self.identity(event) == self.identity(event.model_copy(update={"time": event.time + 60}))

    def test_no_two_of_the_others_are_the_same(self):
        assert len({self.identity(event) for event in EVERY}) == len(EVERY)

    @pytest.mark.parametrize("event", EVERY[:5], ids=lambda event: event.type)
    def test_another_destinations_receipt_has_another_id(self, event):
        assert event.id != event.model_copy(update={"destination": "other"}).id

    @pytest.mark.parametrize("event", [EVERY[0], EVERY[1], EVERY[3]], ids=lambda event: event.type)
    def test_another_uploads_receipt_has_another_id(self, event):
        assert event.id != event.model_copy(update={"upload_id": "018f0e7c-0000-7000-8000-000000000002"}).id

    def test_records_that_nobody_could_read_are_told_apart_by_their_place(self):
        assert self.identity(EVERY[2]) != self.identity(EVERY[2].model_copy(update={"offset": 8}))


def test_receipts_are_keyed_by_the_source_that_waits_for_them():
    assert encode(EVERY[0])[0] == b"microscope"
    assert encode(EVERY[1])[0] == b"microscope"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not JSON"),
        (b'{"specversion": NaN}', "not JSON"),
        ('{"specversion": "1.0"}'.encode("utf-16"), "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b"1" * 5000, "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a CloudEvent"),
        (b'{"specversion": "1.0"}', "unknown event type None"),
        (b'{"specversion": "1.0", "type": ["dev.penstock.range.lost"]}', "unknown event type a list"),
        (b'{"specversion": "0.3", "data": {}}', "version '0.3'"),
        (
            b'{"specversion": "1.0", "type": "com.example.x", "data": {}}',
            "unknown event type 'com.example.x'",
        ),
    ],
)
def test_what_is_not_ours_is_refused_with_the_reason(value, reason):
    with pytest.raises(NotOurEvent, match=reason):
        decode(value)


def changed(event=EVERY[0], envelope=(), **data):
    """The record of an event with other fields; those that are `...` are left out."""
    record = json.loads(encode(event)[1])
    record["data"] = without_holes(record["data"] | data)
    return json.dumps(without_holes(record | dict(envelope))).encode()


def without_holes(fields):
    return {name: value for name, value in fields.items() if value is not ...}


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        ({"id": ...}, "text as id"),
        ({"id": 5}, "text as id"),
        ({"source": ""}, "text as source"),
        ({"subject": 5}, "subject is not text"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
        ({"data": ...}, "data is not an object"),
        ({"data": []}, "data is not an object"),
        ({"time": ...}, "RFC 3339"),
        ({"time": "soon"}, "RFC 3339"),
        ({"time": "2026-01-01T00:00:00"}, "RFC 3339"),
        ({"time": 1767225600}, "RFC 3339"),
        ({"time": "2026-13-01T00:00:00Z"}, "month"),
        ({"time": "1969-12-31T00:00:00Z"}, "time: "),
    ],
)
def test_an_envelope_that_is_not_cloudevents_is_refused_with_the_reason(envelope, reason):
    with pytest.raises(NotOurEvent, match=reason):
        decode(changed(envelope=envelope))


@pytest.mark.parametrize(
    ("event", "field", "value"),
    [
        (EVERY[0], "destination", ...),
        (EVERY[0], "destination", ""),
        (EVERY[0], "destination", "d" * 250),
        (EVERY[0], "topic", "t" * 250),
        (EVERY[0], "topic_id", "t" * 33),
        (EVERY[0], "size", "5"),
        (EVERY[0], "size", 5.0),
        (EVERY[0], "size", True),
        (EVERY[0], "size", -1),
        (EVERY[0], "size", 1 << 63),
        (EVERY[0], "partition", 1 << 31),
        (EVERY[0], "path", 5),
        (EVERY[0], "path", None),
        (EVERY[0], "path", "\udcff"),
        (EVERY[0], "source_id", "\ud800"),
        (EVERY[0], "path_base64", 5),
        (EVERY[0], "path_base64", "&&&&"),
        (EVERY[0], "upload_id", "1"),
        (EVERY[0], "upload_id", ""),
        (EVERY[0], "digest", "AB" * 32),
        (EVERY[0], "digest", "ab"),
        (EVERY[0], "closed_at", "1.5"),
        (EVERY[0], "closed_at", -1.0),
        (EVERY[0], "closed_at", 1e300),
        (EVERY[6], "to", "all"),
        (EVERY[6], "to", [1]),
        (EVERY[-1], "n_bytes_read", -1),
        (EVERY[-1], "program_id", "p" * 513),
        (EVERY[-1], "status", []),
    ],
    ids=str,
)
def test_a_field_of_the_wrong_kind_is_refused_and_never_guessed_at(event, field, value):
    with pytest.raises(NotOurEvent):
        decode(changed(event, **{field: value}))


def test_numbers_that_json_cannot_write_are_refused_wherever_they_are():
    huge = changed(EVERY[-1], status={"lag": 17}).replace(b"17", b"1e999")
    with pytest.raises(NotOurEvent, match="finite"):
        decode(huge)
    with pytest.raises(NotOurEvent, match="closed_at"):
        decode(changed(closed_at=17).replace(b"17", b"1e999"))
    with pytest.raises(ValueError, match="finite"):
        ServiceHeartbeat(**AT, program_id="p", service="s", host="h", version="1", status={"x": math.nan})


def test_of_a_name_that_comes_twice_the_last_counts():
    value = encode(EVERY[0])[1].replace(b'"size":42', b'"size":"no","size":43')

    assert decode(value).size == 43


def test_text_outside_of_ascii_may_be_escaped():
    assert decode(changed(path="\U0001f52c")).path == "\U0001f52c"  # as json.dumps writes it


def test_what_is_said_to_people_may_name_a_path_that_is_not_utf_8():
    event = FileFailed(**AT, **UPLOAD, topic="raw", reason="unreadable", detail="a\udcff: denied")

    assert decode(encode(event)[1]).detail == "a?: denied"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@given(st.binary(max_size=200))
def test_no_bytes_whatever_raise_anything_else(value):
    with pytest.raises(NotOurEvent):
        decode(value)


@given(anything)
def test_no_json_whatever_raises_anything_else(value):
    with pytest.raises(NotOurEvent):
        decode(json.dumps(value).encode())


@given(st.sampled_from(EVERY), st.data())
def test_a_field_of_any_other_kind_never_raises_anything_else(event, data):
    record = json.loads(encode(event)[1])
    where = data.draw(st.sampled_from([record, record["data"]]))
    name = data.draw(st.sampled_from([*where, "path_base64", "delivered_as_base64"]))
    where[name] = data.draw(anything)
    with contextlib.suppress(NotOurEvent):
        decode(json.dumps(record).encode())


def test_fields_of_a_newer_version_are_ignored():
    envelope = json.loads(encode(EVERY[0])[1])
    envelope["data"]["colour"] = "blue"
    envelope["traceparent"] = "00-1"

    assert decode(json.dumps(envelope).encode()) == EVERY[0]


def test_receipts_have_a_topic_of_their_own_for_each_stream():
    assert events.receipts_topic("raw") == "raw.receipts"
