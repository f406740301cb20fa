"""Partial files: the bytes of unfinished uploads, each in a file named by its upload id.

They are written by position, and their digest is computed while the bytes are hot. At most `max_open` are
held open: the least recently written is closed first.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import OrderedDict
from typing import Final

from blake3 import blake3

from chunkproto import UploadId
from penstock_downloader.exceptions import PartialLost, SinkUnavailable
from servicekit.faults import crash_point, declare, fail_point
from servicekit.filesystem import O_BINARY, O_CLOEXEC, O_NOFOLLOW

declare("partial.before-write", "partial.after-write", "partial.before-sync", "partial.after-sync")
declare("partial.write", "partial.sync")

_READ_BYTES: Final = 1 << 20


class Partial:
    """One partial file. `hashed` says how many of its first bytes are in `hasher`."""

    __slots__ = ("fd", "hashed", "hasher", "is_resumed", "path")

    def __init__(self, path: str, *, is_resumed: bool) -> None:
        self.path = path
        self.fd: int | None = None
        self.hasher = blake3()
        self.hashed = 0
        self.is_resumed = is_resumed
        """Whether an earlier process began it, and it has not been looked at yet."""

    def take_fd(self) -> int:
        """Give the open descriptor, the caller's from now on. Raises PartialLost, SinkUnavailable."""
        if self.fd is None:
            self.fd = _open(self.path, create=False)
        fd, self.fd = self.fd, None
        return fd


class Partials:
    """The partial files of one downloader. For one thread, but for `sync` and `digest`."""

    def __init__(self, directory: str, *, max_open: int = 64) -> None:
        self._directory = directory
        self._max_open = max_open
        self._open: OrderedDict[UploadId, Partial] = OrderedDict()
        self._known: dict[UploadId, Partial] = {}

    def path(self, upload_id: UploadId) -> str:
        """Give the path of an upload's partial."""
        return os.path.join(self._directory, str(upload_id))

    def exists(self, upload_id: UploadId) -> bool:
        """Whether there is a partial of this upload on this volume."""
        return os.path.lexists(self.path(upload_id))

    def idle_seconds(self, upload_id: UploadId) -> float:
        """Give how long nobody has written to an unfinished upload's partial; 0 if there is none."""
        try:
            status = os.stat(self.path(upload_id), follow_symlinks=False)
        except FileNotFoundError:
            return 0.0
        return max(0.0, time.time() - max(status.st_mtime, status.st_ctime))

    def write(self, upload_id: UploadId, position: int, data: bytes, *, resumed: bool = False) -> None:
        """Write `data` at `position`; `resumed` when what precedes it was written by an earlier assignment.

        Raises PartialLost when what must precede it is not there, SinkUnavailable when it cannot be written.
        """
        partial = self._known.get(upload_id)
        if partial is None:
            partial = self._known[upload_id] = Partial(self.path(upload_id), is_resumed=resumed)
        fd = partial.fd
        if fd is None:
            fd = self._reopen(upload_id, partial, create=position == 0)
        else:
            self._open.move_to_end(upload_id)
        if partial.is_resumed:
            if os.fstat(fd).st_size < position:
                raise PartialLost(f"the partial of {upload_id} is shorter than {position} bytes")
            partial.is_resumed = False
        crash_point("partial.before-write")
        try:
            fail_point("partial.write")
            written = os.pwrite(fd, data, position)
            while written < len(data):
                written += os.pwrite(fd, memoryview(data)[written:], position + written)
        except OSError as error:
            raise SinkUnavailable(error) from error
        crash_point("partial.after-write")
        if partial.hashed == position:
            partial.hasher.update(data)
            partial.hashed = position + len(data)

    def take(self, upload_id: UploadId) -> Partial:
        """Give an upload's partial away: whoever takes it closes its descriptor."""
        self._open.pop(upload_id, None)
        partial = self._known.pop(upload_id, None)
        return partial if partial is not None else Partial(self.path(upload_id), is_resumed=True)

    def discard(self, upload_id: UploadId) -> None:
        """Remove an upload's partial, if there is one."""
        self.close(upload_id)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(upload_id))

    def close(self, upload_id: UploadId) -> None:
        """Forget an upload, and leave its file for whoever goes on with it."""
        self._open.pop(upload_id, None)
        partial = self._known.pop(upload_id, None)
        if partial is not None and partial.fd is not None:
            os.close(partial.fd)
            partial.fd = None

    def head(self, upload_id: UploadId, length: int) -> bytes:
        """Give the first bytes of a partial; none if there is none."""
        try:
            with open(self.path(upload_id), "rb") as stream:
                return stream.read(length)
        except OSError:
            return b""

    def _reopen(self, upload_id: UploadId, partial: Partial, *, create: bool) -> int:
        partial.fd = _open(partial.path, create=create)
        self._open[upload_id] = partial
        if len(self._open) > self._max_open:
            _, oldest = self._open.popitem(last=False)
            if oldest.fd is not None:
                os.close(oldest.fd)
                oldest.fd = None
        return partial.fd


def _open(path: str, *, create: bool) -> int:
    flags = os.O_RDWR | O_CLOEXEC | O_BINARY | O_NOFOLLOW | (os.O_CREAT if create else 0)
    try:
        try:
            return os.open(path, flags, 0o600)
        except PermissionError:
            # It had got the mode that its file shall have, and was not delivered.
            os.chmod(path, 0o600)
            return os.open(path, flags, 0o600)
    except (FileNotFoundError, PermissionError) as error:
        raise PartialLost(f"the partial {os.path.basename(path)} is gone") from error
    except OSError as error:
        raise SinkUnavailable(error) from error


def sync(path: str) -> None:
    """Make what is written of a partial durable, from any thread.

    Raises OSError, or PartialLost when it is gone.

    The file is opened anew: a write-back that failed earlier is then told to this descriptor and, once more,
    to the one that delivers the file.
    """
    crash_point("partial.before-sync")
    try:
        fd = os.open(path, os.O_RDONLY | O_CLOEXEC | O_BINARY | O_NOFOLLOW)
    except FileNotFoundError as error:
        raise PartialLost(f"the partial {os.path.basename(path)} is gone") from error
    try:
        fail_point("partial.sync")
        os.fsync(fd)
    finally:
        os.close(fd)
    crash_point("partial.after-sync")


def catch_up(partial: Partial, fd: int, size: int) -> bool:
    """Hash a step of what an earlier process wrote, up to `size` bytes; whether all of it is hashed now.

    From any thread that owns the partial. Raises PartialLost when the file is shorter, OSError.
    """
    if partial.hashed >= size:
        return True
    data = os.pread(fd, min(_READ_BYTES, size - partial.hashed), partial.hashed)
    if not data:
        raise PartialLost(
            f"the partial {os.path.basename(partial.path)} has {partial.hashed} bytes, not {size}"
        )
    partial.hasher.update(data)
    partial.hashed += len(data)
    return partial.hashed >= size


__all__ = ["Partial", "Partials", "catch_up", "sync"]
