"""Where a SQLite database is to be: whether there can be one."""

from __future__ import annotations

import os

from sqlalchemy import make_url

from penstock_registry.settings import RegistrySettings
from servicekit.exceptions import ConfigurationError

_OPTION = "--database (PENSTOCK_DATABASE)"


def check_database_file(settings: RegistrySettings) -> None:
    """Raise ConfigurationError where no database can be: waiting, as for a server, would not help."""
    url = make_url(settings.database_url)
    if url.get_backend_name() != "sqlite" or url.database is None or url.database.startswith("file:"):
        return
    path = os.path.abspath(url.database)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise ConfigurationError(
            f"{_OPTION}: there is no directory {directory!r}: make it, or name another file"
        )
    if os.path.isdir(path):
        raise ConfigurationError(f"{_OPTION}: {path!r} is a directory: name a file in it")
    # Beside the file SQLite keeps its log, so the directory matters as well.
    for place in (directory, path):
        if os.path.exists(place) and not os.access(place, os.R_OK | os.W_OK):
            raise ConfigurationError(
                f"{_OPTION}: {place!r} cannot be written to: name another file, or let this user write to it"
            )
