"""What is committed: compact, exact, and refused when it cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libs.chunkproto.tests.strategies import upload_ids

from chunkproto import next_upload_id
from chunkproto.checkpoint import CAPACITY, Checkpoint, Entry, UnreadableCheckpoint

TOPIC = "i1wwCMdETryat_9yTgK1qQ"


@st.composite
def checkpoints(draw):
    offset = draw(st.integers(0, (1 << 47) - 1))
    entries = st.builds(Entry, upload_ids, st.integers(0, offset), st.integers(0, (1 << 40) - 1))
    return Checkpoint(offset, tuple(draw(st.lists(entries, max_size=CAPACITY))))


@given(checkpoints())
def test_a_checkpoint_comes_back_as_it_was_and_fits_in_a_commit(checkpoint):
    metadata = checkpoint.encode_metadata(TOPIC)
    assert len(metadata.encode()) <= 4000
    assert Checkpoint.decode(checkpoint.offset, metadata, TOPIC) == checkpoint


def test_a_commit_carries_more_than_a_hundred_unfinished_uploads():
    assert CAPACITY >= 100


@given(st.text(min_size=1, max_size=200))
def test_other_peoples_metadata_are_refused_or_read_never_raise_otherwise(metadata):
    try:
        Checkpoint.decode(100, metadata, TOPIC)
    except UnreadableCheckpoint as error:
        refused = error
    else:
        return
    assert str(refused)


@given(checkpoints().filter(lambda checkpoint: checkpoint.entries), st.data())
def test_metadata_that_were_cut_short_are_refused(checkpoint, data):
    metadata = checkpoint.encode_metadata(TOPIC)
    # A cut of fewer than five characters may leave the base85 of whole bytes, but not of whole entries.
    cut = metadata[: len(metadata) - data.draw(st.integers(1, 5))]
    with pytest.raises(UnreadableCheckpoint):
        Checkpoint.decode(checkpoint.offset, cut, TOPIC)


def test_no_metadata_is_a_checkpoint_without_entries():
    assert Checkpoint.decode(7, None, TOPIC) == Checkpoint.decode(7, "", TOPIC) == Checkpoint(7)


@given(checkpoints())
def test_an_offset_of_another_topic_of_the_same_name_is_not_taken_for_ours(checkpoint):
    metadata = checkpoint.encode_metadata(TOPIC)
    with pytest.raises(UnreadableCheckpoint, match="another topic"):
        Checkpoint.decode(checkpoint.offset, metadata, "made-again")


def test_an_entry_after_the_offset_is_never_committed():
    with pytest.raises(ValueError, match="no commit of 5"):
        Checkpoint(5, (Entry(next_upload_id(1, 1, None), 6, 1),)).encode_metadata(TOPIC)
