"""Heartbeats: alive, what was done since the last one, and the end."""

import socket

import pytest

from servicekit.events import Heartbeats, ServiceHeartbeat

ABOUT = {"topic": "raw"}


class Published(list):
    """Stands where telemetry goes, and keeps what is told."""

    publish = list.append


@pytest.fixture
def published():
    return Published()


@pytest.fixture
def totals():
    return {"n_messages_read": 100, "n_bytes_read": 1000}


def heartbeats(published, totals, **given):
    settings = {"program_id": "p", "service": "s", "version": "1", "interval_seconds": 600.0, "about": ABOUT}
    return Heartbeats(published, totals=lambda: totals, **settings | given)


def test_each_tells_what_was_done_since_the_last_one_and_never_before_the_service(published, totals):
    beats = heartbeats(published, totals)
    totals["n_messages_read"] += 5
    beats.beat({})
    totals["n_messages_read"] += 7
    totals["n_bytes_produced"] = 3
    beats.beat({})
    totals["n_messages_read"] += 1
    beats.stopped()

    assert [beat.n_messages_read for beat in published] == [5, 7, 1]
    assert [beat.n_bytes_read for beat in published] == [0, 0, 0]
    assert [beat.n_bytes_produced for beat in published] == [0, 3, 0]


def test_they_say_who_tells_it_what_stands_how_often_and_the_last_one_that_it_stops(published, totals):
    beats = heartbeats(published, totals)
    beats.beat({"problems": {"kafka": "away"}})
    beats.stopped()

    running, stopped = published
    assert running == ServiceHeartbeat(
        time=running.time,
        program_id="p",
        service="s",
        host=socket.gethostname(),
        version="1",
        status={
            "topic": "raw",
            "interval_seconds": 600.0,
            "state": "running",
            "problems": {"kafka": "away"},
        },
    )
    assert stopped.status == {"topic": "raw", "interval_seconds": 600.0, "state": "stopped", "problems": {}}


def test_the_first_is_due_at_once_and_the_next_after_the_interval(published, totals):
    beats = heartbeats(published, totals)
    assert beats.is_due()
    beats.beat({})
    assert not beats.is_due()

    hasty = heartbeats(published, totals, interval_seconds=0.0)
    hasty.beat({})
    assert hasty.is_due()


def test_a_name_that_is_too_long_ends_no_service(published, totals):
    heartbeats(published, totals, program_id="p" * 600).beat({})

    assert published[0].program_id == "p" * 512
