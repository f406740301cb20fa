"""Joins are least upper bounds, whatever contradicts whatever: commutative, associative, idempotent."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from penstock_registry.knowledge import Outcome, ReceiptRow, UploadRow, join_receipts, join_uploads

OF_ONE = UUID(int=1)
TIMES = st.sampled_from([1.0, 2.0, 3.0])
NUMBERS = st.sampled_from([0, 1, 2])
TEXTS = st.sampled_from(["", "a", "b"])
DIGESTS = st.none() | st.sampled_from([b"1" * 32, b"2" * 32])
IDS = st.none() | st.sampled_from([UUID(int=2), UUID(int=3)])

uploads = st.builds(
    UploadRow,
    id=st.just(OF_ONE),
    stream_id=st.just(1),
    file_id=st.just(OF_ONE),
    size=st.none() | NUMBERS,
    digest=DIGESTS,
    version_id=IDS,
    addressed_to=st.none() | st.sampled_from([(), ("a",), ("a", "b")]),
    first_at=TIMES,
    last_at=TIMES,
    closed_at=st.none() | TIMES,
    bytes_done=NUMBERS,
    progress_at=st.none() | TIMES,
    uploaded_at=st.none() | TIMES,
    seconds=st.none() | TIMES,
    partition=st.none() | NUMBERS,
    first_offset=st.none() | NUMBERS,
    last_offset=st.none() | NUMBERS,
    aborted_at=st.none(),
    abort_reason=st.none(),
).flatmap(
    lambda row: st.just(row) | st.builds(row._replace, aborted_at=TIMES, abort_reason=TEXTS)  # both, or none
)
receipts = st.builds(
    ReceiptRow,
    upload_id=st.just(OF_ONE),
    destination=st.just("d"),
    stream_id=st.just(1),
    outcome=st.sampled_from([outcome.value for outcome in Outcome]),
    at=TIMES,
    reason=st.sampled_from(["a", "b"]),
    detail=TEXTS,
    digest=DIGESTS,
    size=st.none() | NUMBERS,
    delivered_as=st.none() | st.sampled_from([b"a", b"b"]),
    closed_at=st.none() | TIMES,
    visible_at=st.none() | TIMES,
    topic_id=TEXTS,
    partition=NUMBERS,
    offset=NUMBERS,
    outcomes=st.sampled_from([1, 2, 4]),
)


@given(uploads, uploads, uploads)
def test_what_is_said_of_an_upload_joins_in_any_order(a: UploadRow, b: UploadRow, c: UploadRow) -> None:
    assert join_uploads(a, b) == join_uploads(b, a)
    assert join_uploads(join_uploads(a, b), c) == join_uploads(a, join_uploads(b, c))
    assert join_uploads(a, a) == a
    assert join_uploads(join_uploads(a, b), b) == join_uploads(a, b)


@given(receipts, receipts, receipts)
def test_answers_join_in_any_order(a: ReceiptRow, b: ReceiptRow, c: ReceiptRow) -> None:
    assert join_receipts(a, b) == join_receipts(b, a)
    assert join_receipts(join_receipts(a, b), c) == join_receipts(a, join_receipts(b, c))
    assert join_receipts(a, a) == a
    assert join_receipts(join_receipts(a, b), b) == join_receipts(a, b)
