"""What happens in the watched directory: by events, where the system tells them, and by scans.

inotify (by watchdog) makes files known at once; a scan at the start, from time to time, whenever events were
lost, and of each directory that appears makes sure of all the rest. So no event has to be trusted.

Symbolic links are never followed and never sent; hard links are files. `.penstock` is left alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver

from chunkproto.paths import RESERVED_NAME
from servicekit.filesystem import Fingerprint, filesystem_type, is_remote
from servicekit.globs import PathFilter
from servicekit.logs import Limiter, fields

log = logging.getLogger(__name__)

_BATCH: Final = 256
_MAX_EVENTS: Final = 50_000
"""Events held for the service; above, they are dropped and a scan finds the files instead."""
_OVERFLOW_LOGGERS: Final = ("watchdog.observers.inotify_c", "watchdog.observers.inotify")
"""watchdog 7 tells its handlers nothing of an overflow of the kernel's queue, but logs a warning here."""


class Seen(Enum):
    """What an event says of a file."""

    CLOSED = "closed"
    """A writer has closed it, or it was renamed to this place: it is complete, as far as anyone can tell."""
    TOUCHED = "touched"
    """It is there, or has changed."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A regular file that a scan has met, relative to the root."""

    path: str
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class ScanDone:
    """A scan of the whole directory that began after request number `ticket` has ended."""

    ticket: int
    files: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A directory that a scan could not look into; empty: the root itself."""

    path: str
    error: OSError


Found = list[Sighting] | ScanDone | Unreadable


def to_relative(root: str, path: str) -> str | None:
    """Give the wire form (with `/`) of a path below the root; None for what is not or is `.penstock`."""
    prefix = root if root.endswith(os.sep) else root + os.sep
    if not path.startswith(prefix):
        return None
    relative = path[len(prefix) :]
    if os.sep != "/":
        relative = relative.replace(os.sep, "/")
    return None if is_reserved(relative) else relative


def is_reserved(relative: str) -> bool:
    """Whether the path is, or lies below, a `.penstock`."""
    return RESERVED_NAME in relative.lower() and RESERVED_NAME in relative.lower().split("/")


def walk(root: str, below: str = "", paths: PathFilter | None = None) -> Iterator[Sighting | Unreadable]:
    """Yield the regular files in `root`/`below`, holding in memory only one directory for each level."""
    stack: list[str] = [below]
    while stack:
        directory = stack.pop()
        try:
            with os.scandir(os.path.join(root, directory) if directory else root) as entries:
                for entry in entries:
                    if entry.name.lower() == RESERVED_NAME:
                        continue
                    path = f"{directory}/{entry.name}" if directory else entry.name
                    with contextlib.suppress(FileNotFoundError):
                        if entry.is_dir(follow_symlinks=False):
                            if paths is None or not paths.excludes_directory(path):
                                stack.append(path)
                        elif entry.is_file(follow_symlinks=False) and (paths is None or paths.wants(path)):
                            # On Windows a directory entry has no inode and stale sizes: ask the file.
                            status = (
                                os.stat(entry.path, follow_symlinks=False)
                                if sys.platform == "win32"
                                else entry.stat(follow_symlinks=False)
                            )
                            yield Sighting(path, Fingerprint.of(status))
        except (FileNotFoundError, NotADirectoryError) as error:
            if not directory:
                yield Unreadable(directory, error)
        except OSError as error:
            yield Unreadable(directory, error)


class Watch:
    """Watches `root` in threads of its own; the service takes what they have found.

    `wake` is called, from any thread, when there is something to take.
    """

    def __init__(
        self,
        root: str,
        paths: PathFilter,
        *,
        polling: bool | None,
        scan_interval: float,
        polling_interval: float,
        wake: Callable[[], None],
    ) -> None:
        self._root = root
        self._paths = paths
        self._wake = wake
        self._events: deque[tuple[str, Seen]] = deque()
        self._found: queue.Queue[Found] = queue.Queue(maxsize=8)
        self._requests = threading.Condition()
        self._requested = 0
        self._subtrees: set[str] = set()
        self._stopping = False
        self._observer: BaseObserver | None = None
        self._watched_inode: int | None = None
        self._overflow = _OverflowHandler(self._on_overflow)
        self._limiter = Limiter(every_seconds=600)
        self.polling = self._choose_polling(polling)
        """Whether scans are all there is."""
        self._interval = polling_interval if self.polling else scan_interval
        self._thread = threading.Thread(target=self._scan_for_ever, name="scan", daemon=True)

    def start(self) -> None:
        """Begin to watch; the first scan follows at once."""
        for name in _OVERFLOW_LOGGERS:
            logging.getLogger(name).addHandler(self._overflow)
        self._observe()
        self.request_scan()
        self._thread.start()

    def stop(self) -> None:
        """End all threads."""
        with self._requests:
            self._stopping = True
            self._requests.notify_all()
        for name in _OVERFLOW_LOGGERS:
            logging.getLogger(name).removeHandler(self._overflow)
        self._end_observer()
        if self._thread.ident is not None:
            self._thread.join()

    def request_scan(self) -> int:
        """Ask for a scan of everything; `ScanDone` with this ticket, or a higher one, answers it."""
        with self._requests:
            self._requested += 1
            self._requests.notify_all()
            return self._requested

    def events(self, limit: int) -> list[tuple[str, Seen]]:
        """Take at most `limit` events."""
        taken: list[tuple[str, Seen]] = []
        with contextlib.suppress(IndexError):
            while len(taken) < limit:
                taken.append(self._events.popleft())
        return taken

    def found(self) -> Found | None:
        """Take the next thing that a scan has found."""
        try:
            return self._found.get_nowait()
        except queue.Empty:
            return None

    @property
    def has_news(self) -> bool:
        """Whether there is something to take."""
        return bool(self._events) or not self._found.empty()

    # From watchdog's threads

    def _on_event(self, event: FileSystemEvent) -> None:
        moved = isinstance(event, DirMovedEvent | FileMovedEvent)
        path = os.fsdecode(event.dest_path if moved else event.src_path)
        relative = to_relative(self._root, path) if path else None
        if relative is None:
            return  # moved out, or ours
        if event.is_directory:
            if not self._paths.excludes_directory(relative):
                with self._requests:
                    self._subtrees.add(relative)
                    self._requests.notify_all()
            return
        if not self._paths.wants(relative):
            return
        if len(self._events) >= _MAX_EVENTS:
            self.request_scan()
            return
        complete = moved or isinstance(event, FileClosedEvent)
        self._events.append((relative, Seen.CLOSED if complete else Seen.TOUCHED))
        self._wake()

    def _on_overflow(self) -> None:
        log.warning("events were lost: more happened in %s than the system can hold; scanning it", self._root)
        self.request_scan()

    def _observe(self) -> None:
        if self.polling:
            return
        try:
            self._watched_inode = os.stat(self._root).st_ino
            observer, kinds = _make_observer()
            observer.schedule(_Handler(self._on_event), self._root, recursive=True, event_filter=kinds)
            observer.start()
            self._observer = observer
        except OSError as error:
            # Most often the limit fs.inotify.max_user_watches or max_user_instances.
            if self._limiter.first("observe"):
                log.warning(
                    "%s cannot be watched by events (%s); looking at it every %g seconds instead",
                    self._root,
                    error.strerror or error,
                    self._interval,
                )

    def _end_observer(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join()

    # The scanning thread

    def _scan_for_ever(self) -> None:
        served = 0
        next_scan = time.monotonic()
        while True:
            with self._requests:
                while not (
                    self._stopping
                    or self._requested > served
                    or self._subtrees
                    or time.monotonic() >= next_scan
                ):
                    self._requests.wait(max(0.0, next_scan - time.monotonic()))
                if self._stopping:
                    return
                full = self._requested > served or time.monotonic() >= next_scan
                ticket = self._requested
                subtrees = sorted(self._subtrees)
                self._subtrees.clear()
            began = time.monotonic()
            if not full:
                for subtree in subtrees:
                    self._scan(subtree)
                continue
            files = self._scan("")
            served = ticket
            self._put(ScanDone(ticket, files))
            # A directory so large that looking at it takes long must not be looked at all the time.
            took = time.monotonic() - began
            next_scan = time.monotonic() + max(self._interval, 10 * took)
            self._watch_again_if_replaced()

    def _scan(self, below: str) -> int:
        batch: list[Sighting] = []
        files = 0
        for item in walk(self._root, below, self._paths):
            if isinstance(item, Unreadable):
                self._put(item)
                continue
            files += 1
            batch.append(item)
            if len(batch) == _BATCH:
                if not self._put(batch):
                    return files
                batch = []
        if batch:
            self._put(batch)
        return files

    def _put(self, item: Found) -> bool:
        while not self._stopping:
            try:
                self._found.put(item, timeout=0.2)
            except queue.Full:
                continue
            self._wake()
            return True
        return False

    def _watch_again_if_replaced(self) -> None:
        """Observe anew if the directory was removed or mounted over: the observer would see nothing more."""
        if self.polling:
            return
        try:
            inode = os.stat(self._root).st_ino
        except OSError:
            return
        observer = self._observer
        alive = observer is not None and all(emitter.is_alive() for emitter in observer.emitters)
        if alive and inode == self._watched_inode:
            return
        self._end_observer()
        self._observe()
        self.request_scan()

    def _choose_polling(self, given: bool | None) -> bool:
        kind = filesystem_type(self._root)
        remote = is_remote(kind)
        if given is None and remote:
            log.info(
                "%s is on %s, which tells nothing of changes made elsewhere: polling",
                self._root,
                kind,
                extra=fields(filesystem=kind),
            )
        return remote if given is None else given


def _make_observer() -> tuple[BaseObserver, list[type[FileSystemEvent]]]:
    """Give watchdog's observer for this system, and the events that matter there."""
    kinds: list[type[FileSystemEvent]] = [DirCreatedEvent, DirMovedEvent, FileCreatedEvent, FileMovedEvent]
    if sys.platform == "linux":
        from watchdog.observers.inotify import InotifyObserver

        # Only with full events a file moved in from elsewhere is told from one that was just created.
        return InotifyObserver(generate_full_events=True), [*kinds, FileClosedEvent]
    else:  # noqa: RET505 - so that type checkers know the one and the other platform
        from watchdog.observers import Observer

        return Observer(), [*kinds, FileModifiedEvent]


class _Handler(FileSystemEventHandler):
    def __init__(self, tell: Callable[[FileSystemEvent], None]) -> None:
        self._tell = tell

    def dispatch(self, event: FileSystemEvent) -> None:
        self._tell(event)


class _OverflowHandler(logging.Handler):
    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage().lower():
            self._tell()


def is_regular(status: os.stat_result) -> bool:
    """Whether this is a file that can be sent."""
    return stat.S_ISREG(status.st_mode)
