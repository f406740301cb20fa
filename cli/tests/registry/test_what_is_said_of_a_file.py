"""Verdicts: what provably arrived is told from all that only looks like it."""

import uuid

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from penstock.registry_answers import Answer, FileDetail, KnownFile, Receipt, Upload
from penstock.verification.verdicts import Finding, Here, Verdict, judge, wants_history

V1, V2 = "1" * 64, "2" * 64
HERE = Here("run/a", 100, V2)


def upload_id(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


def answer(destination: str = "archive", outcome: str = "delivered", **given) -> Answer:
    known = {
        "current": True,
        "upload_id": upload_id(1),
        "at": 1.0,
        "digest": V1 if outcome == "delivered" else None,
    }
    return Answer(destination=destination, outcome=outcome, **known | given)


def known(*answers: Answer, state: str = "uploaded", digest: str | None = V2, **given) -> KnownFile:
    fields = {
        "id": upload_id(1000),
        "stream": "s",
        "source": "here",
        "path": "run/a",
        "size": 100,
        "bytes_done": 100,
        "uploaded_at": 1.0 if digest else None,
        "last_at": 1.0,
        "upload_id": upload_id(1),
    }
    return KnownFile(state=state, digest=digest, answers=list(answers), **fields | given)


def verdict(
    *files: KnownFile,
    destination: str | None = "archive",
    history: FileDetail | None = None,
    source: str | None = None,
):
    histories = {history.id: history} if history is not None else {}
    return judge(HERE, files, destination, histories, source)


def test_a_receipt_for_exactly_these_bytes_is_arrival():
    assert verdict(known(answer(digest=V2), state="delivered")).verdict is Verdict.ARRIVED


@pytest.mark.parametrize("state", ["discovered", "uploading", "uploaded", "delivered", "rejected", "failed"])
def test_it_stays_arrived_whatever_else_happens_to_it(state):
    assert verdict(known(answer(digest=V2), state=state)).verdict is Verdict.ARRIVED


@pytest.mark.parametrize(
    ("newer", "expected"),
    [
        ({"state": "uploaded", "digest": V1}, Verdict.CHANGED),
        ({"state": "uploading", "digest": None, "bytes_done": 42}, Verdict.ON_ITS_WAY),
        ({"state": "uploaded", "digest": V2}, Verdict.ARRIVED),
        ({"state": "aborted", "digest": None}, Verdict.ARRIVED),
    ],
    ids=["other bytes in Kafka", "bytes that nobody knows yet", "the same bytes again", "given up"],
)
def test_what_is_about_to_be_replaced_has_not_arrived(newer, expected):
    assert verdict(known(answer(digest=V2, current=False), **newer)).verdict is expected


def test_a_receipt_of_another_destination_proves_nothing():
    found = verdict(known(answer("backup", digest=V2), state="delivered"))
    assert found.verdict is Verdict.ON_ITS_WAY
    assert "not answered" in found.why


def test_the_last_word_counts_not_an_earlier_receipt():
    # Its upload 1 was receipted with these bytes; the last word, about upload 2, is a refusal.
    file = known(answer(outcome="rejected", upload_id=upload_id(2), reason="digest"), state="rejected")
    assert verdict(file).verdict is Verdict.REJECTED


def test_a_receipt_for_another_version_is_a_change():
    found = verdict(known(answer(digest=V1), state="delivered", digest=V1))
    assert found.verdict is Verdict.CHANGED
    assert "another version of it arrived" in found.why


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (known(state="discovered", digest=None), "waits for its turn"),
        (known(state="uploading", digest=None, bytes_done=42), "uploading, 42 %"),
        (known(state="uploading", digest=None, bytes_done=100), "uploading, 99 %"),
        (known(state="uploading", digest=None, size=0, bytes_done=0), "uploading, begun"),
        (known(state="uploaded"), "Kafka has it"),
        (known(answer(digest=V1), state="discovered", digest=V1), "its change was seen"),
        (known(answer(digest=V1, current=False), state="uploading", digest=None, bytes_done=10), "10 %"),
        (known(answer(digest=V1, current=False), state="uploaded"), "Kafka has it"),
        (known(answer(outcome="rejected", reason="size", current=False), state="uploaded"), "Kafka has it"),
        (known(answer("backup", "rejected", reason="size"), state="rejected"), "Kafka has it"),
        (known(answer("backup", "rejected", reason="size"), state="failed"), "Kafka has it"),
    ],
)
def test_what_comes_by_itself_is_on_its_way(file, why):
    found = verdict(file)
    assert found.verdict is Verdict.ON_ITS_WAY
    assert why in found.why


def test_a_receipt_elsewhere_says_that_kafka_has_it_though_telemetry_was_lost():
    assert verdict(known(answer("backup", digest=V2), digest=None)).verdict is Verdict.ON_ITS_WAY


