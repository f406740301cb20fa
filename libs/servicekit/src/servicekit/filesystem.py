"""What only POSIX (or only Linux) has, each with its fallback elsewhere.

The one place that asks for the platform. Paths are `str` as the os module gives them (surrogates for
bytes that are not UTF-8).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import stat
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

from servicekit.exceptions import StateError, StateInUse

# Flags for os.open() that not every platform has; 0 there changes nothing.
O_BINARY = getattr(os, "O_BINARY", 0)
O_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
O_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
O_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
O_NONBLOCK = getattr(os, "O_NONBLOCK", 0)

HAS_DIR_FD = os.open in os.supports_dir_fd
"""Whether paths can be walked component by component (openat); without, paths are joined and trusted less."""

_XATTR_PREFIX = "user.penstock."
_RENAME_NOREPLACE = 1  # linux/fs.h
_AT_FDCWD = -100  # linux/fcntl.h

NETWORK_FILESYSTEMS = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "virtiofs",
        "ceph",
        "glusterfs",
        "lustre",
        "afs",
        "vboxsf",
        "prl_fs",
    }
)
"""File systems that others can write to without this kernel noticing (beside `fuse` and `fuse.*`)."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a file's metadata say about its content: equal ones mean the same, as far as anyone can tell.

    `ctime_ns` is the change time (on Windows too, from Python 3.12; the creation time before), `inode` the
    file id.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Fingerprint:
        """Take it from what stat() or fstat() returned."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def same_content(self, other: Fingerprint) -> bool:
        """Whether size and mtime agree; ctime and inode also change by chmod, rename, backup and restore."""
        return self.size == other.size and self.mtime_ns == other.mtime_ns


def permission_bits(status: os.stat_result) -> int | None:
    """Return the nine permission bits (0o644); None on Windows, which makes them up."""
    return None if sys.platform == "win32" else stat.S_IMODE(status.st_mode) & 0o777


def set_times(fd: int, path: str, mtime_ns: int) -> None:
    """Set the modification time of an open file; `path` is used where a descriptor will not do (Windows)."""
    os.utime(fd if os.utime in os.supports_fd else path, ns=(time.time_ns(), mtime_ns))


def fsync_directory(directory: str | int) -> None:
    """Make the names in a directory (path or descriptor) durable. Windows cannot be asked."""
    if sys.platform == "win32":
        return
    if isinstance(directory, int):
        os.fsync(directory)
        return
    fd = os.open(directory, os.O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_filesystem(fd: int, files: Iterable[int] = ()) -> None:
    """Make all of the file system that `fd` is on durable, in one go (Linux: syncfs).

    Elsewhere `files` (descriptors) are synced one by one. Raises OSError as fsync does: since Linux 5.8 also
    for a write-back that failed earlier.
    """
    if _libc is not None and hasattr(_libc, "syncfs"):
        if _libc.syncfs(fd) != 0:
            _raise_errno("syncfs")
        return
    for file in files:
        os.fsync(file)


def rename_noreplace(
    source: str, target: str, *, source_dir_fd: int | None = None, target_dir_fd: int | None = None
) -> None:
    """Rename a file; raise FileExistsError if there is anything at `target` already, and replace nothing.

    Atomic on Linux (renameat2) and on Windows (rename never replaces). Where the file system cannot do that,
    a hard link and an unlink are (for a moment the file has both names). Where there are no links either, it
    is looked first and renamed then, which another process can get between.
    """
    if sys.platform == "win32":
        os.rename(source, target)
        return
    if _libc is not None and hasattr(_libc, "renameat2"):
        done = _libc.renameat2(
            _AT_FDCWD if source_dir_fd is None else source_dir_fd,
            os.fsencode(source),
            _AT_FDCWD if target_dir_fd is None else target_dir_fd,
            os.fsencode(target),
            _RENAME_NOREPLACE,
        )
        if done == 0:
            return
        if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            _raise_errno(source, target)
    _rename_by_link(source, target, source_dir_fd=source_dir_fd, target_dir_fd=target_dir_fd)


def _rename_by_link(
    source: str, target: str, *, source_dir_fd: int | None, target_dir_fd: int | None
) -> None:
    try:
        os.link(
            source,
            target,
            src_dir_fd=source_dir_fd,
            dst_dir_fd=target_dir_fd,
            # macOS cannot say so, and links to what a link points to.
            follow_symlinks=os.link not in os.supports_follow_symlinks,
        )
    except OSError as error:
        # vfat and some network mounts have no hard links; a directory has none anywhere.
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES):
            raise
    else:
        os.unlink(source, dir_fd=source_dir_fd)
        return
    with contextlib.suppress(FileNotFoundError):
        os.stat(target, dir_fd=target_dir_fd, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), source, None, target)
    os.rename(source, target, src_dir_fd=source_dir_fd, dst_dir_fd=target_dir_fd)


def get_attribute(file: str | int, name: str) -> bytes | None:
    """Return the extended attribute `user.penstock.<name>` of a file (path or fd); None if it has none."""
    if not hasattr(os, "getxattr"):
        return None
    try:
        return os.getxattr(file, _XATTR_PREFIX + name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM):
            return None
        raise


def set_attribute(file: str | int, name: str, value: bytes) -> bool:
    """Set the extended attribute `user.penstock.<name>`; False where there are none."""
    if not hasattr(os, "setxattr"):
        return False
    try:
        os.setxattr(file, _XATTR_PREFIX + name, value)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM):
            return False
        raise
    return True


def supports_attributes(directory: str) -> bool:
    """Whether files in this directory can have extended attributes, tried on one made and removed."""
    probe = os.path.join(directory, f".penstock-probe-{os.getpid()}-{time.monotonic_ns()}")
    fd = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_RDWR | O_CLOEXEC | O_BINARY, 0o600)
    try:
        return set_attribute(fd, "probe", b"1")
    finally:
        os.close(fd)
        os.unlink(probe)


def will_read_once(fd: int) -> None:
    """Tell the kernel that a file will be read from start to end, so that it reads further ahead."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)


