"""`penstock-operator`: the operator as a container runs it, from the environment alone."""

from __future__ import annotations

import logging
import os
import sys

from penstock_operator.service import run
from penstock_operator.settings import OperatorSettings
from servicekit import logs
from servicekit.exceptions import ConfigurationError
from servicekit.lifecycle import StopSignal, run_service


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    code = run_service(_run, name="penstock-operator")
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # At an orderly exit Python would wait for each thread that still waits for a Kafka.
    os._exit(code)


def _run() -> int:
    if len(sys.argv) > 1:
        raise ConfigurationError("penstock-operator takes no arguments, only PENSTOCK_* variables")
    settings = OperatorSettings.load()
    logs.configure(settings.log_format, settings.log_level)
    with StopSignal() as stop:
        run(settings, stop)
    return 0
