"""`penstock download`: a downloader in the foreground."""

from __future__ import annotations

from penstock.help import Command
from penstock.options import EVERYWHERE, load, settings_options
from penstock.positional import directory_argument
from penstock_downloader.settings import DownloaderSettings


def _run(**given: object) -> int:
    settings = load(DownloaderSettings, given, argument="directory")
    from penstock.foreground import download

    return download(settings)


command = Command(
    "download",
    callback=_run,
    help=(
        "Deliver the files of TOPIC into DIR, and give a receipt for each. A file appears under its name "
        "only when it is complete, verified and safely on disk, with the mtime and permission bits that it "
        "had. Runs until Ctrl-C; started again it goes on where it stopped, in mid-file too. Each "
        "directory gets all files; several replicas on one shared directory divide the work."
    ),
    epilog=EVERYWHERE,
    examples=(
        (
            "penstock download /archive/scope --topic scope --bootstrap-servers kafka1:9092",
            "Everything that comes",
        ),
        ("penstock download . --topic scope --include '*.csv'", "Only some of it"),
        ("penstock download . --topic scope --until-idle 10", "What there is, then end"),
    ),
    params=[
        directory_argument(),
        *settings_options(
            DownloaderSettings,
            groups={
                "What to deliver": ("include", "exclude", "max_file_size", "portable_names"),
                "How": ("group", "on_conflict", "source_conflict", "until_idle"),
            },
            without=("directory",),
        ),
    ],
)