def drop_from_cache(fd: int, offset: int, length: int) -> None:
    """Tell the kernel that this part of a file (bytes; length 0: to the end) will not be needed again soon.

    Only what is already on disk is dropped.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)


def is_open_for_writing(fd: int) -> bool:
    """Whether anybody has the file open for writing, as far as can be known.

    `fd` must be open for reading only. Linux grants a read lease only if nobody has (fcntl(2), "Leases"); it
    needs the file to be ours, or CAP_LEASE. Where it cannot be known, the answer is no.
    """
    return _has_writers(fd)


def filesystem_type(path: str) -> str | None:
    """Return the type of the file system that `path` is on, as Linux names it ("ext4", "nfs4", "fuse.sshfs").

    None where it cannot be known.
    """
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
            mounts = stream.read()
    except OSError:
        return None
    return filesystem_type_in(mounts, os.path.realpath(path))


def filesystem_type_in(mountinfo: str, path: str) -> str | None:
    """Find the type in the text of /proc/self/mountinfo; `path` is absolute and without links. Pure."""
    deepest, found = -1, None
    for line in mountinfo.splitlines():
        # 36 35 98:0 /root /mount/point rw,noatime master:1 - ext4 /dev/sda rw: proc_pid_mountinfo(5)
        left, _, right = line.partition(" - ")
        point = _unescape(left.split(" ")[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= deepest:  # of two at one point, the later one hides the other
            deepest, found = len(point), right.split(" ")[0]
    return found


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def is_remote(filesystem: str | None) -> bool:
    """Whether files on a file system of this type can change without this kernel noticing (so: poll them)."""
    return filesystem is not None and (
        filesystem in NETWORK_FILESYSTEMS or filesystem.split(".")[0] == "fuse"
    )


def same_filesystem(first: os.stat_result, second: os.stat_result) -> bool:
    """Whether a rename from one to the other can be atomic."""
    return first.st_dev == second.st_dev


def boottime() -> float:
    """Seconds on a clock that also goes on while the machine sleeps (CLOCK_BOOTTIME).

    Elsewhere the monotonic one: macOS stops it while asleep, Windows does not.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class FileLock:
    """An exclusive lock on a file: gone with the process, however it ends.

    The file says who holds it (one line), and stays.
    """

    def __init__(self, path: str, *, owner: str) -> None:
        """Take the lock at once, or raise StateInUse naming who has it; `owner`: who we are, one line."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | O_CLOEXEC | O_BINARY | O_NOFOLLOW, 0o644)
        except OSError as error:
            raise StateError(f"{path!r} cannot be opened to lock it: {error.strerror}") from None
        try:
            _lock(self._fd)
        except OSError as error:
            os.lseek(self._fd, 0, os.SEEK_SET)
            holder = os.read(self._fd, 200).decode("utf-8", "replace").strip()
            os.close(self._fd)
            if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                who = f" by {holder}" if holder else ""
                raise StateInUse(f"{path!r} is locked{who}: only one may use it at a time") from None
            raise StateError(f"{path!r} cannot be locked: {error.strerror}") from None
        os.ftruncate(self._fd, 0)
        os.write(self._fd, (" ".join(owner.split()) + "\n").encode("utf-8", "surrogateescape"))

    @property
    def fd(self) -> int:
        """The descriptor that holds the lock: a process that inherits it (not on Windows) holds it, too."""
        return self._fd

    def release(self) -> None:
        """Let others have it."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


if sys.platform == "win32":
    import msvcrt

    # A locked range cannot be read by others on Windows: lock a byte far behind the text.
    _LOCKED_BYTE = 1 << 30

    def _lock(fd: int) -> None:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        os.lseek(fd, 0, os.SEEK_SET)

    def _has_writers(_fd: int) -> bool:
        return False  # a file that is open for writing cannot be renamed there in the first place

    _libc = None
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _has_writers(fd: int) -> bool:
        if not hasattr(fcntl, "F_SETLEASE"):
            return False
        try:
            # Should someone open it just now, the kernel tells us by a signal: one that is ignored by
            # default, not SIGIO, which ends the process.
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as error:
            return error.errno == errno.EAGAIN
        return False

    _libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if _libc is not None and hasattr(_libc, "renameat2"):
        _libc.renameat2.argtypes = (
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_uint,
        )


def _raise_errno(first: str, second: str | None = None) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), first, None, second)
