"""Where an assignment begins, by what was committed and what is on the volume."""

from services.downloader.tests.records import new_id

from chunkproto.checkpoint import Checkpoint, Entry
from penstock_downloader.partition import plan_start

TOPIC = "i1wwCMdETryat_9yTgK1qQ"


def start(committed, metadata="", log_start=0, log_end=1000, delivered=(), partials=()):
    return plan_start(
        committed,
        metadata,
        log_start,
        log_end,
        TOPIC,
        is_delivered=lambda upload_id: upload_id in delivered,
        has_partial=lambda upload_id: upload_id in partials,
    )


def checkpoint(offset, *entries):
    return Checkpoint(offset, entries).encode_metadata(TOPIC)


def test_without_a_commit_everything_that_there_is_is_read_and_nothing_counts_as_lost():
    found = start(None, log_start=70)
    assert (found.offset, found.below, found.lost) == (70, 70, None)


def test_it_goes_on_where_it_stopped():
    found = start(100)
    assert (found.offset, found.below, found.committed, found.lost) == (100, 100, Checkpoint(100), None)


def test_an_upload_whose_partial_is_here_goes_on_in_mid_file():
    entry = Entry(new_id(), 40, 7)
    found = start(100, checkpoint(100, entry), partials={entry.upload_id})
    assert (found.offset, found.resumed, found.replayed) == (100, (entry,), ())


def test_an_upload_whose_partial_is_elsewhere_is_read_from_its_first_record():
    here, there = Entry(new_id(), 30, 7), Entry(new_id(), 40, 7)
    found = start(100, checkpoint(100, here, there), partials={here.upload_id})
    assert (found.offset, found.below) == (40, 100)
    assert (found.resumed, found.replayed) == ((here,), (there.upload_id,))


def test_an_upload_that_was_delivered_is_neither():
    entry = Entry(new_id(), 40, 7)
    found = start(100, checkpoint(100, entry), delivered={entry.upload_id})
    assert (found.offset, found.resumed, found.replayed) == (100, (), ())


def test_in_mid_file_it_goes_on_even_when_the_head_of_the_topic_is_gone():
    entry = Entry(new_id(), 40, 7)
    found = start(100, checkpoint(100, entry), log_start=90, partials={entry.upload_id})
    assert (found.offset, found.resumed, found.lost) == (100, (entry,), None)


def test_an_upload_whose_first_record_is_gone_is_read_from_what_is_left_of_it():
    entry = Entry(new_id(), 40, 7)
    found = start(100, checkpoint(100, entry), log_start=90)
    assert (found.offset, found.replayed, found.lost) == (90, (entry.upload_id,), None)


def test_records_that_were_eaten_unread_are_a_lost_range():
    found = start(100, log_start=130)
    assert (found.offset, found.lost) == (130, (100, 130))


def test_an_offset_beyond_the_end_is_one_of_another_log():
    found = start(100, log_start=0, log_end=20)
    assert (found.offset, found.committed, found.lost) == (0, None, None)
    assert "log ends at 20" in found.remark


def test_an_offset_of_a_topic_that_was_made_again_means_reading_everything():
    metadata = Checkpoint(100).encode_metadata("the-one-before")
    found = start(100, metadata)
    assert (found.offset, found.below, found.committed) == (0, 0, None)
    assert "another topic" in found.remark


def test_metadata_of_a_newer_version_means_reading_everything_again():
    found = start(100, "p9:something", log_start=5)
    assert (found.offset, found.committed) == (5, None)
    assert found.remark


def test_an_offset_that_somebody_set_with_another_tool_is_taken_as_it_is():
    found = start(100, "reset by hand")
    assert (found.offset, found.committed) == (100, Checkpoint(100))
    assert found.remark
