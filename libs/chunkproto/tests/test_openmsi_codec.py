"""OpenMSIStream's messages: the bytes of the real thing, and nothing else gets in."""

import contextlib
import dataclasses
import hashlib

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chunkproto import ForeignRecord, InvalidRecord, MalformedRecord, UndecodableRecord
from chunkproto.openmsi import Chunk, decode, encode, encode_key

GOLDEN = bytes.fromhex(
    "9aa5612e747874c440309ecc489c12d6eb4cc40f50c902f2b4d0ed77ee511a7c7a9bcd3ca86d4cd86f989dd35bc5ff499670da"
    "34255b45b0cfd830e81f605dcf7dc5542e93ae9cd76fc4400e0b8def24836c0afd0719f46fd08ee304d9f90f0612120ef5f8ad"
    "e364c34b55963ae74a1f1653590f70eb26e10620fc2995577fd6a3b5755d3fa20c89123d48000102a77375622f646972a0c408"
    "68656c6c6f20776fcb41d954fc40200000"
)
"""What openmsistream 1.8.8 produced for the first 8 bytes of `hello world` in sub/dir/a.txt."""


def chunk(**changes) -> Chunk:
    data = changes.get("data", b"hello wo")
    given = {
        "name": "a.txt",
        "directory": "sub/dir",
        "append": "",
        "digest": hashlib.sha512(b"hello world").digest(),
        "chunk_digest": hashlib.sha512(data).digest(),
        "offset": 0,
        "number": 1,
        "count": 2,
        "data": data,
        "mtime": 1_700_000_000.5,
    }
    return Chunk(**(given | changes))


texts = st.text(st.characters(codec="utf-8"), max_size=20)


@st.composite
def chunks(draw) -> Chunk:
    count = draw(st.integers(1, 1 << 30))
    number = draw(st.sampled_from([1, count]) | st.integers(1, count))
    size = draw(st.integers(1 if count > 1 else 0, 64))
    length = draw(st.integers(1, size)) if number == count > 1 else size
    return chunk(
        name=draw(texts),
        directory=draw(texts),
        append=draw(texts),
        digest=draw(st.binary(min_size=64, max_size=64)),
        offset=(number - 1) * size,
        number=number,
        count=count,
        data=draw(st.binary(min_size=length, max_size=length)),
        mtime=draw(st.none() | st.floats(allow_nan=False, allow_infinity=False).filter(bool)),
    )


def test_the_golden_message_is_read():
    assert decode(GOLDEN) == chunk()
    assert chunk().is_intact


def test_the_golden_message_is_written_byte_by_byte():
    assert encode(chunk()) == GOLDEN
    assert encode_key(chunk()) == b"sub_dir_a.txt_chunk_1_of_2"


def test_the_key_of_a_file_in_the_watched_directory_itself_begins_with_an_underscore():
    assert encode_key(chunk(directory="")) == b"_a.txt_chunk_1_of_2"


@given(chunks(), st.booleans())
def test_every_chunk_comes_back_as_it_was(sent, with_mtime):
    expected = sent if with_mtime else dataclasses.replace(sent, mtime=None)
    assert decode(encode(sent, with_mtime=with_mtime)) == expected


@given(chunks())
def test_a_chunk_with_one_bit_changed_is_not_intact(sent):
    changed = bytearray(sent.data or b"x")
    changed[-1] ^= 1 if sent.data else 0
    assert sent.is_intact
    assert not dataclasses.replace(sent, data=bytes(changed)).is_intact


@pytest.mark.parametrize(
    ("name", "append", "path"),
    [
        ("a.txt", "", "sub/dir/a.txt"),
        ("a.txt", "_new", "sub/dir/a_new.txt"),
        ("a.tar.gz", "_new", "sub/dir/a.tar_new.gz"),
        ("README", "_new", "sub/dir/README_new"),
        (".hidden", "_new", "sub/dir/.hidden_new"),
    ],
)
def test_what_is_appended_goes_before_the_suffix(name, append, path):
    assert chunk(name=name, append=append).path == path


def test_the_last_chunk_knows_the_size_of_the_file():
    last = chunk(data=b"rld", offset=8, number=2)
    assert (last.chunk_size, last.file_size) == (8, 11)
    assert (chunk().chunk_size, chunk().file_size) == (8, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 0},
        {"number": 3, "offset": 16},
        {"offset": 8},
        {"number": 2, "offset": 7},  # the chunk of 8 bytes is longer than the first one was
        {"number": 2, "count": 3, "offset": 9},
        {"number": 3, "count": 3, "offset": 17},
        {"data": b""},
        {"digest": bytes(32)},
        {"chunk_digest": b""},
        {"offset": -8, "number": 2},
        {"number": 2, "offset": 0},
    ],
)
def test_a_chunk_that_contradicts_itself_is_malformed(changes):
    with pytest.raises(InvalidRecord):
        chunk(**changes)
    fields = list(msgpack.unpackb(GOLDEN))
    places = {"digest": 1, "chunk_digest": 2, "offset": 3, "number": 4, "count": 5, "data": 8}
    for name, value in changes.items():
        fields[places[name]] = value
    with pytest.raises(MalformedRecord):
        decode(msgpack.packb(fields))


def test_an_empty_file_is_one_chunk_of_no_bytes():
    empty = chunk(data=b"", count=1)
    assert decode(encode(empty)) == empty
    assert empty.file_size == 0


@pytest.mark.parametrize("value", [None, b"", b"hello", b'{"a": 1}', msgpack.packb({"a": 1})])
def test_another_programs_message_is_foreign(value):
    with pytest.raises(ForeignRecord):
        decode(value)


@pytest.mark.parametrize("length", [0, 8, 11])
def test_an_array_of_another_length_is_foreign(length):
    with pytest.raises(ForeignRecord, match="9 or 10 elements"):
        decode(msgpack.packb([0] * length))


@pytest.mark.parametrize("mtime", [None, "now", True, float("nan"), float("inf")])
def test_a_time_that_is_none_is_malformed(mtime):
    with pytest.raises(MalformedRecord, match="element 9"):
        decode(msgpack.packb([*msgpack.unpackb(GOLDEN)[:9], mtime]))


def test_a_time_of_zero_is_unknown():
    assert decode(msgpack.packb([*msgpack.unpackb(GOLDEN)[:9], 0.0])).mtime is None


@given(st.binary(max_size=300))
@example(b"\xc1")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x81\x80\x00")
def test_any_bytes_are_refused_with_a_reason_or_decoded_never_raise_otherwise(value):
    with contextlib.suppress(UndecodableRecord):
        decode(value)


@given(chunks(), st.data())
def test_a_message_with_one_byte_changed_never_raises_anything_but_undecodable(sent, data):
    raw = bytearray(encode(sent))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(UndecodableRecord):
        decode(bytes(raw))


def test_a_name_that_is_not_utf_8_is_not_sent():
    with pytest.raises(InvalidRecord, match="is not UTF-8"):
        encode(chunk(name="\udcff.txt"))
    with pytest.raises(InvalidRecord, match="is not UTF-8"):
        encode_key(chunk(name="\udcff.txt"))
