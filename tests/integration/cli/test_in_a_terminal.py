"""At a terminal: bars and colours, and nothing in a file's name that the terminal takes for an order."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.cli.commands import clean_environment, penstock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no pseudoterminals")

# What Rich itself uses: colours, moving up, clearing a line, hiding and showing the cursor.
OURS = re.compile(r"\x1b\[(\d*(;\d+)*m|\d*A|2K|\?25[lh])")


def in_a_terminal(*arguments: object, columns: int = 100) -> tuple[int, str]:
    """Run a command at a pseudoterminal; return its exit code and all that it has written."""
    import fcntl
    import pty
    import struct
    import termios

    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    command = [Path(sys.executable).parent / "penstock", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, env=clean_environment(TERM="xterm-256color")
    )
    os.close(its)
    written = bytearray()
    with contextlib.suppress(OSError):  # EIO: nobody holds the other end any more
        while block := os.read(ours, 65536):
            written += block
    os.close(ours)
    return process.wait(60), written.decode("utf-8")


@pytest.fixture
def common(kafka):
    return ["--topic", kafka.create_topic(), "--bootstrap-servers", kafka.bootstrap_servers]


def test_names_are_shown_escaped_and_the_terminal_is_left_as_it_was(common, tmp_path):
    source, destination = tmp_path / "source", tmp_path / "destination"
    source.mkdir()
    destination.mkdir()
    for name in (b"bell\x07 \x1b]0;title\x07", b"latin-1 \xe4", b"[bold]"):
        with open(os.path.join(os.fsencode(source), name), "wb") as file:
            file.write(os.urandom(600_000))
    code, sent = in_a_terminal("upload", source, *common)
    assert code == 0, sent
    assert "3 files acknowledged" in sent
    code, delivered = in_a_terminal("download", destination, *common, "--until-idle", 1)
    assert code == 0, delivered
    for output in (sent, delivered):
        rest = OURS.sub("", output)
        assert "\x1b" not in rest
        assert "\x07" not in rest
        assert output.count("\x1b[?25l") <= output.count("\x1b[?25h")
    assert r"delivered source/bell\x07 \x1b]0;title\x07 (585.9 KiB" in delivered
    assert r"delivered source/latin-1 \xe4 (585.9 KiB" in delivered
    assert "delivered source/[bold] (585.9 KiB" in delivered


def test_help_has_colours_here_and_none_in_a_pipe():
    code, shown = in_a_terminal("watch", "--help")
    assert code == 0
    assert "\x1b[" in shown
    assert "\x1b" not in penstock("watch", "--help").stdout


def test_a_failure_is_one_line_here_too(tmp_path):
    code, said = in_a_terminal("ledger", tmp_path)
    assert code == 2
    assert OURS.sub("", said).count("\n") == 1
