"""Putting uploads together: what each record leads to."""

from chunkproto import Abort, Chunk, Description, End, Reason, SkipReason, UploadId, Whole, next_upload_id
from chunkproto.assembly import Assembly, Complete, Deliver, Discard, Ignore, Refuse, Skip, Write
from chunkproto.checkpoint import CAPACITY, Entry

CHUNK = 10


def upload_id(number: int) -> UploadId:
    return next_upload_id(number, 0, None)


def description(size: int, path: str = "a") -> Description:
    return Description(path, size, CHUNK, 0, None, "source")


class Topic:
    """One partition's records, as an uploader would write them."""

    def __init__(self) -> None:
        self.records = []

    def chunks(self, number: int, size: int, indices=None) -> None:
        file = description(size)
        for index in file.plan.count and range(file.plan.count) if indices is None else indices:
            chunk = Chunk(upload_id(number), index, file.plan.offset(index), file if index == 0 else None)
            self.records.append((chunk, file.plan.length(index)))

    def end(self, number: int, size: int) -> None:
        file = description(size)
        self.records.append((End(upload_id(number), file, bytes(32), file.plan.count, 0), 0))

    def feed(self, assembly: Assembly, start: int = 0) -> list:
        return [
            assembly.feed(offset, record, length, now=0.0)
            for offset, (record, length) in enumerate(self.records)
            if offset >= start
        ]


def anything(_: Description) -> None:
    return None


def test_chunks_are_written_where_they_belong_and_the_end_completes_them():
    topic = Topic()
    topic.chunks(1, 25)
    topic.end(1, 25)
    *writes, last = topic.feed(Assembly(anything))
    assert [step.position for step in writes] == [0, 10, 20]
    assert isinstance(last, Complete)
    assert last.end.description.size == 25


def test_a_one_record_file_is_delivered_at_once():
    whole = Whole(upload_id(1), description(10), bytes(32), 0)
    assert Assembly(anything).feed(0, whole, 10, 0.0) == Deliver(whole)


def test_interleaved_uploads_do_not_disturb_each_other():
    topic = Topic()
    topic.chunks(1, 25, [0])
    topic.chunks(2, 15, [0])
    topic.chunks(1, 25, [1])
    topic.chunks(2, 15, [1])
    topic.end(2, 15)
    topic.chunks(1, 25, [2])
    topic.end(1, 25)
    steps = topic.feed(Assembly(anything))
    assert [type(step) for step in steps] == [Write, Write, Write, Write, Complete, Write, Complete]


def test_chunks_that_come_again_after_a_restart_are_ignored():
    topic = Topic()
    topic.chunks(1, 35, [0, 1, 2])
    topic.chunks(1, 35, [1, 2, 3])
    topic.end(1, 35)
    steps = topic.feed(Assembly(anything))
    assert [type(step) for step in steps] == [Write, Write, Write, Ignore, Ignore, Write, Complete]


def test_an_end_that_comes_again_completes_nothing_twice():
    topic = Topic()
    topic.chunks(1, 15)
    topic.end(1, 15)
    topic.end(1, 15)
    assert [type(step) for step in topic.feed(Assembly(anything))][-2:] == [Complete, Ignore]


def test_a_missing_chunk_refuses_the_upload_at_once_and_at_its_end():
    topic = Topic()
    topic.chunks(1, 35, [0, 2, 3])
    topic.end(1, 35)
    steps = topic.feed(Assembly(anything))
    assert [type(step) for step in steps] == [Write, Refuse, Ignore, Refuse]
    assert steps[1].reason is steps[3].reason is Reason.INCOMPLETE
    assert "chunk 1 is missing" in steps[1].detail


def test_an_upload_whose_beginning_was_lost_is_refused_when_its_end_says_whose_it_was():
    topic = Topic()
    topic.chunks(1, 35, [2, 3])
    topic.end(1, 35)
    steps = topic.feed(Assembly(anything))
    assert [type(step) for step in steps] == [Ignore, Ignore, Refuse]
    assert steps[2].reason is Reason.INCOMPLETE
    assert steps[2].description.path == "a"


