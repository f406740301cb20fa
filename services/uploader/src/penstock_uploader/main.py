"""`penstock-uploader`: the uploader alone, told what to do by the environment (PENSTOCK_DIRECTORY, ...)."""

from __future__ import annotations

import sys

from penstock_uploader.service import Uploader
from penstock_uploader.settings import UploaderSettings
from servicekit import logs
from servicekit.lifecycle import StopSignal, run_service


def run() -> int:
    """Run until SIGINT or SIGTERM; give the exit code."""
    settings = UploaderSettings.load()
    logs.configure(settings.log_format, settings.log_level)
    with StopSignal() as stop:
        return Uploader(settings).run(stop)


def main() -> None:
    """Do it as a console script does."""
    sys.exit(run_service(run, name="penstock-uploader"))


if __name__ == "__main__":
    main()
