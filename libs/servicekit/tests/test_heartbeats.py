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
    now = [1000.0]
    beats = heartbeats(published, totals, interval_seconds=10.0, clock=lambda: now[0])
    assert beats.is_due({})
    beats.beat({})
    assert not beats.is_due({})

    now[0] += 9.9
    assert not beats.is_due({})
    now[0] += 0.2
    assert beats.is_due({})


def test_one_is_due_as_soon_as_the_problems_change_but_at_most_one_a_second(published, totals):
    now = [1000.0]
    beats = heartbeats(published, totals, clock=lambda: now[0])
    beats.beat({"problems": {"kafka": "not started yet"}})

    now[0] += 0.5
    assert not beats.is_due({})
    now[0] += 0.5
    assert not beats.is_due({"kafka": "not started yet"})
    assert beats.is_due({"kafka": "away"})
    assert beats.is_due({})
    beats.beat({"problems": {}})
    assert not beats.is_due({"kafka": "away"})
    now[0] += 1.0
    assert beats.is_due({"kafka": "away"})
    assert not beats.is_due({})


def test_a_name_that_is_too_long_ends_no_service(published, totals):
    heartbeats(published, totals, program_id="p" * 600).beat({})

    assert published[0].program_id == "p" * 512