def test_an_end_before_the_last_chunk_is_incomplete():
    topic = Topic()
    topic.chunks(1, 35, [0, 1])
    topic.end(1, 35)
    assert topic.feed(Assembly(anything))[-1].reason is Reason.INCOMPLETE


def test_a_chunk_at_the_wrong_place_is_malformed():
    file = description(35)
    assembly = Assembly(anything)
    assembly.feed(0, Chunk(upload_id(1), 0, 0, file), 10, 0.0)
    step = assembly.feed(1, Chunk(upload_id(1), 1, 11), 10, 0.0)
    assert isinstance(step, Refuse)
    assert step.reason is Reason.MALFORMED


def test_a_chunk_of_the_wrong_length_is_malformed():
    assembly = Assembly(anything)
    assembly.feed(0, Chunk(upload_id(1), 0, 0, description(35)), 10, 0.0)
    step = assembly.feed(1, Chunk(upload_id(1), 1, 10), 9, 0.0)
    assert step.reason is Reason.MALFORMED


def test_a_chunk_beyond_the_end_of_the_file_is_malformed():
    topic = Topic()
    topic.chunks(1, 15)
    assembly = Assembly(anything)
    topic.feed(assembly)
    step = assembly.feed(2, Chunk(upload_id(1), 2, 15), 10, 0.0)
    assert step.reason is Reason.MALFORMED


def test_an_end_that_describes_another_file_is_malformed():
    topic = Topic()
    topic.chunks(1, 15)
    assembly = Assembly(anything)
    topic.feed(assembly)
    other = description(15, path="b")
    step = assembly.feed(2, End(upload_id(1), other, bytes(32), 2, 0), 0, 0.0)
    assert step.reason is Reason.MALFORMED


def test_an_abort_drops_the_partial():
    topic = Topic()
    topic.chunks(1, 25, [0, 1])
    assembly = Assembly(anything)
    topic.feed(assembly)
    assert assembly.feed(2, Abort(upload_id(1), "a", "source", "changed"), 0, 0.0) == Discard(upload_id(1))
    assert len(assembly) == 0


def test_what_the_destination_refuses_is_refused_before_a_byte_is_written():
    topic = Topic()
    topic.chunks(1, 25)
    topic.end(1, 25)
    steps = topic.feed(Assembly(lambda _: (Reason.TOO_LARGE, "25 bytes")))
    assert [type(step) for step in steps] == [Refuse, Ignore, Ignore, Refuse]
    assert {step.reason for step in steps if isinstance(step, Refuse)} == {Reason.TOO_LARGE}


def test_what_the_destination_skips_is_skipped_once_at_its_end():
    topic = Topic()
    topic.chunks(1, 25)
    topic.end(1, 25)
    steps = topic.feed(Assembly(lambda _: (SkipReason.FILTERED, "*.tmp")))
    assert [type(step) for step in steps] == [Ignore, Ignore, Ignore, Skip]


def test_what_would_be_skipped_is_never_called_incomplete_even_if_its_beginning_was_lost():
    topic = Topic()
    topic.chunks(1, 25, [1, 2])
    topic.end(1, 25)
    assert isinstance(topic.feed(Assembly(lambda _: (SkipReason.NOT_ADDRESSED, "")))[-1], Skip)


def test_an_unfinished_upload_expires_once_and_says_so():
    topic = Topic()
    topic.chunks(1, 25, [0])
    assembly = Assembly(anything)
    topic.feed(assembly)
    assert assembly.expire(before=-1.0) == []
    (refusal,) = assembly.expire(before=1.0)
    assert refusal.reason is Reason.EXPIRED
    assert assembly.expire(before=1.0) == []


