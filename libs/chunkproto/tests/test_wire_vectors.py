"""docs/wire-vectors.json: what another client can be checked with, and ours is."""

import json
from pathlib import Path

import pytest

from chunkproto import Description, UndecodableRecord, UploadId, Whole, partition_for
from chunkproto.checkpoint import Checkpoint, Entry
from chunkproto.native import HEADER, decode, encode_header

VECTORS = json.loads((Path(__file__).parents[3] / "docs" / "wire-vectors.json").read_text())


def named(vectors):
    return pytest.mark.parametrize("vector", vectors, ids=lambda vector: vector["name"])


@named(VECTORS["records"])
def test_a_record_is_read_and_written_byte_for_byte(vector):
    header = bytes.fromhex(vector["header"])
    record = decode([(HEADER, header)], bytes.fromhex(vector["value"]))
    assert encode_header(record) == header


@named(VECTORS["records"])
def test_a_records_partition_follows_from_its_key(vector):
    assert partition_for(bytes.fromhex(vector["key"]), 8) == vector["partition_of_8"]


@named(VECTORS["refused"])
def test_what_is_refused_is_refused_for_the_reason_named(vector):
    headers = [] if vector["header"] is None else [(HEADER, bytes.fromhex(vector["header"]))]
    with pytest.raises(UndecodableRecord) as refused:
        decode(headers, bytes.fromhex(vector["value"]))
    assert refused.value.reason == vector["reason"]


@pytest.mark.parametrize("vector", VECTORS["partitions"], ids=lambda vector: vector["path"])
def test_a_paths_partition_is_the_one_named(vector):
    path = bytes.fromhex(vector["path"])
    assert partition_for(path, 8) == vector["partition_of_8"]
    assert partition_for(path, 3) == vector["partition_of_3"]


@pytest.mark.parametrize("vector", VECTORS["checkpoints"], ids=lambda vector: vector["metadata"])
def test_a_checkpoints_text_is_the_one_named(vector):
    entries = tuple(
        Entry(UploadId.parse(entry["upload_id"]), entry["first_offset"], entry["chunks"])
        for entry in vector["entries"]
    )
    assert Checkpoint(vector["offset"], entries).encode_metadata(vector["topic_id"]) == vector["metadata"]


def test_the_vector_with_every_field_says_what_the_specification_says():
    vector = next(vector for vector in VECTORS["records"] if vector["name"] == "whole")
    record = decode([(HEADER, bytes.fromhex(vector["header"]))], bytes.fromhex(vector["value"]))
    assert isinstance(record, Whole)
    assert str(record.upload_id) == "018bcfe5-6800-7000-8000-000000000001"
    assert record.digest.hex() == "d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"
    assert record.description == Description(
        "sub/dir/a.txt",
        11,
        524288,
        1700000000500000000,
        0o644,
        "microscope-3",
        ("lab.archive",),
        {"sample": "42"},
    )
