"""`penstock watch`: an uploader in the foreground."""

from __future__ import annotations

from penstock.help import Command
from penstock.options import EVERYWHERE, load, settings_options
from penstock.positional import directory_argument
from penstock_uploader.settings import UploaderSettings


def _run(**given: object) -> int:
    settings = load(UploaderSettings, given, argument="directory")
    from penstock.foreground import watch

    return watch(settings)


command = Command(
    "watch",
    callback=_run,
    help=(
        "Stream the files of DIR and everything below it to TOPIC: those that are there, and each one that "
        "appears or changes, as soon as it is complete. Runs until Ctrl-C, then lets what is on its way "
        "arrive, and ends. A ledger in DIR/.penstock remembers what was sent: started again it goes on where "
        "it stopped, even in the middle of a file. Deletions and renames at the source are not mirrored."
    ),
    epilog=EVERYWHERE,
    examples=(
        ("penstock watch /data --topic scope --bootstrap-servers kafka1:9092", "All files, as they appear"),
        ("penstock watch /data --topic scope --include '*.raw' --exclude 'tmp/**'", "Only some of them"),
        (
            (
                "penstock watch /data --topic scope --after delete --after-when delivered"
                " --after-receipt-from archive"
            ),
            "Free the disk of what is provably at the destination 'archive'",
        ),
    ),
    params=[
        directory_argument(),
        *settings_options(
            UploaderSettings,
            groups={
                "What to send": ("include", "exclude", "existing", "prefix", "source_id"),
                "Once a file is sent": ("after", "after_when", "after_receipt_from", "after_move_to"),
                "How": ("chunk_size", "max_inflight_bytes", "rate_limit", "polling", "state_dir"),
            },
            without=("directory",),
        ),
    ],
)
