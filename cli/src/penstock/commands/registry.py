"""`penstock registry`: a registry in the foreground."""

from __future__ import annotations

import importlib.util

import click

from penstock.help import Command
from penstock.options import EVERYWHERE, load, settings_options
from servicekit.exceptions import ConfigurationError

HOW_TO_GET_IT = (
    "the registry is not installed on this machine: install penstock[local], or in a clone of Penstock run "
    "`make install`; to ask one that runs elsewhere, penstock status and penstock verify need only --registry"
)


def installed() -> bool:
    """Whether the registry's distribution, which is an extra, is there."""
    return importlib.util.find_spec("penstock_registry") is not None


def _run(**given: object) -> int:
    if not installed():
        raise ConfigurationError(HOW_TO_GET_IT)
    from penstock_registry.settings import RegistrySettings

    settings = load(RegistrySettings, given)

    from penstock_registry.service import run
    from servicekit import logs
    from servicekit.lifecycle import StopSignal

    logs.configure(settings.log_format, settings.log_level)
    with StopSignal() as stop:
        run(settings, stop, answers_at=lambda url: click.echo(f"the page is at {url} (Ctrl-C ends it)"))
    return 0


def _params() -> list[click.Parameter]:
    if not installed():
        return [click.Argument(["anything"], nargs=-1, type=click.UNPROCESSED, metavar="")]
    from penstock_registry.settings import RegistrySettings

    return settings_options(
        RegistrySettings,
        groups={
            "What is known": ("streams", "events_topic", "openmsi_heartbeat_topics", "group"),
            "Where it is kept": ("database", "state_dir", "retention_days", "max_database_size"),
            "Who may look": ("host", "port", "token_file"),
        },
        # Others on this machine can see what is on a command line.
        without=("token",),
    )


command = Command(
    "registry",
    callback=_run,
    help=(
        "Run the registry in the foreground, until Ctrl-C: it reads the receipts and the telemetry of all "
        "streams, and knows of every file whether it has arrived, and where. Its web page shows streams, "
        "files on their way and failures; `penstock status` and `penstock verify` ask it. It only reads "
        "Kafka: files flow on whether it runs or not, and what it has missed it reads later. At another "
        "address than loopback it asks for a token, which it makes for itself and keeps in the state "
        "directory, readable by you alone."
    ),
    epilog=EVERYWHERE,
    examples=(
        ("penstock registry", "For this machine alone, at http://127.0.0.1:8650"),
        ("penstock registry --bootstrap-servers kafka1:9092 --host 0.0.0.0", "For the whole lab"),
        (
            "penstock registry --streams 'lab1.*' --state-dir /var/lib/penstock",
            "Some streams",
        ),
    ),
    params=_params(),
)
