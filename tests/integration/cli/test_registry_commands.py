"""registry, status and verify on a real stream: what they say is what has happened."""

import json
import os
import re
import signal
import socket
from urllib.parse import urlsplit

import pytest
from blake3 import blake3
from tests.integration.cli.commands import Running, one_line, penstock
from tests.integration.cli.registries import Registry
from tests.waiting import eventually


@pytest.fixture
def stream(make_stream):
    return make_stream(partitions=2)


@pytest.fixture
def registry(kafka, stream, tmp_path):
    with Registry(kafka, tmp_path, stream.topic) as running:
        yield running


def fill(directory, **contents: bytes) -> None:
    for name, content in contents.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_a_directory_that_arrived_verifies_and_a_change_is_noticed(stream, registry):
    fill(stream.source, a=b"a", sub__large=os.urandom(3_000_000), empty=b"")
    odd = os.path.join(os.fsencode(stream.source), b"two\nlines \x1b[31m'; DROP TABLE files;-- <b> \xff")
    with open(odd, "wb") as file:
        file.write(b"odd")
    uploader, _ = (
        stream.uploader(events_topic=registry.events),
        stream.downloader(events_topic=registry.events),
    )

    def all_arrived(code: int, states: dict[str, str]) -> bool:
        return code == 0 and len(states) == 4 and set(states.values()) == {"arrived"}

    files = registry.eventually_verifies(stream.source, stream.topic, all_arrived)
    large = files["sub/large"]
    assert large["digest"] == blake3((stream.source / "sub" / "large").read_bytes()).hexdigest()
    told = large["destinations"][f"{stream.topic}-group"]["last_answer"]
    assert (told["outcome"], told["digest"]) == ("delivered", large["digest"])

    done = penstock("verify", stream.source, "--stream", stream.topic, "--registry", registry.url, "--all")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert r"two\nlines \x1b[31m'; DROP TABLE files;-- <b> \xff" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("4 files, 2.9 MiB: everything has arrived")

    # Of a part of the directory, too; and nobody else's source counts.
    part = penstock("verify", stream.source / "sub", "--stream", stream.topic, "--registry", registry.url)
    assert (part.returncode, "1 file, 2.9 MiB: everything" in part.stdout) == (0, True), part.stdout
    named = ["--stream", stream.topic, "--registry", registry.url, "--source", "somebody-else"]
    others = penstock("verify", stream.source, *named)
    assert others.returncode == 1
    assert "no file that source 'somebody-else' sends" in one_line(others)

    uploader.stop()
    fill(stream.source, a=b"A", new=b"new")
    code, files = registry.verify(stream.source, stream.topic)
    assert code == 1
    assert {path: file["state"] for path, file in files.items() if file["state"] != "arrived"} == {
        "a": "changed",
        "new": "never_left",
    }

    stream.uploader(events_topic=registry.events)

    def all_again(code: int, states: dict[str, str]) -> bool:
        return code == 0 and len(states) == 5

    registry.eventually_verifies(stream.source, stream.topic, all_again)


def test_a_destination_that_lacks_files_is_told_from_one_that_has_them(stream, registry, tmp_path):
    fill(stream.source, a=b"a", b=b"b")
    second = tmp_path / "second"
    second.mkdir()
    stream.uploader(events_topic=registry.events)
    stream.downloader(events_topic=registry.events, group="archive")
    late = stream.downloader(second, events_topic=registry.events, group="backup")
    both = ["--destination", "archive", "--destination", "backup"]
    registry.eventually_verifies(stream.source, stream.topic, lambda code, _: code == 0, *both)
    late.stop()
    fill(stream.source, c=b"c")

    def all_three(code: int, states: dict[str, str]) -> bool:
        return code == 0 and "c" in states

    one = registry.eventually_verifies(stream.source, stream.topic, all_three, "--destination", "archive")
    assert one["c"]["destinations"].keys() == {"archive"}

    code, files = registry.verify(stream.source, stream.topic)
    assert code == 1
    assert {name: found["state"] for name, found in files["c"]["destinations"].items()} == {
        "archive": "arrived",
        "backup": "on_its_way",
    }
    assert {found["state"] for found in files["a"]["destinations"].values()} == {"arrived"}

    [shown] = registry.overview()["streams"]
    behind = {destination["name"]: destination["lag"] for destination in shown["destinations"]}
    assert behind == {"archive": {"files": 0, "bytes": 0}, "backup": {"files": 1, "bytes": 1}}
    text = penstock("status", "--registry", registry.url).stdout
    assert re.search(r"backup +2 files +\S+ \S+ +1 file, 1 B", text), text


