"""What follows from an answer, as a function of what was known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkproto import UploadId, next_upload_id
from penstock_uploader.answerbook import Answer, Outcome
from penstock_uploader.answers import (
    Answers,
    Effect,
    after_delivery,
    after_loss,
    after_rejection,
    after_skip,
    apply_answers,
)
from penstock_uploader.ledger import Acknowledged, Beginning, Ledger
from servicekit.events import FileDelivered, FileRejected, FileSkipped
from servicekit.filesystem import Fingerprint

FIRST = next_upload_id(1, 1, None)
SECOND = next_upload_id(2, 2, FIRST)
DIGEST = b"d" * 32
COMMON = {
    "time": 1.0,
    "destination": "there",
    "topic": "t",
    "topic_id": "i",
    "partition": 0,
    "source_id": "s",
    "path": "p",
    "size": 1,
    "offset": 0,
}


def rejected(upload: UploadId, reason: str = "incomplete") -> FileRejected:
    return FileRejected(**COMMON, upload_id=str(upload), reason=reason)


def delivered(upload: UploadId, digest: bytes = DIGEST) -> FileDelivered:
    return FileDelivered(**COMMON, upload_id=str(upload), digest=digest.hex())


def known(outcome: Outcome, upload: UploadId = FIRST, resends: int = 0) -> Answer:
    return Answer("there", outcome, None, upload, resends)


def test_a_receipt_counts_only_with_the_digest_that_was_sent():
    assert after_delivery(delivered(FIRST), DIGEST, None) == known(Outcome.DELIVERED)
    assert after_delivery(delivered(FIRST, b"x" * 32), DIGEST, None) is None
    assert after_delivery(delivered(FIRST), None, None) is None


@pytest.mark.parametrize("reason", ["incomplete", "digest", "expired"])
def test_a_rejection_that_sending_again_mends_asks_for_it_once(reason):
    asked = after_rejection(rejected(FIRST, reason), None, 3)
    assert asked is not None
    assert asked.outcome is Outcome.AGAIN
    assert after_rejection(rejected(FIRST, reason), asked, 3) is None
    sent_again = known(Outcome.RESENT, SECOND, 1)
    assert after_rejection(rejected(FIRST, reason), sent_again, 3) is None
    again = after_rejection(rejected(SECOND, reason), sent_again, 3)
    assert again is not None
    assert (again.outcome, again.resends) == (Outcome.AGAIN, 2)


@pytest.mark.parametrize("reason", ["source-conflict", "too-large", "stale", "something new"])
def test_any_other_rejection_is_a_failure(reason):
    failed = after_rejection(rejected(FIRST, reason), None, 3)
    assert failed is not None
    assert failed.outcome is Outcome.FAILED


def test_so_many_times_and_no_more():
    failed = after_rejection(rejected(SECOND), known(Outcome.RESENT, SECOND, 3), 3)
    assert failed is not None
    assert failed.outcome is Outcome.FAILED


@pytest.mark.parametrize("final", [Outcome.DELIVERED, Outcome.SKIPPED])
def test_nothing_takes_a_final_answer_back(final):
    assert after_rejection(rejected(SECOND), known(final), 3) is None
    assert after_loss("there", SECOND, known(final), 3) is None
    assert after_skip(FileSkipped(**COMMON, upload_id=str(SECOND), reason="f"), known(final)) is None


@given(st.lists(st.sampled_from(["reject first", "reject second", "lose", "send"]), max_size=30))
def test_the_number_of_resends_is_bounded_whatever_the_answers(events):
    answer, upload, sendings = None, FIRST, 0
    for event in events:
        if event == "send" and answer is not None and answer.outcome is Outcome.AGAIN:
            sendings += 1
            upload = next_upload_id(sendings, 0, upload)
            answer = Answer("there", Outcome.RESENT, None, upload, answer.resends)
        elif event.startswith("reject"):
            which = FIRST if event == "reject first" else upload
            answer = after_rejection(rejected(which), answer, 3) or answer
        elif event == "lose":
            answer = after_loss("there", upload, answer, 3) or answer
    assert sendings <= 3


def test_a_rejection_that_names_no_source_counts_if_the_upload_is_ours(tmp_path):
    ledger = Ledger(str(tmp_path / "ledger.db"))
    looks = Fingerprint(1, 1, 1, 1)
    ledger.begin([Beginning(FIRST, "p", FIRST, looks, None, 10, None, (), "T", 0, 0, 0)])
    ledger.acknowledged([Acknowledged(FIRST, "p", FIRST, 1, 0, 0, looks, DIGEST, 0)])

    def apply(event: FileRejected) -> list[Effect]:
        return apply_answers(
            ledger,
            Answers([event], {0: event.offset + 1}),
            source_id="s",
            receipts_topic_id="R",
            max_resends=3,
            now_ms=0,
        )

    nameless = {"source_id": "", "path": ""}
    assert apply(rejected(SECOND).model_copy(update=nameless)) == []
    assert apply(rejected(FIRST).model_copy(update={"source_id": "another"})) == []
    assert apply(rejected(FIRST).model_copy(update=nameless | {"upload_id": ""})) == []
    assert ledger.answers.resends(10) == []
    [effect] = apply(rejected(FIRST).model_copy(update=nameless))
    assert (effect.path, effect.version, effect.answer.outcome) == ("p", FIRST, Outcome.AGAIN)
    [resend] = ledger.answers.resends(10)
    assert (resend.path, resend.to) == ("p", ("there",))
    ledger.close()
