"""`penstock upload`: which files are meant, under which names they travel, and sending them once."""

from __future__ import annotations

import glob
import json
import logging
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import click

from penstock import display
from penstock.foreground import CANNOT_BE_SENT, SENT, UploadObserver, until_told_to_stop
from penstock.main import say
from penstock.progress import Board, board
from penstock_uploader.service import upload_once
from penstock_uploader.settings import UploaderSettings
from penstock_uploader.watch import Unreadable, walk
from servicekit import logs
from servicekit.exceptions import ConfigurationError
from servicekit.globs import PathFilter
from servicekit.lifecycle import StopSignal
from servicekit.topics import Topics


@dataclass
class Selection:
    """What is to be sent from one directory: relative paths (POSIX) with their sizes."""

    files: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Reason by relative path."""


def upload(settings: UploaderSettings, names: Sequence[str], *, as_json: bool) -> int:
    """Send what is named, once; return the exit code. Raises PenstockError if it cannot begin."""
    explicit = settings.model_fields_set
    logs.configure(settings.log_format, settings.log_level if "log_level" in explicit else "warning")
    selections = select(names, PathFilter(settings.include, settings.exclude))
    Topics(settings).describe(settings.topic)  # once is now: nobody wants to wait for a broker
    began = time.monotonic()
    shown = board("acknowledged", hide_logs=[SENT, CANNOT_BE_SENT])
    shown.expect(
        sum(len(selection.files) for selection in selections.values()),
        sum(sum(selection.files.values()) for selection in selections.values()),
    )
    outcome = Outcome()
    with _without(SENT, CANNOT_BE_SENT), until_told_to_stop(shown) as stop:
        for root, selection in selections.items():
            _upload_from(root, selection, settings, stop, shown, outcome)
    outcome.tell(time.monotonic() - began, as_json=as_json)
    return 1 if outcome.failed else 0


def select(names: Sequence[str], paths: PathFilter) -> dict[str, Selection]:
    """Return what to send, by the directory that the paths are relative to.

    As with `cp -r`: a file travels under its name, a directory under its name with all that is below it, and
    of `.` only what is below. `paths` chooses among the files of directories. Raises ConfigurationError.
    """
    selections: dict[str, Selection] = {}
    origins: dict[str, str] = {}
    for name in _expanded(names):
        try:
            status = os.lstat(name)
        except OSError as error:
            raise ConfigurationError(f"{name!r} cannot be sent: {error.strerror}") from None
        if stat.S_ISLNK(status.st_mode) and not name.endswith(os.sep):
            raise ConfigurationError(f"{name!r} is a symbolic link: name what it points to")
        if stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode):
            root, found = _of_directory(name, paths)
        elif stat.S_ISREG(status.st_mode):
            root, base = os.path.split(os.path.realpath(name))
            found = Selection({base: status.st_size})
        else:
            raise ConfigurationError(f"{name!r} is neither a file nor a directory")
        selection = selections.setdefault(root, Selection())
        selection.unreadable |= found.unreadable
        for path, size in found.files.items():
            if origins.setdefault(path, root) != root:
                raise ConfigurationError(
                    f"{os.path.join(root, path)!r} and {os.path.join(origins[path], path)!r} would both "
                    f"travel as {path!r}: send them one by one, each with a --prefix of its own"
                )
            selection.files[path] = size
    return selections


def _expanded(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        # Windows leaves wildcards to the programs.
        found = glob.glob(name) if sys.platform == "win32" and not os.path.lexists(name) else []
        yield from found or [name]


def _of_directory(name: str, paths: PathFilter) -> tuple[str, Selection]:
    contents_only = os.path.basename(name.rstrip(os.sep)) in (".", "..", "")
    full = os.path.realpath(name)
    root, below = (full, "") if contents_only else os.path.split(full)
    found = Selection()
    for item in walk(root, below, paths):
        if isinstance(item, Unreadable):
            found.unreadable[item.path or "."] = f"directory cannot be read: {item.error.strerror}"
        else:
            found.files[item.path] = item.fingerprint.size
    return root, found


def _upload_from(
    root: str,
    selection: Selection,
    settings: UploaderSettings,
    stop: StopSignal,
    shown: Board,
    outcome: Outcome,
) -> None:
    for path, reason in selection.unreadable.items():
        outcome.failed[os.path.join(root, path)] = reason
    if stop.is_set():
        outcome.failed |= {os.path.join(root, path): "interrupted" for path in selection.files}
        return
    if not selection.files:
        return
    # What belongs to watching stays out, whatever the environment says: `upload` never removes a file.
    here = settings.model_copy(
        update={
            "directory": root,
            "state_dir": None,
            "after": "keep",
            "after_when": "acknowledged",
            "after_receipt_from": [],
            "metrics_port": None,
        }
    )
    observer = _Recorder(shown, root, outcome)
    once = upload_once(here, list(selection.files), stop, observer)
    for path, reason in once.failed.items():
        outcome.failed[os.path.join(root, path)] = reason
    # What nobody has spoken of is not acknowledged either.
    for path in selection.files:
        full = os.path.join(root, path)
        if full not in outcome.acknowledged:
            outcome.failed.setdefault(full, "interrupted" if stop.is_set() else "it was not acknowledged")


@dataclass
class Outcome:
    """What became of the files, by absolute path."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    """Size in bytes."""
    failed: dict[str, str] = field(default_factory=dict)
    """Reason."""

    def tell(self, elapsed: float, *, as_json: bool) -> None:
        """Write the result."""
        size = sum(self.acknowledged.values())
        if as_json:
            files = [display.json_name(f, "file") | {"size": s} for f, s in self.acknowledged.items()]
            failed = [display.json_name(f, "file") | {"reason": r} for f, r in self.failed.items()]
            result = {
                "ok": not self.failed,
                "acknowledged": files,
                "failed": failed,
                "bytes": size,
                "seconds": round(elapsed, 3),
            }
            sys.stdout.write(json.dumps(result, indent=2) + "\n")
        elif self.acknowledged or not self.failed:
            rate = f": {display.rate(size / elapsed)}" if size > 10_000_000 else ""
            files = display.count(len(self.acknowledged), "file")  # type: ignore[assignment]
            click.echo(f"{files} acknowledged, {display.size(size)} in {display.seconds(elapsed)}{rate}")
        for number, (file, reason) in enumerate(self.failed.items()):
            if number == 20 and len(self.failed) > 21:
                say(f"penstock upload: and {len(self.failed) - number} more", fg="red")
                break
            say(f"penstock upload: {display.shown(file)}: {reason}", fg="red")


class _Recorder(UploadObserver):
    def __init__(self, shown: Board, root: str, outcome: Outcome) -> None:
        super().__init__(shown)
        self._root = root
        self._outcome = outcome

    def acknowledged(self, path: str, size: int, seconds: float) -> None:
        super().acknowledged(path, size, seconds)
        self._outcome.acknowledged[os.path.join(self._root, path)] = size


@contextmanager
def _without(*messages: str) -> Iterator[None]:
    """Keep out of the log what is told in another way."""

    def wanted(record: logging.LogRecord) -> bool:
        return record.msg not in messages

    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(wanted)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(wanted)
