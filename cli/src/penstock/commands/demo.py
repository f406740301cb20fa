"""`penstock demo`: all of it on this machine."""

from __future__ import annotations

from penstock.help import Command, Option


def _run(directory: str | None, keep_running: bool, as_json: bool) -> int:
    from penstock.demo.run import Demo

    return Demo(directory, keep_running=keep_running, as_json=as_json).run()


command = Command(
    "demo",
    callback=_run,
    help=(
        "Start a Kafka broker, an uploader, a downloader and a registry (where that is installed) on this "
        "machine, stream some 200 files of all sizes and shapes from one directory to another, show how they "
        "move, and then prove that every one arrived: the demo reads both ends again, compares BLAKE3 "
        "digests, mtimes and modes, and asks the registry for the receipts. With --keep-running you can look "
        "at the registry's web page, whose address is printed. All of it is temporary, and removed at the "
        "end. Exit code 0 only if every file arrived byte-identical with its mtime and mode. "
        "The first time, Kafka is downloaded (35 MB); after that it takes less than a minute."
    ),
    examples=(
        ("penstock demo", "See it work"),
        ("penstock demo --directory ~/pictures", "With your own files, which are read and never changed"),
        ("penstock demo --keep-running", "Then put files into the directory yourself, and see them arrive"),
    ),
    params=[
        Option(
            ["--directory"],
            metavar="DIR",
            envvar="PENSTOCK_DIRECTORY",
            help="Stream what is in DIR, rather than files that the demo writes. DIR is never modified.",
        ),
        Option(
            ["--keep-running"],
            is_flag=True,
            envvar="PENSTOCK_KEEP_RUNNING",
            help="Let everything run until Ctrl-C, and say where to put files and where they arrive.",
        ),
        Option(
            ["--json", "as_json"],
            is_flag=True,
            envvar="PENSTOCK_JSON",
            help="Write the result as JSON to stdout, everything else to stderr.",
        ),
    ],
)
