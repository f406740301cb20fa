"""What can keep a file from its place.

::

    Obstacle
    ├── Refused              this one file cannot be delivered here: it is rejected, with a `Reason`
    ├── Skipped              this one file is not wanted here: receipted as skipped
    ├── PartialLost          what was written of an unfinished file is not there (any more): read it again
    └── SinkUnavailable      nothing can be delivered just now (full, read-only, broken): wait, and go on
"""

from __future__ import annotations

import errno
from typing import Final

from chunkproto import Reason, SkipReason


class Obstacle(Exception):
    """The root of these."""


class Refused(Obstacle):
    """This one file cannot be delivered here."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Skipped(Obstacle):
    """This one file is not wanted here."""

    def __init__(self, reason: SkipReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class PartialLost(Obstacle):
    """An unfinished file's bytes are not all there, or may not be: its records have to be read again."""


class SinkUnavailable(Obstacle):
    """The destination takes nothing just now. Waiting, and mending it, is the cure."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"{error.strerror or error}")
        self.errno = error.errno


_UNAVAILABLE: Final = frozenset(
    number
    for name in (
        "ENOSPC",
        "EDQUOT",
        "EROFS",
        "EIO",
        "ESTALE",
        "ENOMEM",
        "EMFILE",
        "ENFILE",
        "ENODEV",
        "ENXIO",
        "ETIMEDOUT",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ECONNREFUSED",
        "ECONNRESET",
        "ECONNABORTED",
        "ENETDOWN",
        "ENETUNREACH",
        "ENOBUFS",
        "ENOLCK",
        "EAGAIN",
        "EKEYEXPIRED",
        "EKEYREVOKED",
        "ENOTCONN",
        "EREMOTEIO",
        "ESHUTDOWN",
        "EUCLEAN",
    )
    if (number := getattr(errno, name, None)) is not None
)


def is_unavailable(error: OSError) -> bool:
    """Whether the error says something of the whole destination, and not of one file."""
    return error.errno in _UNAVAILABLE


__all__ = ["Obstacle", "PartialLost", "Refused", "SinkUnavailable", "Skipped", "is_unavailable"]
