"""What an earlier process left behind: files that were logged but have no name yet, partials of nobody."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import stat
import time
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from chunkproto import UploadId
from penstock_downloader.deliveredlog import Entry, Kind, read_log
from penstock_downloader.delivery import Tenure, finish
from penstock_downloader.exceptions import PartialLost, Refused, SinkUnavailable, Skipped, is_unavailable
from penstock_downloader.identity import Destination
from penstock_downloader.partials import Partials
from penstock_downloader.sink import FileSystemSink, Place

log = logging.getLogger(__name__)

_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Logged:
    upload_id: UploadId
    offset: int
    digest: bytes
    source: str | None
    place: Place | None


def finish_deliveries(sink: FileSystemSink, tenure: Tenure, partials: Partials, present: set[str]) -> None:
    """Give those logged files their names whose partials are still there, and sort the log.

    A partial that is not what the log says (its last owner wrote on while a former one logged it) is removed
    and its entry taken back: its records are read again.

    `present` are the names of partials; those that are finished are taken out. Raises SinkUnavailable.
    """
    finished = 0
    try:
        for entry in tenure.delivered_log.recent():
            name = str(entry.upload_id)
            if name not in present or entry.kind is Kind.WITHDRAWN:
                continue
            if entry.kind is Kind.DELIVERED and not _is_whole(partials.path(entry.upload_id), entry.digest):
                log.warning("the partial of upload %s is not what was logged: it is read again", name)
                withdrawn = Entry(entry.upload_id, entry.offset, entry.digest, "", Kind.WITHDRAWN)
                tenure.delivered_log.append([withdrawn])
                partials.discard(entry.upload_id)
            elif entry.kind is Kind.DELIVERED:
                source = sink.source_of(partials.path(entry.upload_id))
                place = sink.place_of(entry.name)
                logged = _Logged(entry.upload_id, entry.offset, entry.digest, source, place)
                try:
                    finish(sink, tenure, logged, partials.path(entry.upload_id))
                    finished += 1
                except (Refused, Skipped) as obstacle:
                    log.warning("upload %s was not delivered after all: %s", name, obstacle)
                    partials.discard(entry.upload_id)
                except PartialLost:
                    pass
            else:
                partials.discard(entry.upload_id)
            present.discard(name)
        if finished:
            sink.settle()
            log.info("%d files that were delivered but for their names have them now", finished)
    finally:
        sink.release()
    try:
        tenure.delivered_log.seal(tenure.log_start, time.time())
    except OSError as error:
        if is_unavailable(error):
            raise SinkUnavailable(error) from error
        raise


def _is_whole(path: str, digest: bytes) -> bool:
    """Whether a finished partial has the bytes that were logged."""
    hasher = blake3()
    mode = stat.S_IMODE(os.stat(path, follow_symlinks=False).st_mode)
    unreadable = not mode & stat.S_IRUSR
    if unreadable:  # it has got the mode that its file shall have
        os.chmod(path, mode | stat.S_IRUSR)
    try:
        with open(path, "rb") as stream:
            while block := stream.read(_READ_BYTES):
                hasher.update(block)
    finally:
        if unreadable:
            os.chmod(path, mode)
    return hasher.digest() == digest


def remove_orphans(destination: Destination, known: set[str], older_than_seconds: float) -> None:
    """Remove partials that nobody has touched for so long, but for those `known` here and those logged.

    A finished partial has its source's time of modification already; only ctime says when that was set.
    A partial that a delivered log names, of whatever partition, is about to get its name.
    """
    before = time.time() - older_than_seconds
    try:
        kept = known | _logged(destination.delivered)  # first: what is logged from now on was just touched
        with os.scandir(destination.partials) as found:
            for entry in found:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.name not in kept and max(status.st_mtime, status.st_ctime) < before:
                        os.unlink(entry.path)
                        log.info("removed partial %s: nobody has written to it for too long", entry.name)
    except OSError as error:
        log.warning("partials of nobody cannot be looked for now: %s", error)


def _logged(delivered: str) -> set[str]:
    """Give the uploads in all logs that are not sorted yet: only their files may be without their names."""
    found: set[str] = set()
    for path in glob.iglob(os.path.join(glob.escape(delivered), "*", "*", "*.log")):
        with contextlib.suppress(FileNotFoundError):
            found.update(str(entry.upload_id) for entry in read_log(path))
    return found
