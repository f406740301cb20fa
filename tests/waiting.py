"""How tests wait: for a condition, until a deadline; never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    condition: Callable[[], T], timeout: float = 30.0, describe: str | Callable[[], object] = ""
) -> T:
    """Return the first true value of `condition`; AssertionErrors that it raises count as false.

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
        time.sleep(0.02)
