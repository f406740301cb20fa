"""Cursors: carried by strangers, and tolerant of what these do to them."""

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_registry.exceptions import BadQuestion
from penstock_registry.store.queries import cursors

TYPES = (float, int, bytes, str, UUID)
KEYS = st.tuples(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=300),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50),
    st.uuids(),
)


@given(KEYS)
def test_a_cursor_holds_its_key_exactly(key):
    assert cursors.decode(cursors.encode("q", key), "q", *TYPES) == key


@given(KEYS)
def test_a_cursor_needs_no_escaping_in_a_url(key):
    assert set(cursors.encode("q", key)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


@given(st.text(max_size=200))
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises(BadQuestion):
        cursors.decode(text, "q", float, UUID)


@given(st.binary(max_size=100))
def test_what_is_in_base64_but_no_cursor_is_refused(raw):
    with pytest.raises(BadQuestion):
        cursors.decode(base64.urlsafe_b64encode(raw).decode(), "q", float, UUID)


@given(KEYS, st.integers(0, 10_000), st.integers(1, 255))
def test_a_cursor_that_was_changed_is_refused_or_names_another_place(key, where, by):
    raw = bytearray(cursors.encode("q", key).encode())
    raw[where % len(raw)] = (raw[where % len(raw)] + by) % 256
    try:
        place = cursors.decode(raw.decode("latin-1"), "q", *TYPES)
    except BadQuestion:
        return
    assert [type(value) for value in place] == list(TYPES)


def test_a_cursor_of_another_query_is_refused():
    cursor = cursors.encode(cursors.mark("raw", 1), (1.0, UUID(int=1)))

    with pytest.raises(BadQuestion, match="none of this query"):
        cursors.decode(cursor, cursors.mark("raw", 2), float, UUID)


@pytest.mark.parametrize(
    "value", ["1e999", "-1e999", "NaN", '"x"', "null", "[]", "true", "[" * 5000, f"1{'0' * 400}"]
)
@pytest.mark.parametrize("kind", [float, int])
def test_values_that_no_database_takes_are_refused(value, kind):
    cursor = base64.urlsafe_b64encode(f'["q",{value}]'.encode()).decode()

    with pytest.raises(BadQuestion):
        cursors.decode(cursor, "q", kind)
