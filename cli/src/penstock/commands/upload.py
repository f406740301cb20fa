"""`penstock upload`: files to a topic, once."""

from __future__ import annotations

import click

from penstock.asking import json_option
from penstock.help import Command
from penstock.options import EVERYWHERE, load, settings_options
from penstock_uploader.settings import UploaderSettings

_ABOUT_WATCHING = (
    "directory",
    "existing",
    "after",
    "after_when",
    "after_receipt_from",
    "after_move_to",
    "state_dir",
    "polling",
    "settle_seconds",
    "scan_interval_seconds",
    "polling_interval_seconds",
    "topic_check_seconds",
    "send_all_on_stop",
    "max_resends",
    "control_port",
    "metrics_port",
    "metrics_host",
)


def _run(names: tuple[str, ...], as_json: bool, **given: object) -> int:
    # It is not one directory; the settings need some.
    settings = load(UploaderSettings, given | {"directory": "."})
    from penstock.once import upload

    return upload(settings, names, as_json=as_json)


command = Command(
    "upload",
    callback=_run,
    help=(
        "Send files to TOPIC once, and return when Kafka has acknowledged all of them. As with cp -r, a file "
        "travels under its name and a directory under its name with everything below it. Nothing is watched, "
        "removed or remembered: what is interrupted begins again the next time. Exit code 1 if anything was "
        "not acknowledged, naming it."
    ),
    epilog=EVERYWHERE,
    examples=(
        ("penstock upload run-1 notes.txt --topic scope", "A directory and a file"),
        ("penstock upload run-1 --topic scope --prefix '{host}' --include '*.raw'", "Some files, elsewhere"),
        ("penstock upload run-1 --topic scope --json", "For scripts: the result as JSON on stdout"),
    ),
    params=[
        click.Argument(["names"], nargs=-1, required=True, metavar="FILE_OR_DIR..."),
        *settings_options(
            UploaderSettings,
            groups={
                "What to send": ("include", "exclude", "prefix", "source_id"),
                "How": ("chunk_size", "max_inflight_bytes", "rate_limit", "drain_seconds"),
            },
            without=_ABOUT_WATCHING,
        ),
        json_option("Write the result as JSON to stdout, everything else to stderr."),
    ],
)
