"""Wrong use: one line that says what is wrong and what to do, the right exit code, no secret."""

import os
import socket

import pytest
from tests.integration.cli.commands import one_line, penstock


@pytest.fixture
def source(tmp_path):
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "file").write_bytes(b"content")
    return directory


NOWHERE = ["--bootstrap-servers", "127.0.0.1:1"]


@pytest.mark.parametrize("command", ["watch", "download", "upload"])
def test_an_unknown_topic(command, kafka, source):
    done = penstock(command, source, "--topic", "nosuch", "--bootstrap-servers", kafka.bootstrap_servers)
    assert done.returncode == 1
    line = one_line(done)
    assert line.startswith(f"penstock {command}: topic 'nosuch'")
    assert "check its name" in line


def test_no_broker_is_waited_for_by_no_upload(source):
    done = penstock("upload", source, "--topic", "t", *NOWHERE)
    assert done.returncode == 1
    line = one_line(done)
    assert "no Kafka broker answers at 127.0.0.1:1" in line
    assert "--bootstrap-servers" in line


@pytest.mark.parametrize("command", ["watch", "download"])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{source}"], "--topic (PENSTOCK_TOPIC) is missing"),
        (["--topic", "t"], "DIR (PENSTOCK_DIRECTORY) is missing"),
        (["{source}/file", "--topic", "t", *NOWHERE], "is not a directory"),
        (["{source}/nothing", "--topic", "t", *NOWHERE], "nothing'"),
        (["{source}", "--topic", "t", "--kafka", "sasl.password:hunter2"], "must be KEY=VALUE pairs"),
        (["{source}", "--topic", "t", "--kafka", "acks=1", *NOWHERE], "Kafka property acks cannot be set"),
        (["{source}", "--topic", "t", "--kafka", "foo.bar=hunter2", *NOWHERE], 'property: "foo.bar"'),
        (["{source}", "--topic", "t", "--metrics-port", "many"], "--metrics-port (PENSTOCK_METRICS_PORT)"),
        (["{source}", "--topic", "t", "--log-format", "xml"], "'xml' is not one of 'text', 'json'"),
        (["{source}", "--topik", "t"], "did you mean '--topic'?"),
        (["{source}", "{source}", "--topic", "t"], "unexpected extra argument"),
        (["{source}", "--topic", "t", "--include", "", *NOWHERE], "glob"),
        (["{source}", "--topic", "t", "--config", "{source}/nothing.toml"], "cannot be read"),
    ],
)
def test_a_wrong_command_line(command, arguments, says, source):
    done = penstock(command, *(argument.format(source=source) for argument in arguments))
    assert done.returncode == 2, done.stderr
    line = one_line(done)
    assert says.lower() in line.lower()
    assert line.startswith(f"penstock {command}: ")
    assert "hunter2" not in line
    assert os.listdir(source) == ["file"]  # nothing was begun


@pytest.mark.parametrize("command", ["watch", "download"])
def test_a_key_of_the_file_that_is_nearly_right(command, source, tmp_path):
    file = tmp_path / "penstock.toml"
    file.write_text('topics = "t"\n[kafka]\n"sasl.password" = "hunter2"\n')
    line = one_line(done := penstock(command, source, "--config", file))
    assert done.returncode == 2
    assert "unknown key 'topics'; did you mean topic" in line
    assert "hunter2" not in line


def test_a_bad_variable_is_named_as_one(source):
    done = penstock("watch", source, "--topic", "t", PENSTOCK_CHUNK_SIZE="much")
    assert done.returncode == 2
    assert "(PENSTOCK_CHUNK_SIZE), from the environment = 'much'" in one_line(done)


@pytest.mark.parametrize("command", ["watch", "download"])
def test_a_directory_that_may_not_be_used(command, source):
    source.chmod(0)
    try:
        done = penstock(command, source, "--topic", "t", *NOWHERE)
    finally:
        source.chmod(0o755)
    assert done.returncode == 2
    one_line(done)


def test_a_port_that_is_in_use(source, kafka):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for arguments in (
            ["broker", "--port", port],
            ["watch", source, "--topic", "t", "--metrics-port", port, *NOWHERE],
            ["download", source, "--topic", "t", "--metrics-port", port, *NOWHERE],
        ):
            done = penstock(*arguments)
            assert done.returncode == 2, done.stderr
            line = one_line(done)
            assert str(port) in line
            assert "another port" in line.lower()


def test_an_unknown_command_that_is_nearly_right():
    done = penstock("wach")
    assert done.returncode == 2
    assert one_line(done) == "penstock: unknown command 'wach': did you mean watch? (see penstock --help)"


def test_a_secret_on_the_command_line_is_not_repeated(source):
    done = penstock("watch", source, "--topic", "t", "sasl.password=hunter2")
    assert done.returncode == 2
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ledger", "{source}"], "is not watched"),
        (["ledger", "{source}/nothing"], "does not exist"),
        (["ledger"], "DIR (PENSTOCK_DIRECTORY) is missing"),
        (["wait-drained", "{source}"], "is not watched"),
        (["wait-drained", "{source}", "--timeout", "soon"], "'soon' is not a valid float"),
        (["resend"], "name either PATHs"),
        (["resend", "{source}/file"], "is not in a watched directory"),
        (["resend", "{source}/file", "--unreceipted"], "name either PATHs"),
        (["demo", "--directory", "{source}/nothing"], "cannot be read"),
        (["broker", "--data-dir", "{source}/file"], "is a file"),
    ],
)
def test_commands_that_ask_the_wrong_thing(arguments, says, source):
    done = penstock(*(argument.format(source=source) for argument in arguments))
    assert done.returncode == 2, done.stderr
    assert says in one_line(done)
