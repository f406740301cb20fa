"""The native codec: what is encoded comes back, and nothing else gets in."""

import contextlib

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from libs.chunkproto.tests.strategies import paths, records

from chunkproto import (
    Abort,
    Chunk,
    ChunkprotoError,
    Description,
    ForeignRecord,
    InvalidRecord,
    MalformedRecord,
    UndecodableRecord,
    UnsupportedRecord,
    UploadId,
    Whole,
    next_upload_id,
)
from chunkproto.native import HEADER, RECORD_OVERHEAD_BYTES, decode, encode_header, encode_key

ID = next_upload_id(1_700_000_000_000, 1, None)


def whole(path: str = "a", **changes) -> Whole:
    given = {"size": 0, "chunk_size": 1, "mtime_ns": 0, "mode": None, "source": "s"} | changes
    return Whole(ID, Description(path, **given), bytes(32), 0)


def header(*fields: object) -> list[tuple[str, bytes | None]]:
    return [(HEADER, msgpack.packb(list(fields)))]


@given(records)
def test_every_record_comes_back_as_it_was(pair):
    record, value = pair
    assert decode([(HEADER, encode_header(record))], value) == record


@given(
    records, st.lists(st.tuples(st.sampled_from(["traceparent", "x", "Penstock"]), st.binary()), max_size=3)
)
def test_other_programs_headers_are_let_be(pair, others):
    record, value = pair
    assert decode([*others, (HEADER, encode_header(record))], value) == record


@given(records)
def test_a_record_needs_no_more_room_than_the_overhead_that_topics_are_checked_for(pair):
    record, _ = pair
    assert len(encode_header(record)) + 4096 < RECORD_OVERHEAD_BYTES


def test_the_largest_description_still_fits_in_the_overhead():
    largest = Description(
        "é" * 2048,
        1 << 62,
        1 << 20,
        -(1 << 63),
        0o777,
        "s" * 249,
        ("group",) * 16,
        {"k" * 4096: "v" * 4096},
    )
    chunk = Chunk(ID, 0, 0, largest)
    assert len(encode_header(chunk)) + len(encode_key(largest.path)) < RECORD_OVERHEAD_BYTES


@given(records, st.data())
def test_a_value_of_another_length_is_refused(pair, data):
    record, value = pair
    if isinstance(record, Chunk) and record.description is None:
        wrong = b""
    else:
        wrong = value + b"x" * data.draw(st.integers(1, 3))
    with pytest.raises(MalformedRecord):
        decode([(HEADER, encode_header(record))], wrong)


@given(st.lists(st.tuples(st.text(max_size=10), st.none() | st.binary()), max_size=3), st.binary())
def test_other_programs_messages_are_foreign(headers, value):
    headers = [(name, raw) for name, raw in headers if name != HEADER]
    with pytest.raises(ForeignRecord):
        decode(headers, value)


@given(st.none() | st.binary(max_size=300), st.none() | st.binary(max_size=100))
@example(b"", b"")
@example(b"\xc1", None)
def test_any_bytes_in_the_header_are_refused_with_a_reason_or_decoded_never_raise_otherwise(raw, value):
    try:
        decode([(HEADER, raw)], value)
    except UndecodableRecord as error:
        refused = error
    else:
        return
    assert refused.reason.value
    assert str(refused)


@given(records, st.data())
def test_a_header_with_one_byte_changed_never_raises_anything_but_undecodable(pair, data):
    record, value = pair
    raw = bytearray(encode_header(record))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(UndecodableRecord):
        decode([(HEADER, bytes(raw))], value)


msgpack_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=20,
)


@given(st.integers(0, 3), st.lists(msgpack_values, max_size=5))
def test_any_fields_behind_a_sound_beginning_are_decoded_or_undecodable(kind, fields):
    with contextlib.suppress(UndecodableRecord):
        decode(header(1, kind, bytes(ID), 0, *fields), b"")


@pytest.mark.parametrize("version", [0, 2, 200])
def test_an_unknown_version_is_refused_never_guessed(version):
    with pytest.raises(UnsupportedRecord, match=f"version {version}"):
        decode(header(version, 0, bytes(ID), 0, 1, 1), b"x")


def test_an_unknown_type_is_refused_never_guessed():
    with pytest.raises(UnsupportedRecord, match="type 4"):
        decode(header(1, 4, bytes(ID), 0), b"")


def test_an_unknown_flag_is_refused_never_guessed():
    with pytest.raises(MalformedRecord, match="flags 2"):
        decode(header(1, 0, bytes(ID), 2, 1, 1), b"x")


def test_a_type_that_is_true_is_no_end_record():
    with pytest.raises(MalformedRecord):
        decode(header(1, True, bytes(ID), 0, [b"a", 2, 1, 0, None, "s", [], {}], bytes(32), 2, 0), b"")


def test_two_headers_are_refused():
    once = (HEADER, encode_header(whole()))
    with pytest.raises(MalformedRecord, match="2 'penstock' headers"):
        decode([once, once], b"")


def test_a_description_with_an_unsafe_path_is_decoded_so_that_it_can_be_rejected():
    fields = [b"../../x", 0, 1, 0, None, "s", [], {}]
    record = decode(header(1, 2, bytes(ID), 0, fields, bytes(32), 0), b"")
    assert isinstance(record, Whole)
    assert record.description.path == "../../x"


@pytest.mark.parametrize("path", ["../../x", "/etc/x", "a/../../b", "a\0b", ".penstock/x", "", "a//b", "."])
def test_an_unsafe_path_is_never_encoded(path):
    with pytest.raises(InvalidRecord):
        encode_header(whole(path))


@given(paths)
def test_a_path_keeps_every_byte(path):
    record = decode([(HEADER, encode_header(whole(path)))], b"")
    assert isinstance(record, Whole)
    assert record.description.path == path


@pytest.mark.parametrize(
    "changes",
    [
        {"size": -1},
        {"size": 1 << 63},
        {"chunk_size": 0},
        {"chunk_size": 1 << 30},
        {"mtime_ns": 1 << 63},
        {"mode": 0o1777},
        {"source": ""},
        {"source": "s" * 250},
        {"to": ("d",) * 65},
        {"metadata": {"k": "v" * 8192}},
    ],
)
def test_a_description_out_of_bounds_is_refused(changes):
    with pytest.raises(InvalidRecord):
        whole(**changes)


def test_every_error_is_one_of_the_librarys():
    assert issubclass(InvalidRecord, ChunkprotoError)
    assert issubclass(UndecodableRecord, ChunkprotoError)


def test_an_abort_says_why():
    abort = Abort(ID, "a", "s", "the file changed while it was read")
    assert decode([(HEADER, encode_header(abort))], b"") == abort


def test_an_upload_id_that_is_no_uuidv7_is_refused():
    with pytest.raises(InvalidRecord):
        UploadId(bytes(16))
