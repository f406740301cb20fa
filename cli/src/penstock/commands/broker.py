"""`penstock broker`: a Kafka for this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from penstock.help import Command, Option


def _run(port: int, data_dir: str | None) -> None:
    from penstock.broker import run

    if sys.stderr.isatty():
        click.echo("starting Apache Kafka ...", err=True)
    run(port, Path(data_dir) if data_dir else None, say=lambda line: click.echo(line))


command = Command(
    "broker",
    callback=_run,
    help=(
        "Run a real Apache Kafka (one node, KRaft) on this machine, without Docker and without installing "
        "Java, until Ctrl-C. It listens on the loopback interface only: other machines cannot reach it. The "
        "first time it downloads Kafka (35 MB), and keeps it. This is for trying things out and for tests; "
        "for real data, run a real cluster."
    ),
    examples=(
        ("penstock broker", "At localhost:9092; its data is gone when it stops"),
        ("penstock broker --port 0 --data-dir ~/kafka", "At a free port, which it prints; keep the data"),
    ),
    params=[
        Option(
            ["--port"],
            type=click.IntRange(0, 65535),
            default=9092,
            envvar="PENSTOCK_PORT",
            metavar="N",
            show_default=True,
            help="TCP port for clients; 0 takes a free one.",
        ),
        Option(
            ["--data-dir"],
            type=click.Path(file_okay=False),
            envvar="PENSTOCK_DATA_DIR",
            metavar="DIR",
            help="Where topics and the log are kept, for the next start too. By default a temporary one.",
        ),
    ],
)
