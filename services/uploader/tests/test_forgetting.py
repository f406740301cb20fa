"""A ledger forgets what has been gone for long and is settled, and nothing else."""

import pytest

from chunkproto import UploadId, next_upload_id
from penstock_uploader.answerbook import Answer, Outcome
from penstock_uploader.disposal import Disposal
from penstock_uploader.forgetting import Forgetting
from penstock_uploader.ledger import Acknowledged, Beginning, Ledger
from penstock_uploader.removal import Intents
from servicekit.filesystem import Fingerprint

LOOKS = Fingerprint(1, 10, 20, 7)
DAY = 24 * 3600.0
REMEMBER = 90 * DAY


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(str(tmp_path / "ledger.db"))
    yield opened
    opened.close()


@pytest.fixture
def root(tmp_path):
    directory = tmp_path / "watched"
    directory.mkdir()
    return directory


def send(ledger: Ledger, number: int, path: str, *, acknowledged: bool = True) -> UploadId:
    upload = next_upload_id(number, 0, None)
    ledger.begin([Beginning(upload, path, upload, LOOKS, 0o644, 10, None, (), "T", 0, 0, 0)])
    if acknowledged:
        ledger.acknowledged([Acknowledged(upload, path, upload, 1, 0, 0, LOOKS, b"d" * 32, 0)])
    return upload


def answer(ledger: Ledger, version: UploadId, destination: str, outcome: Outcome) -> None:
    with ledger.answers.applying():
        ledger.answers.put(version, Answer(destination, outcome, None, version, 0), 0)


class Time:
    """Days pass; the ledger is looked through once in each."""

    def __init__(
        self, ledger: Ledger, root, *required: str, retention: float | None = 7 * DAY, remember=REMEMBER
    ):
        self.forgetting = Forgetting(ledger.database, str(root), remember, required, lambda: self.retention)
        self.retention = retention
        self.now = 0.0

    def passes(self, days: float) -> None:
        until = self.now + days * DAY
        while self.now < until:
            self.now += DAY
            for _ in range(3):  # more than the ledger has pages of
                self.forgetting.step(self.now, int(self.now * 1000))


def test_a_file_that_is_gone_is_forgotten_after_the_time_and_not_before(ledger: Ledger, root):
    (root / "there").write_bytes(b"x")
    gone, there = send(ledger, 1, "d/gone"), send(ledger, 2, "there")
    answer(ledger, gone, "x", Outcome.DELIVERED)
    time = Time(ledger, root)
    time.passes(90)
    assert ledger.file("d/gone") is not None
    time.passes(2)
    assert ledger.file("d/gone") is None
    assert ledger.upload(gone) is None
    assert ledger.answers.of(gone) == {}
    assert ledger.file("there") is not None
    assert ledger.highest == there


def test_what_comes_back_is_not_forgotten(ledger: Ledger, root):
    send(ledger, 1, "away")
    time = Time(ledger, root)
    time.passes(80)
    (root / "away").write_bytes(b"x")
    time.passes(2)
    (root / "away").unlink()
    time.passes(80)
    assert ledger.file("away") is not None
    time.passes(20)
    assert ledger.file("away") is None


def test_a_new_version_begins_the_time_anew(ledger: Ledger, root):
    send(ledger, 1, "a")
    time = Time(ledger, root)
    time.passes(80)
    send(ledger, 2, "a")
    time.passes(80)
    assert ledger.file("a") is not None


def test_what_is_on_its_way_or_asked_for_or_being_removed_is_not_forgotten(ledger: Ledger, root):
    send(ledger, 1, "sending", acknowledged=False)
    for number, outcome in enumerate((Outcome.AGAIN, Outcome.RESENT), 2):
        answer(ledger, send(ledger, number, outcome.value), "x", outcome)
    removed = send(ledger, 4, "removed")
    Intents(ledger.database).intend([Disposal(removed, "removed", "delete", None, LOOKS, b"d" * 32)])
    Time(ledger, root).passes(300)
    for path in ("sending", "again", "resent", "removed"):
        assert ledger.file(path) is not None, path


def test_all_destinations_that_are_named_must_have_answered(ledger: Ledger, root):
    both, one, failed = (send(ledger, n, path) for n, path in enumerate(("both", "one", "failed"), 1))
    answer(ledger, both, "x", Outcome.DELIVERED)
    answer(ledger, both, "y", Outcome.SKIPPED)
    answer(ledger, one, "x", Outcome.DELIVERED)
    answer(ledger, failed, "x", Outcome.DELIVERED)
    answer(ledger, failed, "y", Outcome.FAILED)
    Time(ledger, root, "x", "y").passes(300)
    assert ledger.file("both") is None
    assert ledger.file("one") is not None
    assert ledger.file("failed") is not None


def test_records_that_may_be_on_the_topic_keep_their_file(ledger: Ledger, root):
    send(ledger, 1, "a")
    time = Time(ledger, root, retention=100 * DAY)
    time.passes(199)
    assert ledger.file("a") is not None
    time.passes(3)
    assert ledger.file("a") is None


def test_on_a_topic_that_keeps_all_nothing_is_forgotten(ledger: Ledger, root):
    send(ledger, 1, "a")
    Time(ledger, root, retention=None).passes(300)
    assert ledger.file("a") is not None


def test_more_than_it_looks_at_in_one_go_is_looked_at(ledger: Ledger, root):
    for number in range(1, 601):
        send(ledger, number, f"f{number}")
    time = Time(ledger, root, remember=DAY, retention=0)
    time.passes(3)
    assert ledger.file("f1") is None
    assert ledger.file("f600") is None


def test_a_ledger_of_the_first_schema_is_taken_over(tmp_path):
    path = str(tmp_path / "old.db")
    ledger = Ledger(path)
    send(ledger, 1, "a")
    ledger.database.connection.execute("ALTER TABLE files DROP COLUMN gone_ms")
    ledger.database.connection.execute("PRAGMA user_version=1")
    ledger.close()
    ledger = Ledger(path)
    assert ledger.file("a") is not None
    Time(ledger, tmp_path / "nothing").passes(100)
    assert ledger.file("a") is None
    ledger.close()
