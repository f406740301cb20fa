"""Under which names, and by which source, the files of a directory are sent."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from itertools import islice
from typing import Final
from uuid import UUID

from penstock.asking import Asked, uploader_above, uploader_of
from penstock.commands.ledger import path_of
from penstock.registry_client import NotKnown, RegistryClient
from penstock_uploader.naming import prefix_values, render_prefix, wire_path
from servicekit.exceptions import ConfigurationError, PenstockError

TRIED: Final = 20
"""So many files of the ledger are looked up for the prefix: the registry may not know the first one yet."""


@dataclass(frozen=True, slots=True)
class Source:
    """What to compare: the files in `root`/`below`, whose paths on the wire are relative to `root`."""

    root: str
    below: str
    source_id: str | None
    """None: any source's."""
    prefix: str

    def wire(self, path: str) -> str:
        """Return the path on the wire of a file's path relative to the root."""
        return wire_path(self.prefix, path)

    def relative(self, path: str) -> str:
        """Return the path relative to the directory that was named."""
        return path[len(self.below) + 1 :] if self.below and path != self.below else path


def find_source(
    directory: str,
    *,
    state_dir: str | None,
    source_id: str | None,
    prefix: str | None,
    client: RegistryClient,
) -> Source:
    """Return how the files of a directory are sent: as was said, else as the uploader of it (or above) does.

    `prefix` is a template, as the uploader's. Raises ConfigurationError.
    """
    asked = _uploader(directory, state_dir)
    rendered = render_prefix(prefix, prefix_values()) if prefix is not None else None
    if asked is None:
        return Source(os.path.realpath(directory), "", source_id, rendered or "")
    if rendered is None:
        rendered = _learned_prefix(asked, client)
    return Source(
        asked.directory,
        asked.relative(directory),
        source_id or _source_id(asked.client.state_dir),
        rendered,
    )


def _uploader(directory: str, state_dir: str | None) -> Asked | None:
    if state_dir is not None:
        return uploader_of(directory, state_dir)
    try:
        return uploader_above(directory)
    except ConfigurationError:  # it is not watched
        return None


def _source_id(state_dir: str) -> str | None:
    try:
        with open(os.path.join(state_dir, "source_id"), encoding="utf-8") as stream:
            return stream.read().strip() or None
    except (OSError, ValueError):
        return None


def _learned_prefix(asked: Asked, client: RegistryClient) -> str:
    """Return what the uploader puts before its paths: the ledger has them without, the registry with it."""
    # Its ledger may be somebody else's; and where the registry is the trouble, the next question says so.
    with contextlib.suppress(OSError, PenstockError):
        sent = (file for file in asked.client.files() if file.get("upload_id"))
        for file in islice(sent, TRIED):
            try:
                wire, here = client.upload(UUID(file["upload_id"])).name, path_of(file)
            except NotKnown:
                continue
            if wire.endswith(f"/{here}"):
                return wire[: -len(here) - 1]
            if wire == here:
                return ""
    return ""
