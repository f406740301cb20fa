"""`penstock broker`: a Kafka for this machine, and for others if that is asked for."""

from __future__ import annotations

import ipaddress
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from penstock.help import Command, Option

if TYPE_CHECKING:
    from penstock.broker import Listener

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def _run(port: int, data_dir: str | None, host: str, advertise: str | None) -> None:
    listener = _listener(host, advertise)

    from penstock.broker import run

    if listener and not _is_loopback(host):
        click.echo(
            f"warning: whoever reaches {host} may read, change and delete all that this Kafka has: it asks "
            "for no password and encrypts nothing",
            err=True,
        )
    if sys.stderr.isatty():
        click.echo("starting Apache Kafka ...", err=True)
    run(port, Path(data_dir) if data_dir else None, listener=listener, say=lambda line: click.echo(line))


def _listener(host: str, advertise: str | None) -> Listener | None:
    """Return where others find the broker; None if they don't. Raises click.UsageError."""
    from penstock.broker import Listener

    if not _is_host(host):
        raise click.UsageError(f"--host {host!r} must be an address or a name of this machine")
    if _is_loopback(host):
        if advertise is not None:
            raise click.UsageError(
                f"--advertise {advertise} is for other machines, and {host} is reached by this one alone: "
                "listen elsewhere, too: --host 0.0.0.0"
            )
        return None if host in ("127.0.0.1", "localhost") else Listener(host, host)
    if advertise is None:
        if _is_everywhere(host):
            raise click.UsageError(
                f"--host {host} is every address of this machine: say which one clients are told to connect "
                "to, or which name: --advertise HOST"
            )
        return Listener(host, host)
    name, port = _split(advertise)
    if not _is_host(name) or _is_everywhere(name) or (port is not None and not 0 < port < 65536):
        raise click.UsageError(
            f"--advertise {advertise!r} must be HOST or HOST:PORT, as clients can connect to it"
        )
    return Listener(host, name, port)


def _split(address: str) -> tuple[str, int | None]:
    """Split `kafka1`, `kafka1:9092`, `::1`, `[::1]:9092`; what is neither comes back whole."""
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?", address)
    if found is None:
        return address, None
    return found[1] or found[2], int(found[3]) if found[3] else None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_host(host: str) -> bool:
    return _address(host) is not None or _NAME.fullmatch(host) is not None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _is_everywhere(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified


command = Command(
    "broker",
    callback=_run,
    help=(
        "Run a real Apache Kafka (one node, KRaft) on this machine, without Docker and without installing "
        "Java, until Ctrl-C. It listens on the loopback interface only, so other machines cannot reach it, "
        "unless --host says otherwise. The first time it downloads Kafka (35 MB), and keeps it. This is for "
        "trying things out and for tests; for real data, run a real cluster."
    ),
    examples=(
        ("penstock broker", "At localhost:9092; its data is gone when it stops"),
        ("penstock broker --port 0 --data-dir ~/kafka", "At a free port, which it prints; keep the data"),
        ("penstock broker --host 0.0.0.0 --advertise lab-7", "Other machines reach it, too, as lab-7:9092"),
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
        # No variables for these two: a PENSTOCK_HOST is meant for the registry, and must not open a Kafka.
        Option(
            ["--host"],
            default="127.0.0.1",
            metavar="HOST",
            show_default=True,
            help="Address to listen at; 0.0.0.0 for all. Kafka asks nobody for a password: let only those "
            "reach it who may do everything.",
        ),
        Option(
            ["--advertise"],
            metavar="HOST[:PORT]",
            help="Where clients are told to connect: this machine, as they know it. By default what --host "
            "says.",
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
