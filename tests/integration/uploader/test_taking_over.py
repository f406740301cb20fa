"""Two uploaders on one directory: one sends; the other one is refused, or waits if it is told to."""

import socket
import urllib.error
import urllib.request

import pytest
from tests.integration.uploader.looking import await_on_topic, saying
from tests.integration.uploader.wire import uploads
from tests.stream import Service, Stream
from tests.waiting import eventually, throughout

QUICK = {"settle_seconds": 0.1, "scan_interval_seconds": 0.3}
POD = {"source_id": "lab/scope/claim", "wait_for_other": "true"}


def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def get(number: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{number}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


BEGUN = " for topic "
"""What one says that has begun to watch; who has the lock is said with the directory alone."""


def watching(service: Service) -> Service:
    return saying(service, BEGUN)


def waiting(service: Service) -> Service:
    return saying(service, "is watched by another uploader")


def test_the_second_one_waits_ready_and_goes_on_when_the_first_one_has_ended(stream: Stream):
    first = watching(stream.uploader(**QUICK, **POD))
    number = port()
    second = waiting(stream.uploader(**QUICK, **POD, metrics_port=number))
    assert "waiting until it ends" in second.said
    assert get(number, "/healthz")[0] == 200
    eventually(lambda: get(number, "/readyz")[0] == 200, describe=lambda: get(number, "/readyz"))
    assert "penstock_uploader_waiting_for_other 1.0" in get(number, "/metrics")[1]
    (stream.source / "one").write_bytes(b"1")
    await_on_topic(stream, {"one": b"1"})
    assert BEGUN not in second.said

    assert first.stop() == 0
    watching(second)
    assert "the other uploader has ended" in second.said
    eventually(lambda: get(number, "/readyz")[0] == 200, describe=lambda: get(number, "/readyz"))
    assert "penstock_uploader_waiting_for_other 0.0" in get(number, "/metrics")[1]
    (stream.source / "two").write_bytes(b"2")
    await_on_topic(stream, {"one": b"1", "two": b"2"})
    assert len(uploads(stream.kafka, stream.topic)) == 2, "nothing is sent again"


def test_it_goes_on_in_the_middle_of_a_file_of_one_that_was_killed(stream: Stream):
    content = bytes(4_000_000)
    (stream.source / "large").write_bytes(content)
    small = {"chunk_size": 65536}
    first = stream.uploader(**QUICK, **POD, **small, rate_limit=1_000_000)
    eventually(lambda: any(sent.chunks for sent in uploads(stream.kafka, stream.topic)))
    second = waiting(stream.uploader(**QUICK, **POD, **small))
    first.kill()
    watching(second)
    await_on_topic(stream, {"large": content})
    (sent,) = uploads(stream.kafka, stream.topic)
    assert sent.complete


def test_one_that_waits_ends_at_once_when_it_is_told_to(stream: Stream):
    watching(stream.uploader(**QUICK, **POD))
    second = waiting(stream.uploader(**QUICK, **POD))
    assert second.stop(timeout=10) == 0
    assert BEGUN not in second.said


def test_one_of_another_source_is_refused_rather_than_kept_waiting(stream: Stream):
    """It would never send: what the directory was sent as, it stays."""
    watching(stream.uploader(**QUICK, **POD))
    other = stream.uploader(**QUICK, **POD | {"source_id": "lab/other/claim"})
    assert other.wait(30) == 2
    assert "was sent as source 'lab/scope/claim' until now, and cannot become 'lab/other/claim'" in other.said


def test_one_that_does_not_know_whom_it_waits_for_is_not_ready(stream: Stream):
    """Without an id of its own it cannot tell whether the other one sends what it would send."""
    watching(stream.uploader(**QUICK, wait_for_other="true"))
    number = port()
    waiting(stream.uploader(**QUICK, wait_for_other="true", metrics_port=number))
    throughout(2, lambda: get(number, "/readyz")[0] == 503, "not ready", 0.2)
    assert get(number, "/healthz")[0] == 200


@pytest.mark.parametrize("told", [{}, {"wait_for_other": "false"}])
def test_at_a_terminal_the_second_one_is_refused_at_once(stream: Stream, told):
    watching(stream.uploader(**QUICK))
    second = stream.uploader(**QUICK, **told)
    assert second.wait(30) == 1
    assert "is watched by another uploader already" in second.said
