"""Faults that the chaos tests ask for, and nobody else."""

import errno
import os
import subprocess
import sys

import pytest

from servicekit import faults
from servicekit.exceptions import ConfigurationError

faults.declare("test.one", "test.two")

PROGRAM = """
from servicekit import faults
faults.declare("test.one")
for n in range(5):
    print(n, flush=True)
    faults.crash_point("test.one")
"""


@pytest.fixture(autouse=True)
def _disarm():
    yield
    faults.arm({})


def run(**environ):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("at", "survived"), [("test.one", 1), ("test.one:3", 3), ("test.two,test.one:2", 2)])
def test_the_process_dies_at_the_nth_hit_as_by_kill_9(at, survived):
    ended = run(PENSTOCK_CRASH_AT=at)

    assert ended.returncode in (-9, 137)
    assert ended.stdout.split() == [str(n) for n in range(survived)]


@pytest.mark.parametrize("at", ["", "test.two", "test.one:6"])
def test_nothing_happens_otherwise(at):
    assert run(PENSTOCK_CRASH_AT=at).returncode == 0


def test_a_fail_point_raises_what_was_asked_for_as_often_as_asked():
    faults.arm({"PENSTOCK_FAIL_AT": "test.one=ENOSPC:2,test.two=EIO"})

    for _ in range(2):
        with pytest.raises(OSError, match="PENSTOCK_FAIL_AT") as raised:
            faults.fail_point("test.one")
        assert raised.value.errno == errno.ENOSPC
    faults.fail_point("test.one")
    for _ in range(5):
        with pytest.raises(OSError, match="PENSTOCK_FAIL_AT") as raised:
            faults.fail_point("test.two")
        assert raised.value.errno == errno.EIO


@pytest.mark.parametrize("point", [faults.crash_point, faults.fail_point])
def test_a_point_that_was_never_declared_is_a_mistake(point):
    with pytest.raises(AssertionError, match=r"'test\.three' was never"):
        point("test.three")


def test_declared_names_can_be_gone_through():
    assert {"test.one", "test.two"} <= set(faults.declared())


@pytest.mark.parametrize(
    "environ",
    [
        {"PENSTOCK_CRASH_AT": "test.one:x"},
        {"PENSTOCK_CRASH_AT": "test.one:0"},
        {"PENSTOCK_FAIL_AT": "test.one"},
        {"PENSTOCK_FAIL_AT": "test.one=NOSUCH"},
        {"PENSTOCK_FAIL_AT": "test.one=EIO:-1"},
    ],
)
def test_what_cannot_be_understood_is_refused(environ):
    with pytest.raises(ConfigurationError):
        faults.arm(environ)