@pytest.mark.parametrize(
    "older", [(), (answer(digest="3" * 64, current=False),)], ids=["none", "an older one"]
)
def test_another_version_on_its_way_does_not_bring_these_bytes(older):
    found = verdict(known(*older, digest=V1))
    assert found.verdict is Verdict.CHANGED
    assert "another version of it is on its way" in found.why


def test_what_was_once_delivered_elsewhere_is_not_on_its_way_again():
    # `backup` had these bytes before the source sent others; they are not in what is sent now.
    file = known(answer("backup", digest=V2, current=False), digest=V1)
    assert verdict(file).verdict is Verdict.CHANGED


def test_a_resend_to_others_brings_nothing_to_who_has_another_version():
    # It was delivered here, and is sent again to `backup`; meanwhile it has changed and nobody has seen that.
    file = known(answer(digest=V1), state="uploading", digest=V1, bytes_done=50)
    assert verdict(file).verdict is Verdict.CHANGED


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (
            known(state="failed", digest=None, reason="unreadable", detail="Permission denied"),
            "Permission denied",
        ),
        (known(state="aborted", digest=None, reason="changed"), "given up (changed)"),
    ],
)
def test_what_the_source_cannot_send_never_left(file, why):
    found = verdict(file)
    assert found.verdict is Verdict.NEVER_LEFT
    assert why in found.why


def test_what_nobody_has_heard_of_never_left():
    assert verdict().verdict is Verdict.NEVER_LEFT
    assert verdict(destination=None).verdict is Verdict.NEVER_LEFT


def test_a_version_that_cannot_be_sent_leaves_the_older_one_there():
    file = known(answer(current=False), state="failed", digest=None, reason="unreadable", detail="No")
    found = verdict(file)
    assert found.verdict is Verdict.CHANGED
    assert found.why == (
        "an earlier version arrived; this one: the source failed to send it (unreadable: No)"
    )


def test_while_nobody_has_answered_nothing_has_arrived():
    assert verdict(known(), destination=None).verdict is Verdict.ON_ITS_WAY


def test_a_skip_is_no_proof():
    found = verdict(known(answer(outcome="skipped", reason="filtered"), state="skipped"))
    assert (found.verdict, found.why) == (Verdict.SKIPPED, "filtered")
    assert verdict(known(answer(outcome="skipped"), state="skipped", digest=V1)).verdict is Verdict.CHANGED


class TestRejections:
    REFUSED = answer(outcome="rejected", upload_id=upload_id(2), reason="digest", detail="differs")

    def history(self, *uploads: Upload, state: str = "rejected", **given) -> FileDetail:
        file = known(self.REFUSED, state=state, **given)
        return FileDetail(**file.model_dump(), uploads=list(uploads))

    def sent(self, number: int, version: int = 1, to: tuple[str, ...] = (), **given) -> Upload:
        return Upload(id=upload_id(number), version_id=upload_id(version), to=list(to), **given)

    def judged(self, *uploads: Upload, **given):
        detail = self.history(*uploads, **given)
        assert wants_history(detail)
        return verdict(detail, history=detail)

    def test_one_that_is_not_sent_again_says_so(self):
        found = self.judged(self.sent(2, 2))
        assert (found.verdict, found.why) == (Verdict.REJECTED, "digest: differs; not sent again")
        assert found.answer == self.REFUSED

    def test_one_that_was_sent_again_in_vain_says_how_often(self):
        assert self.judged(self.sent(2), self.sent(1)).why == "digest: differs; sent again once, in vain"

    def test_advice_is_that_of_this_receipt_whoever_else_rejected_it(self):
        receipts = [
            Receipt(destination="backup", outcome="rejected", advice="not this"),
            Receipt(destination="archive", outcome="rejected", advice="this"),
        ]
        sent = self.sent(2, receipts=receipts)
        assert self.judged(sent, reason="size", by="backup", advice="not this").advice == "this"

    def test_a_younger_upload_for_this_destination_brings_it(self):
        for to in ((), ("archive", "backup")):
            found = self.judged(self.sent(3, to=to), self.sent(2), state="uploaded")
            assert found.verdict is Verdict.ON_ITS_WAY
            assert found.why == "rejected (digest: differs) and being sent again"

    def test_a_younger_upload_for_others_does_not(self):
        found = self.judged(self.sent(3, to=("backup",)), self.sent(2))
        assert found.verdict is Verdict.REJECTED

    def test_nor_one_that_was_given_up_on_the_way(self):
        found = self.judged(self.sent(3, aborted_at=5.0, abort_reason="vanished"), self.sent(2))
        assert found.verdict is Verdict.REJECTED
        assert "given up on the way (vanished)" in found.why

    def test_advice_is_about_this_rejection_or_is_left_out(self):
        assert self.judged(self.sent(2), reason="digest", advice="do this").advice == "do this"
        assert self.judged(self.sent(2), reason="size", advice="do that").advice is None


