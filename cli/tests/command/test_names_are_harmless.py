"""A file name may hold anything. It never breaks a line, steers a terminal, or is taken for markup."""

import io
import json
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from penstock.demo.proof import Proof
from penstock.demo.report import Report, Result
from penstock.display import count, json_name, rate, seconds, shortened, shown, size, width
from penstock.progress import Bars, Lines

NASTY = [
    "plain.txt",
    "two\nlines",
    "\x1b]0;title\x07\x1b[31mred\x1b[0m",
    "[bold red]markup[/] [link=x]",
    ":smile: emoji code",
    os.fsdecode(b"latin-1 \xe4\xff"),
    "right to left \u202e override",
    "wide 測定 🔬",
    "carriage\rreturn\ttab\x00",
    "[/",
]

names = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]),
        st.sampled_from("[]/\\:\n\x1b\udcff測🔬"),
    )
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a b;c.txt", "a b;c.txt"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[31m", r"\x1b[31m"),
        (os.fsdecode(b"\xff"), r"\xff"),
        ("\u202e", r"\u202e"),
        ("[bold]", "[bold]"),
    ],
)
def test_what_cannot_be_printed_is_escaped(name, text):
    assert shown(name) == text


@given(names)
def test_what_is_shown_is_one_printable_line(name):
    text = shown(name)
    assert text.isprintable()
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in text)
    text.encode()


@given(names, st.integers(8, 60))
def test_a_shortened_name_fits(name, columns):
    assert width(shortened(name, columns)) <= columns


def test_a_shortened_name_keeps_both_ends():
    text = shortened("run-0001/camera/" + "x" * 100 + "/frame-0042.tif", 30)
    assert text.startswith("run-0001"[:5])
    assert text.endswith("frame-0042.tif")


@given(names)
def test_json_gives_the_exact_name_back(name):
    try:
        raw = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no file can have this name
        return
    found = json.loads(json.dumps(json_name(name)))
    found["path"].encode()
    if "path_base64" in found:
        import base64

        assert base64.b64decode(found["path_base64"]) == raw
    else:
        assert found["path"].encode() == raw


def terminal(encoding: str = "utf-8") -> tuple[Console, io.TextIOWrapper]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", write_through=True)
    console = Console(
        file=file, force_terminal=True, width=80, height=24, markup=False, emoji=False, highlight=False,
        color_system=None, legacy_windows=False,
    )  # fmt: skip
    return console, file


def written(file: io.TextIOWrapper) -> str:
    return file.buffer.getvalue().decode(file.encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NASTY)
def test_bars_show_any_name(name):
    console, file = terminal()
    with Bars("sent", console, scroll=True) as board:
        board.progress(name, 10, 100)
        console.print(board._render())
        board.finished(name, 100)
        board.failed(name + "2", "because of " + name)
    output = written(file)
    escapes = output.replace("\x1b[?25l", "").replace("\x1b[?25h", "")
    for control in ("\x1b[2K", "\x1b[1A", "\r"):
        escapes = escapes.replace(control, "")
    assert "\x1b" not in escapes  # what is left after what the bars themselves use
    assert f"sent {shown(name)} (100 B)" in output


def test_bars_are_few_and_count_the_rest():
    console, file = terminal()
    board = Bars("sent", console, scroll=False)
    for number in range(20):
        board.progress(f"file-{number}", 1, 10)
    console.print(board._render())
    output = written(file)
    assert sum(line.startswith("file-") for line in output.splitlines()) == 6
    assert "and 14 more" in output


def test_many_files_at_once_are_one_line():
    console, file = terminal()
    with Bars("sent", console, scroll=True) as board:
        for number in range(500):
            board.finished(f"file-{number}", 1024)
    assert len([line for line in written(file).splitlines() if "sent (" in line]) <= 2
    assert board.totals.files == 500


def test_a_pipe_gets_plain_lines(capsys):
    with Lines("sent") as board:
        board.progress("a", 5, 10)
        board.failed("two\nlines", "it is gone")
        board.finished("b", 10)
    error = capsys.readouterr().err
    assert "failed: two\\nlines: it is gone\n" in error
    assert "\x1b" not in error
    assert error.splitlines()[-1] == "1 file sent, 10 B, 1 on the way, 1 failed"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_the_report_is_written_in_any_encoding(encoding):
    results = [
        Result(Proof(name, 10, "ab", None), chunks=1, seconds=0.1, receipt_digest="ab")
        for name in ("plain", "[bold]")
    ]
    results += [
        Result(Proof(f"many/{n}", 10, "ab", None), chunks=1, seconds=0.1, receipt_digest="ab")
        for n in range(10)
    ]
    results.append(Result(Proof("bad\nname", 10, "ab", "it differs"), 1, None, None))
    console, file = terminal(encoding)
    Report(results, 1.0).print(console)
    output = written(file)
    assert "many/ (10 files)" in output
    assert "bad\\nname: it differs" in output
    assert "1 did not arrive" in output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (size(0), "0 B"),
        (size(1023), "1023 B"),
        (size(64 * 2**20), "64.0 MiB"),
        (size(5 * 2**40), "5.0 TiB"),
        (rate(1_500_000), "1.5 MB/s"),
        (rate(123_456_789), "123 MB/s"),
        (seconds(0.123), "0.12 s"),
        (seconds(187), "3:07 min"),
        (seconds(3_723), "1:02:03 h"),
        (count(1, "file"), "1 file"),
        (count(10_000, "file"), "10\u202f000 files"),
    ],
)
def test_numbers_are_for_people(text, expected):
    assert text == expected
