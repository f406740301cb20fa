"""Where an unreadable batch ends: the first offset behind it, whatever follows."""

from hypothesis import given
from hypothesis import strategies as st

from servicekit.unreadable import end_of_batch


@given(
    batches=st.lists(st.tuples(st.integers(1, 5000), st.booleans()), min_size=1, max_size=30),
    start=st.integers(0, 2**40),
)
def test_reading_goes_on_with_the_first_record_behind_the_batch(batches, start):
    batches[0] = (batches[0][0], True)
    firsts, offset = [], start
    for length, is_bad in batches:
        firsts.append((offset, is_bad))
        offset += length
    asked = []

    def unreadable_at(wanted: int) -> int | None:
        asked.append(wanted)
        first, is_bad = next(one for one in reversed(firsts) if one[0] <= wanted)
        return first if is_bad else None

    assert end_of_batch(start, offset, unreadable_at) == start + batches[0][0]
    assert len(asked) <= 2 * batches[0][0].bit_length() + 2
    assert all(start <= wanted < offset for wanted in asked)


def test_a_batch_that_can_be_read_now_is_read():
    assert end_of_batch(5, 9, lambda _offset: None) == 5


def test_a_log_that_was_cut_has_nothing_to_step_over():
    assert end_of_batch(5, 5, lambda offset: offset) == 5
