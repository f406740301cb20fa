"""Telemetry reaches Kafka when it can, and holds up nobody when it cannot."""

import time

import pytest
from tests.waiting import eventually

from servicekit.events import FileDiscovered, Telemetry, decode
from servicekit.settings import ServiceSettings


def event(number=0):
    return FileDiscovered(time=float(number), source_id="s", path=f"file-{number}", size=1, topic="raw")


@pytest.fixture
def telemetry():
    made = []

    def make(bootstrap_servers, **kwargs):
        made.append(Telemetry(ServiceSettings(bootstrap_servers=bootstrap_servers), **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close(0)


def test_events_arrive_in_order_and_are_all_there_after_close(kafka, telemetry):
    topic = kafka.create_topic()
    sending = telemetry(kafka.bootstrap_servers, topic=topic)

    for number in range(50):
        sending.publish(event(number))
    sending.close(30)

    assert [decode(record.value()) for record in kafka.records(topic)] == [event(n) for n in range(50)]
    assert sending.dropped == 0


def test_a_missing_topic_is_said_once_and_counted(kafka, telemetry, caplog):
    caplog.set_level("INFO")
    sending = telemetry(kafka.bootstrap_servers, topic="no-such-topic")

    for number in range(20):
        sending.publish(event(number))
    eventually(lambda: sending.dropped == 20, timeout=60)

    assert caplog.text.count("no telemetry") == 1
    assert "no-such-topic" in caplog.text


class TestWithoutABroker:
    NOWHERE = "127.0.0.1:1"

    def test_publishing_never_waits_and_what_does_not_fit_is_counted(self, telemetry):
        sending = telemetry(self.NOWHERE)
        began = time.monotonic()

        for number in range(15_000):
            sending.publish(event(number))

        assert sending.dropped >= 5_000
        assert time.monotonic() - began < 5

    def test_closing_waits_no_longer_than_asked_and_counts_the_rest(self, telemetry):
        sending = telemetry(self.NOWHERE)
        for number in range(10):
            sending.publish(event(number))
        began = time.monotonic()

        sending.close(0.1)

        assert time.monotonic() - began < 5
        assert sending.dropped == 10

    def test_after_closing_events_are_dropped_and_counted(self, telemetry):
        sending = telemetry(self.NOWHERE)
        sending.close(0)
        sending.close(0)

        sending.publish(event())

        assert sending.dropped == 1

    def test_without_a_topic_there_is_no_telemetry_and_nothing_to_count(self, telemetry):
        sending = telemetry(self.NOWHERE, topic=None)

        sending.publish(event())
        sending.close()

        assert sending.dropped == 0
