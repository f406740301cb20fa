"""The directory in which an uploader keeps its state: made, locked, and the id of the source in it."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import time
from contextlib import ExitStack
from typing import Final

from penstock_uploader import metrics
from penstock_uploader.naming import derived_source_id
from penstock_uploader.settings import UploaderSettings
from servicekit.exceptions import ConfigurationError, StateError, StateInUse
from servicekit.filesystem import FileLock
from servicekit.http import Health
from servicekit.lifecycle import StopSignal
from servicekit.logs import Limiter

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.5
"""How often a lock that another one has is tried. A lock that is waited for cannot be interrupted."""


def open_state_dir(
    settings: UploaderSettings, stack: ExitStack, stop: StopSignal, health: Health, *, once: bool
) -> str | None:
    """Make the state directory and lock it until `stack` ends; `once`: a temporary one, unless it is named.

    While another one has it, wait if the settings say so; None if `stop` came before the other one's end.
    Raises ConfigurationError, StateError.
    """
    if not os.path.isdir(settings.root):
        raise ConfigurationError(f"{settings.directory!r} is not a directory")
    if not os.access(settings.root, os.R_OK | os.X_OK):
        raise ConfigurationError(f"directory {settings.directory!r} may not be read by us")
    if once and settings.state_dir is None:
        return stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-upload-"))
    writable = os.access(settings.root, os.W_OK)
    if settings.after != "keep" and not writable:
        raise ConfigurationError(
            f"directory {settings.directory!r} is read-only: --after {settings.after} is not "
            f"possible there, "
            "only --after keep"
        )
    state_dir = settings.state_directory
    try:
        os.makedirs(state_dir, exist_ok=True)
    except OSError as error:
        hint = (
            "name a directory that can be written with --state-dir (and keep --after keep)"
            if settings.state_dir is None
            else "name another --state-dir"
        )
        raise ConfigurationError(
            f"state cannot be kept in {state_dir!r} ({error.strerror}): {hint}"
        ) from None
    owner = f"penstock-uploader, pid {os.getpid()} on {socket.gethostname()}, watching {settings.root}"
    path = os.path.join(state_dir, "lock")
    try:
        lock = (
            _await_lock(settings, path, owner, stop, health)
            if settings.wait_for_other
            else FileLock(path, owner=owner)
        )
    except StateInUse as error:
        raise StateError(f"{settings.root!r} is watched by another uploader already: {error}") from None
    except StateError as error:
        raise StateError(f"{error}; a read-only directory needs --state-dir and --after keep") from None
    if lock is None:
        return None
    stack.enter_context(lock)
    return state_dir


def _await_lock(
    settings: UploaderSettings, path: str, owner: str, stop: StopSignal, health: Health
) -> FileLock | None:
    """Take the lock once nobody else has it, visibly; None if `stop` came before.

    Until then we count as ready if the other one sends as our own source: the directory is looked after, and
    a rollout ends the other one only when we are. Raises ConfigurationError, StateError.
    """
    limiter = Limiter(every_seconds=60)
    began = time.monotonic()
    waited = False
    try:
        while not stop.is_set():
            try:
                lock = FileLock(path, owner=owner)
            except StateInUse as error:
                waited = True
                metrics.WAITING_FOR_OTHER.set(1)
                if limiter.first("waiting"):
                    log.warning(
                        "%r is watched by another uploader: %s; waiting until it ends", settings.root, error
                    )
                if _kept_source_id(settings, os.path.dirname(path)) == (settings.source_id or None):
                    health.ok("start")
                stop.wait(_LOOK_SECONDS)
            else:
                if waited:
                    log.info("the other uploader has ended, after %.0f s", time.monotonic() - began)
                return lock
        return None
    finally:
        metrics.WAITING_FOR_OTHER.set(0)
        if waited:
            health.problem("start", "not started yet")


def persistent_source_id(settings: UploaderSettings, state_dir: str) -> str:
    """Read the id of this source from its file, or make it and keep it there; raises ConfigurationError."""
    path = _source_id_file(state_dir)
    known = _kept_source_id(settings, state_dir)
    if known:
        return known
    source_id = settings.source_id or _known_source_id(settings.root) or derived_source_id(settings.root)
    try:
        with open(path + ".new", "w", encoding="utf-8") as stream:
            stream.write(source_id + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(path + ".new", path)
    except OSError as error:
        raise ConfigurationError(
            f"state cannot be kept in {state_dir!r} ({error.strerror}): name another --state-dir"
        ) from None
    return source_id


def _source_id_file(state_dir: str) -> str:
    return os.path.join(state_dir, "source_id")


def _kept_source_id(settings: UploaderSettings, state_dir: str) -> str:
    """Read the id that the directory was sent under until now, if it was; raises ConfigurationError."""
    path = _source_id_file(state_dir)
    try:
        with open(path, encoding="utf-8") as stream:
            known = stream.read().strip()
    except OSError:
        known = ""
    given = settings.source_id
    if known and given and known != given:
        raise ConfigurationError(
            f"{settings.root!r} was sent as source {known!r} until now, and cannot become {given!r}: "
            f"destinations "
            f"would take them for two sources of the same paths. Leave out --source-id, or remove "
            f"{path!r}"
        )
    return known


def _known_source_id(root: str) -> str | None:
    """Give the id under which a watched directory is sent, for those who send from it without its ledger."""
    try:
        with open(os.path.join(root, ".penstock", "uploader", "source_id"), encoding="utf-8") as stream:
            return stream.read().strip() or None
    except OSError:
        return None
