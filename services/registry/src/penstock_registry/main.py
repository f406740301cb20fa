"""`penstock-registry`: the registry as a container runs it, from the environment alone."""

from __future__ import annotations

import gc
import sys
from typing import Final

from penstock_registry.service import run
from penstock_registry.settings import RegistrySettings
from servicekit import logs
from servicekit.exceptions import ConfigurationError
from servicekit.lifecycle import StopSignal, run_service

COLLECT_AFTER: Final = 50_000
"""A batch of events makes some ten thousands of objects, none of which needs the garbage collector: looking
at them again and again, as it does by default (700), is an eighth of what learning costs."""


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    raise SystemExit(run_service(_run, name="penstock-registry"))


def _run() -> int:
    if len(sys.argv) > 1:
        raise ConfigurationError(
            "penstock-registry takes no arguments, only PENSTOCK_* variables; `penstock registry` has options"
        )
    settings = RegistrySettings.load()
    logs.configure(settings.log_format, settings.log_level)
    gc.set_threshold(COLLECT_AFTER)
    with StopSignal() as stop:
        run(settings, stop)
    return 0