BEGAN_MS = 1000
NEWEST = uuid.UUID(int=BEGAN_MS << 80)
"""The newest upload's id, which begins with its time."""


@st.composite
def sendings(draw: st.DrawFn) -> KnownFile:
    """A file as its source has sent it, and as `archive` alone may have answered it."""
    uploaded = draw(st.booleans())
    answers = draw(
        st.lists(
            st.builds(
                answer,
                st.just("archive"),
                st.sampled_from(["delivered", "skipped", "rejected"]),
                digest=st.sampled_from([V1, V2]),
                current=st.booleans(),
                reason=st.sampled_from([None, "size"]),
                upload_id=st.just(NEWEST),
            ),
            max_size=1,
        )
    )
    seen_at = draw(st.sampled_from([None, 0.0, 5.0]))
    if answers and answers[0].current and answers[0].outcome == "rejected":
        state = "rejected"
    elif not uploaded and draw(st.booleans()):
        state = "aborted"
    elif seen_at is not None and seen_at * 1000 > BEGAN_MS:
        state = "discovered"
    elif not uploaded:
        state = "uploading"
    else:
        state = draw(st.sampled_from(["uploaded", "delivered"]))
    return known(
        *answers,
        state=state,
        digest=draw(st.sampled_from([V1, V2])) if uploaded else None,
        bytes_done=100 if uploaded else draw(st.integers(0, 99)),
        discovered_at=seen_at,
        upload_id=NEWEST,
        reason={"aborted": "changed", "rejected": "size"}.get(state),
    )


def said_of(file: KnownFile) -> Finding:
    """Judge it with the history that would have been asked for."""
    aborted = {"aborted_at": 2.0, "abort_reason": "changed"} if "aborted" in file.source else {}
    uploads = [Upload(id=NEWEST, version_id=NEWEST, **aborted)]
    history = FileDetail(**file.model_dump(), uploads=uploads) if wants_history(file) else None
    return verdict(file, history=history)


@for_all(st.data())
def test_what_others_reject_and_what_is_given_up_for_them_says_nothing_about_this_one(data):
    file = data.draw(sendings())
    # Remembered under another name: the state may be covered by what is said of others.
    file = file.model_copy(update={"source": f"source-{file.state}"})
    in_kafka = file.uploaded_at is not None
    others = [
        answer(name, data.draw(st.sampled_from(outcomes)), digest=file.digest or V2, reason="too-large")
        for name, outcomes in (
            ("small", ["rejected"]),
            ("lab", ["delivered", "rejected", "skipped"] if in_kafka else ["rejected", "skipped"]),
        )
    ]
    about_them = data.draw(
        st.sampled_from(
            [
                {},
                {"state": "rejected", "by": "small"},
                {"state": "rejected", "by": "small", "failed_for": "small"},
                {"state": "failed", "failed_for": "small"},
            ]
        )
    )
    if about_them:
        about_them = {"reason": "too-large", "detail": "not sent again", "advice": "not this", **about_them}
    noisy = file.model_copy(update={"answers": [*file.answers, *others], **about_them})
    alone, among_others = said_of(file), said_of(noisy)
    assert (among_others.verdict, among_others.why) == (alone.verdict, alone.why)
    assert among_others.advice != "not this"


class TestSeveralSources:
    def test_any_of_them_may_have_brought_it(self):
        other = known(answer(digest=V2), state="delivered", id=upload_id(2000), source="there")
        assert verdict(known(digest=V1), other).verdict is Verdict.ARRIVED

    def test_what_one_has_put_over_the_other_counts(self):
        mine = known(answer(digest=V2, at=1.0), state="delivered")
        other = known(
            answer(digest=V1, at=2.0), state="delivered", digest=V1, id=upload_id(2000), source="there"
        )
        for source in (None, "here"):
            found = verdict(mine, other, source=source)
            assert found.verdict is Verdict.CHANGED
            assert "another source's" in found.why

    def test_a_refusal_of_another_source_takes_nothing_away(self):
        mine = known(answer(digest=V2, at=1.0), state="delivered")
        other = known(
            answer(outcome="rejected", reason="source-conflict", at=2.0), state="rejected", id=upload_id(2000)
        )
        assert verdict(mine, other).verdict is Verdict.ARRIVED

    def test_what_only_another_source_has_sent_never_left_this_one(self):
        other = known(answer(digest=V1), state="delivered", digest=V1, source="there")
        assert verdict(other, source="here").verdict is Verdict.NEVER_LEFT
