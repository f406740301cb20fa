"""The loopback port: a plain curl or wget can ask, and a command can."""

import subprocess

import pytest
from tests.integration.uploader.looking import await_on_topic, control, drained, watching
from tests.integration.uploader.test_answers import give_receipts, rejection, tell
from tests.integration.uploader.wire import uploads, versions
from tests.stream import Stream
from tests.waiting import eventually

from penstock_uploader.control_client import NoDestinations, NotRunning

QUICK = {"settle_seconds": 0.1, "scan_interval_seconds": 600, "chunk_size": 4096}


def curl(stream: Stream, path: str, *options: str) -> str:
    port = (stream.source / ".penstock" / "uploader" / "port").read_text().strip()
    done = subprocess.run(
        ["curl", "-sS", *options, f"http://{port}{path}"], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_drained_says_so_only_when_a_file_closed_just_before_is_acknowledged(stream: Stream):
    watching(stream.uploader(**QUICK))
    for number in range(5):
        data = b"x" * 4096 * 20 * number
        (stream.source / f"f{number}").write_bytes(data)
        assert '"drained": true' in curl(stream, "/drained?timeout=30")
        assert versions(stream.kafka, stream.topic)[f"f{number}"] == [data]


def test_drained_does_not_wait_for_a_backoff_for_those_who_ask_are_done(stream: Stream):
    watching(stream.uploader(**QUICK))
    for number in range(6):
        (stream.source / "log").write_bytes(b"%d" % number)
        assert drained(stream, 10) == {"drained": True}
    assert versions(stream.kafka, stream.topic)["log"][-1] == b"5"


def test_drained_by_the_destinations_that_are_named(stream: Stream):
    watching(stream.uploader(**QUICK))
    (stream.source / "a").write_bytes(b"a")
    await_on_topic(stream, {"a": b"a"})
    eventually(
        lambda: drained(stream, 0.5, delivered=True, receipts_from=("one", "two")).get("undelivered"),
        describe=lambda: stream.services[-1].said,
    )
    give_receipts(stream, "one")
    give_receipts(stream, "two")
    assert drained(stream, 20, delivered=True, receipts_from=("one", "two")) == {"drained": True}
    with pytest.raises(NoDestinations, match="by whom"):
        drained(stream, delivered=True)
    assert '"kind": "no-destinations"' in curl(stream, "/drained?delivered=1")


def test_drained_does_not_wait_for_what_will_never_come(stream: Stream):
    watching(stream.uploader(**QUICK))
    (stream.source / "a").write_bytes(b"a")
    await_on_topic(stream, {"a": b"a"})
    [sent] = uploads(stream.kafka, stream.topic)
    tell(stream, rejection(stream, sent, "one", "too-large"))
    eventually(lambda: [f["state"] for f in control(stream).files()] == ["rejected"])
    answer = drained(stream, 600, delivered=True, receipts_from=("one",))
    assert answer["undelivered"] == {"a": "one: rejected (too-large)"}


def test_the_ledger_tells_what_is_known_while_it_runs_and_afterwards(stream: Stream):
    service = watching(stream.uploader(**QUICK))
    for number in range(7):
        (stream.source / f"f{number}").write_bytes(b"%d" % number)
    assert drained(stream) == {"drained": True}
    running = list(control(stream).files(page=3))
    assert sorted(file["path"] for file in running) == [f"f{number}" for number in range(7)]
    assert {file["state"] for file in running} == {"acknowledged"}
    assert service.stop() == 0
    assert list(control(stream).files(page=3)) == running
    with pytest.raises(NotRunning):
        drained(stream)


def test_resend_sends_a_file_again_to_all(stream: Stream):
    watching(stream.uploader(**QUICK))
    for name in ("a", "b"):
        (stream.source / name).write_bytes(name.encode())
    await_on_topic(stream, {"a": b"a", "b": b"b"})
    assert '"resent": 1' in curl(stream, "/resend?path=a", "-X", "POST")
    eventually(lambda: versions(stream.kafka, stream.topic)["a"] == [b"a", b"a"])
    assert "never sent" in curl(stream, "/resend?path=c", "-X", "POST")
    assert "use POST" in curl(stream, "/resend?path=a")
    wget = subprocess.run(
        [
            "wget", "-qO-", "--post-data=",
            "http://" + (stream.source / ".penstock/uploader/port").read_text().strip() + "/resend?path=b",
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert '"resent": 1' in wget.stdout
    eventually(lambda: versions(stream.kafka, stream.topic)["b"] == [b"b", b"b"])


def test_resend_unreceipted_sends_what_lacks_a_receipt(stream: Stream):
    watching(stream.uploader(**QUICK))
    (stream.source / "a").write_bytes(b"a")
    await_on_topic(stream, {"a": b"a"})
    give_receipts(stream, "there")
    eventually(lambda: [f["state"] for f in control(stream).files()] == ["delivered"])
    (stream.source / "b").write_bytes(b"b")
    await_on_topic(stream, {"a": b"a", "b": b"b"})
    assert control(stream).resend_unreceipted() == {"resent": 1}
    eventually(lambda: versions(stream.kafka, stream.topic)["b"] == [b"b", b"b"])
    assert versions(stream.kafka, stream.topic)["a"] == [b"a"]
    assert uploads(stream.kafka, stream.topic)[-1].description.to == ("there",)
