"""What cannot work is refused in one line that says what to do."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.integration.uploader.looking import await_on_topic, watching
from tests.integration.uploader.wire import files, uploads
from tests.stream import Stream
from tests.waiting import eventually

from penstock_uploader.service import upload_once
from penstock_uploader.settings import UploaderSettings
from servicekit.lifecycle import StopSignal

QUICK = {"settle_seconds": 0.1, "chunk_size": 4096}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"after": "delete", "after_when": "delivered"}, "--after-receipt-from"),
        ({"after": "delete", "after_receipt_from": "archive"}, "--after-when delivered"),
        ({"after_move_to": "/tmp"}, "--after move"),
        ({"prefix": "../x"}, "prefix"),
        ({"prefix": "{nobody}"}, "known are"),
        ({"chunk_size": "lots"}, "size in bytes"),
        ({"max_inflight_bytes": "1KiB"}, "--max-inflight-bytes"),
        ({"kafka": "acks=0"}, "acks"),
        ({"kafka": "no.such.property=1"}, "no.such.property"),
        ({"kafka": "socket.timeout.ms=soon"}, "socket.timeout.ms"),
        ({"kafka": "partition.assignment.strategy=range"}, "cooperative-sticky"),
        ({"include": "/"}, "glob"),
        ({"topic": "raw.receipts"}, "kept for receipts"),
        ({"topic": "penstock.events"}, "kept for telemetry"),
        ({"topic": "lab.events", "events_topic": "lab.events"}, "kept for telemetry"),
    ],
)
def test_wrong_settings_are_refused_with_what_to_do(stream: Stream, settings: dict, words: str):
    service = stream.uploader(**QUICK | settings)
    assert service.wait() == 2, service.said
    assert words in service.said
    assert "Traceback" not in service.said
    assert os.listdir(stream.source) == [], "no state is made before the settings are found right"


# Root may write anywhere, unless it gives that up.
HUMBLE = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []


@pytest.mark.skipif(bool(HUMBLE) and shutil.which("setpriv") is None, reason="root may write anywhere")
def test_a_read_only_directory_needs_a_state_dir_and_says_so(stream: Stream, tmp_path):
    (stream.source / "a").write_bytes(b"a")
    stream.source.chmod(0o555)

    def run(**settings: object) -> subprocess.Popen:
        environment = {
            "directory": stream.source,
            "topic": stream.topic,
            "bootstrap_servers": stream.kafka.bootstrap_servers,
            **QUICK,
            **settings,
        }
        return subprocess.Popen(
            [*HUMBLE, sys.executable, "-m", "penstock_uploader.main"],
            env={**os.environ, **{f"PENSTOCK_{n.upper()}": str(v) for n, v in environment.items()}},
            stderr=subprocess.PIPE,
            text=True,
        )

    refused = run()
    _, said = refused.communicate(timeout=60)
    assert refused.returncode == 2, said
    assert "--state-dir" in said
    refused = run(state_dir=tmp_path / "state", after="delete")
    _, said = refused.communicate(timeout=60)
    assert refused.returncode == 2, said
    assert "--after keep" in said
    running = run(state_dir=tmp_path / "state")
    try:
        eventually(lambda: files(stream.kafka, stream.topic) == {"a": b"a"})
    finally:
        running.terminate()
        running.communicate(timeout=60)
        stream.source.chmod(0o755)
    assert running.returncode == 0


def test_a_source_cannot_change_its_id(stream: Stream):
    service = watching(stream.uploader(source_id="one", **QUICK))
    assert service.stop() == 0
    service = stream.uploader(source_id="two", **QUICK)
    assert service.wait() == 2
    assert "was sent as source 'one'" in service.said


def test_sending_once_returns_when_all_is_acknowledged_and_names_what_was_not(stream: Stream):
    (stream.source / "d").mkdir()
    (stream.source / "a").write_bytes(b"a")
    (stream.source / "d" / "large").write_bytes(b"l" * 50_000)
    settings = UploaderSettings(
        directory=str(stream.source),
        topic=stream.topic,
        bootstrap_servers=stream.kafka.bootstrap_servers,
        chunk_size=4096,
    )
    done = upload_once(settings, None, StopSignal())
    assert done.complete
    assert done.acknowledged == 2
    done = upload_once(settings, ["a", "missing"], StopSignal())
    assert list(done.failed) == ["missing"]
    assert [sent.path for sent in uploads(stream.kafka, stream.topic)].count("a") == 2
    assert not (stream.source / ".penstock").exists()
    stream.uploader(**QUICK)
    await_on_topic(stream, {"a": b"a", "d/large": b"l" * 50_000})
    sources = {sent.description.source for sent in uploads(stream.kafka, stream.topic)}
    assert len(sources) == 1


def test_sending_once_that_is_told_to_stop_names_what_was_not_sent(stream: Stream):
    (stream.source / "a").write_bytes(b"a")
    settings = UploaderSettings(
        directory=str(stream.source), topic=stream.topic, bootstrap_servers=stream.kafka.bootstrap_servers
    )
    stop = StopSignal()
    stop.set("the test")
    assert upload_once(settings, ["a"], stop).failed == {"a": "interrupted"}
    assert uploads(stream.kafka, stream.topic) == []


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="only there can a file have such a size")
def test_a_hole_that_is_larger_than_any_file_is_not_sent_and_holds_up_nothing(stream: Stream):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        source = Path(directory)
        with (source / "hole").open("wb") as file:
            file.truncate(2**63 - 1)
        (source / "fine").write_bytes(b"fine")
        service = stream.uploader(source, **QUICK)
        eventually(
            lambda: files(stream.kafka, stream.topic) == {"fine": b"fine"}, describe=lambda: service.said
        )
        eventually(lambda: "more than any file has" in service.said, describe=lambda: service.said)
        assert [sent.path for sent in uploads(stream.kafka, stream.topic)] == ["fine"]
        assert service.stop() == 0
