"""What `penstock broker` does: a broker in the foreground of a terminal."""

import signal
import sys
import threading
from pathlib import Path

from penstock.broker.broker import Broker
from penstock.broker.jars import Progress
from penstock.broker.settings import Listener

_DEFAULT_PORT = 9092


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(
    port: int = _DEFAULT_PORT,
    data_dir: Path | str | None = None,
    *,
    listener: Listener | None = None,
    say: Progress = _say,
) -> None:
    """Run a broker until SIGINT or SIGTERM, then stop it in good order.

    Says through `say`, in lines, what takes long, and then `ready: ` with the address. Call it from the main
    thread. Raises `BrokerError` (one line, for the person at the terminal) when the broker cannot start, or
    ends by itself.

    Args:
        port: TCP port for clients; 0: a free one.
        data_dir: where data is kept; None: a temporary directory that is removed at the end.
        listener: where clients on other machines find it; None: they don't, it listens on loopback.
        say: told each line; prints it by default.
    """
    asked = threading.Event()

    def interrupt(_signal: int, _frame: object) -> None:
        if not asked.is_set():  # a second Ctrl-C must not break the stop that the first one began
            asked.set()
            say("stopping ...")
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Broker(data_dir, port, listener=listener, progress=say, record_classes=False) as broker:
            where = broker.data_dir if data_dir is not None else "temporary (--data-dir keeps it)"
            say(f"ready: {broker.bootstrap_servers}")
            say(f"data: {where}; log: {broker.log_path}; Ctrl-C stops it")
            usual = broker.port == _DEFAULT_PORT and listener is None
            there = "" if usual else f" --bootstrap-servers {broker.bootstrap_servers}"
            say(f"next, make a topic: penstock create-topic NAME{there}")
            while not asked.wait(0.5):
                broker.check_running()
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    say("stopped")
