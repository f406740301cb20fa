"""What destinations answer decides what is sent again. The test plays the destination."""

import shutil
import time

import pytest
from confluent_kafka import Producer
from tests.integration.uploader.looking import await_on_topic, saying, watching
from tests.integration.uploader.wire import Sent, uploads
from tests.stream import Stream
from tests.unreadable import send_unreadable
from tests.waiting import eventually

from chunkproto.native import HEADER
from servicekit.events import (
    Event,
    FileDelivered,
    FileRejected,
    FileSkipped,
    RangeLost,
    encode,
    receipts_topic,
)

QUICK = {"settle_seconds": 0.1, "scan_interval_seconds": 0.3, "chunk_size": 4096}


def tell(stream: Stream, *events: Event) -> None:
    """Put answers on the receipts topic."""
    producer = Producer(stream.kafka.client_config())
    for event in events:
        key, value = encode(event)
        producer.produce(receipts_topic(stream.topic), value, key)
    assert producer.flush(30) == 0


def about(stream: Stream, sent: Sent, destination: str) -> dict[str, object]:
    offset = sent.records[-1][0]
    return {
        "time": time.time(),
        "destination": destination,
        "topic": stream.topic,
        "topic_id": topic_id(stream),
        "partition": sent.partition,
        "upload_id": str(sent.upload_id),
        "source_id": sent.description.source,
        "path": sent.path,
        "size": sent.description.size,
        "offset": offset,
    }


def topic_id(stream: Stream) -> str:
    from servicekit.settings import ServiceSettings
    from servicekit.topics import Topics

    return (
        Topics(ServiceSettings(bootstrap_servers=stream.kafka.bootstrap_servers))
        .describe(stream.topic)
        .topic_id
    )


def receipt(stream: Stream, sent: Sent, destination: str) -> FileDelivered:
    return FileDelivered(**about(stream, sent, destination), digest=sent.records[-1][1].digest.hex())


def rejection(stream: Stream, sent: Sent, destination: str, reason: str) -> FileRejected:
    return FileRejected(**about(stream, sent, destination), reason=reason)


def give_receipts(stream: Stream, destination: str) -> None:
    """Acknowledge, as a destination, everything that is complete on the topic."""
    tell(
        stream, *(receipt(stream, s, destination) for s in uploads(stream.kafka, stream.topic) if s.complete)
    )


def complete(stream: Stream, path: str = "a") -> list[Sent]:
    return [sent for sent in uploads(stream.kafka, stream.topic) if sent.path == path and sent.complete]


def sent_once(stream: Stream, data: bytes = b"a" * 10_000, **settings: object) -> Sent:
    (stream.source / "a").write_bytes(data)
    watching(stream.uploader(**QUICK, **settings))
    await_on_topic(stream, {"a": data})
    return complete(stream)[0]


def test_only_the_destination_that_rejected_gets_the_file_again_and_once(stream: Stream):
    first = sent_once(stream)
    tell(stream, receipt(stream, first, "fine"))
    tell(stream, *[rejection(stream, first, "poor", "incomplete")] * 3)
    eventually(lambda: len(complete(stream)) == 2)
    again = complete(stream)[1]
    assert again.description.to == ("poor",)
    assert again.data == first.data
    # An answer to the second upload is read after the echoes of the first: they had their chance.
    tell(stream, rejection(stream, again, "poor", "digest"))
    eventually(lambda: len(complete(stream)) == 3)
    tell(stream, receipt(stream, complete(stream)[2], "poor"))
    tell(stream, rejection(stream, again, "poor", "digest"))
    (stream.source / "b").write_bytes(b"b")
    eventually(lambda: complete(stream, "b"))
    assert len(complete(stream)) == 3


def test_a_destination_that_knows_only_the_upload_gets_it_again(stream: Stream):
    # It has lost the beginning, and with it whose file it is.
    first = sent_once(stream)
    unknown = {"source_id": "", "path": ""}
    tell(stream, rejection(stream, first, "poor", "incomplete").model_copy(update=unknown))
    eventually(lambda: len(complete(stream)) == 2)
    assert complete(stream)[1].description.to == ("poor",)


def test_after_so_many_times_the_file_is_failed_and_visible(stream: Stream):
    sent_once(stream, max_resends=2)
    for number in range(3):
        eventually(lambda number=number: len(complete(stream)) == number + 1)
        tell(stream, rejection(stream, complete(stream)[-1], "poor", "expired"))
    saying(stream.services[-1], "poor has rejected a: expired")
    assert len(complete(stream)) == 3


def test_a_rejection_that_sending_again_does_not_mend_is_failed_at_once(stream: Stream):
    first = sent_once(stream)
    tell(stream, rejection(stream, first, "other", "source-conflict"))
    saying(stream.services[-1], "other has rejected a: source-conflict")
    assert len(complete(stream)) == 1


