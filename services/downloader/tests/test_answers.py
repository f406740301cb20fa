"""What a destination says of an upload: what it knows, and no more."""

import pytest
from services.downloader.tests.records import new_id

from chunkproto import Description, Reason, SkipReason
from chunkproto.assembly import Assembly
from penstock_downloader.answers import Answers
from penstock_downloader.deliveredlog import DeliveredLog
from penstock_downloader.delivery import Tenure
from penstock_downloader.partition import Partition
from penstock_downloader.quarantine import Quarantine
from servicekit.events import FileDelivered, FileRejected, FileSkipped, RangeLost, decode, encode

UPLOAD = new_id()
FILE = Description(
    path="run/a", size=5, chunk_size=4096, mtime_ns=1, mode=None, source="microscope", to=(), metadata={}
)
PLACE = {"destination": "here", "topic": "raw", "topic_id": "i1wwCMdETryat_9yTgK1qQ", "partition": 2}
OF_FILE = {"upload_id": str(UPLOAD), "source_id": "microscope", "path": "run/a", "size": 5, "offset": 7}


class Sent(list):
    """Takes receipts as a broker would, and gives what readers get."""

    def send(self, event, acknowledged):
        self.append(decode(encode(event)[1]))

    def poll(self, timeout=0.0):
        """Nothing is acknowledged."""


class Observed:
    def __init__(self):
        self.seconds = []

    def delivered(self, upload_id, description, name, seconds):
        self.seconds.append(seconds)

    def rejected(self, *told):
        """Not looked at here."""


@pytest.fixture
def sent():
    return Sent()


@pytest.fixture
def observed():
    return Observed()


@pytest.fixture
def answers(sent, observed, tmp_path):
    quarantine = Quarantine(str(tmp_path), 0)
    return Answers(sent, quarantine, destination="here", topic="raw", observer=observed)


@pytest.fixture
def partition(tmp_path):
    assembly = Assembly(lambda *_: None, committed=0, now=0.0)
    tenure = Tenure(2, DeliveredLog(str(tmp_path / "log")), 0)
    return Partition(2, PLACE["topic_id"], tenure, assembly, 0)


def test_a_receipt_says_what_is_known(answers, sent, partition):
    answers.delivered(partition, 7, UPLOAD, FILE, b"\xab" * 32, "run/a", 1_500_000_000, 2.5)

    assert sent == [
        FileDelivered(time=2.5, **PLACE, **OF_FILE, digest="ab" * 32, closed_at=1.5, visible_at=2.5)
    ]


def test_when_a_file_was_closed_is_not_guessed_at(answers, sent, partition, observed):
    answers.delivered(partition, 7, UPLOAD, FILE, b"\xab" * 32, "run/a (2)", 0, 2.5)

    assert sent[0].closed_at is None
    assert sent[0].delivered_as == "run/a (2)"
    assert observed.seconds == [None]


def test_a_source_whose_clock_is_ahead_delivers_in_no_time_at_all(answers, observed, partition):
    answers.delivered(partition, 7, UPLOAD, FILE, b"\xab" * 32, "run/a", 3_000_000_000, 2.5)

    assert observed.seconds == [None]


def test_a_rejection_says_what_is_known(answers, sent, partition):
    answers.rejected(partition, 7, UPLOAD, FILE, Reason.DIGEST, "other bytes", None)
    answers.rejected(partition, 7, UPLOAD, None, Reason.INCOMPLETE, "no beginning", None)
    answers.rejected(partition, 7, None, None, Reason.FOREIGN, "garbage", b"g")

    known, unknown = sent
    assert known == FileRejected(time=known.time, **PLACE, **OF_FILE, reason="digest", detail="other bytes")
    assert unknown == FileRejected(
        time=unknown.time,
        **PLACE,
        upload_id=str(UPLOAD),
        offset=7,
        reason="incomplete",
        detail="no beginning",
    )


def test_a_file_that_is_not_wanted_is_said_so_unless_it_is_for_others(answers, sent, partition):
    answers.skipped(partition, 7, UPLOAD, FILE, SkipReason.FILTERED, "*.tmp")
    answers.skipped(partition, 8, UPLOAD, FILE, SkipReason.NOT_ADDRESSED, "")

    assert sent == [FileSkipped(time=sent[0].time, **PLACE, **OF_FILE, reason="filtered", detail="*.tmp")]


def test_a_lost_range_is_said_from_where_to_where(answers, sent, partition):
    answers.range_lost(partition, 3, 9)

    assert sent == [RangeLost(time=sent[0].time, **PLACE, from_offset=3, to_offset=9)]
