"""Where files are delivered to: the file system.

What delivery asks of a sink is small: `accept` judges a file against what stands there and chooses its name;
`dress` gives the finished partial its attributes; `sync` makes partials durable; `place` makes one visible,
atomically; `settle` makes the names durable. A sink is used by one thread.

A path is walked component by component, without following symbolic links and without leaving the file system
(`openat` with O_NOFOLLOW): the text of a path says nothing of what stands in the directory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chunkproto import Description, Reason, SkipReason, UploadId
from chunkproto.exceptions import InvalidRecord
from chunkproto.paths import collision_key
from penstock_downloader.exceptions import Refused, SinkUnavailable, Skipped, is_unavailable
from penstock_downloader.settings import OnConflict, SourceConflict
from servicekit.faults import crash_point, declare, fail_point
from servicekit.filesystem import (
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    get_attribute,
    rename_noreplace,
    set_attribute,
    set_times,
    supports_attributes,
    sync_filesystem,
)

declare("sink.before-rename", "sink.after-rename", "sink.before-directory-sync", "sink.after-directory-sync")
declare("sink.sync", "sink.rename", "sink.directory-sync")

ATTRIBUTE: Final = "upload"
"""Of a delivered file: the extended attribute `user.penstock.upload`: upload id, BLAKE3, source id."""

_MAX_DIRECTORIES: Final = 128
_FSYNC_AT_MOST: Final = 4
"""With more files or directories than this, one syncfs is cheaper than an fsync each (measured on ext4)."""
_WALKS: Final = 1000
_MAX_COPIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Origin:
    """What a delivered file's attribute says of it."""

    upload_id: UploadId
    digest: bytes
    source: str

    def encode(self) -> bytes:
        """Give the attribute's value, which `getfattr` shows as text."""
        return f"{self.upload_id} {self.digest.hex()} {self.source}".encode()

    @classmethod
    def decode(cls, raw: bytes) -> Origin | None:
        """Read the attribute's value; None if it is nothing that we wrote."""
        try:
            upload_id, digest, source = raw.decode().split(" ", 2)
            return cls(UploadId.parse(upload_id), bytes.fromhex(digest), source)
        except (ValueError, InvalidRecord):
            return None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file goes: `path` is relative to the root. `is_there`: this very upload stands there."""

    path: str
    replace: bool
    is_there: bool = False


class FileSystemSink:
    """Delivers into the directory `root`."""

    def __init__(
        self,
        root: str,
        *,
        on_conflict: OnConflict = "replace",
        source_conflict: SourceConflict = "refuse",
        portable_names: bool = False,
    ) -> None:
        self._root = root
        self._on_conflict = on_conflict
        self._source_conflict = source_conflict
        self._portable_names = portable_names
        self.has_attributes = supports_attributes(os.path.join(root, ".penstock"))
        """Whether files can say which upload they are. Without, neither staleness nor sources are checked."""
        self._directories = _Directories(root, portable_names=portable_names)
        self._claimed: dict[str, Origin] = {}
        umask = os.umask(0o077)
        os.umask(umask)
        self._default_mode = 0o666 & ~umask

    def accept(self, upload_id: UploadId, description: Description, digest: bytes) -> Place:
        """Choose the place of a file, making the directories above it.

        Raises Refused or Skipped for this file, SinkUnavailable when nothing can be delivered now.
        """
        directory, _, name = description.path.rpartition("/")
        mine = Origin(upload_id, digest, description.source)
        with _judging(description.path):
            self._refuse_below_a_file(directory)
            parent = self._directories.open_for(directory, name)
            standing = self._claimed.get(description.path)
            if standing is None:
                status = _look(parent, name)
                if status is None:
                    return self._claim(mine, Place(description.path, replace=self._on_conflict == "replace"))
                standing = self._origin(parent, name)
        if standing == mine:
            return Place(description.path, replace=True, is_there=True)
        if self._on_conflict == "skip":
            raise Skipped(SkipReason.EXISTS, f"{description.path!r} exists")
        if self._on_conflict == "keep-both":
            with _judging(description.path):
                return self._beside(mine, parent, description.path)
        if standing is not None:
            self._compare(mine, standing, description.path)
        return self._claim(mine, Place(description.path, replace=True))

    def place_of(self, path: str) -> Place:
        """Give the place that was chosen earlier, by the same policy."""
        return Place(path, replace=self._on_conflict == "replace")

    def another(self, place: Place) -> Place:
        """Choose another place for a file whose place was taken in between; raises as `accept` does."""
        if self._on_conflict == "skip":
            raise Skipped(SkipReason.EXISTS, f"{place.path!r} exists")
        with _judging(place.path):
            parent = self._directories.open(place.path.rpartition("/")[0], make=True)
            return self._beside(None, parent, place.path)

    def dress(self, fd: int, path: str, upload_id: UploadId, description: Description, digest: bytes) -> None:
        """Give a finished partial its mode, its attribute, and (last, for others would move it) its time."""
        try:
            mode = self._default_mode if description.mode is None else description.mode
            if hasattr(os, "fchmod"):
                os.fchmod(fd, mode)
            if self.has_attributes:
                set_attribute(fd, ATTRIBUTE, Origin(upload_id, digest, description.source).encode())
            set_times(fd, path, description.mtime_ns)
        except OSError as error:
            raise SinkUnavailable(error) from error

    def sync(self, fds: Sequence[int]) -> None:
        """Make finished partials durable, attributes included. Raises OSError; they may not be used then."""
        fail_point("sink.sync")
        if len(fds) > _FSYNC_AT_MOST:
            sync_filesystem(self._directories.root, fds)
        else:
            for fd in fds:
                os.fsync(fd)

    def place(self, partial: str, place: Place) -> None:
        """Move a finished partial to its place.

        Raises FileExistsError when something stands there that may not be replaced, FileNotFoundError when
        the partial is not there, Refused, or SinkUnavailable.
        """
        directory, _, name = place.path.rpartition("/")
        with _judging(place.path):
            parent = self._directories.open(directory, make=True)
            crash_point("sink.before-rename")
            fail_point("sink.rename")
            if place.replace:
                os.rename(partial, name, dst_dir_fd=parent)
            else:
                rename_noreplace(partial, name, target_dir_fd=parent)
            crash_point("sink.after-rename")
        self._directories.touched(directory)

    def source_of(self, partial: str) -> str | None:
        """Give the source of a finished partial, as far as can be told."""
        if not self.has_attributes:
            return None
        try:
            raw = get_attribute(partial, ATTRIBUTE)
        except (PermissionError, FileNotFoundError):
            return None
        origin = None if raw is None else Origin.decode(raw)
        return None if origin is None else origin.source

    def is_superseded(self, upload_id: UploadId, source: str | None, place: Place) -> Origin | None:
        """Give what stands at a place and is later than this upload, so that it must not be replaced.

        Ids of two sources say nothing of each other: where one may replace the other's files, the one that
        comes last does. `source` is None when it is not known; then it is taken for the same.
        """
        directory, _, name = place.path.rpartition("/")
        with _judging(place.path):
            parent = self._directories.open(directory, make=True)
            standing = None if _look(parent, name) is None else self._origin(parent, name)
        if standing is None or not place.replace or standing.upload_id <= upload_id:
            return None
        if self._source_conflict == "replace" and source not in (None, standing.source):
            return None
        return standing

    def settle(self) -> None:
        """Make the names of all that was placed durable. Raises SinkUnavailable."""
        crash_point("sink.before-directory-sync")
        try:
            fail_point("sink.directory-sync")
            self._directories.settle()
        except OSError as error:
            raise SinkUnavailable(error) from error
        finally:
            self._claimed.clear()
        crash_point("sink.after-directory-sync")

    def reopen(self) -> None:
        """Walk to all directories anew: one was removed. What is to be made durable stays known."""
        self._directories.reopen()

    def release(self) -> None:
        """Forget the directories of a batch: they may be moved or removed before the next one."""
        self._directories.release()
        self._claimed.clear()

    def close(self) -> None:
        """Let go of everything."""
        self._directories.close()

    def stands(self, upload_id: UploadId, place: Place) -> bool:
        """Whether this very upload stands at a place, as far as can be told."""
        directory, _, name = place.path.rpartition("/")
        with _judging(place.path):
            origin = self._origin(self._directories.open(directory, make=True), name)
        return origin is not None and origin.upload_id == upload_id

    def _refuse_below_a_file(self, directory: str) -> None:
        """Raise Refused when a file of this batch gets the name of this directory, or of one above it."""
        while directory:
            if directory in self._claimed:
                raise Refused(Reason.PATH_CONFLICT, f"{directory!r} is a file, not a directory")
            directory = directory.rpartition("/")[0]

    def _claim(self, origin: Origin, place: Place) -> Place:
        self._claimed[place.path] = origin
        return place

    def _origin(self, parent: int, name: str) -> Origin | None:
        if not self.has_attributes:
            return None
        try:
            raw = get_attribute(_proc_path(parent, name), ATTRIBUTE)
        except PermissionError:  # without read permission on the file nobody can tell
            return None
        except FileNotFoundError:
            return None
        return None if raw is None else Origin.decode(raw)

    def _compare(self, mine: Origin, standing: Origin, path: str) -> None:
        if standing.source != mine.source:
            if self._source_conflict == "refuse":
                raise Refused(
                    Reason.SOURCE_CONFLICT,
                    f"{path!r} is a file of source {standing.source!r} (upload {standing.upload_id})",
                )
        elif standing.upload_id > mine.upload_id:
            raise Refused(Reason.STALE, f"the later upload {standing.upload_id} stands at {path!r}")

    def _beside(self, mine: Origin | None, parent: int, path: str) -> Place:
        directory, slash, name = path.rpartition("/")
        for number in range(2, _MAX_COPIES):
            beside = _numbered(name, number)
            chosen = f"{directory}{slash}{beside}"
            if chosen not in self._claimed and _look(parent, beside, refuse=False) is None:
                place = Place(chosen, replace=False)
                return place if mine is None else self._claim(mine, place)
        raise Refused(Reason.PATH_CONFLICT, f"{path!r} and {_MAX_COPIES} copies of it exist")


def _numbered(name: str, number: int) -> str:
    """Give `name (2).ext`, shortened so that it is not longer than 255 bytes."""
    stem, dot, extension = name.rpartition(".")
    if not stem.strip("."):
        stem, dot, extension = name, "", ""
    ending = f" ({number}){dot}{extension}"
    room = 255 - len(os.fsencode(ending))
    if room < 1:
        return _numbered(stem, number)
    raw = os.fsencode(stem)
    if len(raw) > room:
        raw = raw[:room]
        while raw and raw[-1] & 0xC0 == 0x80:
            raw = raw[:-1]
        if raw and raw[-1] >= 0xC0:
            raw = raw[:-1]
    return os.fsdecode(raw) + ending


class _Directories:
    """Open directories under the root, walked to safely; kept for one batch.

    The least recently used is closed first.

    `touched` ones have new names in them; `settle` makes those durable.
    """

    def __init__(self, root: str, *, portable_names: bool) -> None:
        self._portable_names = portable_names
        self.root = os.open(root, os.O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        self._device = os.fstat(self.root).st_dev
        self._open: OrderedDict[str, int] = OrderedDict()
        self._touched: set[str] = set()
        self._names: dict[str, dict[str, str]] = {}

    def open(self, path: str, *, make: bool) -> int:
        """Give the descriptor of the directory `path`, "" for the root; it stays ours.

        When somebody removes directories while we walk, we walk again. (An empty one is soon removed, by who
        tidies up.) One that is not there and shall not be made raises FileNotFoundError.
        """
        if not make:
            return self._walk(path, make=False)
        return self._again(lambda: self._walk(path, make=True))

    def open_for(self, path: str, name: str) -> int:
        """Open the directory of a file that is to come; raises Refused when its name collides there."""

        def arrive() -> int:
            parent = self._walk(path, make=True)
            self.check_collision(path, name)
            return parent

        return self._again(arrive)

    def _again(self, step: Callable[[], int]) -> int:
        for _ in range(_WALKS):
            with contextlib.suppress(FileNotFoundError):
                return step()
            self.reopen()
        raise OSError(errno.ESTALE, "its directories are removed as fast as they are made")

    def _walk(self, path: str, *, make: bool) -> int:
        if not path:
            return self.root
        if (known := self._open.get(path)) is not None:
            self._open.move_to_end(path)
            return known
        # From the deepest ancestor that is open, without recursion: 4 KiB of path can be 2,000 levels.
        parts = path.split("/")
        depth = len(parts) - 1
        while depth and "/".join(parts[:depth]) not in self._open:
            depth -= 1
        fd = self._open["/".join(parts[:depth])] if depth else self.root
        for at in range(depth, len(parts)):
            fd = self._enter(fd, "/".join(parts[:at]), parts[at], make=make)
            self._open["/".join(parts[: at + 1])] = fd
            if len(self._open) > _MAX_DIRECTORIES:
                os.close(self._open.popitem(last=False)[1])
        return fd

    def touched(self, path: str) -> None:
        """Note that a name in this directory is new."""
        self._touched.add(path)

    def check_collision(self, directory: str, name: str) -> None:
        """Raise Refused when an insensitive file system would take this name for another one there."""
        if not self._portable_names:
            return
        names = self._names.get(directory)
        if names is None:
            names = {collision_key(other): other for other in os.listdir(self._walk(directory, make=True))}
            self._names[directory] = names
        other = names.setdefault(collision_key(name), name)
        if other != name:
            raise Refused(
                Reason.UNPORTABLE_PATH,
                f"{name!r} and {other!r} in {directory or '.'!r} are one name to Windows or macOS",
            )

    def settle(self) -> None:
        if len(self._touched) > _FSYNC_AT_MOST:
            sync_filesystem(self.root, ())
            if sys.platform != "linux":
                self._fsync_each()
        else:
            self._fsync_each()
        self._touched.clear()

    def reopen(self) -> None:
        """Forget all descriptors and listings, but not which directories have new names in them."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        self._names.clear()

    def release(self) -> None:
        self.reopen()
        self._touched.clear()

    def close(self) -> None:
        self.release()
        os.close(self.root)

    def _fsync_each(self) -> None:
        for path in self._touched:
            with contextlib.suppress(FileNotFoundError, Refused):
                os.fsync(self.open(path, make=False))

    def _enter(self, parent: int, parent_path: str, name: str, *, make: bool) -> int:
        flags = os.O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        self.check_collision(parent_path, name)
        try:
            fd = os.open(name, flags, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
            self.touched(parent_path)
            fd = os.open(name, flags, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK):
                raise
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            what = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "a file"
            reason = Reason.UNSAFE_PATH if stat.S_ISLNK(status.st_mode) else Reason.PATH_CONFLICT
            raise Refused(reason, f"{name!r} on the way is {what}, not a directory") from None
        if os.fstat(fd).st_dev != self._device:
            os.close(fd)
            raise Refused(Reason.UNSAFE_PATH, f"{name!r} on the way is another file system")
        return fd


def _look(parent: int, name: str, *, refuse: bool = True) -> os.stat_result | None:
    """Give what stands at a name; None if nothing. Raises Refused for what is no plain file."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if refuse and not stat.S_ISREG(status.st_mode):
        if stat.S_ISLNK(status.st_mode):
            raise Refused(Reason.UNSAFE_PATH, f"a symbolic link stands at {name!r}")
        what = "directory" if stat.S_ISDIR(status.st_mode) else "device, socket or pipe"
        raise Refused(Reason.PATH_CONFLICT, f"a {what} stands at {name!r}")
    return status


@contextlib.contextmanager
def _judging(path: str) -> Iterator[None]:
    """Turn an OSError about a path into what it means for that file, or for all."""
    try:
        yield
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        if is_unavailable(error):
            raise SinkUnavailable(error) from error
        match error.errno:
            case errno.ENAMETOOLONG:
                raise Refused(
                    Reason.NAME_TOO_LONG, f"a name in it is too long for {path[:80]!r}..."
                ) from None
            case errno.EXDEV:
                raise Refused(Reason.UNSAFE_PATH, f"{path!r} lies on another file system") from None
            case errno.EACCES | errno.EPERM:
                raise Refused(
                    Reason.PATH_CONFLICT, f"{path!r} may not be written: {error.strerror}"
                ) from None
            case errno.EINVAL | errno.EILSEQ:
                raise Refused(Reason.UNPORTABLE_PATH, f"{path!r}: {error.strerror}") from None
            case errno.EBADF | errno.EFAULT:  # ours
                raise
            case _:  # a directory or a mount point stands there, too many links, whatever else
                raise Refused(Reason.PATH_CONFLICT, f"{path!r}: {error.strerror}") from None


def _proc_path(parent: int, name: str) -> str:
    """Give a path for the calls that take no dir_fd."""
    return f"/proc/self/fd/{parent}/{name}"


__all__ = ["ATTRIBUTE", "FileSystemSink", "Origin", "Place"]
