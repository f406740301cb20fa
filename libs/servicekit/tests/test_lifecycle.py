"""How a service is stopped, and what a user sees of how it ended."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from servicekit.lifecycle import Deadline, StopSignal

posix = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX'")


def run(body, *, send=(), **environ):
    """Run a program with `body` as its main(); send it signals, each after a line of its output."""
    program = (
        "import sys, threading\n"
        "from servicekit.exceptions import *\n"
        "from servicekit.lifecycle import *\n"
        "def main():\n" + "".join(f"    {line}\n" for line in body.splitlines()) + "\n"
        "sys.exit(run_service(main, name='penstock'))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environ,
    )
    try:
        for number in send:
            process.stdout.readline()
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    return process.returncode, out, err


WAITS = """
with StopSignal() as stop:
    print("ready", flush=True)
    stop.wait()
    print(stop.reason, flush=True)
"""
SET_BY_ITSELF = """
import signal
with StopSignal() as stop:
    stop.set("drained")
    seen = threading.Event()
    inner = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *args: (inner(*args), print("signalled", flush=True), seen.set()))
    print("ready", flush=True)
    while not seen.wait(0.05):
        pass
    print(stop.reason, flush=True)
"""
IGNORES = WAITS + "    threading.Event().wait()\n"


@posix
class TestSignals:
    @pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
    def test_the_first_asks_the_service_to_stop(self, name):
        code, out, err = run(WAITS, send=[getattr(signal, name)])

        assert (code, out.split(), err) == (0, [name], "")

    @pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
    def test_the_second_ends_it_at_once(self, name):
        number = getattr(signal, name)

        code, _, _ = run(IGNORES, send=[number, number])

        assert code == 128 + number

    def test_a_stop_that_the_service_asked_for_itself_is_no_first_signal(self):
        code, out, _ = run(SET_BY_ITSELF, send=[signal.SIGTERM])

        assert (code, out.split()) == (0, ["signalled", "drained"])

    def test_handlers_are_put_back(self):
        before = signal.getsignal(signal.SIGTERM)
        with StopSignal():
            assert signal.getsignal(signal.SIGTERM) != before
        assert signal.getsignal(signal.SIGTERM) == before

    def test_outside_the_main_thread_there_are_no_handlers_but_it_can_be_set(self):
        stop = StopSignal()
        entered = threading.Event()

        def serve():
            with stop:
                entered.set()
                stop.wait()

        thread = threading.Thread(target=serve)
        thread.start()
        entered.wait(10)
        stop.set("test")
        thread.join(10)

        assert not thread.is_alive()

    def test_one_that_comes_while_the_main_thread_holds_the_events_lock_does_not_lock_up(self):
        body = """
import signal
with StopSignal() as stop:
    with stop._event._cond:
        signal.raise_signal(signal.SIGTERM)
    stop.wait()
    print(stop.reason, flush=True)
"""
        code, out, _ = run(body)

        assert (code, out.split()) == (0, ["SIGTERM"])


class TestStopSignal:
    def test_keeps_the_first_reason(self):
        stop = StopSignal()
        assert stop.reason is None
        assert not stop.is_set()

        stop.set("drained")
        stop.set("SIGTERM")

        assert stop.reason == "drained"
        assert stop.is_set()
        assert stop.wait(0)

    def test_waits_no_longer_than_asked(self):
        assert not StopSignal().wait(0.001)

    def test_waits_in_slices_where_signals_do_not_interrupt(self):
        stop = StopSignal()
        assert not stop._wait_in_slices(0.001)
        stop.set("x")
        assert stop._wait_in_slices(None)


class TestDeadline:
    def test_all_steps_share_what_is_left(self):
        deadline = Deadline(1000)

        assert 999 < deadline.remaining <= 1000
        assert deadline.bound(5) == 5
        assert deadline.bound(5000) <= 1000
        assert not deadline.passed

    def test_when_it_has_passed_nothing_is_left_and_never_less(self):
        deadline = Deadline(-1)

        assert deadline.passed
        assert deadline.remaining == 0
        assert deadline.bound(5) == 0

    def test_none_never_passes(self):
        deadline = Deadline(None)

        assert not deadline.passed
        assert deadline.bound(5) == 5


class TestHowItEnds:
    def test_well(self):
        assert run("pass") == (0, "", "")

    def test_with_the_code_that_main_returns(self):
        assert run("return 3")[0] == 3

    def test_wrong_use_is_one_line_and_2(self):
        code, _, err = run("raise ConfigurationError('--chunk-size: too large')")

        assert (code, err) == (2, "penstock: --chunk-size: too large\n")

    def test_several_problems_are_a_line_each(self):
        _, _, err = run(r"raise ConfigurationError('--a: bad\n--b: bad')")

        assert err == "penstock: --a: bad\npenstock: --b: bad\n"

    def test_trouble_is_one_line_and_1(self):
        code, _, err = run("raise KafkaUnavailable('no broker')")

        assert (code, err) == (1, "penstock: no broker\n")

    @posix
    def test_ctrl_c_before_anyone_listens_is_130(self):
        code, _, err = run("print('ready', flush=True)\nthreading.Event().wait()", send=[signal.SIGINT])

        assert (code, err) == (130, "penstock: interrupted\n")

    def test_a_bug_is_one_line_that_says_so_and_no_traceback(self):
        code, _, err = run("{}['missing']")

        assert code == 70
        assert len(err.splitlines()) == 1
        assert "this is a bug: KeyError: 'missing'" in err
        assert "report it" in err

    def test_a_bug_at_level_debug_comes_with_its_traceback(self):
        _, _, err = run("{}['missing']", PENSTOCK_LOG_LEVEL="debug")

        assert "Traceback" in err

    def test_a_bug_in_a_thread_is_one_line_too(self):
        code, _, err = run("t = threading.Thread(target=lambda: 1 / 0, name='reader')\nt.start()\nt.join()")

        assert code == 0
        assert len(err.splitlines()) == 1
        assert "thread reader ended: this is a bug: ZeroDivisionError" in err
