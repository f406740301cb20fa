"""`penstock wait-drained`: wait until everything in a directory has been sent."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from penstock import display, progress
from penstock.asking import json_option, state_dir_option, uploader_of, watched_argument
from penstock.help import Command, Option
from penstock.main import say
from penstock_uploader.control_client import NoDestinations
from servicekit.exceptions import ConfigurationError

_ONE_QUESTION_SECONDS = 3600.0
LISTED = 20


def _run(
    directory: str | None,
    timeout: float | None,
    delivered: bool,
    receipt_from: tuple[str, ...],
    state_dir: str | None,
    as_json: bool,
) -> int:
    asked = uploader_of(directory, state_dir)
    began = time.monotonic()
    with _waiting("delivered" if delivered else "acknowledged"):
        while True:
            left = _ONE_QUESTION_SECONDS if timeout is None else max(0.0, began + timeout - time.monotonic())
            try:
                answer = asked.client.drained(
                    min(left, _ONE_QUESTION_SECONDS), delivered=delivered, receipts_from=receipt_from
                )
            except NoDestinations:
                raise ConfigurationError(
                    "delivered by whom? Name destinations with --receipt-from, or let the uploader know them "
                    "with --after-receipt-from"
                ) from None
            if (
                answer["drained"]
                or answer.get("hopeless")
                or (timeout is not None and left < _ONE_QUESTION_SECONDS)
            ):
                break
    if as_json:
        sys.stdout.write(json.dumps(answer) + "\n")
    elif answer["drained"]:
        took = display.seconds(time.monotonic() - began)
        click.echo(f"everything is {'delivered' if delivered else 'acknowledged'} ({took})")
    if answer["drained"]:
        return 0
    if timeout and not answer.get("hopeless"):
        say(f"penstock wait-drained: after {timeout:g} s, this is missing:", fg="red")
    for line in missing(answer):
        say(f"penstock wait-drained: {line}", fg="red")
    return 1


@contextlib.contextmanager
def _waiting(what: str) -> Iterator[None]:
    if progress.is_terminal(sys.stderr):
        with progress.error_console().status(f"waiting until all is {what}"):
            yield
    else:
        yield


def missing(answer: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing that an uploader says is missing, failures first."""
    lines = [f"{display.shown(path)}: {reason}" for path, reason in answer.get("failed", {}).items()]
    lines += [f"{display.shown(path)}: {why}" for path, why in answer.get("undelivered", {}).items()]
    for what, paths in answer.get("waiting", {}).items():
        lines += [f"{display.shown(path)}: still {what}" for path in paths]
        if not paths:
            lines.append(f"still {'looking through the directory' if what == 'scan' else what}")
    if len(lines) > LISTED:
        lines[LISTED:] = [f"and {len(lines) - LISTED} more"]
    return lines or ["not everything has been sent"]


command = Command(
    "wait-drained",
    callback=_run,
    help=(
        "Wait until everything in the watched directory DIR has been sent: acknowledged by Kafka, "
        "or with --delivered, answered by every destination that its uploader (--after-receipt-from) or "
        "--receipt-from names. Exit code 0 once that is so; 1 when the time is over, or when some file "
        "cannot be sent, naming what is missing. A good last step of a job that has written files."
    ),
    examples=(
        ("penstock wait-drained /data", "However long it takes"),
        ("penstock wait-drained /data --timeout 600", "Ten minutes at most"),
        ("penstock wait-drained /data --delivered --receipt-from archive", "Until it is provably there"),
    ),
    params=[
        watched_argument(),
        Option(
            ["--timeout"],
            type=click.FloatRange(min=0),
            envvar="PENSTOCK_TIMEOUT",
            metavar="SECONDS",
            help="Wait no longer than this. By default for ever; 0 only looks.",
        ),
        Option(
            ["--delivered"],
            is_flag=True,
            envvar="PENSTOCK_DELIVERED",
            help="Wait for the receipts of destinations, not only for Kafka.",
        ),
        Option(
            ["--receipt-from"],
            multiple=True,
            metavar="GROUP",
            help="With --delivered: a destination whose receipts are needed; may be repeated.",
        ),
        state_dir_option(),
        json_option("Write the answer as JSON to stdout."),
    ],
)
