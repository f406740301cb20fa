"""The cutting of files, and the choice of partitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkproto import ChunkPlan, InvalidRecord, partition_for
from chunkproto.plan import MAX_CHUNK_SIZE


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_the_chunks_are_the_file_without_gap_or_overlap(size, chunk_size):
    plan = ChunkPlan(size, chunk_size)
    at = 0
    for index in range(plan.count):
        assert plan.offset(index) == at
        assert plan.length(index) > 0 or size == 0
        at += plan.length(index)
    assert at == size


@pytest.mark.parametrize(("size", "count"), [(0, 1), (1, 1), (8, 1), (9, 2), (16, 2), (17, 3)])
def test_the_edges_of_a_chunk(size, count):
    plan = ChunkPlan(size, 8)
    assert plan.count == count
    assert plan.is_single == (count == 1)


@pytest.mark.parametrize(("size", "chunk_size"), [(-1, 1), (0, 0), (0, -1), (0, MAX_CHUNK_SIZE + 1)])
def test_sizes_that_make_no_sense_are_refused(size, chunk_size):
    with pytest.raises(InvalidRecord):
        ChunkPlan(size, chunk_size)


@given(st.binary(min_size=1), st.integers(1, 1000))
def test_a_partition_is_always_one_of_those_there_are(path, partitions):
    assert 0 <= partition_for(path, partitions) < partitions


def test_paths_spread_evenly_over_partitions():
    counts = [0] * 8
    for number in range(8000):
        counts[partition_for(b"run/img_%05d.tif" % number, 8)] += 1
    assert min(counts) > 900
    assert max(counts) < 1100
