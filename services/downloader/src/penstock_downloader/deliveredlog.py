"""The delivered log: which uploads of one partition are delivered, so that none is delivered twice.

A directory for each topic id and partition, with two kinds of files:

- ``*.log``: entries in the order of delivery, appended and synced before the file gets its final name. Each
  assignment writes a file of its own: no lock is needed on a shared volume, and a process that does not know
  yet that it lost the partition spoils nothing. A crash tears the last entry; reading stops there.
- ``*.run``: entries sorted by upload id, written once and found by binary search, not held in memory.

Opening reads all logs; `seal` turns them into a run once what they announce is finished. Runs are merged when
the next older one is less than twice as large (so n entries take about log2(n) files, and each entry is
rewritten as often). Entries are left out then that the partition's log start has passed and that are old: a
source that was away sends its files again, as new records, which say so (`again`).

An entry of a log: CRC-32 of the rest (4 bytes), length of the name (2), kind (1), upload id (16), offset
(8), digest (32), name. A run: the names, the rows (upload id, offset, kind, digest, position and length of
the name), and a trailer (magic, number of rows, position of the rows, highest offset, CRC-32 of these).
All numbers are big-endian.
"""

from __future__ import annotations

import contextlib
import enum
import heapq
import mmap
import os
import secrets
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chunkproto import UploadId
from servicekit.exceptions import StateError
from servicekit.faults import crash_point, declare, fail_point
from servicekit.filesystem import O_BINARY, O_CLOEXEC, fsync_directory
from servicekit.topics import RECEIPTS_RETENTION_SECONDS

declare("delivered-log.before-entry", "delivered-log.after-entry")
declare("delivered-log.before-seal", "delivered-log.after-seal")

ACTIVE_ENTRIES: Final = 2048
"""How many entries of the current log are held in memory (about 0.5 KiB each) until they become a run."""

KEEP_SECONDS: Final = RECEIPTS_RETENTION_SECONDS
"""How long an entry is kept at least, by the time in its upload id. It is as long as receipts are."""

_HEAD = struct.Struct(">IHB16sq32s")
_ROW = struct.Struct(">16sqB32sQH")
_TRAILER = struct.Struct(">8sQQqI")
_MAGIC = b"penstck1"
_OPEN_RUN_BYTES: Final = 1 << 20


class Kind(enum.IntEnum):
    """What an entry says."""

    DELIVERED = 0
    """The partial of this upload is complete and durable; it gets, or has got, this name."""
    REFUSED = 1
    """It did not get that name after all, for the reason that stands in the name's place."""
    WITHDRAWN = 2
    """Its partial was lost before it got that name: as if it had never been logged."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An upload that is delivered: under which name, and at which offset its last record is."""

    upload_id: UploadId
    offset: int
    digest: bytes
    name: str
    kind: Kind = Kind.DELIVERED


