"""docs/reference/cli.md: each command and option, with default and variable, from Click and the settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import click

from penstock.help import OTHER, Command
from penstock.main import COMMANDS, penstock
from penstock.options import SettingOption, shown_default
from penstock_operator.settings import OperatorSettings
from penstock_registry.settings import RegistrySettings

INTRODUCTION: Final = """\
# Commands

<!-- Written by `make docs` from the commands and the settings: change it there. -->

`penstock --help` and `penstock COMMAND --help` say what is here, for the version at hand.

An option that has a variable can be given in the environment, too. Where a command has `--config`, its
options can also stand in a TOML file, with underscores for dashes: `--chunk-size 512KiB` is
`chunk_size = "512KiB"`. An option wins over the environment, the environment over the file. What is empty in
the environment counts as not given. Put passwords into the environment or the file: others on the machine can
see what is on a command line.

Sizes are bytes, or have a unit (`512KiB`, `10MB`). An option that may be repeated is a list: an array in the
file; in the environment its parts are separated by commas or lines. `--kafka` is a table in the file, and
lines of `KEY=VALUE`, or JSON, in the environment.

| exit code | |
|---|---|
| 0 | done; Ctrl-C ends `watch`, `download`, `registry` and `broker` with it |
| 1 | failed: the message says what, why, and what to do |
| 2 | wrong use: an option, a setting, a file of settings |
| 70 | a bug of Penstock: please report it |
| 130 | interrupted before the work was done |
"""

PROGRAMS: Final = """\
## The programs of the images

`penstock-uploader`, `penstock-downloader` and `penstock-registry` are what `penstock watch`, `download` and
`registry` run, without options: they take the variables above, and `PENSTOCK_CONFIG` for a file. The
directory is `PENSTOCK_DIRECTORY`. `penstock-operator` has variables of its own, which the
[chart](chart.md) sets.
"""


def page() -> str:
    """Return docs/reference/cli.md."""
    parts = [INTRODUCTION]
    for group in dict.fromkeys(group for group, _ in COMMANDS.values()):
        parts.append(f"## {group}\n")
        parts += [_command(name) for name, (of, _) in COMMANDS.items() if of == group]
    parts.append(PROGRAMS)
    parts += [
        "### `penstock-operator`\n",
        _table(_fields(OperatorSettings, list(OperatorSettings.model_fields)), "variable"),
        "### `penstock-registry`\n",
        "As `penstock registry`, and one that is no option, since others can see command lines:\n",
        _table(_fields(RegistrySettings, ["token"]), "variable"),
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def _command(name: str) -> str:
    context = click.Context(penstock, info_name="penstock")
    command = penstock.get_command(context, name)
    assert isinstance(command, Command)
    # Click remembers for good what a command's help is called the first time that somebody asks.
    own = click.Context(command, info_name=name, parent=context, **command.context_settings)
    usage = " ".join(["penstock", name, *command.collect_usage_pieces(own)])
    lines = [
        usage,
        *(line for example, purpose in command.examples for line in ("", f"# {purpose}", example)),
    ]
    parts = [f"### `penstock {name}`\n", f"{_text(command.help or '')}\n", "```text", *lines, "```\n"]
    if any(isinstance(one, click.Argument) and one.metavar == "DIR" for one in command.params):
        parts.append("`DIR` can also be given as `PENSTOCK_DIRECTORY`.\n")
    if command.epilog and "Every option can also be set" not in command.epilog:
        parts.append(f"{_text(command.epilog)}\n")
    groups: dict[str, list[click.Option]] = {}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            groups.setdefault(getattr(parameter, "group", OTHER), []).append(parameter)
    for group, options in groups.items():
        if len(groups) > 1:
            parts.append(f"**{group}**\n")
        parts.append(_table(_options(options, own), "option, variable"))
    return "\n".join(parts)


def _options(options: Iterable[click.Option], context: click.Context) -> Iterator[tuple[str, str, str, str]]:
    for option in options:
        record = option.get_help_record(context)
        if record is None:
            continue
        spelled, text = record
        if isinstance(option, SettingOption):
            variables = [f"PENSTOCK_{(option.name or '').upper()}"]
        else:
            given = option.envvar or ()
            variables = [given] if isinstance(given, str) else list(given)
        # Click and our options write defaults and ranges behind the text: `[default: 9092; 0<=x<=65535]`.
        found = re.fullmatch(r"(.*?)\s*\[((?:required|default: |[^\]]*x).*)\]", text, re.DOTALL)
        text, note = (found[1], found[2]) if found else (text, "")
        if isinstance(option.type, click.Choice):
            # A `|` in code within a table is shown with a backslash by some renderers, without by others.
            spelled = option.opts[0]
            text += f" One of {', '.join(f'`{choice}`' for choice in option.type.choices)}."
        yield spelled, _default(note), ", ".join(f"`{name}`" for name in variables), _text(text)


def _fields(
    settings: type[OperatorSettings | RegistrySettings], names: Iterable[str]
) -> Iterator[tuple[str, str, str, str]]:
    for name in names:
        field = settings.model_fields[name]
        default = _default(shown_default(name, field) or "")
        yield f"PENSTOCK_{name.upper()}", default, "", _text(field.description or "")


def _default(note: str) -> str:
    first = note.split("; ")[0]
    if first == "required":
        return "required"
    return f"`{first.removeprefix('default: ')}`" if first.startswith("default: ") else ""


def _table(rows: Iterable[tuple[str, str, str, str]], first: str) -> str:
    """Three columns: more do not fit beside the navigation. A variable stands below its option."""
    lines = [f"| {first} | default | |", "|---|---|---|"]
    for name, default, variables, text in rows:
        below = f"<br>{variables}" if variables else ""
        lines.append(f"| `{name}`{below} | {default} | {text} |")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """Return words of --help as Markdown: what is in backquotes stays, other characters mean themselves."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(
        part if part.startswith("`") else re.sub(r"([*|\\])", r"\\\1", part).replace("<", "&lt;")
        for part in parts
    )
