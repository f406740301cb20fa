"""The ledger remembers what was committed, whenever it is opened again, and refuses a second user."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chunkproto import UploadId, next_upload_id
from penstock_uploader.answerbook import EVERYONE, Answer, Outcome
from penstock_uploader.disposal import Disposal
from penstock_uploader.ledger import Acknowledged, Beginning, Ledger, State
from penstock_uploader.recall import Recall
from penstock_uploader.removal import Intents
from servicekit.exceptions import StateError
from servicekit.filesystem import Fingerprint

DIGEST = b"d" * 32


def looks(size: int = 1) -> Fingerprint:
    return Fingerprint(size, size * 10, size * 20, 7)


def beginning(upload: UploadId, path: str = "a", version: UploadId | None = None, at_ms: int = 0, **given):
    return Beginning(
        id=upload,
        path=path,
        version=version or upload,
        fingerprint=given.get("fingerprint", looks()),
        mode=0o644,
        chunk_size=10,
        digest=None,
        to=given.get("to", ()),
        topic_id="T",
        partition=given.get("partition", 0),
        closed_ns=0,
        began_ms=at_ms,
    )


def acknowledged(upload: UploadId, path: str = "a", version: UploadId | None = None, **given) -> Acknowledged:
    return Acknowledged(
        upload,
        path,
        version or upload,
        1,
        given.get("first", 0),
        given.get("last", 0),
        given.get("fingerprint", looks()),
        given.get("digest", DIGEST),
        0,
    )


def upload_id(number: int) -> UploadId:
    return next_upload_id(number, 0, None)


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(str(tmp_path / "ledger.db"), now_ms=5)
    yield opened
    opened.close()


def send(ledger: Ledger, number: int, path: str = "a", **given) -> UploadId:
    upload = upload_id(number)
    version = given.pop("version", None)
    to = given.pop("to", ())
    ledger.begin([beginning(upload, path, version, to=to)])
    ledger.acknowledged([acknowledged(upload, path, version, **given)])
    return upload


def test_a_second_user_is_refused(ledger: Ledger):
    with pytest.raises(StateError, match="another uploader"):
        Ledger(ledger.database.path)


def test_what_is_no_ledger_is_refused_in_words(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(StateError, match="damaged"):
        Ledger(str(tmp_path / "ledger.db"))


def test_a_ledger_of_a_newer_build_is_refused(ledger: Ledger):
    ledger.close()
    db = sqlite3.connect(ledger.database.path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StateError, match="newer Penstock"):
        Ledger(ledger.database.path)


def test_an_upload_is_found_again_with_all_that_is_needed_to_go_on(ledger: Ledger):
    ledger.begin([beginning(upload_id(1), "b\udcff", to=("x", "y"), partition=3)])
    ledger.progress([(upload_id(1), 4, 10, 20)])
    ledger.close()
    again = Ledger(ledger.database.path)
    [upload] = again.unfinished()
    assert (upload.path, upload.to, upload.partition) == ("b\udcff", ("x", "y"), 3)
    assert (upload.state, upload.chunks, upload.first_offset) == (State.SENDING, 4, 10)
    assert again.highest == upload_id(1)
    assert again.born_ms == 5
    again.close()


def test_only_the_standing_version_and_its_answers_are_kept(ledger: Ledger):
    old = send(ledger, 1)
    with ledger.answers.applying():
        ledger.answers.put(old, Answer("x", Outcome.DELIVERED, None, old, 0), 0)
    new = send(ledger, 2, fingerprint=looks(2))
    assert ledger.upload(old) is None
    assert ledger.answers.of(old) == {}
    known = ledger.file("a")
    assert known is not None
    assert (known.version, known.fingerprint, known.recent) == (new, looks(2), 2)


def test_an_upload_that_is_sent_again_belongs_to_the_version_it_repeats(ledger: Ledger):
    first = send(ledger, 1)
    with ledger.answers.applying():
        ledger.answers.put(first, Answer("x", Outcome.AGAIN, "digest", first, 1), 0)
    [resend] = ledger.answers.resends(10)
    assert (resend.version, resend.path, resend.to) == (first, "a", ("x",))
    second = send(ledger, 2, version=first, to=("x",))
    assert ledger.answers.resends(10) == []
    assert ledger.answers.of(first)["x"] == Answer("x", Outcome.RESENT, "digest", second, 1)
    known = ledger.file("a")
    assert known is not None
    assert known.recent == 1
    assert ledger.upload(first) is not None


def test_the_backoff_counts_versions_of_the_last_hour(ledger: Ledger):
    for number in range(1, 4):
        ledger.begin([beginning(upload_id(number), at_ms=number * 1000)])
    known = ledger.file("a")
    assert known is not None
    assert known.not_before_ms() == 3000 + 4000
    ledger.begin([beginning(upload_id(9), at_ms=3 * 3600 * 1000)])
    known = ledger.file("a")
    assert known is not None
    assert known.recent == 1


def test_a_lost_range_meets_the_uploads_that_it_cuts(ledger: Ledger):
    for number in range(1, 6):
        send(ledger, number, f"f{number}", first=number * 10, last=number * 10 + 5)
    lost = [upload.path for upload in ledger.lost_uploads("T", 0, 25, 31)]
    assert sorted(lost) == ["f2", "f3"]
    assert ledger.lost_uploads("other", 0, 0, 100) == []
    assert ledger.lost_uploads("T", 0, 26, 30) == []


def test_a_new_topic_gets_what_lacks_a_receipt(ledger: Ledger):
    ledger.adopt_topic("T", (), 0)
    delivered, asked = send(ledger, 1, "delivered"), send(ledger, 2, "asked")
    ledger.begin([beginning(upload_id(3), "unfinished")])
    with ledger.answers.applying():
        ledger.answers.put(delivered, Answer("x", Outcome.DELIVERED, None, delivered, 0), 0)
    assert ledger.adopt_topic("T", (), 0) == 0
    assert ledger.adopt_topic("T2", (), 0) == 1
    assert [resend.version for resend in ledger.answers.resends(10)] == [asked]
    assert ledger.unfinished() == []
    assert ledger.topic_id == "T2"


def test_a_new_topic_gets_all_if_nobody_ever_answered(ledger: Ledger):
    ledger.adopt_topic("T", (), 0)
    send(ledger, 1)
    assert ledger.adopt_topic("T2", (), 0) == 1
    assert ledger.answers.resends(10)[0].to == (EVERYONE,)


def test_only_what_all_named_destinations_have_may_be_removed(ledger: Ledger):
    version = send(ledger, 1)
    with ledger.answers.applying():
        ledger.answers.put(version, Answer("x", Outcome.DELIVERED, None, version, 0), 0)
        ledger.answers.put(version, Answer("y", Outcome.SKIPPED, None, version, 0), 0)
    assert Intents(ledger.database).due_version(version, ("x", "y")) is None
    found = Intents(ledger.database).due_version(version, ("x",))
    assert found is not None
    assert (found.path, found.digest) == ("a", DIGEST)
    assert [d.version for d in Intents(ledger.database).due((), 10, b"")] == [version]


def test_an_intent_to_remove_is_found_again_until_it_is_done(ledger: Ledger):
    disposal = Disposal(upload_id(1), "a", "delete", None, looks(), DIGEST)
    intents = Intents(ledger.database)
    intents.intend([disposal])
    assert intents.unfinished() == [disposal]
    intents.done([disposal.version])
    assert intents.unfinished() == []


def test_receipts_tell_a_new_ledger_the_latest_version_and_the_highest_id(ledger: Ledger):
    assert ledger.is_new
    receipts = [
        ("a", "x", upload_id(5), b"5" * 32),
        ("a", "x", upload_id(3), b"3" * 32),
        ("a", "y", upload_id(3), b"3" * 32),
    ]
    recall = Recall(ledger)
    recall.note(receipts, upload_id(9))
    found = recall.of("a")
    assert found is not None
    assert (found.upload, found.digest, found.destinations) == (upload_id(5), b"5" * 32, ("x",))
    assert ledger.highest == upload_id(9)
    recall.adopt("a", "a", found, beginning(found.upload, "a"))
    assert recall.of("a") is None
    known = ledger.file("a")
    assert known is not None
    assert known.digest == b"5" * 32
    assert ledger.answers.of(found.upload)["x"].outcome is Outcome.DELIVERED
    recall.done()
    ledger.close()
    again = Ledger(ledger.database.path)
    assert not again.is_new
    again.close()


def test_a_lookup_uses_an_index_whatever_the_size(ledger: Ledger):
    for sql in (
        "SELECT * FROM files WHERE path = ?",
        "SELECT * FROM uploads WHERE state IN ('sending', 'ending', 'aborting')",
        "SELECT * FROM uploads WHERE file = ?",
        "SELECT * FROM files WHERE version = ?",
        "SELECT * FROM answers WHERE version = ? AND destination = 'x'",
        "SELECT version FROM answers WHERE outcome = 'again' AND version > ?",
    ):
        plan = ledger.database.connection.execute(
            "EXPLAIN QUERY PLAN " + sql, (b"",) * sql.count("?")
        ).fetchall()
        assert all("SEARCH" in row[3] for row in plan), plan


@given(st.integers(0, 2**64 - 1), st.integers(-(2**62), 2**62))
@settings(max_examples=30)
def test_any_inode_and_time_can_be_written_down(inode, mtime):
    ledger = Ledger(":memory:")
    ledger.remember_existing([("a", Fingerprint(1, mtime, mtime, inode))])
    known = ledger.file("a")
    assert known is not None
    assert known.fingerprint is not None
    assert known.fingerprint.mtime_ns == mtime
    ledger.close()


class Remembers(RuleBasedStateMachine):
    """Whatever is done, a ledger opened again (as after kill -9) knows what it was told."""

    @initialize()
    def begin_all(self):
        import tempfile

        self.directory = tempfile.TemporaryDirectory()
        self.ledger = Ledger(f"{self.directory.name}/ledger.db")
        self.number = 0
        self.sending: dict[UploadId, str] = {}
        self.standing: dict[str, UploadId] = {}

    @rule(path=st.sampled_from(["a", "b", "c"]))
    def begin(self, path):
        if path in self.sending.values():
            return
        self.number += 1
        upload = next_upload_id(self.number, 0, self.ledger.highest)
        self.ledger.begin([beginning(upload, path)])
        self.sending[upload] = path

    @precondition(lambda self: self.sending)
    @rule(data=st.data())
    def acknowledge(self, data):
        upload = data.draw(st.sampled_from(sorted(self.sending)))
        path = self.sending.pop(upload)
        self.ledger.acknowledged([acknowledged(upload, path)])
        self.standing[path] = upload

    @precondition(lambda self: self.sending)
    @rule(data=st.data())
    def drop(self, data):
        upload = data.draw(st.sampled_from(sorted(self.sending)))
        del self.sending[upload]
        self.ledger.aborting(upload, "changed")
        self.ledger.drop([upload])

    @rule()
    def crash(self):
        # A copy of the files is what another process would find after a kill: nothing is flushed by closing.
        import shutil
        import tempfile

        copy = tempfile.TemporaryDirectory()
        shutil.copytree(self.directory.name, copy.name, dirs_exist_ok=True)
        old, self.directory = self.directory, copy
        self.ledger.close()
        old.cleanup()
        self.ledger = Ledger(f"{copy.name}/ledger.db")

    @invariant()
    def knows(self):
        if not hasattr(self, "ledger"):
            return
        assert {upload.id: upload.path for upload in self.ledger.unfinished()} == self.sending
        for path, version in self.standing.items():
            known = self.ledger.file(path)
            assert known is not None
            assert known.version == version
        if self.sending or self.standing:
            assert self.ledger.highest is not None
            assert self.ledger.highest >= max([*self.sending, *self.standing.values()])

    def teardown(self):
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.directory.cleanup()


TestRemembers = Remembers.TestCase
TestRemembers.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
