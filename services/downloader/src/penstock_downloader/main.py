"""`penstock-downloader`: the downloader as a container runs it, from the environment alone."""

from __future__ import annotations

import sys

from penstock_downloader.service import Downloader
from penstock_downloader.settings import DownloaderSettings
from servicekit import logs
from servicekit.exceptions import ConfigurationError
from servicekit.lifecycle import StopSignal, run_service


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    raise SystemExit(run_service(_run, name="penstock-downloader"))


def _run() -> int:
    if len(sys.argv) > 1:
        raise ConfigurationError(
            "penstock-downloader takes no arguments, only PENSTOCK_* variables; "
            "`penstock download` has options"
        )
    settings = DownloaderSettings.load()
    logs.configure(settings.log_format, settings.log_level)
    with StopSignal() as stop:
        Downloader(settings).run(stop)
    return 0
