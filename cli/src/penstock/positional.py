"""The one argument that is not an option: the directory."""

from __future__ import annotations

import click


def directory_argument(name: str = "directory") -> click.Argument:
    """Return the argument DIR. It may be missing here: PENSTOCK_DIRECTORY or the file may name it."""
    return click.Argument([name], required=False, metavar="DIR")