class DeliveredLog:
    """The delivered log of one partition, for one assignment.

    `append`, `seal` and `close` belong to one thread; `find` may be asked from another at the same time.
    """

    def __init__(self, directory: str) -> None:
        """Read what earlier assignments left in `directory`, which need not exist. Raises OSError."""
        self._directory = directory
        self._fd: int | None = None
        self._good_bytes = 0
        self._active: dict[UploadId, Entry] = {}
        self._logs: list[str] = []
        self._runs: tuple[_Run, ...] = ()
        try:
            names = sorted(os.listdir(directory))
        except FileNotFoundError:
            names = []
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith(".log"):
                with contextlib.suppress(FileNotFoundError):
                    self._active.update((entry.upload_id, entry) for entry in read_log(path))
                    self._logs.append(path)
            elif name.endswith(".run"):
                with contextlib.suppress(FileNotFoundError):
                    self._runs += (_Run(path),)
        self.last_offset = max(
            [-1, *(entry.offset for entry in self._active.values()), *(run.last_offset for run in self._runs)]
        )
        """The highest offset of an entry when the log was opened; what lies above it was never delivered."""

    def find(self, upload_id: UploadId) -> Entry | None:
        """Give the entry of an upload, or None when it has none that counts."""
        if (entry := self._active.get(upload_id)) is None:
            for run in reversed(self._runs):
                if (entry := run.find(upload_id)) is not None:
                    break
        return None if entry is None or entry.kind is Kind.WITHDRAWN else entry

    def recent(self) -> list[Entry]:
        """Give the entries that are not in a run: those of which it is not certain that they are finished."""
        return list(self._active.values())

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries durably. Raises OSError; then none of them counts."""
        crash_point("delivered-log.before-entry")
        if self._fd is None:
            self._begin()
        assert self._fd is not None
        raw = b"".join(_encode(entry) for entry in entries)
        try:
            fail_point("delivered-log.append")
            _write_all(self._fd, raw)
        except OSError:
            # Nothing may follow a torn entry.
            os.ftruncate(self._fd, self._good_bytes)
            os.lseek(self._fd, self._good_bytes, os.SEEK_SET)
            raise
        try:
            fail_point("delivered-log.sync")
            os.fsync(self._fd)
        except OSError:
            # What is in this file from now on cannot be known: the next entries go to another one.
            os.close(self._fd)
            self._fd = None
            raise
        self._good_bytes += len(raw)
        self._active.update((entry.upload_id, entry) for entry in entries)
        crash_point("delivered-log.after-entry")

    @property
    def is_due(self) -> bool:
        """Whether so much has gathered that it should be sealed."""
        return len(self._active) >= ACTIVE_ENTRIES

    def seal(self, log_start: int, now: float) -> None:
        """Make a sorted run of the logs, and merge runs, without old entries below `log_start`.

        `now` is in seconds since the Unix epoch.

        Only when everything that was appended is finished. Raises OSError; the logs are still there then.
        """
        expired_ms = int((now - KEEP_SECONDS) * 1000)

        def counts(offset: int, upload_id: UploadId) -> bool:
            return offset >= log_start or upload_id.milliseconds >= expired_ms

        fresh = sorted(
            (entry for entry in self._active.values() if counts(entry.offset, entry.upload_id)),
            key=lambda entry: entry.upload_id,
        )
        if self._active:
            crash_point("delivered-log.before-seal")
        if fresh:
            path = self._new_path("run")
            _write_run(path, fresh)
            self._runs += (_Run(path),)
        runs = list(self._runs)
        for run in runs:
            if not run.count or not counts(run.last_offset, run.last_upload_id):
                self._drop(run)
        while len(self._runs) > 1 and self._runs[-2].count < 2 * self._runs[-1].count:
            self._merge(self._runs[-2], self._runs[-1], counts)
        if self._active:
            crash_point("delivered-log.after-seal")
        self._active = {}
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        for path in self._logs:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._logs = []

    def close(self) -> None:
        """Let go of all files."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._runs = ()

    def _begin(self) -> None:
        if not os.path.isdir(self._directory):
            os.makedirs(self._directory, exist_ok=True)
            # <root>/.penstock/downloader/delivered/<topic id>/<partition>: the last two are new, at the most.
            parent = os.path.dirname(self._directory)
            fsync_directory(parent)
            fsync_directory(os.path.dirname(parent))
        path = self._new_path("log")
        self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | O_CLOEXEC | O_BINARY, 0o644)
        self._good_bytes = 0
        self._logs.append(path)
        fsync_directory(self._directory)

    def _new_path(self, suffix: str) -> str:
        return os.path.join(self._directory, f"{time.time_ns():020d}-{secrets.token_hex(4)}.{suffix}")

    def _merge(self, older: _Run, newer: _Run, counts: Callable[[int, UploadId], bool]) -> None:
        stamp = os.path.basename(newer.path).partition("-")[0]
        path = os.path.join(self._directory, f"{stamp}-{secrets.token_hex(4)}.run")
        merged_entries = _merged(older, newer)
        kept = _write_run(path, (one for one in merged_entries if counts(one.offset, one.upload_id)))
        merged = (_Run(path),) if kept else ()
        if not kept:
            os.unlink(path)
        self._runs = tuple(run for run in self._runs if run not in (older, newer)) + merged
        for run in (older, newer):
            self._remove(run)

    def _drop(self, run: _Run) -> None:
        self._runs = tuple(other for other in self._runs if other is not run)
        self._remove(run)

    @staticmethod
    def _remove(run: _Run) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(run.path)


declare("delivered-log.append", "delivered-log.sync")