def test_a_rejection_is_shown_with_its_reason_and_what_was_done(stream, registry):
    fill(stream.source, small=b"s", large=os.urandom(5000))
    stream.uploader(events_topic=registry.events)
    stream.downloader(events_topic=registry.events, max_file_size=1000)

    def refused(_: int, states: dict[str, str]) -> bool:
        return states == {"small": "arrived", "large": "rejected"}

    files = registry.eventually_verifies(stream.source, stream.topic, refused)
    [told] = files["large"]["destinations"].values()
    assert told["last_answer"]["reason"] == "too-large"
    assert re.search(r"too large: .*not sent again", told["why"])
    assert told["advice"]

    done = penstock("verify", stream.source, "--stream", stream.topic, "--registry", registry.url)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("rejected "))
    assert lines[first].endswith("  large")
    assert "too large" in lines[first + 1]
    assert any(line.startswith("what to do: ") for line in lines)
    assert lines[-1] == "2 files, 4.9 KiB: 1 arrived, 1 not"

    failing = penstock("status", "--registry", registry.url, "--exit-code")
    assert failing.returncode == 1
    assert failing.stdout.splitlines()[0].endswith("1 file will not arrive by itself")
    assert "rejected it: too large: " in failing.stdout


def test_files_on_their_way_and_services_that_ended_are_seen(stream, registry):
    stream.downloader(events_topic=registry.events)
    uploader = stream.uploader(events_topic=registry.events, rate_limit=100_000, chunk_size=20_000)
    fill(stream.source, slow=os.urandom(3_000_000))

    def uploading() -> bool:
        return [(f["path"], f["state"]) for f in registry.overview()["in_flight"]] == [("slow", "uploading")]

    eventually(uploading, 60, describe=lambda: f"{registry.overview()}\n{uploader.said[-2000:]}")
    uploader.kill()
    text = penstock("status", "--registry", registry.url).stdout
    assert re.search(r"slow +2\.9 MiB +\d+ %", text), text
    code, files = registry.verify(stream.source, stream.topic)
    assert (code, files["slow"]["state"]) == (1, "on_its_way")

    # It goes on where it was, and says so when it ends.
    uploader = stream.uploader(events_topic=registry.events)
    registry.eventually_verifies(stream.source, stream.topic, lambda code, _: code == 0)

    def heard_of() -> set[tuple[str, str]]:
        return {(service["service"], service["state"]) for service in registry.overview()["services"]}

    eventually(lambda: ("downloader", "alive") in heard_of(), 60, describe=heard_of)
    assert uploader.stop() == 0
    eventually(lambda: ("uploader", "stopped") in heard_of(), 60, describe=heard_of)
    text = penstock("status", "--registry", registry.url).stdout
    assert re.search(r"^  stopped +uploader ", text, re.MULTILINE), text


def test_what_was_uploaded_once_verifies_by_its_prefix(kafka, tmp_path):
    topic = kafka.create_topic()
    common = ["--topic", topic, "--bootstrap-servers", kafka.bootstrap_servers]
    run, destination = tmp_path / "run-7", tmp_path / "destination"
    destination.mkdir()
    fill(run, a=b"a", sub__b=b"b")
    assert penstock("upload", run, *common, "--prefix", "lab").returncode == 0
    assert penstock("download", destination, *common, "--group", "archive", "--until-idle", 1).returncode == 0
    with Registry(kafka, tmp_path, topic) as registry:
        arrived = registry.eventually_verifies(
            run, topic, lambda code, _: code == 0, "--prefix", "lab/run-7", "--destination", "archive"
        )
        assert arrived["sub/b"]["sent_as"] == "lab/run-7/sub/b"
        code, files = registry.verify(run, topic)
        assert (code, {file["state"] for file in files.values()}) == (1, {"never_left"})
        assert registry.verify(run, topic, "--prefix", "lab/run-7", "--exclude", "sub")[1].keys() == {"a"}


