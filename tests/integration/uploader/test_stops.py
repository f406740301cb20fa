"""What an uploader does when it is told to stop: its pod ends, and perhaps its directory with it."""

import os

from tests.integration.uploader.looking import watching
from tests.integration.uploader.wire import files, uploads
from tests.stream import Service, Stream
from tests.waiting import eventually

CHUNK = 4096
LARGE = os.urandom(800 * CHUNK)
SLOW = {"chunk_size": CHUNK, "rate_limit": 200 * CHUNK, "settle_seconds": 0.1}


def sending(stream: Stream, **settings: object) -> Service:
    """An uploader in the middle of a file that takes it four seconds, while another one is written."""
    (stream.source / "large").write_bytes(LARGE)
    service = watching(stream.uploader(**SLOW | settings))
    eventually(lambda: uploads(stream.kafka, stream.topic))
    (stream.source / "new").write_bytes(b"written last")
    return service


def test_all_that_is_there_is_sent_first_if_that_is_asked_for(stream: Stream):
    service = sending(stream, send_all_on_stop=True, drain_seconds=60)
    assert service.stop() == 0, service.said
    assert files(stream.kafka, stream.topic) == {"large": LARGE, "new": b"written last"}


def test_by_default_a_stop_is_quick(stream: Stream):
    service = sending(stream, drain_seconds=60)
    assert service.stop() == 0, service.said
    assert "large" not in files(stream.kafka, stream.topic)


def test_no_more_time_is_taken_than_there_is(stream: Stream):
    service = sending(stream, send_all_on_stop=True, drain_seconds=0.5)
    assert service.stop(timeout=15) == 0, service.said
    assert "large" not in files(stream.kafka, stream.topic)


def test_where_nothing_is_left_a_stop_is_quick(stream: Stream):
    service = watching(stream.uploader(send_all_on_stop=True, drain_seconds=600))
    assert service.stop(timeout=15) == 0, service.said
