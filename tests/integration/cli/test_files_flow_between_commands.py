"""watch and download as two processes, and the commands that ask the running watch."""

import json
import os

import pytest
from tests.integration.cli.commands import Running, penstock
from tests.stream import snapshot
from tests.waiting import eventually


@pytest.fixture
def stream(kafka, tmp_path):
    """A topic, two directories, and a watch and a download between them."""
    source, destination = tmp_path / "source", tmp_path / "destination"
    source.mkdir()
    destination.mkdir()
    topic = kafka.create_topic(partitions=2)
    common = ["--topic", topic, "--bootstrap-servers", kafka.bootstrap_servers]
    with (
        Running("watch", source, *common, log=tmp_path / "watch.log") as watch,
        Running("download", destination, *common, "--group", f"{topic}-d", log=tmp_path / "download") as d,
    ):  # fmt: skip
        yield source, destination, topic, watch, d


def arrived(source, destination) -> bool:
    return bool(snapshot(source)) and snapshot(source) == snapshot(destination)


def test_files_arrive_and_ctrl_c_ends_both_with_0(stream):
    source, destination, _, watch, download = stream
    odd = [b"plain", b"with space; and semicolon", "测 🔬".encode(), b"new\nline", b"latin-1 \xe4", b"[bold]"]
    for name in odd:
        with open(os.path.join(os.fsencode(source), name), "wb") as file:
            file.write(name * 3)
    (source / "deep" / "down").mkdir(parents=True)
    (source / "deep" / "down" / "large").write_bytes(os.urandom(3_000_000))
    (source / "empty").touch()

    def all_here() -> bool:
        assert watch.process.poll() is None, watch.said
        assert download.process.poll() is None, download.said
        return arrived(source, destination)

    eventually(all_here, 60, describe=lambda: watch.said + download.said)
    assert watch.interrupt() == 0
    assert download.interrupt() == 0
    for log in (watch.said, download.said):
        assert "Traceback" not in log
        assert "\x1b" not in log
    # Another name than those of the files stands in no line of its own: nothing in a name breaks a line.
    assert not any(line.startswith("line") for line in watch.said.splitlines())


def test_a_running_watch_can_be_asked(stream, tmp_path):
    source, _, topic, watch, _ = stream
    (source / "a").write_bytes(b"1")
    (source / "sub").mkdir()
    (source / "sub" / "b").write_bytes(b"2")
    eventually(
        lambda: (source / ".penstock/uploader/port").exists(), describe=lambda: f"it runs: {watch.said}"
    )

    drained = penstock("wait-drained", source, "--timeout", 30)
    assert (drained.returncode, drained.stderr) == (0, "")
    assert drained.stdout.startswith("everything is acknowledged")
    delivered = penstock("wait-drained", source, "--delivered", "--receipt-from", f"{topic}-d", "--json")
    assert (delivered.returncode, json.loads(delivered.stdout)) == (0, {"drained": True})

    files = json.loads(penstock("ledger", source, "--json").stdout)
    assert {file["path"]: file["state"] for file in files} == {"a": "delivered", "sub/b": "delivered"}
    table = penstock("ledger", source)
    assert table.returncode == 0
    assert table.stdout.splitlines()[-1] == "2 files: 2 delivered"

    missing = penstock("wait-drained", source, "--delivered", "--receipt-from", "nobody", "--timeout", 0.2)
    assert missing.returncode == 1
    assert "penstock wait-drained: a: nobody:" in missing.stderr
    unnamed = penstock("wait-drained", source, "--delivered")
    assert unnamed.returncode == 2
    assert "--receipt-from" in unnamed.stderr

    before = {file["path"]: file["upload_id"] for file in files}
    again = penstock("resend", source / "sub", "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, {"resent": 1, "failed": []})

    def sent_again() -> bool:
        now = {f["path"]: f["upload_id"] for f in json.loads(penstock("ledger", source, "--json").stdout)}
        return now["a"] == before["a"] and now["sub/b"] != before["sub/b"]

    eventually(sent_again, describe="sub/b has a new upload, a has not")
    never = penstock("resend", source / "never")
    assert never.returncode == 1
    assert "was never sent" in never.stderr

    assert watch.interrupt() == 0
    offline = penstock("ledger", source)
    assert offline.stdout.splitlines()[-1].startswith("2 files:")
    gone = penstock("resend", source / "a")
    assert gone.returncode == 1
    assert "no uploader is running" in gone.stderr


def test_until_idle_ends_with_0_when_there_is_nothing_more(kafka, tmp_path):
    topic = kafka.create_topic()
    common = ["--topic", topic, "--bootstrap-servers", kafka.bootstrap_servers]
    (tmp_path / "file").write_bytes(b"content")
    assert penstock("upload", tmp_path / "file", *common).returncode == 0
    destination = tmp_path / "destination"
    destination.mkdir()
    done = penstock("download", destination, *common, "--until-idle", 1)
    assert done.returncode == 0, done.stderr
    assert (destination / "file").read_bytes() == b"content"


def test_settings_come_from_environment_and_file_too(kafka, tmp_path):
    topic = kafka.create_topic()
    file = tmp_path / "penstock.toml"
    file.write_text(f'topic = "{topic}"\nbootstrap_servers = "nowhere:1"\nuntil_idle = 0.5\n')
    destination = tmp_path / "destination"
    destination.mkdir()
    done = penstock(
        "download",
        PENSTOCK_DIRECTORY=str(destination),
        PENSTOCK_CONFIG=str(file),
        PENSTOCK_BOOTSTRAP_SERVERS=kafka.bootstrap_servers,
    )
    assert done.returncode == 0, done.stderr
