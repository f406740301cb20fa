"""Opening files so that nothing else is read in their stead."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from servicekit.filesystem import (
    HAS_DIR_FD,
    O_BINARY,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_NONBLOCK,
    Fingerprint,
    permission_bits,
)

TICK_SECONDS: Final = 0.012
"""The kernel stamps files with a clock that moves once per timer tick: 10 ms at CONFIG_HZ=100, the slowest
there is (`current_time()` in fs/inode.c, before the multigrain timestamps of Linux 6.13). A write within
the tick of the last one leaves no trace in a fingerprint; so a file is not opened before the tick of its
last change is over."""

_HASH_BYTES: Final = 1024 * 1024


class NotRegular(OSError):
    """What is at the path is no file: a directory, link, pipe or device."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EINVAL, "not a regular file", path)


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that is open for reading, and what it was like then."""

    fd: int
    fingerprint: Fingerprint
    mode: int | None


def open_beneath(root: str, relative: str) -> Opened:
    """Open a regular file below `root`; no component of `relative` may be a symbolic link.

    Raises NotRegular, and OSError as open() does (ELOOP, or ENOTDIR, for a link).
    """
    # O_NONBLOCK: a pipe that took the file's place must not hold us up.
    flags = os.O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_BINARY | O_NONBLOCK
    if HAS_DIR_FD and "/" in relative:
        *parents, name = relative.split("/")
        directory = os.open(root, os.O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        try:
            for parent in parents:
                below = os.open(parent, os.O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, dir_fd=directory)
                os.close(directory)
                directory = below
            fd = os.open(name, flags, dir_fd=directory)
        finally:
            os.close(directory)
    else:
        path = os.path.join(root, *relative.split("/"))
        if not HAS_DIR_FD and os.path.realpath(path) != path:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        fd = os.open(path, flags)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegular(relative)
    except BaseException:
        os.close(fd)
        raise
    return Opened(fd, Fingerprint.of(status), permission_bits(status))


def seconds_until_tick_over(fingerprint: Fingerprint, now: float | None = None) -> float:
    """How long until a further change of the file would show in its fingerprint; `now` in seconds since 1970.

    Zero for times that lie in the future by more than a tick: another machine's clock made them.
    """
    age = (time.time() if now is None else now) - fingerprint.ctime_ns / 1e9
    return TICK_SECONDS - age if -TICK_SECONDS < age < TICK_SECONDS else 0.0


def read_exactly(fd: int, length: int, offset: int) -> bytes:
    """Read `length` bytes at `offset`; fewer only if the file ends there."""
    data = pread(fd, length, offset)
    if len(data) == length:
        return data
    pieces = [data]
    total = len(data)
    while pieces[-1] and total < length:
        pieces.append(pread(fd, length - total, offset + total))
        total += len(pieces[-1])
    return b"".join(pieces)


if hasattr(os, "pread"):
    pread = os.pread
else:

    def pread(fd: int, length: int, offset: int) -> bytes:
        """Read at a place; where the system cannot do so in one go, nobody else may use the descriptor."""
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, length)


class Interrupted(Exception):
    """Reading was to end before the file did."""


def hash_file(fd: int, interrupted: Callable[[], bool] = lambda: False) -> tuple[bytes, int]:
    """Give BLAKE3 and length of all that the open file holds; raises Interrupted once that is true."""
    hasher = blake3()
    offset = 0
    while data := pread(fd, _HASH_BYTES, offset):
        if interrupted():
            raise Interrupted
        hasher.update(data)
        offset += len(data)
    return hasher.digest(), offset
