"""`penstock status`: failures first, names that are harmless, exit codes for scripts, JSON as it came."""

import contextlib
import io
import json
import os
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
            f"bad {NASTY}", "rejected", reason="size", detail="too much", advice="Do this.",
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
        "3 files will not arrive by themselves", "rejected", "archive: size: too much", "and 2 more",
        "what to do: Do this.", "2 records", "failing", "12 MB/s", "archive is full: make room",
        "run/large.raw", "45 %", "in Kafka", "1 alive", "dead-1",
        "scope partition 3, offsets 10 to 19, at archive",
    ]  # fmt: skip
    places = [text.find(part) for part in order]
    assert -1 not in places, [part for part, place in zip(order, places, strict=True) if place < 0]
    assert places == sorted(places)
    assert "\x1b" not in text
    assert "fine-1" not in text  # what is well is counted


def test_a_narrow_terminal_is_enough():
    text = shown(BUSY, terminal=True, columns=60)
    assert "3 files" in text
    assert "scope" in text


def test_nothing_yet_is_said():
    text = shown(OVERVIEW)
    assert "no stream has been heard of yet" in text
    assert "none has been heard of yet" in text


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
