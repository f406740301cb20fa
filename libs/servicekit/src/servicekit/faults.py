"""Named places where a test can make the process die or an operation fail.

A module declares its names when it is imported and marks the places:

    declare("ledger.before-commit")
    ...
    crash_point("ledger.before-commit")

Nothing happens there unless the environment asks for it:

- `PENSTOCK_CRASH_AT=ledger.before-commit` kills the process (SIGKILL: no handler, no flush, no atexit)
  the first time it gets there, `PENSTOCK_CRASH_AT=ledger.before-commit:3` the third time;
- `PENSTOCK_FAIL_AT=sink.write=ENOSPC` makes every `fail_point("sink.write")` raise that OSError,
  `PENSTOCK_FAIL_AT=sink.write=ENOSPC:2` only the first two.

Several are separated by commas. The environment is read once, when this module is imported, so that a place
costs a look at an empty dict; tests within a process use `arm()`.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Mapping

from servicekit.exceptions import ConfigurationError

_declared: set[str] = set()
_crash_at: dict[str, int] = {}  # name -> hits left until the one that kills
_fail_at: dict[str, tuple[int, int]] = {}  # name -> (errno, failures left; -1: always)
_lock = threading.Lock()


def declare(*names: str) -> None:
    """Make fault points known by name. Call it where the module with these points is imported."""
    _declared.update(names)


def declared() -> list[str]:
    """Return the fault points of all modules imported so far, sorted, for tests to go through."""
    return sorted(_declared)


def crash_point(name: str) -> None:
    """Die here if the environment says so: as by `kill -9`, with exit code 137 where there are no signals."""
    if __debug__ and name not in _declared:
        raise AssertionError(f"fault point {name!r} was never declared")
    if not _crash_at or name not in _crash_at:
        return
    with _lock:
        _crash_at[name] -= 1
        if _crash_at[name] > 0:
            return
    if hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(137)


def fail_point(name: str) -> None:
    """Raise the OSError here that the environment asks for; nothing otherwise."""
    if __debug__ and name not in _declared:
        raise AssertionError(f"fault point {name!r} was never declared")
    if not _fail_at or name not in _fail_at:
        return
    with _lock:
        number, left = _fail_at[name]
        if left == 0:
            return
        if left > 0:
            _fail_at[name] = (number, left - 1)
    raise OSError(number, f"{os.strerror(number)} (asked for by PENSTOCK_FAIL_AT)")


def arm(environ: Mapping[str, str]) -> None:
    """Take the faults from `environ` instead of those asked for until now; an empty mapping disarms.

    Raises ConfigurationError for what cannot be understood.
    """
    crashes: dict[str, int] = {}
    for item in _items(environ.get("PENSTOCK_CRASH_AT", "")):
        name, colon, count = item.partition(":")
        crashes[name] = _count(count, "PENSTOCK_CRASH_AT", item) if colon else 1
    failures: dict[str, tuple[int, int]] = {}
    for item in _items(environ.get("PENSTOCK_FAIL_AT", "")):
        name, equals, error = item.partition("=")
        error_name, colon, count = error.partition(":")
        number = getattr(errno, error_name, None)
        if not equals or not isinstance(number, int):
            raise ConfigurationError(
                f"PENSTOCK_FAIL_AT: {item!r} is not NAME=ERRNO[:COUNT], such as sink.write=ENOSPC:2"
            )
        failures[name] = (number, _count(count, "PENSTOCK_FAIL_AT", item) if colon else -1)
    with _lock:
        _crash_at.clear()
        _crash_at.update(crashes)
        _fail_at.clear()
        _fail_at.update(failures)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _count(text: str, variable: str, item: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ConfigurationError(f"{variable}: {item!r} must end with a count of at least 1")
    return int(text)


arm(os.environ)
