"""How tests wait: for a condition, until a deadline; never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    condition: Callable[[], T],
    timeout: float = 30.0,
    describe: str | Callable[[], object] = "",
    interval: float = 0.02,
) -> T:
    """Return the first true value of `condition`; AssertionErrors that it raises count as false.

    `interval` is the time between two looks, for those that cost something.

    When that takes longer than `timeout` seconds, fail with `describe` (a text, or a function that is asked
    then) and with the last thing that was seen.
    """
    deadline = time.monotonic() + timeout
    while True:
        cause = None
        try:
            seen = condition()
            if seen:
                return seen
        except AssertionError as error:
            seen, cause = error, error
        if time.monotonic() > deadline:
            what = describe() if callable(describe) else describe
            raise AssertionError(
                f"not within {timeout:g} s: {what or condition} (last seen: {seen!r})"
            ) from cause
        time.sleep(interval)


def throughout(
    seconds: float, condition: Callable[[], object], describe: str = "", interval: float = 2.0
) -> None:
    """Hold that `condition` is true, and stays so for so many seconds; fail at once when it is not."""
    deadline = time.monotonic() + seconds
    while True:
        seen = condition()
        assert seen, f"{describe or condition}: {seen!r}, {deadline - time.monotonic():.0f} s before the end"
        if time.monotonic() > deadline:
            return
        time.sleep(interval)
