"""What an uploader tells of its files and of itself, to whom it may concern."""

import os
import time
import urllib.request

import pytest
from tests.integration.uploader.looking import await_on_topic, saying, watching
from tests.integration.uploader.test_answers import complete, rejection, tell
from tests.integration.uploader.wire import uploads
from tests.stream import Stream
from tests.waiting import eventually

from servicekit.events import (
    Event,
    FileAborted,
    FileDiscovered,
    FileFailed,
    FileUploaded,
    FileUploading,
    ServiceHeartbeat,
    decode,
)

CHUNK = 4096
QUICK = {
    "settle_seconds": 0.1,
    "scan_interval_seconds": 0.3,
    "chunk_size": CHUNK,
    "source_id": "microscope",
    "heartbeat_seconds": 0.5,
}


@pytest.fixture
def events_topic(stream: Stream) -> str:
    return stream.kafka.create_topic()


def told(stream: Stream, topic: str, *kinds: type[Event]) -> list[Event]:
    """All that was told so far, of these kinds."""
    return [
        event
        for event in (decode(record.value()) for record in stream.kafka.records(topic))
        if isinstance(event, kinds or Event)
    ]


def first_told(stream: Stream, topic: str, kind: type[Event], **like: object) -> Event:
    """Wait until an event with these fields was told, and give it."""

    def found() -> list[Event]:
        return [
            event
            for event in told(stream, topic, kind)
            if all(getattr(event, name) == value for name, value in like.items())
        ]

    eventually(found, describe=lambda: f"{kind.__name__} {like} in {told(stream, topic)}")
    return found()[0]


def test_a_file_is_discovered_uploading_and_uploaded(stream: Stream, events_topic: str):
    data = os.urandom(5 * CHUNK)
    watching(stream.uploader(events_topic=events_topic, prefix="lab", **QUICK))
    (stream.source / "a").write_bytes(data)

    uploaded = first_told(stream, events_topic, FileUploaded)

    [sent] = uploads(stream.kafka, stream.topic)
    common = {"source_id": "microscope", "path": "lab/a", "size": len(data), "topic": stream.topic}
    about = [e for e in told(stream, events_topic) if not isinstance(e, ServiceHeartbeat)]
    assert [type(event) for event in about[:2]] == [FileDiscovered, FileUploading]
    for event in about:
        assert event.model_dump(include=set(common)) == common
    assert {event.upload_id for event in about[1:]} == {str(sent.upload_id)}
    assert (uploaded.version, uploaded.to) == ("", ())
    assert uploaded.digest == sent.records[-1][1].digest.hex()
    assert (uploaded.first_offset, uploaded.last_offset) == (sent.records[0][0], sent.records[-1][0])


def test_a_slow_upload_is_seen_to_go_on(stream: Stream, events_topic: str):
    (stream.source / "slow.bin").write_bytes(bytes(4_000_000))
    stream.uploader(events_topic=events_topic, chunk_size=20_000, rate_limit=400_000)

    def progress() -> list[int]:
        events = told(stream, events_topic, FileUploading)
        return [event.bytes_done for event in events if isinstance(event, FileUploading)]

    eventually(lambda: len({done for done in progress() if 0 < done < 3_000_000}) >= 3)


@pytest.mark.parametrize("size", [100, 5 * CHUNK])
def test_a_file_that_is_sent_again_says_which_version_it_is_and_to_whom(
    stream: Stream, events_topic: str, size: int
):
    (stream.source / "a").write_bytes(os.urandom(size))
    watching(stream.uploader(events_topic=events_topic, **QUICK))
    first = first_told(stream, events_topic, FileUploaded)

    tell(stream, rejection(stream, complete(stream)[0], "poor", "digest"))

    again = first_told(stream, events_topic, FileUploaded, to=("poor",))
    assert again.version == first.upload_id
    assert again.upload_id == str(complete(stream)[1].upload_id)
    for progress in told(stream, events_topic, FileUploading):
        expected = (first.upload_id, ("poor",)) if progress.upload_id == again.upload_id else ("", ())
        assert (progress.version, progress.to) == expected
    # It is no new file.
    assert len(told(stream, events_topic, FileDiscovered)) == 1


def test_a_file_that_changes_while_it_is_read_is_aborted_and_uploaded(stream: Stream, events_topic: str):
    path = stream.source / "a"
    path.write_bytes(b"1" * 100 * CHUNK)
    watching(stream.uploader(events_topic=events_topic, rate_limit=50 * CHUNK, **QUICK))
    eventually(lambda: any(len(sent.chunks) >= 2 for sent in uploads(stream.kafka, stream.topic)))

    path.write_bytes(b"2" * 60 * CHUNK)

    aborted = first_told(stream, events_topic, FileAborted)
    assert aborted.upload_id == str(uploads(stream.kafka, stream.topic)[0].upload_id)
    assert (aborted.path, aborted.reason) == ("a", "changed")
    uploaded = first_told(stream, events_topic, FileUploaded)
    assert uploaded.upload_id > aborted.upload_id
    assert uploaded.size == 60 * CHUNK


def test_an_upload_whose_file_is_gone_after_a_restart_is_aborted(stream: Stream, events_topic: str):
    (stream.source / "a").write_bytes(b"1" * 100 * CHUNK)
    service = watching(stream.uploader(events_topic=events_topic, rate_limit=20 * CHUNK, **QUICK))
    eventually(lambda: any(len(sent.chunks) >= 2 for sent in uploads(stream.kafka, stream.topic)))
    service.kill()
    (stream.source / "a").unlink()

    watching(stream.uploader(events_topic=events_topic, **QUICK))

    aborted = first_told(stream, events_topic, FileAborted, reason="vanished")
    eventually(lambda: uploads(stream.kafka, stream.topic)[0].aborted)
    assert aborted.upload_id == str(uploads(stream.kafka, stream.topic)[0].upload_id)


