"""When a file is ready: simulated, minute by minute."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from penstock_uploader.settle import Settle, backoff_seconds
from servicekit.filesystem import Fingerprint


def looks(size: int, mtime_ns: int = 0) -> Fingerprint:
    return Fingerprint(size, mtime_ns, mtime_ns, 1)


def due(settle: Settle, now: float) -> list[str]:
    return [item.path for item in settle.due(now, 100)]


def test_a_closed_file_is_ready_at_once():
    settle = Settle(60)
    settle.closed("a", 1.0)
    assert due(settle, 1.0) == ["a"]
    assert due(settle, 100.0) == []


def test_a_file_that_was_only_seen_is_ready_when_it_has_rested():
    settle = Settle(5)
    settle.seen("a", looks(1), 10.0)
    assert due(settle, 14.9) == []
    settle.seen("a", looks(2), 14.9)
    assert due(settle, 19.8) == []
    [item] = settle.due(19.9, 10)
    assert item.path == "a"
    assert item.unless_changed == looks(2)


def test_a_file_that_rested_before_it_was_seen_is_ready_at_once():
    settle = Settle(5)
    settle.seen("a", looks(1), 10.0, quiet_seconds=3600)
    assert due(settle, 10.0) == ["a"]


def test_being_closed_counts_for_more_than_being_seen():
    settle = Settle(600)
    settle.seen("a", looks(1), 0.0)
    settle.closed("a", 1.0)
    settle.seen("a", looks(2), 1.5)
    assert due(settle, 2.0) == ["a"]


def test_a_version_waits_for_the_backoff_of_the_last_one():
    settle = Settle(1)
    settle.closed("a", 0.0, not_before=8.0)
    settle.closed("a", 5.0)
    assert due(settle, 7.9) == []
    assert settle.next_due() == 8.0
    assert due(settle, 8.0) == ["a"]


def test_who_says_that_writers_are_done_need_not_wait_for_the_backoff_but_for_rest():
    settle = Settle(60)
    settle.closed("closed", 0.0, not_before=900.0)
    settle.seen("open", looks(1), 0.0)
    settle.hurry(1.0)
    assert due(settle, 1.0) == ["closed"]


def test_the_backoff_doubles_up_to_a_quarter_of_an_hour():
    assert [backoff_seconds(recent) for recent in range(6)] == [0, 1, 2, 4, 8, 16]
    assert backoff_seconds(11) == 900
    assert backoff_seconds(10_000) == 900


def log_for(seconds: float, writes_per_second: float) -> list[tuple[float, int]]:
    """Append to a log, and note when it is sent, with the number of lines that it has then."""
    settle, sent, lines, recent, last = Settle(2), [], 0, 0, -10_000.0
    steps = int(seconds * writes_per_second)
    for step in range(steps + int(1000 * writes_per_second)):
        now = step / writes_per_second
        if step < steps:
            lines += 1
            settle.closed("log", now, last + backoff_seconds(recent) if recent else 0.0)
        for _ in settle.due(now, 10):
            recent = recent + 1 if now - last < 3600 else 1
            last = now
            sent.append((now, lines))
    return sent


def test_a_logger_that_opens_appends_and_closes_a_thousand_times_in_a_minute_makes_a_handful_of_versions():
    sent = log_for(60, 1000 / 60)
    assert len(sent) <= 8
    assert sent[-1][1] == 1000


def test_a_logger_that_never_stops_is_sent_now_and_then():
    sent = log_for(4 * 3600, 1)
    gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(sent)]
    assert max(gaps) <= 901
    assert len(sent) <= 30


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["closed", "seen"]), st.integers(0, 50))))
def test_whatever_is_seen_every_path_is_ready_in_the_end(events):
    settle, now = Settle(3), 0.0
    for path, kind, wait in events:
        now += wait / 10
        if kind == "closed":
            settle.closed(path, now, now + wait)
        else:
            settle.seen(path, looks(wait), now)
    seen = {path for path, _, _ in events}
    assert {item.path for item in settle.due(now + 1000, 100)} == seen
    assert len(settle) == 0
    assert settle.next_due() is None
