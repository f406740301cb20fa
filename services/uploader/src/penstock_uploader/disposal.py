"""Removing, or moving away, source files that were sent: never one that was changed since.

The steps, each of which can be the last one before a crash::

    1  the ledger notes the intent
    2  the file is renamed aside, below .penstock on the same file system: nobody opens it by its path now
    3  what lies aside is compared with what was sent: size, mtime, inode, digest (not ctime: renaming changes
       it), and nobody may have it open for writing, where that can be known
    4  it is unlinked, or renamed to where it shall go; if anything differs, it is put back, replacing nothing
    5  the ledger forgets the intent

What lies aside keeps its relative path there, so that it can be put back even when the ledger is lost.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from chunkproto import InvalidRecord, UploadId
from penstock_uploader.reading import Interrupted, hash_file
from servicekit.faults import crash_point, declare
from servicekit.filesystem import (
    O_BINARY,
    O_CLOEXEC,
    O_NOFOLLOW,
    Fingerprint,
    fsync_directory,
    is_open_for_writing,
    rename_noreplace,
)

log = logging.getLogger(__name__)

_STEPS = ("aside", "removed", "moved", "back", "forgotten")
declare(*(f"uploader.dispose.{step}.{when}" for step in _STEPS for when in ("before", "after")))

DELETE = "delete"
MOVE = "move"


@dataclass(frozen=True, slots=True)
class Disposal:
    """A source file that is being removed or moved away."""

    version: UploadId
    path: str
    action: str
    target: str | None
    fingerprint: Fingerprint
    digest: bytes


class Fate(Enum):
    """How a disposal ended."""

    DONE = "done"
    """The file is deleted, or where it shall be."""
    GONE = "gone"
    """There was no file any more."""
    CHANGED = "changed"
    """It is not what was sent, and is back at its place."""
    BUSY = "busy"
    """Somebody has it open for writing; it is back at its place, and can be tried again."""
    DISPLACED = "displaced"
    """It is not what was sent, and its place is taken: it is kept next to that, under another name."""
    REFUSED = "refused"
    """The system does not let us."""


@dataclass(frozen=True, slots=True)
class Disposed:
    """What became of a disposal; `detail` is for people."""

    disposal: Disposal
    fate: Fate
    detail: str = ""


class Disposer:
    """Carries out disposals below `root`."""

    def __init__(self, root: str, *, durable: bool = True) -> None:
        self._root = root
        self._aside = os.path.join(root, ".penstock", "uploader", "aside")
        self._durable = durable
        self.interrupted = threading.Event()
        """Once it is set, a comparison that is under way ends, and its file is put back."""

    def dispose(self, disposal: Disposal) -> Disposed:
        """Carry out one, whose intent is noted; also one that was begun before a crash."""
        try:
            return self._dispose(disposal)
        except OSError as error:
            return Disposed(disposal, Fate.REFUSED, f"{error.strerror or error}")

    def _dispose(self, disposal: Disposal) -> Disposed:
        place = os.path.join(self._root, *disposal.path.split("/"))
        aside = os.path.join(self._aside, disposal.version.hex(), *disposal.path.split("/"))
        if not os.path.lexists(aside):
            self._remove_empty(aside)
            if not self._looks_as_sent(place, disposal):
                exists = os.path.lexists(place)
                return Disposed(disposal, Fate.CHANGED if exists else Fate.GONE)
            os.makedirs(os.path.dirname(aside), exist_ok=True)
            crash_point("uploader.dispose.aside.before")
            try:
                os.rename(place, aside)
            except OSError as error:
                self._remove_empty(aside)
                if error.errno == errno.ENOENT:
                    return Disposed(disposal, Fate.GONE)
                if error.errno == errno.EXDEV:
                    return Disposed(
                        disposal, Fate.REFUSED, "it is on another file system than the watched directory"
                    )
                raise
            crash_point("uploader.dispose.aside.after")
        fate = self._compare(aside, disposal)
        if fate is not Fate.DONE:
            return self._put_back(aside, disposal.path, disposal, fate)
        if disposal.action == DELETE:
            crash_point("uploader.dispose.removed.before")
            os.unlink(aside)
            crash_point("uploader.dispose.removed.after")
        else:
            try:
                self._move(aside, disposal)
            except OSError as error:
                put_back = self._put_back(aside, disposal.path, disposal, Fate.REFUSED)
                return Disposed(
                    disposal, put_back.fate, f"{error.strerror or error} {put_back.detail}".strip()
                )
        self._remove_empty(aside)
        return Disposed(disposal, Fate.DONE)

    def _looks_as_sent(self, place: str, disposal: Disposal) -> bool:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            now = Fingerprint.of(os.lstat(place))
            return now.same_content(disposal.fingerprint)
        return False

    def _compare(self, aside: str, disposal: Disposal) -> Fate:
        fd = os.open(aside, os.O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_BINARY)
        try:
            if is_open_for_writing(fd):
                return Fate.BUSY
            before = Fingerprint.of(os.fstat(fd))
            sent = disposal.fingerprint
            if not before.same_content(sent) or before.inode & 0x7FFF_FFFF_FFFF_FFFF != sent.inode:
                return Fate.CHANGED
            try:
                digest, _ = hash_file(fd, self.interrupted.is_set)
            except Interrupted:
                return Fate.BUSY
            if digest != disposal.digest or Fingerprint.of(os.fstat(fd)) != before:
                return Fate.CHANGED
            return Fate.BUSY if is_open_for_writing(fd) else Fate.DONE
        finally:
            os.close(fd)

    def _move(self, aside: str, disposal: Disposal) -> None:
        target = disposal.target or ""
        os.makedirs(os.path.dirname(target), exist_ok=True)
        for name in _free_names(target, disposal.version):
            crash_point("uploader.dispose.moved.before")
            try:
                rename_noreplace(aside, name)
            except FileExistsError:
                continue
            crash_point("uploader.dispose.moved.after")
            if self._durable:
                fsync_directory(os.path.dirname(name))
            return

    def _put_back(self, aside: str, path: str, disposal: Disposal, fate: Fate) -> Disposed:
        name = self._return(aside, path, disposal.version)
        if name != path:
            return Disposed(disposal, Fate.DISPLACED, f"kept as {name!r}")
        return Disposed(disposal, fate)

    def _return(self, aside: str, path: str, version: UploadId) -> str:
        """Put a file back from aside, replacing nothing; gives the name that it got."""
        place = os.path.join(self._root, *path.split("/"))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        for name in _free_names(place, version):
            crash_point("uploader.dispose.back.before")
            try:
                rename_noreplace(aside, name)
            except FileExistsError:
                continue
            crash_point("uploader.dispose.back.after")
            if self._durable:
                fsync_directory(os.path.dirname(name))
            self._remove_empty(aside)
            return path if name == place else path[: path.rfind("/") + 1] + os.path.basename(name)
        raise AssertionError("there are infinitely many names")

    def put_orphans_back(self, known: set[UploadId]) -> list[str]:
        """Put back what lies aside without an intent in the ledger (it was lost); gives the paths."""
        returned: list[str] = []
        for version, path, aside in self._lying_aside():
            if version not in known:
                returned.append(self._return(aside, path, version))
        return returned

    def _lying_aside(self) -> Iterator[tuple[UploadId, str, str]]:
        try:
            names = os.listdir(self._aside)
        except OSError:
            return
        for name in names:
            try:
                version = UploadId(bytes.fromhex(name))
            except (ValueError, InvalidRecord):
                continue
            top = os.path.join(self._aside, name)
            for directory, _, files in os.walk(top):
                for file in files:
                    aside = os.path.join(directory, file)
                    yield version, os.path.relpath(aside, top).replace(os.sep, "/"), aside
            self._remove_empty(os.path.join(top, "x"))

    def _remove_empty(self, aside: str) -> None:
        """Remove the directories that held something aside, and hold nothing now."""
        directory = os.path.dirname(aside)
        with contextlib.suppress(OSError):
            while directory != self._aside and directory.startswith(self._aside):
                os.rmdir(directory)
                directory = os.path.dirname(directory)


def _free_names(place: str, version: UploadId) -> Iterator[str]:
    """Yield the place, and then names next to it that say what happened."""
    yield place
    head, name = os.path.split(place)
    encoded = os.fsencode(name)
    suffix = f".kept-{version.hex()[-8:]}"
    number = 1
    while True:
        room = 255 - len(suffix)
        yield os.path.join(head, os.fsdecode(encoded[:room]) + suffix)
        number += 1
        suffix = f".kept-{version.hex()[-8:]}-{number}"


class DisposalThread:
    """Carries out disposals beside the service, for hashing takes long. Results are taken by the service."""

    def __init__(self, disposer: Disposer, wake: Callable[[], None]) -> None:
        self._disposer = disposer
        self._wake = wake
        self._todo: queue.SimpleQueue[Disposal | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Disposed] = queue.SimpleQueue()
        self._stopping = False
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self.pending = 0
        """How many were put and not yet taken."""
        self._thread = threading.Thread(target=self._run, name="disposal", daemon=True)
        self._thread.start()

    def hold(self, *, held: bool) -> None:
        """Begin nothing more while `held`."""
        if held:
            self._may_go_on.clear()
        else:
            self._may_go_on.set()

    def put(self, disposal: Disposal) -> None:
        """Have this one done."""
        self.pending += 1
        self._todo.put(disposal)

    def take(self) -> list[Disposed]:
        """Take the results."""
        taken: list[Disposed] = []
        with contextlib.suppress(queue.Empty):
            while True:
                taken.append(self._done.get_nowait())
        self.pending -= len(taken)
        return taken

    def stop(self, seconds: float = 0.0) -> None:
        """End after the one that is under way, which has so many seconds; the others are taken up later."""
        self._stopping = True
        self._may_go_on.set()
        self._todo.put(None)
        self._thread.join(seconds)
        self._disposer.interrupted.set()
        self._thread.join()

    def _run(self) -> None:
        while (disposal := self._todo.get()) is not None:
            self._may_go_on.wait()
            if self._stopping:
                continue
            self._done.put(self._disposer.dispose(disposal))
            self._wake()