def test_a_file_that_the_topic_would_not_keep_is_failed_with_the_reason(make_stream, kafka):
    topic = kafka.create_topic(config={"retention.bytes": "10000"})
    stream = make_stream(topic=topic)
    events_topic = kafka.create_topic()
    (stream.source / "large").write_bytes(bytes(20_000))
    (stream.source / "small").write_bytes(bytes(2_000))
    stream.uploader(events_topic=events_topic, **QUICK)

    failed = first_told(stream, events_topic, FileFailed)

    assert (failed.path, failed.size, failed.destination, failed.upload_id) == ("large", 20_000, "", "")
    assert failed.reason == "unsendable"
    assert "retention.bytes" in failed.detail
    first_told(stream, events_topic, FileUploaded, path="small")


def test_a_destination_that_is_given_up_is_failed_with_its_reason(stream: Stream, events_topic: str):
    (stream.source / "a").write_bytes(bytes(100))
    watching(stream.uploader(events_topic=events_topic, max_resends=1, **QUICK))
    await_on_topic(stream, {"a": bytes(100)})

    tell(stream, rejection(stream, complete(stream)[0], "strict", "too-large"))
    at_once = first_told(stream, events_topic, FileFailed, destination="strict")
    tell(stream, rejection(stream, complete(stream)[0], "poor", "digest"))
    eventually(lambda: len(complete(stream)) == 2)
    tell(stream, rejection(stream, complete(stream)[1], "poor", "expired"))
    in_the_end = first_told(stream, events_topic, FileFailed, destination="poor")

    assert (at_once.reason, at_once.size) == ("too-large", 100)
    assert at_once.upload_id == str(complete(stream)[0].upload_id)
    assert in_the_end.reason == "expired"
    assert in_the_end.upload_id == str(complete(stream)[1].upload_id)
    assert "once" in in_the_end.detail


def test_a_file_that_is_asked_for_again_but_gone_is_failed(stream: Stream, events_topic: str):
    (stream.source / "a").write_bytes(bytes(100))
    watching(stream.uploader(events_topic=events_topic, **QUICK))
    await_on_topic(stream, {"a": bytes(100)})
    (stream.source / "a").unlink()

    tell(stream, rejection(stream, complete(stream)[0], "poor", "digest"))

    failed = first_told(stream, events_topic, FileFailed)
    assert (failed.destination, failed.reason) == ("poor", "source-gone")
    assert failed.upload_id == str(complete(stream)[0].upload_id)


def test_a_file_that_only_looks_new_is_not_told_to_be(stream: Stream, events_topic: str):
    (stream.source / "a").write_bytes(os.urandom(3 * CHUNK))
    watching(stream.uploader(events_topic=events_topic, **QUICK))
    first_told(stream, events_topic, FileUploaded, path="a")

    (stream.source / "a").open("r+b").close()
    (stream.source / "b").write_bytes(b"b")

    first_told(stream, events_topic, FileUploaded, path="b")
    assert [event.path for event in told(stream, events_topic, FileDiscovered)] == ["a", "b"]


def test_heartbeats_tell_what_is_done_and_the_last_one_that_it_stops(stream: Stream, events_topic: str):
    (stream.source / "a").write_bytes(bytes(5 * CHUNK))
    service = watching(stream.uploader(events_topic=events_topic, **QUICK))
    await_on_topic(stream, {"a": bytes(5 * CHUNK)})
    first_told(stream, events_topic, ServiceHeartbeat, n_bytes_produced=5 * CHUNK)

    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 10

    *beats, last = told(stream, events_topic, ServiceHeartbeat)
    assert {beat.program_id for beat in (*beats, last)} == {"microscope"}
    assert {beat.service for beat in (*beats, last)} == {"uploader"}
    for beat in beats:
        assert beat.status["state"] == "running"
        assert beat.status["problems"] == {}
        assert beat.status["files_waiting"] >= 0
        assert beat.status["files_in_flight"] >= 0
    for beat in (*beats, last):
        assert beat.status["interval_seconds"] == 0.5
        assert beat.status["topic"] == stream.topic
        assert beat.status["source_id"] == "microscope"
        assert beat.status["directory"] == str(stream.source)
    assert last.status["state"] == "stopped"
    assert sum(beat.n_messages_produced for beat in (*beats, last)) == 6


def test_one_that_is_killed_does_not_say_that_it_stops(stream: Stream, events_topic: str):
    service = watching(stream.uploader(events_topic=events_topic, **QUICK))
    first_told(stream, events_topic, ServiceHeartbeat)
    service.kill()

    states = [beat.status["state"] for beat in told(stream, events_topic, ServiceHeartbeat)]
    assert "stopped" not in states


def test_telemetry_that_cannot_be_sent_is_counted_and_stops_no_file(stream: Stream):
    content = {f"f{number}": os.urandom(100) for number in range(200)}
    for name, data in content.items():
        (stream.source / name).write_bytes(data)

    service = stream.uploader(events_topic="no-such-topic", metrics_port=0, **QUICK)

    await_on_topic(stream, content)
    url = next(word for word in saying(service, "/metrics").said.split() if word.startswith("http://"))

    def dropped() -> float:
        with urllib.request.urlopen(url) as answer:
            lines = answer.read().decode().splitlines()
        name = 'penstock_events_dropped_total{type="dev.penstock.file.uploaded"} '
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    eventually(lambda: dropped() == 200, timeout=60, describe=lambda: f"{dropped()} were dropped")
    assert service.said.count("no telemetry") == 1
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 10
