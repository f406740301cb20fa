"""What is in a directory, with the digest of each file: read by several threads, a bounded number ahead."""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from blake3 import blake3

from penstock_uploader.watch import Sighting, Unreadable, walk
from servicekit.filesystem import Fingerprint
from servicekit.globs import PathFilter

BLOCK: Final = 1024 * 1024
THREADS: Final = min(4, os.cpu_count() or 1)
AHEAD: Final = 256
"""Files that may be read before anybody has asked for them."""

_READ: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file that was read: relative path (POSIX) below the root, size in bytes, BLAKE3 in hexadecimal.

    Without a digest `problem` says why; `changing`: it is because somebody wrote to it meanwhile.
    """

    path: str
    size: int
    digest: str | None
    problem: str = ""
    changing: bool = False


class Observer(Protocol):
    """Is told, from any thread, how reading goes on."""

    def progress(self, name: str, done: int, size: int) -> None:
        """So many bytes of a file were read."""

    def finished(self, name: str, size: int) -> None:
        """All is done with a file."""


class Interrupted(Exception):
    """Nobody wants to know any more."""


def hashed_files(root: str, below: str, paths: PathFilter, observer: Observer) -> Generator[Hashed]:
    """Yield the files in `root`/`below` that an uploader of `root` would send, in the order of the walk."""
    stop = threading.Event()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="hash")
    waiting: deque[Future[Hashed | None]] = deque()

    def taken() -> Iterator[Hashed]:
        found = waiting.popleft().result()
        if found is not None:
            yield found

    try:
        for item in walk(root, below, paths):
            if isinstance(item, Unreadable):
                reason = f"directory cannot be read: {item.error.strerror}"
                yield Hashed(item.path or ".", 0, None, reason)
                continue
            waiting.append(pool.submit(_hash, root, item, observer, stop))
            if len(waiting) >= AHEAD:
                yield from taken()
        while waiting:
            yield from taken()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _hash(root: str, sighting: Sighting, observer: Observer, stop: threading.Event) -> Hashed | None:
    """Read a file; None if it is gone, or no file any more."""
    path, size = sighting.path, sighting.fingerprint.size
    try:
        fd = os.open(os.path.join(root, path), _READ | _BINARY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Hashed(path, size, None, f"cannot be read: {error.strerror}")
    with open(fd, "rb", buffering=0) as stream:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            return None
        try:
            digest = _digest(stream.readinto, path, before.st_size, observer, stop)
        except OSError as error:
            return Hashed(path, size, None, f"cannot be read: {error.strerror}")
        after = os.fstat(fd)
    observer.finished(path, after.st_size)
    if Fingerprint.of(before) != Fingerprint.of(after):
        return Hashed(path, after.st_size, None, "it changed while it was read here", changing=True)
    return Hashed(path, after.st_size, digest)


class _ReadInto(Protocol):
    def __call__(self, buffer: bytearray, /) -> int | None: ...


def _digest(read: _ReadInto, path: str, size: int, observer: Observer, stop: threading.Event) -> str:
    hasher = blake3()
    buffer = bytearray(min(BLOCK, size + 1))
    view = memoryview(buffer)
    done = 0
    while count := read(buffer):
        if stop.is_set():
            raise Interrupted
        hasher.update(view[:count])
        done += count
        if done < size:
            observer.progress(path, done, size)
    return hasher.hexdigest()