def test_what_was_refused_for_good_does_not_expire_into_a_wish_for_more():
    topic = Topic()
    topic.chunks(1, 25, [0])
    assembly = Assembly(lambda _: (Reason.TOO_LARGE, ""))
    topic.feed(assembly)
    assert assembly.expire(before=1.0) == []
    assert len(assembly) == 0


def test_a_complete_upload_does_not_expire_while_it_is_delivered():
    topic = Topic()
    topic.chunks(1, 15)
    topic.end(1, 15)
    assembly = Assembly(anything)
    topic.feed(assembly)
    assert assembly.expire(before=1.0) == []


def test_the_commit_waits_at_the_first_record_that_is_not_durable():
    topic = Topic()
    topic.chunks(1, 95)
    assembly = Assembly(anything)
    steps = topic.feed(assembly)
    assert assembly.checkpoint(10).offset == 0
    upload = steps[0].upload
    upload.begin_sync()
    upload.finish_sync()
    assert assembly.checkpoint(10) == assembly.checkpoint(10)
    assert assembly.checkpoint(10).offset == 10
    assert assembly.checkpoint(10).entries == (Entry(upload_id(1), 0, 10),)


def test_records_written_while_a_sync_runs_are_not_durable_when_it_ends():
    topic = Topic()
    topic.chunks(1, 95)
    assembly = Assembly(anything)
    for offset, (record, length) in enumerate(topic.records):
        step = assembly.feed(offset, record, length, 0.0)
        if offset == 4:
            step.upload.begin_sync()
    step.upload.finish_sync()
    checkpoint = assembly.checkpoint(10)
    assert checkpoint.offset == 5
    assert checkpoint.entries == (Entry(upload_id(1), 0, 5),)


def test_a_record_being_delivered_holds_the_commit():
    whole = Whole(upload_id(1), description(5), bytes(32), 0)
    assembly = Assembly(anything)
    assembly.feed(7, whole, 5, 0.0)
    assert assembly.checkpoint(8, holds=[7]).offset == 7
    assert assembly.checkpoint(8).offset == 8


def test_a_refused_upload_holds_nothing():
    topic = Topic()
    topic.chunks(1, 35, [0, 2])
    assembly = Assembly(anything)
    topic.feed(assembly)
    assert assembly.checkpoint(2).offset == 2
    assert assembly.checkpoint(2).entries == ()


def test_uploads_beyond_the_capacity_hold_the_commit_at_the_oldest_of_them():
    topic = Topic()
    for number in range(CAPACITY + 3):
        topic.chunks(number, 25, [0])
    assembly = Assembly(anything)
    for step in topic.feed(assembly):
        step.upload.begin_sync()
        step.upload.finish_sync()
    checkpoint = assembly.checkpoint(CAPACITY + 3)
    assert checkpoint.offset == CAPACITY
    assert len(checkpoint.entries) == CAPACITY
    assert len(checkpoint.encode_metadata("topic")) <= 4000


def test_a_resumed_upload_goes_on_at_the_chunk_after_its_durable_ones():
    topic = Topic()
    topic.chunks(1, 45)
    topic.end(1, 45)
    assembly = Assembly(anything, committed=3, resumed=[Entry(upload_id(1), 0, 3)])
    steps = topic.feed(assembly, start=3)
    assert [type(step) for step in steps] == [Write, Write, Complete]
    assert steps[0].position == 30


def test_a_replayed_upload_begins_again_and_its_neighbours_stay_done():
    topic = Topic()
    topic.chunks(1, 25, [0])
    topic.chunks(2, 15)
    topic.end(2, 15)
    topic.chunks(1, 25, [1, 2])
    topic.end(1, 25)
    assembly = Assembly(anything, committed=5, replayed=[upload_id(1)])
    steps = topic.feed(assembly)
    assert [type(step) for step in steps] == [Write, Ignore, Ignore, Ignore, Write, Write, Complete]
