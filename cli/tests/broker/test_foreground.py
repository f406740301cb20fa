"""What `penstock broker` does in a terminal."""

import os
import re
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from tests.kafka import Kafka

PROGRAM = """
import sys
from penstock.broker import BrokerError, run
try:
    run(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
except BrokerError as error:
    sys.exit(str(error))
"""


def launch(*arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_told_to_stop(tmp_path, number):
    with launch(0, tmp_path / "data") as program:
        line = program.stdout.readline()
        while not line.startswith("ready: "):
            assert line, program.stderr.read()
            line = program.stdout.readline()
        assert re.fullmatch(r"ready: 127\.0\.0\.1:\d+\n", line)
        kafka = Kafka({"bootstrap.servers": line.removeprefix("ready: ").strip()})
        kafka.send(kafka.create_topic(), b"hello")
        children = psutil.Process(program.pid).children(recursive=True)
        os.kill(program.pid, number)
        out, err = program.communicate(timeout=30)
    assert (program.returncode, err, out.splitlines()[-1]) == (0, "", "stopped")
    assert children
    assert not any(child.is_running() for child in children)


def test_a_port_in_use_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with launch(port) as program:
            _, err = program.communicate(timeout=60)
    assert program.returncode == 1
    assert err.splitlines() == [
        f"port {port} of 127.0.0.1 is in use by another program: stop that, or choose another port"
    ]
