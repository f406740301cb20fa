"""How a service starts, is asked to stop, and ends."""

from __future__ import annotations

import _thread
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType

from servicekit import logs
from servicekit.exceptions import PenstockError

log = logging.getLogger(__name__)


class StopSignal:
    """Says that the service must stop, and why. It is set once and never cleared.

    `with StopSignal() as stop:` in the main thread lets SIGINT and SIGTERM set it (Ctrl-C and Ctrl-Break on
    Windows); a second one ends the process at once with 128 + its number, for the person whose patience is
    over. Anywhere else, and in tests, `set(reason)` does the same without signals.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reason: str | None = None
        self._signalled = False
        self._previous: dict[int, object] = {}

    @property
    def reason(self) -> str | None:
        """Why to stop, such as "SIGTERM"; None while there is no need to."""
        return self._reason

    def set(self, reason: str) -> None:
        """Ask for the stop. Only the first reason is kept."""
        if self._reason is None:
            self._reason = reason
        self._event.set()

    def is_set(self) -> bool:
        """Whether the service must stop."""
        return self._event.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the service must stop, at most `timeout` seconds; whether it must."""
        if sys.platform == "win32":
            return self._wait_in_slices(timeout)
        return self._event.wait(timeout)

    def _wait_in_slices(self, timeout: float | None) -> bool:
        # A wait cannot be interrupted on Windows, and a handler only runs between two of them.
        deadline = Deadline(timeout)
        while not self._event.wait(deadline.bound(0.5)):
            if deadline.passed:
                return False
        return True

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
                number = getattr(signal, name, None)
                if number is not None:
                    self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # it is what signal.signal() returned
        self._previous.clear()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._signalled:
            os._exit(128 + number)
        self._signalled = True
        # Not set() itself: a handler runs in the main thread, which may be inside of this event's lock.
        _thread.start_new_thread(self.set, (signal.Signals(number).name,))


class Deadline:
    """One point in time (monotonic) that everything which a shutdown or a revoke must finish shares.

    `Deadline(None)` never passes.
    """

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left, never negative; `inf` if it never passes."""
        return float("inf") if self._at is None else max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self._at is not None and time.monotonic() >= self._at

    def bound(self, seconds: float) -> float:
        """Return `seconds`, or what is left if that is less: a timeout for one step of many."""
        return min(seconds, self.remaining)


def run_service(main: Callable[[], int | None], *, name: str | None = None) -> int:
    """Run `main` as a console script does and return the exit code: `raise SystemExit(run_service(main))`.

    Logs are configured with their defaults (and PENSTOCK_LOG_FORMAT, PENSTOCK_LOG_LEVEL) until `main` knows
    better. A PenstockError becomes one line on stderr and its exit code (1, or 2 for wrong use); Ctrl-C 130.
    Anything else is a bug: one line that says so and exit code 70 (EX_SOFTWARE); its traceback is logged at
    level debug, so no user meets one. `name` is the program's in these lines, by default that of the script.
    """
    program = name or os.path.basename(sys.argv[0]) or "penstock"
    threading.excepthook = _report_thread
    with suppress(ValueError, OSError):  # there may be no stderr
        faulthandler.enable()  # where a crash below Python happened
    try:
        logs.configure_from_environment()
        return main() or 0
    except PenstockError as error:
        log.debug("ended by %s", type(error).__name__, exc_info=error)
        for line in str(error).splitlines():
            _say(f"{program}: {line}")
        return error.exit_code
    except KeyboardInterrupt:
        _say(f"{program}: interrupted")
        return 130
    except Exception as error:  # the last line of defence
        log.debug("ended by a bug", exc_info=error)
        _say(f"{program}: {describe_bug(error)}")
        return 70


def describe_bug(error: BaseException) -> str:
    """One line about an exception that nobody foresaw: its type, text and place, and what to do."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return (
        f"this is a bug: {type(error).__name__}{': ' if text else ''}{text}{place}; "
        f"run it again with --log-level debug to see where it comes from, and report it"
    )


def _report_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or isinstance(args.exc_value, SystemExit):
        return
    thread = args.thread.name if args.thread else "?"
    log.error("thread %s ended: %s", thread, describe_bug(args.exc_value))
    log.debug("thread %s", thread, exc_info=args.exc_value)


def _say(line: str) -> None:
    print(line.replace("\n", " "), file=sys.stderr, flush=True)  # noqa: T201 - the one line that a user gets
