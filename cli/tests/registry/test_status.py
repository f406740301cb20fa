"""`penstock status`: failures first, names that are harmless, exit codes for scripts, JSON as it came."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import uuid

import pytest
from cli.tests.registry.stub import OVERVIEW, says
from rich.console import Console

from penstock import status_view
from penstock.commands import status as status_command
from penstock.main import main
from penstock.registry_answers import Overview
from penstock.registry_client import connect

AT = 1_800_000_000.0
NASTY = "two\nlines \x1b[31m[bold]<b>\u202e"


def file(path: str, state: str, **given) -> dict:
    return {
        "id": str(uuid.uuid4()), "stream": "scope", "source": "here", "path": path, "size": 200,
        "state": state, "bytes_done": 90, "first_at": AT, "last_at": AT, "answers": [],
    } | given  # fmt: skip


def service(name: str, state: str, **given) -> dict:
    return {
        "kind": "penstock", "program_id": name, "service": "uploader", "host": "lab1", "version": "1",
        "state": state, "first_at": AT, "last_at": AT - 300, "problems": [], "totals": {}, "status": {},
    } | given  # fmt: skip


def stream(topic: str, health: str = "ok", **given) -> dict:
    return {
        "topic": topic, "health": health, "problems": [], "files": {}, "first_at": AT, "last_at": AT,
        "uploaded": {"files_per_second": 1.0, "bytes_per_second": 12_000_000.0},
        "destinations": [
            {"name": "archive", "delivered": {"files": 1203, "bytes": 10}, "lag": {"files": 3, "bytes": 2048}}
        ],
    } | given  # fmt: skip


BUSY = OVERVIEW | {
    "streams": [stream("scope", "failing", problems=["archive is full: make room"]), stream("idle", "idle")],
    "failures": [
        file(
            f"bad {NASTY}", "rejected", reason="too-large", detail="too much", advice="Do this.",
            by="archive",
            answers=[
                {"destination": "archive", "outcome": "rejected", "current": True, "at": AT,
                 "upload_id": str(uuid.uuid4())}
            ],
        )
    ],
    "failures_total": 3,
    "in_flight": [file("run/large.raw", "uploading"), file("run/waits.raw", "uploaded", bytes_done=200)],
    "services": [service("dead-1", "silent"), service("fine-1", "alive"), service("over-1", "stopped")],
    "lost": [
        {"stream": "scope", "destination": "archive", "topic_id": "x", "partition": 3, "from_offset": 10,
         "to_offset": 20, "at": AT}
    ],
    "problems_total": 2,
}  # fmt: skip


def shown(overview: dict, *, terminal: bool = False, encoding: str = "utf-8", columns: int = 100) -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace", write_through=True)
    console = Console(
        file=out, force_terminal=terminal, width=columns, markup=False, emoji=False, highlight=False,
        color_system=None, legacy_windows=False,
    )  # fmt: skip
    console.print(status_view.view(Overview.model_validate(overview), console), soft_wrap=True)
    return out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_everything_is_there_failures_first(terminal, encoding):
    text = shown(BUSY, terminal=terminal, encoding=encoding)
    order = [
        "3 files will not arrive by themselves", "rejected", "archive rejected it: too large: too much",
        "and 2 more",
        "what to do: Do this.", "2 records", "failing", "12 MB/s", "archive is full: make room",
        "run/large.raw", "45 %", "in Kafka", "1 alive", "dead-1", "last heard 5 min ago",
        "scope partition 3, offsets 10 to 19, at archive",
    ]  # fmt: skip
    places = [text.find(part) for part in order]
    assert -1 not in places, [part for part, place in zip(order, places, strict=True) if place < 0]
    assert places == sorted(places)
    assert "\x1b" not in text


@pytest.mark.parametrize("columns", [80, 99, 100, 120, 200])
def test_no_line_is_broken_in_a_narrow_terminal(columns):
    long = stream("a-topic-with-a-long-name" * 3)
    long["destinations"][0] |= {
        "name": "an-archive-with-a-long-name" * 3,
        "lag": {"files": 9999, "bytes": 2**40},
    }
    text = shown(OVERVIEW | {"streams": [long]}, columns=columns, terminal=True)
    [row] = [line for line in text.splitlines() if line.strip().startswith("a")]
    assert len(row) <= columns
    assert re.search(" 9\u202f999 files(, 1.0 TiB)? *$", row), row
    assert ("TiB" in row) == (columns >= 100)
    assert re.search(" 1\u202f203 files ", row), row


def answered(destination: str, outcome: str = "delivered", *, current: bool = True) -> dict:
    return {"destination": destination, "outcome": outcome, "current": current, "at": AT,
            "upload_id": str(uuid.uuid4())}  # fmt: skip


@pytest.mark.parametrize(
    ("known", "says_so"),
    [
        (file("a", "uploading"), r"45 %"),
        (file("a", "uploading", bytes_done=200), r"99 %"),
        (file("a", "uploaded", waiting_for=["lab"]), r"in Kafka, waiting for lab"),
        (file("a", "uploaded"), r"in Kafka"),
        (
            file("a", "delivered", answers=[answered("x"), answered("y")], waiting_for=["lab"]),
            r"delivered to 2 of 3, waiting for lab",
        ),
        (
            file("a", "delivered", answers=[answered("x"), answered("y", "skipped")], waiting_for=["lab"]),
            r"delivered to 1 of 2, waiting for lab",
        ),
        (
            file("a", "uploaded", answers=[answered("x", current=False)], waiting_for=["x", "y"]),
            r"in Kafka, waiting for x, y",
        ),
        (
            file("a", "delivered", answers=[answered("x")], waiting_for=["a", "b", "c", "d\x1b"]),
            r"delivered to 1 of 5, waiting for 4 destinations",
        ),
    ],
)
@pytest.mark.parametrize("terminal", [True, False])
def test_a_file_on_its_way_says_who_has_it_and_who_is_waited_for(known, says_so, terminal):
    text = shown(OVERVIEW | {"in_flight": [known]}, terminal=terminal, columns=120)
    assert re.search(rf" {says_so} *$", text, re.MULTILINE), text


def test_a_rejection_says_by_whom_and_who_has_it_all_the_same():
    rejected = file(
        "a", "rejected", reason="too-large", detail="200 bytes, more than 10", by="small", failed_for="small",
        answers=[answered("x"), answered("small", "rejected")], waiting_for=["lab"],
    )  # fmt: skip
    text = shown(OVERVIEW | {"failures": [rejected], "failures_total": 1})
    assert "small rejected it: too large: 200 bytes, more than 10" in text
    assert "delivered to 1 of 3, waiting for lab" in text


def test_a_failure_of_the_source_says_so():
    failed = file("a", "failed", reason="unreadable", detail="Permission denied", failed_for="")
    text = shown(OVERVIEW | {"failures": [failed], "failures_total": 1})
    assert "the source failed to send it: unreadable: Permission denied" in text


def test_services_say_what_they_work_on_in_an_order_that_stays():
    programs = [
        service("z", "alive", service="downloader",
                status={"topic": "scope", "destination": "vm-dst-f2cc", "directory": "/data/\x1bdst"}),
        service("a", "alive",
                status={"topic": "scope", "source_id": "vm_src-6e65", "directory": "/data/src"}),
        service("m", "silent", status={"directory": "/only"}),
        *[service(f"n{number}", "alive", service="worker", kind="openmsi") for number in range(9)],
    ]  # fmt: skip
    text = shown(OVERVIEW | {"services": programs})
    assert text == shown(OVERVIEW | {"services": programs[::-1]})
    lines = [line.strip() for line in text.splitlines() if " on lab1" in line]
    assert lines[:4] == [
        "silent   uploader m, /only on lab1, last heard 5 min ago",
        r"alive    downloader scope to vm-dst-f2cc, /data/\x1bdst on lab1",
        "alive    uploader vm_src-6e65 to scope, /data/src on lab1",
        "alive    worker n0 on lab1",
    ]
    assert "and 3 more that are alive" in text


def test_nothing_yet_is_said():
    text = shown(OVERVIEW)
    assert "no stream has been heard of yet" in text
    assert "none has been heard of yet" in text


@pytest.mark.parametrize(
    "change",
    [
        {"at": AT + 1},
        {
            "streams": [
                stream("scope", uploaded={"files_per_second": 0, "bytes_per_second": 0}, last_at=AT + 5)
            ]
        },
        {
            "streams": [
                stream("scope", problems=["lab has not answered for 6 minutes while 3 files wait for it"])
            ]
        },
        {
            "services": [
                service("dead", "silent", last_at=AT, totals={"n_bytes_read": 7}, status={"files": 3})
            ]
        },
    ],
)
def test_what_changes_by_itself_is_no_news(change):
    problem = "lab has not answered for 5 minutes while 3 files wait for it"
    before = OVERVIEW | {"services": [service("dead", "silent")]}
    before |= {"streams": [stream("scope", problems=[problem] if "not answered" in str(change) else [])]}
    assert status_command.news(before) == status_command.news(before | change)


@pytest.mark.parametrize(
    "change",
    [
        {"streams": [stream("scope", "warning")]},
        {
            "streams": [
                stream("scope", problems=["lab has not answered for 5 minutes while 4 files wait for it"])
            ]
        },
        {"services": [service("dead", "stopped")]},
        {"in_flight": [file("a", "uploading")]},
        {"problems_total": 1},
    ],
)
def test_everything_else_is_news(change):
    problem = "lab has not answered for 5 minutes while 3 files wait for it"
    before = OVERVIEW | {
        "services": [service("dead", "silent")],
        "streams": [stream("scope", problems=[problem])],
    }
    assert status_command.news(before) != status_command.news(before | change)


def test_a_pipe_is_told_nothing_while_only_rates_sink(registry, monkeypatch, capsys):
    def sinking(rate: float, **given) -> dict:
        rates = {"files_per_second": rate, "bytes_per_second": rate}
        return OVERVIEW | {"at": AT + rate, "streams": [stream("scope", uploaded=rates, **given)]}

    answers = [
        sinking(9.0),
        sinking(8.0),
        sinking(7.0),
        sinking(7.0, health="warning"),
        sinking(6.0, health="warning"),
    ]
    monkeypatch.setattr(status_command, "_answers", lambda *_: ((answer, None) for answer in answers))
    registry.tell("/overview", answers[0])
    assert main(["status", "--watch", "--json", "--registry", registry.url]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["at"] for line in lines] == [AT + 9.0, AT + 7.0]


@pytest.fixture
def status(registry, capsys):
    def run_it(*arguments: str):
        code = main(["status", "--registry", registry.url, *arguments])
        said = capsys.readouterr()
        assert said.err == ""
        return code, said.out

    return run_it


def test_names_cannot_break_lines_or_steer_a_terminal(registry, status):
    registry.tell("/overview", BUSY)
    out = status()[1]
    assert r"bad two\nlines \x1b[31m[bold]<b>\u202e" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        ({}, 0),
        ({"streams": [stream("scope", "warning")]}, 0),
        ({"services": [service("over", "stopped")]}, 0),
        ({"failures_total": 1}, 1),
        ({"streams": [stream("scope", "failing")]}, 1),
        ({"services": [service("dead", "silent")]}, 1),
    ],
)
def test_the_exit_code_is_for_scripts_that_ask_for_it(registry, status, trouble, code):
    registry.tell("/overview", OVERVIEW | trouble)
    assert status()[0] == 0
    assert status("--exit-code")[0] == code
    assert status("--exit-code", "--json")[0] == code


def test_json_is_the_overview_as_it_came(registry, status):
    registry.tell("/overview", BUSY | {"new": "field"})
    assert json.loads(status("--json")[1]) == BUSY | {"new": "field"}


def test_one_stream_is_asked_for_alone(registry, status):
    registry.tell("/overview", OVERVIEW | {"streams": [stream("scope")]})
    code, out = status("--stream", "scope")
    assert code == 0
    assert registry.asked[-1].path == "/api/v1/overview?stream=scope"
    assert "scope" in out


def test_an_unknown_stream_is_named_with_those_that_are_known(registry, capsys):
    registry.tell("/overview", OVERVIEW)
    registry.tell("/streams", {"items": [stream("scope"), stream("other")]})
    assert main(["status", "--registry", registry.url, "--stream", "scoop"]) == 1
    said = capsys.readouterr().err
    assert said.endswith("has heard nothing of stream 'scoop': did you mean scope?\n")


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudoterminals")
def test_at_a_terminal_it_is_renewed_in_place_until_ctrl_c(registry):
    import fcntl
    import pty
    import struct
    import termios

    asked = iter([BUSY, OVERVIEW | {"streams": [stream("renewed")]}])
    last = [BUSY]

    def next_answer(_):
        last[0] = next(asked, last[0])
        return says(last[0])

    registry.routes["/api/v1/overview"] = next_answer
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
    command = [sys.executable, "-m", "penstock", "status", "--watch", "--registry", registry.url]
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment)
    os.close(its)
    written = b""
    with contextlib.suppress(OSError):  # EIO: nobody holds the other end any more
        while block := os.read(ours, 65536):
            before, written = written, written + block
            if b"renewed" in written and b"renewed" not in before:
                process.send_signal(signal.SIGINT)
    os.close(ours)
    assert process.wait(30) == 0
    assert b"will not arrive" in written
    assert b"\x1b[1A" in written  # it went up, and wrote over what was there
    assert written.rindex(b"\x1b[?25h") > written.rindex(b"\x1b[?25l")  # the cursor is back
    assert rb"two\nlines \x1b[31m" in written


def test_a_registry_that_goes_away_while_it_is_watched_is_waited_for(registry, monkeypatch, capsys):
    registry.tell("/overview", BUSY)
    client = connect(registry.url, None)
    monkeypatch.setattr(status_command, "EVERY_SECONDS", 0.0)
    answers = status_command._answers(client, None, client.overview())
    assert next(answers) == (BUSY, None)
    registry.__exit__()
    answer, why = next(answers)
    assert answer == BUSY
    assert "no registry answers" in why
    answers.close()
    registry.__enter__()
