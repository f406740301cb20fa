"""The process between us and a broker, which never lets the broker outlive us.

It runs on its own (`python -I guard.py ...`), with nothing but the standard library. It starts the command
that it is given, and takes orders on its standard input: `stop` and `kill`. Its standard input ends when the
process that started it is gone, however that ended (SIGKILL included, on every platform): then the broker is
stopped, killed if it takes too long, and the directory that was temporary is removed. If the guard itself is
killed, Linux kills the broker; the signal on the parent's death follows the thread that started the child,
which is the main one here.

On its standard output it says `pid N`, once. What the command writes goes to the guard's standard error.
"""

import argparse
import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

ORPHAN_GRACE_SECONDS = 5.0
"""How long a broker has, to stop in good order, once nobody can wait for it any more."""


def die_with_parent() -> Callable[[], None] | None:
    """Return what a child runs before it executes the command, to be killed by Linux when the guard dies."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl, pr_set_pdeathsig = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> int:
    """Run the command until it ends, is told to, or the parent is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--remove-if-orphaned")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()

    child = subprocess.Popen(
        arguments.command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=sys.stderr,
        preexec_fn=die_with_parent(),  # safe: there are no threads yet
    )
    with contextlib.suppress(OSError):  # the parent may be gone already: we shall read of that
        sys.stdout.write(f"pid {child.pid}\n")
        sys.stdout.flush()

    happened: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read_orders() -> None:
        for line in sys.stdin:
            happened.put(line.strip())
        happened.put("orphaned")

    def wait_for_child() -> None:
        child.wait()
        happened.put("exited")

    for work in (read_orders, wait_for_child):
        threading.Thread(target=work, daemon=True).start()

    orphaned = False
    while True:
        try:
            event = happened.get(timeout=1.0)
        except queue.Empty:
            # A fork of the parent may hold the other end of our standard input: so look at the parent, too.
            event = "orphaned" if sys.platform != "win32" and os.getppid() != arguments.parent else ""
        if event == "exited":
            break
        if event == "stop":
            child.terminate()
        elif event == "kill":
            child.kill()
        elif event == "orphaned" and not orphaned:
            orphaned = True
            child.terminate()
            killer = threading.Timer(ORPHAN_GRACE_SECONDS, child.kill)
            killer.daemon = True
            killer.start()
    if orphaned and arguments.remove_if_orphaned:
        shutil.rmtree(arguments.remove_if_orphaned, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
