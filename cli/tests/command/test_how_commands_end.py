"""Exit codes and last words: one line, never a traceback."""

import subprocess
import sys

import click
import pytest

from penstock.broker.errors import BrokerStartError, PortInUseError
from penstock.commands import ledger, registry
from penstock.main import main
from servicekit.exceptions import ConfigurationError, KafkaUnavailable


def fails_with(error: BaseException, monkeypatch, capsys) -> tuple[int, str]:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(ledger, "uploader_of", fail)
    code = main(["ledger", "x"])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return code, captured.err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KafkaUnavailable("no broker: start one"), 1, "penstock ledger: no broker: start one\n"),
        (ConfigurationError("a\nb"), 2, "penstock ledger: a\npenstock ledger: b\n"),
        (PortInUseError("port taken"), 2, "penstock ledger: port taken\n"),
        (BrokerStartError("see log"), 1, "penstock ledger: see log\n"),
        (ConfigurationError("x\x1b[31m\u202e"), 2, "penstock ledger: x\\x1b[31m\\u202e\n"),
        (ConfigurationError("sasl.password=hunter2"), 2, "penstock ledger: sasl.password=***\n"),
        (click.UsageError("Bad thing."), 2, "penstock ledger: bad thing (see penstock ledger --help)\n"),
        (KeyboardInterrupt(), 130, "penstock ledger: interrupted\n"),
    ],
)
def test_what_was_foreseen_is_said_in_its_own_words(error, code, says, monkeypatch, capsys):
    assert fails_with(error, monkeypatch, capsys)[0] == code
    assert fails_with(error, monkeypatch, capsys)[1].endswith(says)


def test_what_nobody_foresaw_is_one_line_that_calls_it_a_bug(monkeypatch, capsys):
    monkeypatch.delenv("PENSTOCK_LOG_LEVEL", raising=False)
    code, said = fails_with(RuntimeError("boom"), monkeypatch, capsys)
    assert code == 70
    assert said.startswith("penstock ledger: this is a bug: RuntimeError: boom (")
    assert "PENSTOCK_LOG_LEVEL=debug" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["--version"], ["watch", "-h"]])
def test_asking_for_help_is_no_failure(arguments, capsys):
    assert main(arguments) == 0
    assert "penstock" in capsys.readouterr().out


def test_a_reader_that_has_seen_enough_is_no_reason_to_complain():
    command = f"{sys.executable} -m penstock watch --help | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_registry_that_is_not_installed_is_one_line_that_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(registry, "installed", lambda: False)
    assert main(["registry"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("penstock registry: the registry is not installed")
    assert "penstock[local]" in said
    assert said.count("\n") == 1
