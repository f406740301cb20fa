"""Upload ids only grow within a source, and are UUIDv7 to everyone else."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from chunkproto import UploadId, next_upload_id

clocks = st.integers(0, (1 << 47) - 1)
randoms = st.integers(0, (1 << 80) - 1)


@given(st.lists(st.tuples(clocks, randoms), min_size=2, max_size=50))
def test_ids_grow_whatever_the_clock_does(readings):
    previous = None
    for now_ms, random in readings:
        upload_id = next_upload_id(now_ms, random, previous)
        assert previous is None or upload_id > previous
        previous = upload_id


@given(clocks, randoms)
def test_the_first_id_carries_the_clock_and_is_a_uuidv7(now_ms, random):
    upload_id = next_upload_id(now_ms, random, None)
    as_uuid = UUID(str(upload_id))
    assert as_uuid.version == 7
    assert as_uuid.variant == "specified in RFC 4122"
    assert upload_id.milliseconds == now_ms


@given(clocks, randoms)
def test_the_text_form_gives_the_id_back(now_ms, random):
    upload_id = next_upload_id(now_ms, random, None)
    assert UploadId.parse(str(upload_id)) == upload_id


def test_ids_go_on_growing_when_the_random_part_overflows():
    last_of_its_millisecond = next_upload_id(5, (1 << 74) - 1, None)
    following = next_upload_id(5, 0, last_of_its_millisecond)
    assert following > last_of_its_millisecond
    assert following.milliseconds == 6
