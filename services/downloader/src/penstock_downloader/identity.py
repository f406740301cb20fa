"""Which destination a directory is: its id, its state directory, and whether it may be one at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
from dataclasses import dataclass

from servicekit.exceptions import ConfigurationError, StateError
from servicekit.filesystem import fsync_directory, rename_noreplace

STATE_DIRECTORY = ".penstock"


@dataclass(frozen=True, slots=True)
class Destination:
    """A directory that may be delivered into.

    `id` is also the consumer group; `state` is the directory in it that is ours. `is_new` says that nothing
    was ever delivered into it.
    """

    id: str
    root: str
    state: str
    is_new: bool = False

    @property
    def partials(self) -> str:
        """Where unfinished files are."""
        return os.path.join(self.state, "partial")

    @property
    def delivered(self) -> str:
        """Where the delivered logs are."""
        return os.path.join(self.state, "delivered")

    @property
    def quarantine(self) -> str:
        """Where the heads of what was refused are kept."""
        return os.path.join(self.state, "quarantine")


def open_destination(directory: str, group: str | None) -> Destination:
    """Make the directory's state directories, and its id if it has none yet.

    Raises ConfigurationError when this is no directory, cannot be written, or is another destination's.
    """
    root = os.path.abspath(directory)
    if not os.path.isdir(root):
        what = "is not a directory" if os.path.exists(root) else "does not exist"
        raise ConfigurationError(f"{directory!r} {what}: make it first, or name another")
    state = os.path.join(root, STATE_DIRECTORY, "downloader")
    try:
        if os.path.islink(os.path.join(root, STATE_DIRECTORY)):
            raise ConfigurationError(f"{directory!r}: its {STATE_DIRECTORY} is a symbolic link; remove it")
        for name in ("partial", "delivered", "quarantine"):
            os.makedirs(os.path.join(state, name), exist_ok=True)
        if os.stat(state).st_dev != os.stat(root).st_dev:
            raise ConfigurationError(
                f"{directory!r}: its {STATE_DIRECTORY} is on another file system, from where nothing can be "
                f"moved into place at once; keep it on the same one"
            )
        is_new = not _read(os.path.join(root, STATE_DIRECTORY, "id"))
        found = _identify(root, group)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StateError(f"{directory!r} is full: make room for Penstock's own state first") from None
        raise ConfigurationError(
            f"{directory!r} cannot be written ({error.strerror}): Penstock delivers there, and keeps its "
            f"state in {STATE_DIRECTORY}"
        ) from None
    if group is not None and found != group:
        raise ConfigurationError(
            f"{directory!r} is destination {found!r}, not {group!r}: use --group {found}, or another "
            f"directory (its id is in {STATE_DIRECTORY}/id)"
        )
    return Destination(found, root, state, is_new)


def _identify(root: str, group: str | None) -> str:
    path = os.path.join(root, STATE_DIRECTORY, "id")
    if known := _read(path):
        return known
    chosen = group or _made_up(root)
    draft = f"{path}.{secrets.token_hex(4)}"
    with open(draft, "x", encoding="utf-8") as stream:
        stream.write(f"{chosen}\n")
        stream.flush()
        os.fsync(stream.fileno())
    try:
        rename_noreplace(draft, path)
    except FileExistsError:  # another downloader on this volume was first
        os.unlink(draft)
        return _read(path) or chosen
    fsync_directory(os.path.dirname(path))
    fsync_directory(root)
    return chosen


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.readline().strip()
    except FileNotFoundError:
        return ""


def _made_up(root: str) -> str:
    words = f"{socket.gethostname().partition('.')[0]}-{os.path.basename(root) or 'root'}"
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", words)[:200].strip("-.") or "destination"
    return f"{plain}-{secrets.token_hex(2)}"
