"""`penstock upload`: returns when Kafka has everything, and names what it has not."""

import json
import os

import pytest
from tests.integration.cli.commands import one_line, penstock
from tests.waiting import eventually


@pytest.fixture
def common(kafka):
    topic = kafka.create_topic(partitions=2)
    return ["--topic", topic, "--bootstrap-servers", kafka.bootstrap_servers]


def delivered(tmp_path, common) -> dict[str, bytes]:
    destination = tmp_path / "destination"
    destination.mkdir()
    done = penstock("download", destination, *common, "--until-idle", 1)
    assert done.returncode == 0, done.stderr
    return {
        str(path.relative_to(destination)): path.read_bytes()
        for path in destination.rglob("*")
        if path.is_file() and ".penstock" not in path.parts
    }


def test_files_and_directories_travel_as_cp_r_would_copy_them(common, tmp_path):
    run = tmp_path / "data" / "run-1"
    (run / "sub").mkdir(parents=True)
    (run / "a").write_bytes(b"a")
    (run / "sub" / "b.txt").write_bytes(b"b")
    (tmp_path / "notes").write_bytes(b"n")
    done = penstock("upload", run, tmp_path / "notes", *common)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 files acknowledged, 3 B")
    assert penstock("upload", ".", *common, "--prefix", "here", cwd=run).returncode == 0
    assert delivered(tmp_path, common) == {
        "run-1/a": b"a",
        "run-1/sub/b.txt": b"b",
        "notes": b"n",
        "here/a": b"a",
        "here/sub/b.txt": b"b",
    }
    assert not (run / ".penstock").exists()


def test_the_result_is_json_alone_on_stdout(common, tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    done = penstock("upload", tmp_path / "a", *common, "--json")
    result = json.loads(done.stdout)
    assert result["ok"] is True
    assert result["acknowledged"] == [{"file": str(tmp_path / "a"), "size": 5}]
    assert result["failed"] == []


def test_include_and_exclude_choose_in_directories(common, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("a.raw", "b.raw", "c.txt"):
        (run / name).touch()
    done = penstock("upload", run, *common, "--include", "*.raw", "--exclude", "b.*")
    assert done.returncode == 0, done.stderr
    assert delivered(tmp_path, common).keys() == {"run/a.raw"}


def test_nothing_is_removed_whatever_the_environment_says(common, tmp_path):
    (tmp_path / "a").write_bytes(b"precious")
    done = penstock("upload", tmp_path / "a", *common, PENSTOCK_AFTER="delete")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a").exists()


def test_a_file_that_cannot_be_read_fails_and_is_named(common, tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "secret").write_bytes(b"b")
    (tmp_path / "secret").chmod(0)
    done = penstock("upload", tmp_path / "a", tmp_path / "secret", *common)
    assert done.returncode == 1
    assert str(tmp_path / "secret") in done.stderr
    assert "1 file acknowledged" in done.stdout


def test_a_file_that_no_topic_can_carry_fails_and_is_named(common, kafka, tmp_path):
    (tmp_path / "small").write_bytes(b"a")
    name = "x" * 200
    deep = tmp_path / "deep"
    here = os.getcwd()
    try:  # a path of more than 4096 bytes can only be made step by step
        deep.mkdir()
        os.chdir(deep)
        for _ in range(22):
            os.mkdir(name)
            os.chdir(name)
        with open("file", "wb") as file:
            file.write(b"b")
    finally:
        os.chdir(here)
    done = penstock("upload", tmp_path / "small", deep, *common, "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["ok"] is False
    assert [entry["file"] for entry in result["acknowledged"]] == [str(tmp_path / "small")]
    assert len(result["failed"]) == 1
    assert str(deep) in done.stderr


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["missing"], "'missing' cannot be sent: No such file or directory"),
        (["link"], "'link' is a symbolic link: name what it points to"),
        (["a/same", "b/same"], "would both travel as 'same'"),
        ([], "missing argument 'FILE_OR_DIR...'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(common, tmp_path, names, says):
    for directory in ("a", "b"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "same").touch()
    (tmp_path / "link").symlink_to("a/same")
    done = penstock("upload", *names, *common, cwd=tmp_path)
    assert done.returncode == 2
    assert says in one_line(done)


def test_one_refused_file_of_many_does_not_stop_the_others(common, kafka, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for number in range(50):
        (run / f"{number}").write_bytes(os.urandom(1000))
    done = penstock("upload", run, *common)
    assert done.returncode == 0
    eventually(lambda: sum(kafka.end_offsets(common[1]).values()) == 50, describe="50 records, one a file")
