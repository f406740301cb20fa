"""The directory in which an uploader keeps its state: made, locked, and the id of the source in it."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import ExitStack

from penstock_uploader.naming import derived_source_id
from penstock_uploader.settings import UploaderSettings
from servicekit.exceptions import ConfigurationError, StateError
from servicekit.filesystem import FileLock


def open_state_dir(settings: UploaderSettings, stack: ExitStack, *, once: bool) -> str:
    """Make the state directory and lock it until `stack` ends; `once`: a temporary one, unless it is named.

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
    try:
        stack.enter_context(FileLock(os.path.join(state_dir, "lock"), owner=owner))
    except StateError as error:
        raise StateError(
            f"{settings.root!r} is watched by another uploader already: {error}"
            if "locked" in str(error)
            else f"{error}; a read-only directory needs --state-dir and --after keep"
        ) from None
    return state_dir


def persistent_source_id(settings: UploaderSettings, state_dir: str) -> str:
    """Read the id of this source from its file, or make it and keep it there; raises ConfigurationError."""
    path = os.path.join(state_dir, "source_id")
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
    if known:
        return known
    source_id = given or _known_source_id(settings.root) or derived_source_id(settings.root)
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


def _known_source_id(root: str) -> str | None:
    """Give the id under which a watched directory is sent, for those who send from it without its ledger."""
    try:
        with open(os.path.join(root, ".penstock", "uploader", "source_id"), encoding="utf-8") as stream:
            return stream.read().strip() or None
    except OSError:
        return None
