"""`penstock verify`: what of a directory has provably arrived."""

from __future__ import annotations

import os
import sys

from penstock.asking import json_option, state_dir_option, watched_argument
from penstock.help import Command, Option
from penstock.registry_client import connect, registry_options
from servicekit.exceptions import ConfigurationError
from servicekit.globs import PathFilter


def _run(
    directory: str | None,
    stream: str | None,
    named: tuple[str, ...],
    source: str | None,
    prefix: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    state_dir: str | None,
    everything: bool,
    as_json: bool,
    registry: str,
    token_file: str | None,
) -> int:
    if directory is None:
        raise ConfigurationError("DIR (PENSTOCK_DIRECTORY) is missing: the directory with the files")
    if stream is None:
        raise ConfigurationError(
            "--stream (PENSTOCK_TOPIC) is missing: the topic that the files were sent to"
        )
    if not os.path.isdir(directory):
        what = "is not a directory" if os.path.exists(directory) else "does not exist"
        raise ConfigurationError(f"{directory!r} {what}: name the directory with the files")
    if not os.access(directory, os.R_OK | os.X_OK):
        raise ConfigurationError(f"{directory!r} may not be read by us")
    paths = PathFilter(include, exclude)
    client = connect(registry, token_file)

    from penstock.verification.findings import Findings
    from penstock.verification.report import write_json, write_text
    from penstock.verification.run import Question, places, verify, whose_receipts
    from penstock.verification.source import find_source

    question = Question(
        find_source(directory, state_dir=state_dir, source_id=source, prefix=prefix, client=client),
        stream,
        tuple(dict.fromkeys(named)),
        paths,
        named_source=source,
    )
    with Findings(whose_receipts(question, client), keep_arrived=everything or as_json) as findings:
        verify(question, client, findings)
        if as_json:
            write_json(findings, question, os.path.abspath(directory))
        else:
            from rich.console import Console

            width = None if sys.stdout.isatty() else 200
            console = Console(markup=False, emoji=False, highlight=False, width=width)
            where = places(question.stream, client)
            write_text(findings, question, console, everything=everything, places=where)
        return 0 if findings.ok else 1


command = Command(
    "verify",
    callback=_run,
    help=(
        "Compare the files of DIR, as they are now, with the receipts that the registry has. Each file is "
        "read, and its BLAKE3 digest must be the one of the last receipt of every destination: then it has "
        "provably arrived. The others are on their way, rejected by a destination (with the reason, and what "
        "was done about it), changed since what arrived was sent, skipped by a destination, or never left, "
        "because the source failed to send them or has not seen them. Exit code 0 only if every file has "
        "arrived at every destination (or DIR is empty), 1 otherwise, and where patterns leave out all "
        "that is there. Nothing is changed anywhere."
    ),
    epilog=(
        "DIR may be a watched directory, or lie below one: then its files count as that watch's, under the "
        "names that it sends them by. Elsewhere a file is looked up by its path below DIR (and --prefix), "
        "whoever has sent it: what `penstock upload run-1` has sent verifies with `--prefix run-1`."
    ),
    examples=(
        ("penstock verify /data/scope --stream scope", "Has all of it arrived everywhere?"),
        (
            "penstock verify /data/scope/run-7 --stream scope --destination archive",
            "May this run be removed here? Only if the archive has every byte of it",
        ),
        ("penstock verify run-7 --stream scope --prefix run-7 --all", "Every file, with its digest"),
        ("penstock verify /data --stream scope --json --registry https://registry.lab:8650", "For programs"),
    ),
    params=[
        watched_argument(),
        Option(
            ["--stream"],
            metavar="TOPIC",
            envvar=["PENSTOCK_STREAM", "PENSTOCK_TOPIC"],
            group="What to compare",
            help="The stream that the files were sent to. [required]",
        ),
        Option(
            ["--destination", "named"],
            multiple=True,
            metavar="GROUP",
            group="What to compare",
            help="Where they must have arrived; may be repeated. By default all that have ever answered.",
        ),
        Option(
            ["--source"],
            metavar="ID",
            envvar="PENSTOCK_SOURCE_ID",
            group="What to compare",
            help="Count only what this source has sent. By default the watch of DIR, else any.",
        ),
        Option(
            ["--prefix"],
            metavar="TEMPLATE",
            envvar="PENSTOCK_PREFIX",
            group="What to compare",
            help="What stood before the paths on their way, as in `penstock watch`.",
        ),
        Option(
            ["--include"],
            multiple=True,
            metavar="GLOB",
            group="What to compare",
            help="Compare only files that match this glob; may be repeated. As in `penstock watch`.",
        ),
        Option(
            ["--exclude"],
            multiple=True,
            metavar="GLOB",
            group="What to compare",
            help="Leave out files that match this glob; may be repeated. As in `penstock watch`.",
        ),
        state_dir_option(),
        *registry_options(),
        Option(["--all", "everything"], is_flag=True, help="List every file, with its digest."),
        json_option("Write one JSON document to stdout: totals, and every file with its digest."),
    ],
)