def test_the_prefix_of_a_watch_is_found_out(stream, registry):
    fill(stream.source, sub__a=b"a")
    stream.uploader(events_topic=registry.events, prefix="lab1/raw")
    stream.downloader(events_topic=registry.events)
    files = registry.eventually_verifies(stream.source / "sub", stream.topic, lambda code, _: code == 0)
    assert files["a"]["sent_as"] == "lab1/raw/sub/a"


def test_who_watches_the_status_sees_changes_until_ctrl_c(stream, registry, tmp_path):
    with Running("status", "--watch", "--registry", registry.url, log=tmp_path / "status") as status:
        eventually(lambda: "no stream has been heard of yet" in status.said, describe=lambda: status.said)
        fill(stream.source, a=b"a")
        stream.uploader(events_topic=registry.events)
        stream.downloader(events_topic=registry.events)
        eventually(lambda: re.search(r"-group +1 file ", status.said), 60, describe=lambda: status.said)
        assert status.interrupt() == 0
    assert "Traceback" not in status.said


def test_elsewhere_than_on_loopback_a_token_is_wanted_and_a_wrong_one_refused(kafka, stream, tmp_path):
    (tmp_path / "token").write_text("correct-horse-battery-staple\n")
    with Registry(kafka, tmp_path, stream.topic, PENSTOCK_HOST="0.0.0.0",
                  PENSTOCK_TOKEN_FILE=str(tmp_path / "token")) as registry:  # fmt: skip
        url = f"http://127.0.0.1:{urlsplit(registry.url).port}"
        done = penstock("status", "--registry", url)
        assert done.returncode == 1
        assert "answers only who has its token; put that into a file for --token-file" in one_line(done)
        assert "--token-file" in one_line(done)
        done = penstock("verify", stream.source, "--stream", stream.topic, PENSTOCK_REGISTRY=url,
                        PENSTOCK_TOKEN="wrong-wrong-wrong-wrong")  # fmt: skip
        assert done.returncode == 1
        assert "does not accept the token of PENSTOCK_TOKEN" in one_line(done)
        assert "wrong-wrong" not in done.stderr
        assert penstock("status", "--registry", url, "--token-file", tmp_path / "token").returncode == 0


def test_no_registry_is_one_line_that_says_how_to_start_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    for command in (["status"], ["verify", tmp_path, "--stream", "s"]):
        done = penstock(*command, "--registry", url)
        assert done.returncode == 1
        assert f"no registry answers at {url}" in one_line(done)
        assert "penstock registry" in one_line(done)


def test_a_registry_ends_with_0_and_another_on_its_port_with_2(kafka, registry, tmp_path):
    port = registry.url.rsplit(":")[-1].strip("/")
    done = penstock("registry", "--port", port, "--state-dir", tmp_path / "other",
                    "--bootstrap-servers", kafka.bootstrap_servers)  # fmt: skip
    assert done.returncode == 2
    assert "another port" in one_line(done).lower()
    registry.process.send_signal(signal.SIGTERM)
    assert registry.process.wait(30) == 0
    assert "Traceback" not in registry.said


def test_json_of_verify_is_one_document(stream, registry):
    fill(stream.source, a=b"a")
    asked = ["verify", stream.source, "--stream", stream.topic, "--registry", registry.url]
    unknown = penstock(*asked, "--json")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert f"has heard nothing of stream '{stream.topic}'" in one_line(unknown)

    stream.uploader(events_topic=registry.events)
    registry.eventually_verifies(
        stream.source, stream.topic, lambda code, states: (code, states) == (1, {"a": "on_its_way"})
    )
    done = penstock(*asked, "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["ok"] is False
    assert document["totals"]["on_its_way"] == 1