def read_log(path: str) -> Iterator[Entry]:
    """Give the entries of a log, up to the first one that is torn."""
    with open(path, "rb") as stream:
        while len(head := stream.read(_HEAD.size)) == _HEAD.size:
            crc, length, kind, upload_id, offset, digest = _HEAD.unpack(head)
            name = stream.read(length)
            if len(name) < length or zlib.crc32(name, zlib.crc32(head[4:])) != crc:
                return
            yield Entry(UploadId(upload_id), offset, digest, os.fsdecode(name), Kind(kind))


def _encode(entry: Entry) -> bytes:
    name = os.fsencode(entry.name)
    head = _HEAD.pack(0, len(name), entry.kind, entry.upload_id, entry.offset, entry.digest)
    crc = zlib.crc32(name, zlib.crc32(head[4:]))
    return crc.to_bytes(4, "big") + head[4:] + name


def _write_all(fd: int, raw: bytes) -> None:
    view = memoryview(raw)
    while view:
        view = view[os.write(fd, view) :]


class _Run:
    """A file of entries, sorted by upload id."""

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, "rb") as stream:
            # Goes with the last reference: a run that was merged may just be searched by another thread.
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        trailer = self._map[-_TRAILER.size :]
        magic, self.count, self.rows_at, self.last_offset, crc = _TRAILER.unpack(trailer)
        if magic != _MAGIC or zlib.crc32(trailer[:-4]) != crc:
            raise StateError(
                f"{path!r} is no delivered log of this version, or it is damaged: without it files might be "
                f"delivered twice; move it away if that does not matter"
            )

    @property
    def last_upload_id(self) -> UploadId:
        """The greatest one, which is also the youngest: ids begin with their time."""
        at = self.rows_at + (self.count - 1) * _ROW.size
        return UploadId(self._map[at : at + 16])

    def find(self, upload_id: UploadId) -> Entry | None:
        content, rows_at, size = self._map, self.rows_at, _ROW.size
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            at = rows_at + middle * size
            found = content[at : at + 16]
            if found < upload_id:
                low = middle + 1
            elif found > upload_id:
                high = middle
            else:
                raw_id, offset, kind, digest, position, length = _ROW.unpack_from(content, at)
                name = os.fsdecode(content[position : position + length])
                return Entry(UploadId(raw_id), offset, digest, name, Kind(kind))
        return None

    def __iter__(self) -> Iterator[Entry]:
        """Give all entries, reading and not mapping: mapped pages would count as our memory."""
        with open(self.path, "rb") as rows, open(self.path, "rb") as names:
            rows.seek(self.rows_at)
            for _ in range(self.count):
                raw_id, offset, kind, digest, _position, length = _ROW.unpack(rows.read(_ROW.size))
                name = os.fsdecode(names.read(length))  # names lie in the order of the rows
                yield Entry(UploadId(raw_id), offset, digest, name, Kind(kind))


def _merged(older: _Run, newer: _Run) -> Iterator[Entry]:
    """Give the entries of both in order; where both have one, the newer."""
    last: UploadId | None = None
    for entry in heapq.merge(newer, older, key=lambda entry: entry.upload_id):
        if entry.upload_id != last:
            yield entry
        last = entry.upload_id


def _write_run(path: str, entries: Iterable[Entry]) -> int:
    """Write a run, whole or not at all; return the number of its entries."""
    draft, rows_path = f"{path}.draft", f"{path}.rows"
    count, position, last_offset = 0, 0, -1
    try:
        with open(draft, "wb") as stream, open(rows_path, "w+b") as rows:
            for entry in entries:
                name = os.fsencode(entry.name)
                rows.write(
                    _ROW.pack(entry.upload_id, entry.offset, entry.kind, entry.digest, position, len(name))
                )
                stream.write(name)
                position += len(name)
                count += 1
                last_offset = max(last_offset, entry.offset)
            rows.seek(0)
            while block := rows.read(_OPEN_RUN_BYTES):
                stream.write(block)
            trailer = _TRAILER.pack(_MAGIC, count, position, last_offset, 0)[:-4]
            stream.write(trailer + zlib.crc32(trailer).to_bytes(4, "big"))
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(draft, path)
        fsync_directory(os.path.dirname(path))
    finally:
        for leftover in (draft, rows_path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(leftover)
    return count


__all__ = ["ACTIVE_ENTRIES", "DeliveredLog", "Entry", "Kind", "read_log"]
