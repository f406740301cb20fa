"""Reading goes on where the store says, as far as the topic still is what it was."""

from hypothesis import given
from hypothesis import strategies as st

from penstock_registry.assignment import Start, where_to_start
from penstock_registry.store.batch import Position
from servicekit.topics import LogRange


def test_what_was_never_read_is_read_from_its_start():
    assert where_to_start(None, "id", LogRange(5, 9)) == Start(5)


def test_what_was_read_goes_on():
    assert where_to_start(Position("id", 7), "id", LogRange(5, 9)) == Start(7)
    assert where_to_start(Position("id", 9), "id", LogRange(5, 9)) == Start(9)


def test_a_topic_that_was_made_again_is_read_from_its_start():
    assert where_to_start(Position("old", 7), "id", LogRange(0, 9)) == Start(0)


def test_what_was_deleted_before_it_was_read_is_counted():
    assert where_to_start(Position("id", 2), "id", LogRange(5, 9)) == Start(5, missed=3)


def test_a_log_that_lost_its_end_is_read_again():
    assert where_to_start(Position("id", 12), "id", LogRange(5, 9)) == Start(5)


offsets = st.integers(0, 20)


@given(st.none() | st.builds(Position, st.sampled_from("ab"), offsets), offsets, offsets)
def test_nothing_that_is_there_is_ever_jumped_over(known, start, length):
    log = LogRange(start, start + length)
    found = where_to_start(known, "a", log)

    assert log.start <= found.offset <= log.end
    read = known.next_offset if known is not None and known.topic_id == "a" else log.start
    assert found.offset <= max(read, log.start)
