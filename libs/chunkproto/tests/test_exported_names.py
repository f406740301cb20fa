"""What other packages and other people's code may rely on."""

import chunkproto


def test_the_exported_names_are_a_promise():
    assert sorted(chunkproto.__all__) == [
        "Abort",
        "Chunk",
        "ChunkPlan",
        "ChunkprotoError",
        "Description",
        "End",
        "ForeignRecord",
        "InvalidRecord",
        "MalformedRecord",
        "Reason",
        "Record",
        "SkipReason",
        "UndecodableRecord",
        "UnsupportedRecord",
        "UploadId",
        "Whole",
        "next_upload_id",
        "partition_for",
    ]
    assert all(hasattr(chunkproto, name) for name in chunkproto.__all__)


def test_the_reasons_are_a_promise():
    assert set(chunkproto.Reason) == {
        "digest",
        "expired",
        "foreign",
        "incomplete",
        "malformed",
        "name-too-long",
        "path-conflict",
        "source-conflict",
        "stale",
        "too-large",
        "unportable-path",
        "unsafe-path",
        "unsupported",
    }
    assert set(chunkproto.SkipReason) == {"exists", "filtered", "not-addressed"}
