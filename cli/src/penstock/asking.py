"""Which uploader a command asks: the one of the watched directory that a path is in, or that is named."""

from __future__ import annotations

import os
from dataclasses import dataclass

import click

from penstock.help import Option
from penstock_uploader.control_client import ControlClient, default_state_dir
from servicekit.exceptions import ConfigurationError


@dataclass(frozen=True)
class Asked:
    """An uploader to ask."""

    directory: str
    """What it watches, absolute, links resolved."""
    client: ControlClient

    def relative(self, path: str) -> str:
        """Return a path below the directory as the uploader names it (POSIX, "" for the directory itself)."""
        parent, name = os.path.split(os.path.abspath(path))
        # The last component may be a link, or gone: it is taken as it is.
        full = os.path.realpath(path) if os.path.isdir(path) else os.path.join(os.path.realpath(parent), name)
        found = os.path.relpath(full, self.directory)
        if found.split(os.sep)[0] == os.pardir:
            raise ConfigurationError(f"{path!r} is not in {self.directory!r}, which is the watched directory")
        return "" if found == os.curdir else found.replace(os.sep, "/")


def uploader_of(directory: str | None, state_dir: str | None) -> Asked:
    """Return the uploader of a watched directory. Raises ConfigurationError if it cannot be one."""
    if directory is None:
        raise ConfigurationError("DIR (PENSTOCK_DIRECTORY) is missing: the directory that is watched")
    if not os.path.isdir(directory):
        what = "is not a directory" if os.path.exists(directory) else "does not exist"
        raise ConfigurationError(f"{directory!r} {what}: name the directory that is watched")
    state = os.path.realpath(state_dir) if state_dir else default_state_dir(directory)
    if not os.path.isdir(state):
        hint = "" if state_dir else "; if its uploader has another --state-dir, name it"
        raise ConfigurationError(f"{directory!r} is not watched: there is no {state!r}{hint}")
    return Asked(os.path.realpath(directory), ControlClient(state))


def uploader_above(path: str) -> Asked:
    """Return the uploader of the nearest watched directory that is, or is above, `path`."""
    here = os.path.realpath(path)
    while True:
        if os.path.exists(os.path.join(default_state_dir(here), "ledger.db")):
            return Asked(here, ControlClient(default_state_dir(here)))
        above = os.path.dirname(here)
        if above == here:
            raise ConfigurationError(
                f"{path!r} is not in a watched directory: no directory above it has .penstock/uploader; with "
                "another state directory, name both --directory and --state-dir"
            )
        here = above


def state_dir_option() -> Option:
    """Return --state-dir."""
    return Option(
        ["--state-dir"],
        metavar="DIR",
        envvar="PENSTOCK_STATE_DIR",
        help="State directory of its uploader, if that is not DIR/.penstock/uploader.",
    )


def json_option(what: str) -> Option:
    """Return --json."""
    return Option(["--json", "as_json"], is_flag=True, envvar="PENSTOCK_JSON", help=what)


def watched_argument() -> click.Argument:
    """Return DIR, which the environment may name."""
    return click.Argument(["directory"], required=False, metavar="DIR", envvar="PENSTOCK_DIRECTORY")