def test_what_a_lost_range_held_goes_again_to_who_lost_it(stream: Stream):
    first = sent_once(stream)
    offsets = [offset for offset, _, _ in first.records]
    lost = RangeLost(
        time=time.time(),
        destination="late",
        topic=stream.topic,
        topic_id=topic_id(stream),
        partition=first.partition,
        from_offset=offsets[1],
        to_offset=offsets[1] + 1,
    )
    elsewhere = lost.model_copy(update={"from_offset": offsets[-1] + 1, "to_offset": offsets[-1] + 100})
    other_topic = lost.model_copy(update={"topic_id": "another"})
    has_it = lost.model_copy(update={"destination": "early"})
    tell(stream, receipt(stream, first, "early"), has_it, elsewhere, other_topic, lost)
    eventually(lambda: len(complete(stream)) == 2)
    assert complete(stream)[1].description.to == ("late",)
    (stream.source / "b").write_bytes(b"b")
    eventually(lambda: complete(stream, "b"))
    assert len(complete(stream)) == 2


def test_answers_to_other_sources_and_garbage_change_nothing(stream: Stream):
    first = sent_once(stream)
    foreign = rejection(stream, first, "poor", "digest").model_copy(update={"source_id": "someone-else"})
    producer = Producer(stream.kafka.client_config())
    producer.produce(receipts_topic(stream.topic), b"\xff garbage", first.description.source.encode())
    producer.flush()
    wrong_digest = receipt(stream, first, "liar").model_copy(update={"digest": "00" * 32})
    tell(stream, foreign, wrong_digest, FileSkipped(**about(stream, first, "picky"), reason="filtered"))
    tell(stream, rejection(stream, first, "poor", "digest"))
    eventually(lambda: len(complete(stream)) == 2)
    assert complete(stream)[1].description.to == ("poor",)


def test_a_file_that_is_asked_for_again_but_gone_is_failed_and_visible(stream: Stream):
    first = sent_once(stream)
    (stream.source / "a").unlink()
    tell(stream, rejection(stream, first, "poor", "digest"))
    saying(stream.services[-1], "a should be sent again, but is gone")


def test_answers_given_while_the_uploader_was_down_are_heard(stream: Stream):
    first = sent_once(stream)
    assert stream.services[-1].stop() == 0
    tell(stream, rejection(stream, first, "poor", "digest"))
    stream.uploader(**QUICK)
    eventually(lambda: len(complete(stream)) == 2)
    assert complete(stream)[1].description.to == ("poor",)


def test_answers_on_partitions_that_were_added_to_the_receipts_are_heard(stream: Stream):
    first = sent_once(stream, topic_check_seconds=0.3)
    tell(stream, receipt(stream, first, "fine"))
    stream.kafka.create_partitions(receipts_topic(stream.topic), 4)
    saying(stream.services[-1], "has 4 partitions now")
    for partition in range(4):
        event = rejection(stream, first, f"poor{partition}", "digest")
        key, value = encode(event)
        producer = Producer(stream.kafka.client_config())
        producer.produce(receipts_topic(stream.topic), value, key, partition)
        assert producer.flush(30) == 0
    everyone = {f"poor{partition}" for partition in range(4)}
    eventually(lambda: {name for sent in complete(stream) for name in sent.description.to} == everyone)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_answers_are_written_down_loses_none(when: str, stream: Stream):
    sent_once(stream)
    assert stream.services[-1].stop() == 0
    tell(stream, rejection(stream, complete(stream)[0], "poor", "digest"))
    # The ledger is not new: its first write of answers is that of the rejection.
    crash = {"PENSTOCK_CRASH_AT": f"uploader.ledger.answers.{when}"}
    assert stream.uploader(environment=crash, **QUICK).wait() == -9
    stream.uploader(**QUICK)
    eventually(lambda: len(complete(stream)) == 2)
    assert complete(stream)[1].description.to == ("poor",)


def test_who_asked_for_a_file_again_gets_it_though_the_ledger_is_lost(stream: Stream):
    first = sent_once(stream)
    assert stream.services[-1].stop() == 0
    tell(stream, receipt(stream, first, "fine"))
    tell(stream, rejection(stream, first, "mended", "digest"), receipt(stream, first, "mended"))
    tell(stream, receipt(stream, first, "late"), rejection(stream, first, "late", "digest"))
    tell(stream, rejection(stream, first, "poor", "digest"), rejection(stream, first, "full", "too-large"))
    shutil.rmtree(stream.source / ".penstock")
    stream.uploader(**QUICK)
    eventually(lambda: len(complete(stream)) == 2)
    assert complete(stream)[1].description.to == ("poor",)


def test_an_answer_behind_a_batch_that_cannot_be_unpacked_counts(stream: Stream):
    first = sent_once(stream)
    send_unreadable(stream.kafka, receipts_topic(stream.topic), after=3)
    tell(stream, rejection(stream, first, "broken", "digest"))
    eventually(lambda: len(complete(stream)) == 2, describe="the file is sent again")


def test_a_file_that_looks_like_an_answer_is_none(stream: Stream):
    first = sent_once(stream)
    producer = Producer(stream.kafka.client_config())
    key, value = encode(rejection(stream, first, "forged", "digest"))
    producer.produce(receipts_topic(stream.topic), value, key, headers=[(HEADER, b"any")])
    assert producer.flush(30) == 0
    tell(stream, rejection(stream, first, "real", "digest"))

    eventually(lambda: len(complete(stream)) == 2, describe="the file is sent again")
    assert complete(stream)[1].description.to == ("real",)
