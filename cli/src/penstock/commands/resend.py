"""`penstock resend`: send files again."""

from __future__ import annotations

import json
import os
import sys

import click

from penstock import display
from penstock.asking import Asked, json_option, state_dir_option, uploader_above, uploader_of
from penstock.commands.ledger import path_of
from penstock.help import Command, Option
from penstock.main import say
from servicekit.exceptions import ConfigurationError, StateError


def _run(
    paths: tuple[str, ...], unreceipted: bool, directory: str | None, state_dir: str | None, as_json: bool
) -> int:
    if state_dir is not None and directory is None:
        raise ConfigurationError("--state-dir needs --directory: the directory that is watched")
    if unreceipted == bool(paths):
        raise ConfigurationError("name either PATHs to send again, or --unreceipted")
    if unreceipted:
        asked = uploader_of(directory, state_dir) if directory is not None else uploader_above(os.curdir)
        resent, failed = int(asked.client.resend_unreceipted()["resent"]), dict[str, str]()
    else:
        resent, failed = _resend(paths, directory, state_dir)
    if as_json:
        failures = [display.json_name(path) | {"reason": reason} for path, reason in failed.items()]
        sys.stdout.write(json.dumps({"resent": resent, "failed": failures}) + "\n")
    elif resent or not failed:
        click.echo(f"{display.count(resent, 'file')} will be sent again")
    for path, reason in failed.items():
        say(f"penstock resend: {path}: {reason}", fg="red")
    return 1 if failed else 0


def _resend(
    paths: tuple[str, ...], directory: str | None, state_dir: str | None
) -> tuple[int, dict[str, str]]:
    resent = 0
    failed: dict[str, str] = {}
    for path in paths:
        asked = uploader_of(directory, state_dir) if directory is not None else uploader_above(path)
        wanted = _below(asked, path) if os.path.isdir(path) else [asked.relative(path)]
        if not wanted:
            failed[path] = "nothing in it was ever sent"
        for name in wanted:
            try:
                resent += int(asked.client.resend(name)["resent"])
            except StateError as error:
                failed[path] = str(error)
    return resent, failed


def _below(asked: Asked, directory: str) -> list[str]:
    relative = asked.relative(directory)
    inside = f"{relative}/" if relative else ""
    sent = (path_of(file) for file in asked.client.files() if "upload_id" in file)
    return [path for path in sent if path.startswith(inside)]


command = Command(
    "resend",
    callback=_run,
    help=(
        "Have the running uploader send files again that it has sent before: those you name (a directory "
        "stands for all that was sent from it), or all that no destination has given a receipt for. Every "
        "destination gets them again, and gives a new receipt."
    ),
    examples=(
        ("penstock resend /data/run-1/frame-0042.tif", "One file"),
        ("penstock resend /data/run-1", "All that was sent from a directory"),
        ("penstock resend --unreceipted --directory /data", "All that is not known to have arrived"),
    ),
    params=[
        click.Argument(["paths"], nargs=-1, metavar="PATH..."),
        Option(["--unreceipted"], is_flag=True, help="Send everything again that lacks a receipt."),
        Option(
            ["--directory"],
            metavar="DIR",
            envvar="PENSTOCK_DIRECTORY",
            help="The watched directory. By default the nearest one above PATH, or above here.",
        ),
        state_dir_option(),
        json_option("Write the result as JSON to stdout."),
    ],
)
