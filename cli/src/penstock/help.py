"""What `penstock COMMAND --help` looks like: a paragraph, examples, options in groups."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click
from typing_extensions import override

MAX_WIDTH = 100
"""Columns; lines longer than this are hard to read on any terminal."""

NAME_COLUMNS = 27
"""Columns of the names of options, the same in all groups; a longer name has a line of its own."""

OTHER = "Options"
"""The group of options that have none."""


class Formatter(click.HelpFormatter):
    """Click's own layout, with a little colour (which Click takes away when the output is no terminal)."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        super().__init__(indent_increment, width, max_width or MAX_WIDTH)

    @override
    def write_heading(self, heading: str) -> None:
        """Write the title of a section."""
        self.write(click.style(f"{heading}:", bold=True) + "\n")

    @override
    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write `Usage: penstock watch ...`."""
        super().write_usage(click.style(prog, bold=True), args, prefix)

    @override
    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names in colour, what they mean beside them."""
        super().write_dl([(click.style(name, fg="cyan"), text) for name, text in rows], col_max, col_spacing)


CONTEXT_SETTINGS: Final = {"help_option_names": ["-h", "--help"]}


class Context(click.Context):
    """Where a command's `--help` gets its formatter, and whether it may use colours."""

    formatter_class = Formatter

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Click's
        super().__init__(*args, **kwargs)
        if os.environ.get("NO_COLOR"):  # https://no-color.org
            self.color = False


class Option(click.Option):
    """An option that belongs to a group in `--help`."""

    def __init__(self, declarations: Sequence[str], *, group: str = OTHER, **attributes: Any) -> None:  # noqa: ANN401
        super().__init__(declarations, **attributes)
        self.group = group


class Command(click.Command):
    """A command with examples: pairs of a command line and what it is for."""

    context_class = Context

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:  # noqa: ANN401
        # Said by each command: Click remembers what help is called at its first use, whoever used it.
        super().__init__(*args, **kwargs | {"context_settings": CONTEXT_SETTINGS})
        self.examples = examples

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then the options group by group."""
        if self.examples:
            formatter.write_paragraph()
            formatter.write_heading("Examples")
            for line, purpose in self.examples:
                formatter.write(f"  {click.style(f'# {purpose}', dim=True)}\n  {line}\n")
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", OTHER), []).append(record)
        groups[OTHER] = groups.pop(OTHER, [])  # with --help: the last one
        for name, records in groups.items():
            aligned = [(option.ljust(NAME_COLUMNS), text) for option, text in records]
            with formatter.section(name):
                formatter.write_dl(aligned, col_max=NAME_COLUMNS)

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the last paragraph."""
        if self.epilog:
            formatter.write_paragraph()
            formatter.write_text(self.epilog)
