"""`--help` explains each command in a paragraph, with examples and grouped options, and is quick."""

import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from penstock.main import COMMANDS, penstock


def help_of(command: str) -> str:
    result = CliRunner().invoke(penstock, [command, "--help"], prog_name="penstock")
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_explained_with_examples(command):
    text = help_of(command)
    assert text.startswith(f"Usage: penstock {command}")
    paragraph = text.split("\n\n")[1]
    assert len(paragraph.split()) > 25
    assert "Examples:" in text
    assert re.search(rf"^  penstock {command}", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("command", COMMANDS)
def test_each_example_is_a_valid_command_line(command):
    examples = penstock.get_command(None, command).examples  # type: ignore[arg-type, union-attr]
    import shlex

    for line, _ in examples:
        words = shlex.split(line)
        assert words[:2] == ["penstock", command]
        found = penstock.get_command(None, command)  # type: ignore[arg-type]
        found.make_context("x", words[2:]).close()  # type: ignore[union-attr]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_no_option_that_no_command_has(command):
    parameters = [parameter for name in COMMANDS for parameter in penstock.get_command(None, name).params]  # type: ignore[arg-type, union-attr]
    there = {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
    there |= {"--help", "--heartbeat_topic_name"}  # the latter is OpenMSIStream's
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z_-]*[a-z]", re.sub(r"-\n +", "-", help_of(command))))
    assert named <= there


@pytest.mark.parametrize("command", COMMANDS)
def test_no_number_needs_to_be_deciphered(command):
    assert not re.search(r"\de\+\d", help_of(command))


def test_the_demo_says_that_it_has_a_registry_and_a_page():
    text = " ".join(help_of("demo").split())
    assert "registry" in text
    assert "web page" in text


def test_all_commands_are_listed_without_being_imported():
    code = (
        "import sys; from penstock.main import main; main(['--help']); assert 'pydantic' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE)


@pytest.mark.skipif(sys.platform == "win32", reason="does not count the processor time of children")
def test_the_first_help_is_quick():
    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "penstock", "--help"], capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # Processor time, and the best of several: this is about our imports, not about who else is busy here.
    assert min(seconds() for _ in range(5)) < 0.3


def test_there_is_no_colour_outside_of_a_terminal_and_none_for_who_wants_none():
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "watch", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert "\x1b" not in done.stdout
