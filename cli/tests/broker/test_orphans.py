"""No broker outlives the process that started it, however that process ended."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.waiting import eventually

PARENT = """
import json, sys, threading
from penstock.broker import Broker
def work():
    with Broker() as broker:
        print(json.dumps({"pid": broker.pid, "directory": str(broker.data_dir)}), flush=True)
        sys.stdin.read()
threading.Thread(target=work).start()  # so that what follows the thread, rather than the process, would show
"""

FORKING_PARENT = (
    PARENT
    + """
import os, time
sys.stdin.readline()
if os.fork() == 0:
    time.sleep(600)  # holds copies of all open pipes
"""
)


FORGETFUL_PARENT = """
import gc, json, sys
from penstock.broker import Broker
broker = Broker(sys.argv[1])
broker.start()
print(json.dumps({"pid": broker.pid, "directory": str(broker.data_dir)}), flush=True)
sys.stdin.readline()
del broker
gc.collect()
sys.stdin.read()
"""


def started(program: str, *arguments: object) -> tuple[subprocess.Popen, psutil.Process, Path]:
    parent = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    said = json.loads(parent.stdout.readline())
    return parent, psutil.Process(said["pid"]), Path(said["directory"])


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_parent_that_a_signal_ends_leaves_no_broker_and_no_data(number):
    parent, broker, directory = started(PARENT)
    guard = broker.parent()
    with parent:
        os.kill(parent.pid, number)
        parent.wait(10)
    eventually(lambda: gone(broker) and gone(guard), 15, "broker and guard are gone")
    assert not directory.exists()


def test_a_broker_dies_with_its_guard():
    parent, broker, directory = started(PARENT)
    with parent:
        broker.parent().kill()
        eventually(lambda: gone(broker), 15, "the broker is gone")
        parent.stdin.close()
        parent.wait(30)
    assert not directory.exists()


def test_a_fork_of_the_parent_does_not_keep_the_broker():
    parent, broker, _ = started(FORKING_PARENT)
    with parent:
        parent.stdin.write("\n")
        parent.stdin.flush()
        [fork] = eventually(
            lambda: [c for c in psutil.Process(parent.pid).children() if c.pid != broker.ppid()],
            describe="the fork",
        )
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(10)
    try:
        eventually(lambda: gone(broker), 15, "the broker is gone")
    finally:
        fork.kill()


def test_a_broker_that_nobody_refers_to_any_more_ends(tmp_path):
    parent, broker, _ = started(FORGETFUL_PARENT, tmp_path)
    with parent:
        parent.stdin.write("\n")
        parent.stdin.flush()
        eventually(lambda: gone(broker), 15, "the broker is gone")
        assert parent.poll() is None
