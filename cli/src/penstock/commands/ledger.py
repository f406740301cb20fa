"""`penstock ledger`: what the uploader knows of each file."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

import click

from penstock import display
from penstock.asking import json_option, state_dir_option, uploader_of, watched_argument
from penstock.help import Command, Option

STATES = ("existing", "new", "sending", "resending", "acknowledged", "delivered", "rejected", "failed")
_COLOURS = {
    "delivered": "green",
    "acknowledged": "cyan",
    "rejected": "red",
    "failed": "red",
    "sending": "yellow",
}


def _run(directory: str | None, state_dir: str | None, state: str | None, as_json: bool) -> int:
    asked = uploader_of(directory, state_dir)
    counts: Counter[str] = Counter()
    separator = "[\n"
    for file in asked.client.files():
        if state is not None and file["state"] != state:
            continue
        counts[file["state"]] += 1
        if as_json:
            sys.stdout.write(f"{separator}{json.dumps(file)}")
            separator = ",\n"
        else:
            click.echo(_line(file))
    if as_json:
        sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")
        return 0
    total = sum(counts.values())
    parts = ", ".join(f"{counts[name]} {name}" for name in STATES if counts[name])
    click.secho(f"{display.count(total, 'file')}{': ' + parts if parts else ''}", bold=True)
    return 0


def _line(file: dict[str, Any]) -> str:
    state = click.style(f"{file['state']:<12}", fg=_COLOURS.get(file["state"]))
    size = display.size(file["size"]) if "size" in file else "-"
    line = f"{state} {size:>10}  {display.shown(path_of(file))}"
    answers = "; ".join(
        f"{display.shown(name)}: {answer['outcome']}" + (f" ({answer['reason']})" if answer["reason"] else "")
        for name, answer in file["destinations"].items()
    )
    return f"{line}{click.style(f'  [{answers}]', dim=True) if answers else ''}"


def path_of(file: dict[str, Any]) -> str:
    """Return the exact path of a file that the ledger describes."""
    return display.name_from_json(file)


command = Command(
    "ledger",
    callback=_run,
    help=(
        "Show what the uploader of the watched directory DIR knows of each file: its state, its size, and "
        "what each destination has answered. States: existing (there before the first watch, and not to be "
        "sent until it changes), sending, acknowledged (Kafka has it), delivered (a destination has given a "
        "receipt), resending, rejected (a destination refused it for good), failed (it is to be sent "
        "again, but is gone). It works while the uploader runs and when not."
    ),
    examples=(
        ("penstock ledger /data", "All files"),
        ("penstock ledger /data --state rejected", "What needs somebody to look at"),
        ("penstock ledger /data --json", "For programs: an array, one object for each file"),
    ),
    params=[
        watched_argument(),
        Option(["--state"], type=click.Choice(STATES), help="Only files in this state."),
        state_dir_option(),
        json_option("Write JSON: an array with all that is known, such as digests and offsets."),
    ],
)
