"""A service in the foreground of a terminal: its settings are known, now it runs until Ctrl-C."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chunkproto import Description, UploadId
from penstock import display
from penstock.progress import REMEMBERED, Board, board, is_terminal
from penstock_downloader.service import Downloader
from penstock_downloader.settings import DownloaderSettings
from penstock_uploader.service import Uploader
from penstock_uploader.settings import UploaderSettings
from servicekit import logs
from servicekit.globs import PathFilter
from servicekit.kafka import make_admin
from servicekit.lifecycle import StopSignal, describe_bug

log = logging.getLogger("penstock")

SENT = "sent %s"
CANNOT_BE_SENT = "%s cannot be sent: %s"
"""What the uploader logs of each file, and a board shows as well."""


def watch(settings: UploaderSettings) -> int:
    """Run an uploader; return the exit code. Raises PenstockError."""
    logs.configure(settings.log_format, settings.log_level)
    _check(settings)
    # Where there is no terminal the uploader's own log says all that a board would.
    terminal = is_terminal(sys.stderr) and settings.log_format == "text"
    shown = board("sent", scroll=True, hide_logs=[SENT]) if terminal else Board("sent")
    uploader = Uploader(settings, observer=UploadObserver(shown))
    with until_told_to_stop(shown) as stop:
        return uploader.run(stop)


def download(settings: DownloaderSettings) -> int:
    """Run a downloader; return the exit code. Raises PenstockError."""
    logs.configure(settings.log_format, settings.log_level)
    _check(settings)
    shown = board("delivered", scroll=True, say=log.info, plain=settings.log_format == "json")
    downloader = Downloader(settings, observer=DownloadObserver(shown))
    with until_told_to_stop(shown) as stop:
        downloader.run(stop)
    return 0


def _check(settings: UploaderSettings | DownloaderSettings) -> None:
    """Raise ConfigurationError for what can be known to be wrong before anything is written or waited for."""
    PathFilter(settings.include, settings.exclude)
    make_admin(settings)


class UploadObserver:
    """Shows what an uploader does on a board. See `penstock_uploader.observer.Observer`."""

    def __init__(self, shown: Board) -> None:
        self._board = shown

    def discovered(self, path: str, size: int) -> None:
        """Wait for its start."""

    def started(self, path: str, size: int) -> None:
        """Show a bar."""
        self._board.progress(path, 0, size)

    def progress(self, path: str, bytes_acknowledged: int, size: int) -> None:
        """Let the bar grow."""
        self._board.progress(path, bytes_acknowledged, size)

    def acknowledged(self, path: str, size: int, seconds: float) -> None:
        """Say so."""
        self._board.finished(path, size, display.seconds(seconds))

    def delivered(self, path: str, destination: str) -> None:
        """Say nothing: `penstock ledger` does."""

    def failed(self, path: str, reason: str) -> None:
        """Count it; the uploader's own log says why."""
        self._board.refused(path, reason)


class DownloadObserver:
    """Shows what a downloader does on a board."""

    def __init__(self, shown: Board) -> None:
        self._board = shown
        self._files: dict[UploadId, Description] = {}

    def started(self, upload_id: UploadId, description: Description) -> None:
        """See `penstock_downloader.observer.Observer`."""
        if len(self._files) >= REMEMBERED:
            del self._files[next(iter(self._files))]
        self._files[upload_id] = description
        self._board.progress(description.path, 0, description.size)

    def progress(self, upload_id: UploadId, written: int) -> None:
        """See `penstock_downloader.observer.Observer`."""
        description = self._files.get(upload_id)
        if description is not None:
            self._board.progress(description.path, written, description.size)

    def delivered(
        self, upload_id: UploadId, description: Description, name: str, seconds: float | None
    ) -> None:
        """See `penstock_downloader.observer.Observer`."""
        self._files.pop(upload_id, None)
        note = "" if seconds is None else display.seconds(seconds)
        if name != description.path:
            note = f"as {display.shown(name)}{', ' + note if note else ''}"
        self._board.finished(description.path, description.size, note)

    def rejected(
        self, upload_id: UploadId, description: Description | None, reason: str, detail: str
    ) -> None:
        """See `penstock_downloader.observer.Observer`. The service's own log says why."""
        self._files.pop(upload_id, None)
        if description is not None:
            self._board.refused(description.path, f"{reason}: {detail}")

    def waiting(self, why: str) -> None:
        """See `penstock_downloader.observer.Observer`."""
        self._board.status(f"waiting for {why}" if why else "")


@contextmanager
def until_told_to_stop(shown: Board) -> Iterator[StopSignal]:
    """Give the signal that Ctrl-C sets, while the board is open; say what happens once it is set."""
    threading.excepthook = _report_thread

    def say_so() -> None:
        stop.wait()
        if stop.reason is not None and not over.is_set():
            shown.status("stopping: what is on its way may arrive (again Ctrl-C: at once)")

    over = threading.Event()
    with StopSignal() as stop, shown:
        threading.Thread(target=say_so, name="stopping", daemon=True).start()
        try:
            yield stop
        finally:
            over.set()


def _report_thread(args: threading.ExceptHookArgs) -> None:
    """Say in a line that a thread has ended by an error: no user meets a traceback."""
    if args.exc_value is None or isinstance(args.exc_value, SystemExit):
        return
    log.error("thread %s ended: %s", args.thread.name if args.thread else "?", describe_bug(args.exc_value))
    log.debug("thread", exc_info=args.exc_value)
