"""The registry beside real uploaders and downloaders, and how it starts and ends."""

import os
import signal
import socket
import stat
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.integration.registry.saying import heartbeat, openmsi_heartbeat, records_of, say
from tests.stream import Service
from tests.waiting import eventually


def write(directory: Path, count: int) -> None:
    for number in range(count):
        path = directory / f"run{number % 3}" / f"{number}.raw"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(1000 + number))


def files_by_state(registry) -> dict[str, int]:
    return {
        state: amount["files"]
        for stream in registry.get("/streams")["items"]
        for state, amount in stream["files"].items()
        if stream["topic"] in registry.streams and amount["files"]
    }


class TestWithRealServices:
    def test_every_file_is_delivered_in_the_tables(self, stream, events, make_registry):
        registry = make_registry(streams=[stream.topic], events=events).start()
        write(stream.source, 50)
        stream.uploader(events_topic=events, source_id="microscope")
        stream.downloader(events_topic=events)
        stream.await_delivery()

        eventually(
            lambda: files_by_state(registry) == {"delivered": 50},
            describe=lambda: f"all are known as delivered: {files_by_state(registry)}",
        )
        assert registry.metric("penstock_delivered_files_total") == 50
        assert registry.metric("penstock_stream_lag_files") == 0
        eventually(lambda: registry.metric("penstock_program_up") == 2, describe="both programs are alive")
        produced = eventually(
            lambda: registry.metric("penstock_program_produced_bytes_total"),
            describe="they told of their work",
        )
        assert produced > 0

    def test_a_registry_that_stands_still_slows_nobody(self, stream, events, make_registry):
        registry = make_registry(streams=[stream.topic], events=events).start()
        stream.uploader(events_topic=events)
        stream.downloader(events_topic=events)
        registry.service.process.send_signal(signal.SIGSTOP)
        try:
            write(stream.source, 50)
            stream.await_delivery()
        finally:
            registry.service.process.send_signal(signal.SIGCONT)

        eventually(lambda: files_by_state(registry) == {"delivered": 50}, describe="afterwards it catches up")


class TestHeartbeats:
    def test_openmsistreams_programs_are_seen_and_counted(self, kafka, topic, events, make_registry):
        beats = kafka.create_topic()
        registry = make_registry(streams=[topic], events=events, openmsi_heartbeat_topics=beats).start()
        now = time.time()

        def beat(age: float, **counters: float) -> tuple[str, bytes, bytes]:
            moment = datetime.fromtimestamp(now - age, UTC).replace(tzinfo=None).isoformat()
            return (beats, *openmsi_heartbeat("reader-1", moment, **counters))

        say(
            kafka,
            beat(20, n_messages_read=5, n_bytes_read=500, n_messages_processed=5, n_bytes_processed=500),
            beat(10, n_messages_read=2, n_bytes_read=200),
            beat(20, n_messages_read=5, n_bytes_read=500, n_messages_processed=5, n_bytes_processed=500),
            (beats, b"reader-1_log", b'{"timestamp": 1.5, "messages": ["no heartbeat"]}'),
            (beats, b"reader-1_heartbeat", b"no JSON"),
        )
        registry.await_read(beats)

        assert registry.metric("penstock_program_messages_read_total") == 7
        assert registry.metric("penstock_program_read_bytes_total") == 700
        assert registry.metric("penstock_program_processed_bytes_total") == 500
        assert registry.metric("penstock_program_up") == 1
        assert len(registry.get("/problems")["items"]) == 2
        [program] = registry.get("/services")["items"]
        assert (program["kind"], program["program_id"], program["state"]) == ("openmsi", "reader-1", "alive")

    def test_a_program_that_falls_silent_is_seen(self, kafka, topic, events, make_registry):
        registry = make_registry(streams=[topic], events=events).start()
        now = time.time()
        said = [heartbeat("silent-1", now - 120), heartbeat("silent-1", now - 110), heartbeat("alive-1", now)]
        say(kafka, *records_of(events, said))
        registry.await_read(events)

        states = {found["program_id"]: found["state"] for found in registry.get("/services")["items"]}
        assert states == {"silent-1": "silent", "alive-1": "alive"}
        assert registry.metric("penstock_program_up") == 1


class TestStartAndEnd:
    def test_a_stop_takes_seconds_though_somebody_listens(self, kafka, topic, events, make_registry):
        registry = make_registry(streams=[topic], events=events).start()
        heard = []

        def listen() -> None:
            with urllib.request.urlopen(f"{registry.url}/api/v1/events", timeout=60) as response:
                heard.extend(response)

        listener = threading.Thread(target=listen)
        listener.start()
        eventually(lambda: heard, describe="an event")
        began = time.monotonic()

        registry.stop()

        assert time.monotonic() - began < 10
        listener.join(10)
        assert not listener.is_alive()
        assert " ERROR " not in registry.service.said

    def test_a_port_that_is_taken_is_one_clear_line(self, kafka, topic, events, make_registry, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            settings = {"PENSTOCK_PORT": str(port), "PENSTOCK_STATE_DIR": str(tmp_path / "state")}
            service = Service("penstock-registry", settings, tmp_path / "taken.log")

            assert service.wait() == 2

        assert service.said.count("\n") == 1
        assert f"cannot listen at 127.0.0.1:{port} for the page and the API" in service.said

    def test_where_others_can_reach_it_a_token_is_made_and_asked_for(
        self, kafka, topic, events, make_registry
    ):
        registry = make_registry(streams=[topic], events=events, host="0.0.0.0").start()
        token_file = registry.directory / "token"
        token = token_file.read_text().strip()
        url = registry.url.replace("0.0.0.0", "127.0.0.1") + "/api/v1/streams"

        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        assert str(token_file) in registry.service.said
        assert token not in registry.service.said
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(url, timeout=10)
        refused.value.close()
        asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(asked, timeout=10) as response:
            assert response.status == 200

        registry.stop()
        registry.start()
        assert token_file.read_text().strip() == token
