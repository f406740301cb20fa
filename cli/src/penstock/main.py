"""The `penstock` command: which commands there are, and how each of them ends.

Exit codes: 0 done, 1 failed, 2 wrong use; 130 interrupted before the work was done, 70 a bug. Whatever goes
wrong, the user gets one line that says what, and what to do.

Commands are imported when they are called: `penstock --help` needs none of them.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Sequence

import click
from typing_extensions import override

from penstock.help import CONTEXT_SETTINGS, Context

COMMANDS: dict[str, tuple[str, str]] = {
    # name: (group, what it does). The command `a-b` is `command` in `penstock.commands.a_b`.
    "demo": ("Try it", "Watch real files stream through a real Kafka on this machine, with proof."),
    "broker": ("Try it", "Run a Kafka broker on this machine, without Docker and without installing Java."),
    "create-topic": ("Move files", "Make the topic of a stream, with settings that are safe for files."),
    "watch": ("Move files", "Stream the files of a directory to a topic, as they appear, until stopped."),
    "upload": ("Move files", "Send files or directories to a topic once, and wait until Kafka has them."),
    "download": ("Move files", "Deliver the files of a topic to a directory, and give a receipt for each."),
    "registry": ("Know what arrived", "Run the registry: what is known of every file, with a web page."),
    "status": ("Know what arrived", "Show streams, files in flight, failures and dead services."),
    "verify": ("Know what arrived", "Prove what of a directory has arrived, file by file."),
    "ledger": ("Ask a running watch", "Show what the uploader knows of each file of a directory."),
    "wait-drained": ("Ask a running watch", "Wait until everything in a watched directory has been sent."),
    "resend": ("Ask a running watch", "Send files of a watched directory again."),
}  # fmt: skip

EXAMPLES = (
    ("penstock demo", "See it work: a broker, an uploader, a downloader, 200 files, one minute"),
    ("penstock watch /data/microscope --topic scope", "On the instrument's computer"),
    ("penstock download /archive/scope --topic scope", "Where the files are needed"),
    ("penstock verify /data/microscope --stream scope", "Has everything arrived?"),
)


class Penstock(click.Group):
    """The commands above, each imported when it is needed."""

    context_class = Context

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of the table."""
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"penstock.commands.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant, or say which one may be."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
            raise click.UsageError(f"unknown command {name!r}: {hint}", ctx)
        return super().resolve_command(ctx, args)

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples, the commands group by group, and the options."""
        formatter.write_paragraph()
        formatter.write_heading("Examples")
        for line, purpose in EXAMPLES:
            formatter.write(f"  {click.style(f'# {purpose}', dim=True)}\n  {line}\n")
        widest = max(map(len, COMMANDS))
        for group in dict.fromkeys(group for group, _ in COMMANDS.values()):
            with formatter.section(group):
                formatter.write_dl(
                    [(name.ljust(widest), text) for name, (of, text) in COMMANDS.items() if of == group]
                )
        click.Command.format_options(self, ctx, formatter)


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"penstock {version('penstock')}")
        ctx.exit()


@click.group(
    cls=Penstock,
    context_settings=CONTEXT_SETTINGS,
    epilog="`penstock COMMAND --help` explains each of them, with examples.",
    invoke_without_command=True,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
@click.pass_context
def penstock(ctx: click.Context) -> None:
    """Stream files from watched directories through Apache Kafka to where they are needed.

    Each one arrives whole, byte for byte, once; and there is a receipt that proves it.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (by default that of this process) and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            # Where the encoding lacks a character it is shown escaped, rather than nothing at all.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # Given explicitly: otherwise Click would expand wildcards on Windows, those of --include as well.
    arguments = sys.argv[1:] if arguments is None else arguments
    name = _program(arguments)
    try:
        result = penstock.main(list(arguments), prog_name="penstock", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # `penstock ledger DIR | head`: who read us has seen enough. Python would complain at its exit, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, click.Abort):
        say(f"{name}: interrupted")
        return 130
    except Exception as error:  # noqa: BLE001 - the last line of defence: no user meets a traceback
        return _explain(name, error)
    return result if isinstance(result, int) else 0


def say(message: str, *, fg: str | None = None) -> None:
    """Write lines for people to stderr, with nothing in them that a terminal could take for an order."""
    from penstock.display import shown

    for line in message.splitlines():
        click.secho(shown(line), err=True, color=False if os.environ.get("NO_COLOR") else None, fg=fg)


def _program(arguments: Sequence[str]) -> str:
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    return f"penstock {command}" if command in COMMANDS else "penstock"


def _explain(name: str, error: Exception) -> int:
    """Say in one line (for each problem) what is wrong; return the exit code."""
    from servicekit.lifecycle import describe_bug
    from servicekit.logs import mask_secrets

    if isinstance(error, click.UsageError):
        message, code = error.format_message().rstrip("."), 2
        message = message[:1].lower() + message[1:] if message[1:2].islower() else message
        message += f" (see {name} --help)"
    elif isinstance(error, click.ClickException):
        message, code = error.format_message(), error.exit_code
    elif (code := exit_code_of(error)) is not None:  # type: ignore[assignment]
        message = str(error)
    else:
        message, code = describe_bug(error).replace("--log-level debug", "PENSTOCK_LOG_LEVEL=debug"), 70
        if os.environ.get("PENSTOCK_LOG_LEVEL", "").lower() == "debug":
            import traceback

            traceback.print_exception(error)
    for problem in mask_secrets(message).splitlines():
        say(f"{name}: {problem}", fg="red")
    return code


def exit_code_of(error: Exception) -> int | None:
    """Return what to end with after an error that was foreseen; None for a bug."""
    from penstock.broker.errors import BrokerError, DataDirectoryError, PortInUseError
    from servicekit.exceptions import PenstockError

    if isinstance(error, PenstockError):
        return error.exit_code
    if isinstance(error, BrokerError):
        return 2 if isinstance(error, PortInUseError | DataDirectoryError) else 1
    return None
