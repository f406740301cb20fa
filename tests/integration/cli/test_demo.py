"""`penstock demo`: what it says is true, and nothing is left of it."""

import contextlib
import json
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
from blake3 import blake3
from tests.integration.cli.commands import Running, penstock
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="looks for processes in /proc")


def processes_about(directory: Path) -> dict[int, list[str]]:
    """Command lines of living processes that name a directory, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_text(errors="replace").split("\0")
                if any(str(directory) in word for word in words):
                    found[int(entry.name)] = words
    return found


def test_it_ends_with_0_its_json_is_true_and_nothing_is_left(tmp_path):
    done = penstock("demo", "--json", timeout=150, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] is True
    files = {file["path"]: file for file in result["files"]}
    assert len(files) >= 210
    assert all(file["verified"] and file["problem"] is None for file in files.values())
    assert all(file["seconds"] is not None and file["seconds"] < 60 for file in files.values())
    assert files["run-2/empty.marker"]["digest"] == blake3(b"").hexdigest()
    assert files["run-2/exactly-one-chunk.bin"]["chunks"] == 1
    assert files["run-2/one-byte-more.bin"]["chunks"] == 2
    assert files["still-growing.log"]["size"] > 1000
    assert any("path_base64" in file for file in files.values())
    assert result["totals"]["files"] == result["totals"]["verified"] == len(files)
    assert result["registry"]["verified"] == len(files)
    assert result["registry"]["missing"] == []
    assert result["totals"]["bytes"] == sum(file["size"] for file in files.values())
    assert "\x1b" not in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert processes_about(tmp_path) == {}


def test_where_another_registry_runs_it_takes_another_port(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_bytes(b"a")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # somebody else has it already, which is as good
            taken = stack.enter_context(socket.create_server(("127.0.0.1", 8650)))
            assert taken.getsockname()[1] == 8650
        done = penstock("demo", "--directory", tmp_path / "mine", "--json", timeout=150, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    registry = json.loads(done.stdout)["registry"]
    assert registry["verified"] == 1
    assert not registry["url"].endswith(":8650")


def test_a_users_directory_is_streamed_and_not_touched(tmp_path):
    mine, scratch = tmp_path / "mine", tmp_path / "scratch"
    (mine / "sub").mkdir(parents=True)
    scratch.mkdir()
    (mine / "a").write_bytes(b"a")
    (mine / "sub" / "b").write_bytes(os.urandom(700_000))
    (mine / "link").symlink_to("a")
    before = {path: path.lstat() for path in [mine, *mine.rglob("*")]}
    done = penstock("demo", "--directory", mine, "--json", timeout=150, TMPDIR=str(scratch))
    assert done.returncode == 0, done.stderr
    files = {file["path"]: file for file in json.loads(done.stdout)["files"]}
    assert files.keys() == {"a", "sub/b"}
    assert files["sub/b"]["digest"] == blake3((mine / "sub" / "b").read_bytes()).hexdigest()

    def unchanged(status: os.stat_result) -> tuple[int, int, int, int]:
        return status.st_mtime_ns, status.st_ctime_ns, status.st_mode, status.st_size

    now = {path: path.lstat() for path in [mine, *mine.rglob("*")]}
    assert {p: unchanged(s) for p, s in now.items()} == {p: unchanged(s) for p, s in before.items()}


def test_when_delivery_breaks_it_says_so_and_ends_with_1(tmp_path):
    with Running("demo", log=tmp_path / "log", TMPDIR=str(tmp_path)) as demo:

        def downloader() -> int | None:
            for pid, words in processes_about(tmp_path).items():
                if "download" in words and "guard.py" not in " ".join(words):
                    return pid
            return None

        pid = eventually(downloader, 90, describe="a downloader runs")
        os.kill(pid, signal.SIGKILL)
        assert demo.process.wait(90) == 1
        assert "penstock download has ended" in demo.said
        assert "Traceback" not in demo.said
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]
    assert processes_about(tmp_path) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_outlives_it_however_it_ends(tmp_path, number):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with Running("demo", "--keep-running", log=tmp_path / "log", TMPDIR=str(scratch)) as demo:
        eventually(lambda: "keeps running until Ctrl-C" in demo.said, 120, describe=lambda: demo.said)
        [root] = scratch.glob("penstock-demo-*")
        (root / "source" / "mine").write_bytes(b"content")
        eventually((root / "destination" / "mine").exists, describe="a file that was put in arrives")
        assert penstock("ledger", root / "source").returncode == 0
        [page] = re.findall(r"see it all at +(http://127\.0\.0\.1:\d+)$", demo.said, re.MULTILINE)
        verify = ["verify", root / "source", "--stream", "demo", "--registry", page]
        eventually(lambda: penstock(*verify).returncode == 0, describe=lambda: penstock(*verify).stdout)
        demo.process.send_signal(number)
        code = demo.process.wait(60)
    if number != signal.SIGKILL:
        assert code == 0, demo.said
    eventually(lambda: not processes_about(scratch), 60, describe=lambda: processes_about(scratch))
    eventually(lambda: list(scratch.iterdir()) == [], 30, describe=lambda: list(scratch.iterdir()))
