"""kill -9 at any moment, and a restart: everything arrives, and little is sent again."""

import os
import random

import pytest
from tests.integration.uploader.looking import await_on_topic, saying, watching
from tests.integration.uploader.wire import uploads
from tests.stream import Stream
from tests.waiting import eventually

CHUNK = 4096
QUICK = {"settle_seconds": 0.1, "scan_interval_seconds": 0.3, "chunk_size": CHUNK}

SENDING = [
    f"uploader.{point}.{when}"
    for point in (
        "ledger.begin",
        "ledger.progress",
        "ledger.ending",
        "ledger.acknowledged",
        "produce.first",
        "produce.chunk",
        "produce.whole",
        "produce.end",
    )
    for when in ("before", "after")
]


@pytest.mark.parametrize("point", SENDING)
def test_killed_at(point: str, stream: Stream):
    # Chunks with a report of their own are 4 MiB apart.
    expected = {
        "small": b"small",
        "other": os.urandom(CHUNK),
        "large": os.urandom(2000 * CHUNK + 5),
        "empty": b"",
    }
    for name, data in expected.items():
        (stream.source / name).write_bytes(data)
    crash = {"PENSTOCK_CRASH_AT": point}
    # Slow enough for a flush in the middle.
    limit = {"rate_limit": 6 * 1024 * 1024} if "progress" in point or "chunk" in point else {}
    service = stream.uploader(environment=crash, **QUICK, **limit)
    assert service.wait() == -9, service.said
    stream.uploader(**QUICK)
    await_on_topic(stream, expected)
    sent = uploads(stream.kafka, stream.topic)
    # The same upload goes on: nothing is sent under two ids, and none is left without an end.
    assert len(sent) == len(expected), [(s.path, s.complete, s.aborted) for s in sent]


@pytest.mark.parametrize("point", ["ledger.aborting", "produce.abort", "ledger.dropped"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_giving_up_at(point: str, when: str, stream: Stream):
    path = stream.source / "a"
    path.write_bytes(b"1" * 100 * CHUNK)
    crash = {"PENSTOCK_CRASH_AT": f"uploader.{point}.{when}"}
    service = stream.uploader(environment=crash, rate_limit=50 * CHUNK, **QUICK)
    eventually(lambda: any(len(sent.chunks) >= 2 for sent in uploads(stream.kafka, stream.topic)))
    path.write_bytes(b"2" * 60 * CHUNK)
    assert service.wait() == -9, service.said
    stream.uploader(**QUICK)
    await_on_topic(stream, {"a": b"2" * 60 * CHUNK})
    first = uploads(stream.kafka, stream.topic)[0]
    assert first.aborted
    assert not first.complete


def test_a_large_file_goes_on_where_it_was_and_little_is_sent_again(stream: Stream):
    data = os.urandom(1024) * (48 * 1024)
    (stream.source / "large").write_bytes(data)
    inflight = 4 * 1024 * 1024
    settings = {"settle_seconds": 0.1, "max_inflight_bytes": inflight, "chunk_size": 64 * 1024}
    generator = random.Random(7)
    for _ in range(4):
        service = stream.uploader(rate_limit=8 * 1024 * 1024, **settings)
        before = sum(len(sent.chunks) for sent in uploads(stream.kafka, stream.topic))
        more = before + generator.randint(20, 120)
        eventually(lambda more=more: sum(len(s.chunks) for s in uploads(stream.kafka, stream.topic)) >= more)
        service.kill()
    stream.uploader(**settings)
    await_on_topic(stream, {"large": data})
    [sent] = uploads(stream.kafka, stream.topic)
    again = len(sent.chunks) - len(set(sent.chunks))
    # In flight, and what a flush every quarter of a second and a report every 4 MiB leave unwritten.
    assert again * 64 * 1024 <= 4 * (inflight + 2 * 1024 * 1024 + 4 * 1024 * 1024)


def test_an_upload_whose_file_changed_while_down_is_aborted_and_the_new_one_sent(stream: Stream):
    path = stream.source / "a"
    path.write_bytes(b"1" * 200 * CHUNK)
    service = stream.uploader(rate_limit=40 * CHUNK, **QUICK)
    eventually(lambda: any(len(sent.chunks) >= 2 for sent in uploads(stream.kafka, stream.topic)))
    service.kill()
    path.write_bytes(b"2" * 100)
    stream.uploader(**QUICK)
    await_on_topic(stream, {"a": b"2" * 100})
    assert uploads(stream.kafka, stream.topic)[0].aborted


def test_a_stop_lets_what_is_on_its_way_be_acknowledged_and_goes_on_later(stream: Stream):
    data = os.urandom(300 * CHUNK)
    (stream.source / "large").write_bytes(data)
    service = stream.uploader(rate_limit=60 * CHUNK, **QUICK)
    eventually(lambda: any(len(sent.chunks) >= 20 for sent in uploads(stream.kafka, stream.topic)))
    assert service.stop() == 0, service.said
    stream.uploader(**QUICK)
    await_on_topic(stream, {"large": data})
    [sent] = uploads(stream.kafka, stream.topic)
    assert len(sent.chunks) == len(set(sent.chunks)) == 300


def test_a_second_uploader_of_a_directory_is_refused_by_name(stream: Stream):
    first = watching(stream.uploader(**QUICK))
    second = stream.uploader(**QUICK)
    assert second.wait() == 1
    assert f"pid {first.process.pid}" in second.said
    assert "Traceback" not in second.said


def test_the_ledger_lost_sends_again_nothing_that_receipts_prove(stream: Stream):
    """Receipts are given here as a destination would: see test_answers."""
    from tests.integration.uploader.test_answers import give_receipts

    (stream.source / "same").write_bytes(b"same")
    (stream.source / "changed").write_bytes(b"before")
    (stream.source / "large").write_bytes(b"large" * CHUNK)
    service = watching(stream.uploader(**QUICK))
    await_on_topic(stream, {"same": b"same", "changed": b"before", "large": b"large" * CHUNK})
    give_receipts(stream, "there")
    assert service.stop() == 0
    for lost in ("ledger.db", "everything"):
        if lost == "everything":
            import shutil

            shutil.rmtree(stream.source / ".penstock")
        else:
            for name in os.listdir(stream.source / ".penstock" / "uploader"):
                if name.startswith(lost):
                    (stream.source / ".penstock" / "uploader" / name).unlink()
        (stream.source / "changed").write_bytes(lost.encode())
        service = watching(stream.uploader(**QUICK))
        expected = {"same": b"same", "changed": lost.encode(), "large": b"large" * CHUNK}
        await_on_topic(stream, expected)
        saying(service, "receipts say")
        give_receipts(stream, "there")
        assert service.stop() == 0
    paths = [sent.path for sent in uploads(stream.kafka, stream.topic)]
    assert sorted(paths) == ["changed", "changed", "changed", "large", "same"]
    ids = [sent.upload_id for sent in uploads(stream.kafka, stream.topic)]
    assert ids == sorted(ids)
