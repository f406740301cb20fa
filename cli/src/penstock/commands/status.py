"""`penstock status`: everything at a glance."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from penstock.asking import json_option
from penstock.help import Command, Option
from penstock.registry_answers import Overview
from penstock.registry_client import RegistryClient, RegistryUnavailable, connect, registry_options

if TYPE_CHECKING:
    from rich.console import Console

EVERY_SECONDS = 1.0

_NO_NEWS = frozenset({"at", "last_at", "bytes_by_minute", "totals", "status"})
_AGE = re.compile(r"\b\d+ (?:second|minute|hour|day)s?\b")


def _run(
    stream: str | None, watch: bool, as_json: bool, exit_code: bool, registry: str, token_file: str | None
) -> int:
    from rich.console import Console

    from penstock import status_view

    client = connect(registry, token_file)
    width = None if sys.stdout.isatty() else status_view.PIPE_COLUMNS
    console = Console(markup=False, emoji=False, highlight=False, width=width)
    answer = client.overview(stream)
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(client, stream, answer, console, as_json=as_json)
        return 0
    if as_json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        console.print(status_view.view(Overview.model_validate(answer), console), soft_wrap=True)
    failing = status_view.needs_somebody(Overview.model_validate(answer))
    return 1 if exit_code and failing else 0


def _watch(
    client: RegistryClient, stream: str | None, first: dict[str, Any], console: Console, *, as_json: bool
) -> None:
    """Show it again each second; raises KeyboardInterrupt at the end."""
    if not as_json and console.is_terminal:
        _watch_in_place(client, stream, first, console)
        return
    said: object = None
    for answer, _ in _answers(client, stream, first):
        if news(answer) == said:
            continue
        said = news(answer)
        sys.stdout.write(_as_line(answer) if as_json else _as_text(answer, console))
        sys.stdout.flush()


def _watch_in_place(
    client: RegistryClient, stream: str | None, first: dict[str, Any], console: Console
) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from penstock import status_view

    with Live(console=console, auto_refresh=False) as live:
        for answer, problem in _answers(client, stream, first):
            overview = Overview.model_validate(answer)
            at = time.strftime("%H:%M:%S", time.localtime(overview.at))
            last = Text(f"{at}, Ctrl-C ends", style="dim")
            if problem is not None:
                last = Text(f"as it was at {at}: {problem}", style="yellow")
            live.update(Group(last, Text(""), status_view.view(overview, console)), refresh=True)


def _answers(
    client: RegistryClient, stream: str | None, first: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Yield what the registry says, each second; while it is away, what it said last, and why."""
    answer = first
    problem: str | None = None
    while True:
        yield answer, problem
        time.sleep(EVERY_SECONDS)
        try:
            answer, problem = client.overview(stream), None
        except RegistryUnavailable as error:
            problem = str(error)


def news(said: object) -> object:
    """Return what of an answer is news. Rates, ages and heartbeats are none: they change by themselves."""
    if isinstance(said, dict):
        return {
            name: news(value)
            for name, value in said.items()
            if name not in _NO_NEWS and not (isinstance(value, dict) and "bytes_per_second" in value)
        }
    if isinstance(said, list):
        return [news(value) for value in said]
    return _AGE.sub("a while", said) if isinstance(said, str) else said


def _as_line(answer: dict[str, Any]) -> str:
    return json.dumps(answer) + "\n"


def _as_text(answer: dict[str, Any], console: Console) -> str:
    from penstock import status_view

    with console.capture() as captured:
        console.print(status_view.view(Overview.model_validate(answer), console), soft_wrap=True)
    return captured.get() + "\n"


command = Command(
    "status",
    callback=_run,
    help=(
        "Show what the registry knows, failures first and with what to do about them: files that will not "
        "arrive by themselves, each stream with its health, its rates and how far each destination is "
        "behind, the files on their way (how much Kafka has; then which destinations have them and which are "
        "waited for), services that have fallen silent, and records that were gone before they were read. "
        "The exit code is 0 unless --exit-code is given."
    ),
    examples=(
        ("penstock status", "How is it going?"),
        ("penstock status --watch", "The same, renewed each second until Ctrl-C"),
        ("penstock status --exit-code", "In a script: ends with 1 if anything is failing"),
        ("penstock status --stream scope --registry https://registry.lab:8650", "One stream, from elsewhere"),
    ),
    params=[
        Option(["--stream"], metavar="TOPIC", envvar="PENSTOCK_STREAM", help="Show this stream alone."),
        Option(
            ["--watch"],
            is_flag=True,
            help="Renew it each second until Ctrl-C; in a pipe, when more than rates and ages has changed.",
        ),
        Option(
            ["--exit-code"],
            is_flag=True,
            help="End with 1 if a destination rejected a file or the source failed to send one, a stream is "
            "failing, or a service silent.",
        ),
        json_option(
            "Write JSON: the registry's overview; with --watch a line whenever more than rates and ages has "
            "changed."
        ),
        *registry_options(),
    ],
)
