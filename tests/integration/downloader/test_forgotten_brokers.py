"""A consumer that has forgotten where Kafka is (test_clients.py shows how it comes to that) is replaced."""

import json
import threading

import pytest
from tests.integration.downloader.sender import Sender, delivered_ids
from tests.stream import Stream, files_of
from tests.waiting import eventually

from penstock_downloader.service import Downloader
from penstock_downloader.settings import DownloaderSettings
from servicekit import kafka as client_settings
from servicekit.exceptions import ClientLost
from servicekit.kafka import ClientHealth
from servicekit.lifecycle import StopSignal


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While it is set, consumers know of no broker, as librdkafka's statistics say it then."""
    event = threading.Event()
    seen = ClientHealth.on_stats

    def on_stats(health: ClientHealth, text: str) -> None:
        none = health.client == "consumer" and event.is_set()
        seen(health, json.dumps(json.loads(text) | {"brokers": {}}) if none else text)

    monkeypatch.setattr(ClientHealth, "on_stats", on_stats)
    monkeypatch.setattr(client_settings, "FORGOTTEN_SECONDS", 0.0)
    return event


def test_another_one_goes_on_where_it_was(stream: Stream, sender: Sender, forgotten, monkeypatch, caplog):
    monkeypatch.setattr("penstock_downloader.service._LOST_AT_ONCE_SECONDS", 0.0)
    settings = DownloaderSettings(
        bootstrap_servers=stream.kafka.bootstrap_servers,
        topic=stream.topic,
        directory=str(stream.destination),
        group=f"{stream.topic}-group",
    )
    stop, ended = StopSignal(), []
    downloader = Downloader(settings)

    def delivered() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in files_of(stream.destination)}

    def run() -> None:
        downloader.run(stop)
        ended.append("well")

    running = threading.Thread(target=run)
    running.start()
    try:
        first = sender.send("first", b"before")
        eventually(lambda: delivered() == {"first": b"before"})
        (stream.destination / "first").unlink()
        forgotten.set()
        eventually(lambda: "going on from the checkpoint with another client" in caplog.text)
        forgotten.clear()
        second = sender.send("second", b"after")
        eventually(lambda: delivered() == {"second": b"after"}, describe="nothing comes back")
        eventually(lambda: downloader.health.problems == {}, describe="it is ready again")
        assert set(delivered_ids(stream)) == {str(first), str(second)}
    finally:
        stop.set("the test is over")
        running.join(30)
    assert ended == ["well"]


def test_one_that_is_lost_at_once_again_ends_with_the_reason(stream: Stream, forgotten):
    forgotten.set()
    settings = DownloaderSettings(
        bootstrap_servers=stream.kafka.bootstrap_servers,
        topic=stream.topic,
        directory=str(stream.destination),
        group=f"{stream.topic}-group",
    )
    with pytest.raises(ClientLost, match="knows of no broker any more"):
        Downloader(settings).run(StopSignal())
