"""The wire of Penstock: records, codecs, chunk plans, digests, assembly and checkpoints.

Everything here is pure: no Kafka, no disk, no clock. docs/wire.md is its specification.
"""

from chunkproto.exceptions import (
    ChunkprotoError,
    ForeignRecord,
    InvalidRecord,
    MalformedRecord,
    UndecodableRecord,
    UnsupportedRecord,
)
from chunkproto.plan import ChunkPlan, partition_for
from chunkproto.reasons import Reason, SkipReason
from chunkproto.records import Abort, Chunk, Description, End, Record, Whole
from chunkproto.upload_id import UploadId, next_upload_id

__all__ = [
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
