"""How a stream is, and why."""

import pytest

from penstock_registry.health import (
    DestinationFacts,
    StreamFacts,
    service_state,
    stream_health,
    waiting_since,
)

NOW = 1_800_000_000.0


def health(**facts):
    return stream_health(StreamFacts(topic="raw", **{"last_at": NOW - 5, **facts}), NOW)


def destination(**facts):
    return DestinationFacts(**{"name": "archive", "lag_files": 0, "last_at": NOW - 5, **facts})


class TestStream:
    def test_is_ok_while_things_happen(self):
        assert health(destinations=[destination()]) == ("ok", [])

    def test_is_idle_after_an_hour_of_nothing(self):
        assert health(last_at=NOW - 3601)[0] == "idle"
        assert health(last_at=NOW - 3599)[0] == "ok"

    @pytest.mark.parametrize("which", ["failed", "rejected"])
    def test_fails_when_a_file_failed_or_was_rejected(self, which):
        state, problems = health(**{which: 1})

        assert state == "failing"
        assert problems[0].startswith("1 file ")

    def test_fails_for_a_day_after_records_were_lost(self):
        def after(seconds):
            return health(destinations=[destination(lost_at=NOW - seconds)])

        assert after(23 * 3600)[0] == "failing"
        assert "raw before archive had read them: raise" in after(60)[1][0]
        assert after(25 * 3600)[0] == "ok"

    def test_warns_when_a_destination_answers_nothing_while_files_wait(self):
        stuck = destination(lag_files=3, last_at=NOW - 3600, waiting_since=NOW - 301)

        state, problems = health(destinations=[stuck])

        assert state == "warning"
        assert "archive has not answered for 5 minutes while 3 files wait" in problems[0]

    @pytest.mark.parametrize("how", ["stopped", "silent"])
    def test_warns_at_once_of_files_that_wait_where_no_downloader_runs(self, how):
        waits = {"name": "lab", "lag_files": 4, "last_at": NOW - 5, "waiting_since": NOW - 1}

        state, problems = health(destinations=[destination(downloaders=["stopped", how], **waits)])

        assert state == "warning"
        [problem] = problems
        assert problem.startswith(f"lab: its downloader is {how} while 4 files wait for it")
        assert health(destinations=[destination(downloaders=[how, "alive"], **waits)])[0] == "ok"
        assert health(destinations=[destination(downloaders=[how], lag_files=0)])[0] == "ok"

    def test_says_who_has_rejected_files(self):
        by = [destination(name="archive"), destination(name="small", rejected=2)]

        state, problems = health(rejected=2, destinations=by)

        assert state == "failing"
        [problem] = problems
        assert problem.startswith("2 files rejected by small:")

    def test_does_not_fail_for_what_is_on_its_way_to_who_rejected_it(self):
        assert health(rejected=0, destinations=[destination(name="small", rejected=2)])[0] == "ok"

    def test_does_not_warn_of_what_waits_for_a_moment_only(self):
        waits = destination(lag_files=3, last_at=NOW - 3600, waiting_since=NOW - 20)

        assert health(destinations=[waits])[0] == "ok"

    def test_warns_of_a_destination_that_has_never_answered(self):
        assert (
            health(destinations=[destination(lag_files=1, last_at=None)], last_at=NOW - 400)[0] == "warning"
        )

    def test_that_waits_for_a_destination_is_not_idle(self):
        waits = destination(lag_files=1, last_at=NOW - 9000)

        assert health(destinations=[waits], last_at=NOW - 9000)[0] == "warning"

    def test_warns_of_a_program_that_is_silent(self):
        assert health(silent=["uploader microscope"]) == (
            "warning",
            ["uploader microscope is silent: see whether it runs, or stop it properly"],
        )

    def test_says_all_that_is_wrong_the_worst_first(self):
        state, problems = health(failed=2, silent=["uploader microscope"])

        assert state == "failing"
        assert len(problems) == 2
        assert problems[0].startswith("2 files cannot be sent")


@pytest.mark.parametrize(
    ("minutes", "last_at", "since"),
    [
        ([], None, None),
        ([600, 660], None, 600.0),
        ([600, 660, 720], 665.0, 720.0),
        ([600, 660, 780], 730.0, 780.0),
        ([600], 610.0, None),
    ],
)
def test_waiting_begins_with_the_first_upload_after_the_last_answer(minutes, last_at, since):
    assert waiting_since(minutes, last_at) == since


@pytest.mark.parametrize(
    ("kind", "interval", "age", "state"),
    [
        ("penstock", 10.0, 44.0, "alive"),
        ("penstock", 10.0, 46.0, "silent"),
        ("penstock", 1.0, 44.0, "alive"),
        ("penstock", 100.0, 299.0, "alive"),
        ("penstock", 100.0, 301.0, "silent"),
        ("penstock", None, 46.0, "silent"),
        ("openmsi", None, 2600.0, "alive"),
        ("openmsi", None, 2800.0, "silent"),
    ],
)
def test_a_program_is_silent_after_three_of_its_intervals(kind, interval, age, state):
    seen = service_state(kind, last_at=NOW - age, interval_seconds=interval, stopped=False, now=NOW)

    assert seen == state


def test_a_program_that_said_that_it_stops_is_not_silent():
    assert service_state("penstock", last_at=0.0, interval_seconds=10.0, stopped=True, now=NOW) == "stopped"
