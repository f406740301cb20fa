"""What a committed offset says of a partition, as a downloader would read it."""

import itertools

import pytest

from chunkproto import next_upload_id
from chunkproto.checkpoint import Checkpoint, Entry
from penstock_operator.kafka.checkpoints import Committed, NewerCheckpoint, partition_of
from penstock_operator.reading import Partition
from servicekit.topics import LogRange

TOPIC_ID = "f3Qm1TtSTrS1jGFh2nRRLA"
LOG = LogRange(100, 900)
_random = itertools.count(1)


def checkpoint(offset: int, unfinished: int, topic_id: str = TOPIC_ID) -> Committed:
    entries = tuple(Entry(next_upload_id(1, next(_random), None), offset - 1, 1) for _ in range(unfinished))
    return Committed(offset, Checkpoint(offset, entries).encode_metadata(topic_id))


@pytest.mark.parametrize("unfinished", [0, 1, 7])
def test_unfinished_uploads_are_counted(unfinished: int):
    assert partition_of(checkpoint(500, unfinished), LOG, TOPIC_ID) == Partition(100, 900, 500, unfinished)


def test_without_a_commit_there_is_no_offset():
    assert partition_of(None, LOG, TOPIC_ID) == Partition(100, 900)


def test_an_offset_of_another_topic_of_the_same_name_is_none_nor_are_its_uploads():
    assert partition_of(checkpoint(500, 3, "another"), LOG, TOPIC_ID) == Partition(100, 900)


def test_an_offset_beyond_the_end_is_none_nor_are_its_uploads():
    assert partition_of(checkpoint(901, 3), LOG, TOPIC_ID) == Partition(100, 900)
    assert partition_of(checkpoint(900, 3), LOG, TOPIC_ID) == Partition(100, 900, 900, 3)


@pytest.mark.parametrize("metadata", [None, "", "set by hand", "p1"])
def test_an_offset_that_somebody_set_counts(metadata: str | None):
    assert partition_of(Committed(500, metadata), LOG, TOPIC_ID) == Partition(100, 900, 500)


@pytest.mark.parametrize("metadata", ["p1:", "p1:!", "p1:cut"])
def test_metadata_of_ours_that_were_cut_are_read_as_a_downloader_does_from_the_start(metadata: str):
    assert partition_of(Committed(500, metadata), LOG, TOPIC_ID) == Partition(100, 900)


def test_metadata_of_a_newer_version_are_not_guessed():
    with pytest.raises(NewerCheckpoint):
        partition_of(Committed(500, "p2:anything"), LOG, TOPIC_ID)
