"""What `penstock status` shows of a registry's overview: failures first, then streams, files, services."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from penstock import display
from penstock.registry_answers import KnownFile, LostRange, Overview, Service, Stream

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

FAILURES_SHOWN: Final = 10
IN_FLIGHT_SHOWN: Final = 12
PIPE_COLUMNS: Final = 200
"""Lines in a pipe may be this long."""

_HEALTH: Final = {"ok": "green", "idle": "dim", "warning": "yellow", "failing": "bold red"}
_SERVICE: Final = {"alive": "green", "silent": "bold red", "stopped": "dim"}


def needs_somebody(overview: Overview) -> bool:
    """Whether anything is failing: a file that will not arrive by itself, a stream, a dead service."""
    return (
        overview.failures_total > 0
        or any(stream.health == "failing" for stream in overview.streams)
        or any(service.state == "silent" for service in overview.services)
    )


def view(overview: Overview, console: Console) -> RenderableType:
    """Return all of it, for a terminal or a pipe."""
    from rich.console import Group

    parts: list[RenderableType] = []
    for part in (
        _failures(overview, console),
        _streams(overview.streams, console),
        _in_flight(overview, console),
        _services(overview.services, overview.at),
        _lost(overview.lost),
    ):
        parts += part
    return Group(*parts)


def _failures(overview: Overview, console: Console) -> Iterator[RenderableType]:
    if not overview.failures_total and not overview.problems_total:
        return
    mark = "✗ " if _utf8(console) else "! "
    if overview.failures_total:
        verb = (
            "will not arrive by itself" if overview.failures_total == 1 else "will not arrive by themselves"
        )
        yield _text(f"{mark}{display.count(overview.failures_total, 'file')} {verb}", "bold red")
    shown = overview.failures[:FAILURES_SHOWN]
    advice: dict[str, None] = {}
    for file in shown:
        line = _text(f"  {file.state:<9}", "red")
        line.append(f" {display.shown(file.stream)}  {_name(file, console, 40)}", style="default")
        line.append(f" ({display.size(file.size)})", style="dim")
        yield line
        why = ": ".join(part for part in (file.reason, file.detail) if part)
        who = ", ".join(a.destination for a in file.answers if a.current and a.outcome == "rejected")
        said = ": ".join(part for part in (who, why) if part)
        if said:
            yield _text(f"            {display.shown(said)}")
        if file.advice is not None:
            advice[file.advice] = None
    if overview.failures_total > len(shown):
        yield _text(f"  and {overview.failures_total - len(shown)} more", "dim")
    for said in advice:
        yield _text("  what to do: ", "bold").append(display.shown(said), style="default")
    if overview.problems_total:
        records = display.count(overview.problems_total, "record")
        yield _text(f"{mark}{records} on the events topics are no events: the page shows them", "yellow")
    yield _text("")


def _streams(streams: Sequence[Stream], console: Console) -> Iterator[RenderableType]:
    if not streams:
        yield _text("no stream has been heard of yet", "dim")
        return
    table = _table(console)
    table.add_column("Stream")
    table.add_column("Health")
    table.add_column("To Kafka", justify="right")
    table.add_column("Destination")
    table.add_column("Delivered", justify="right")
    table.add_column("Rate", justify="right")
    table.add_column("Behind", justify="right")
    for stream in streams:
        first = [
            _text(display.shortened(stream.topic, 40)),
            _text(stream.health, _HEALTH.get(stream.health, "default")),
            _text(display.rate(stream.uploaded.bytes_per_second)),
        ]
        for destination in stream.destinations:
            lag = destination.lag
            table.add_row(
                *first,
                _text(display.shortened(destination.name, 40)),
                _text(display.count(destination.delivered.files, "file")),
                _text(display.rate(destination.rate.bytes_per_second)),
                _text(
                    f"{display.count(lag.files, 'file')}, {display.size(lag.bytes)}" if lag.files else "-",
                    "yellow" if lag.files else "dim",
                ),
            )
            first = [_text(""), _text(""), _text("")]
        if not stream.destinations:
            table.add_row(*first, _text("(none has answered yet)", "dim"), *[_text("")] * 3)
    yield table
    for stream in streams:
        for problem in stream.problems:
            line = _text(f"{display.shown(stream.topic)}: ", _HEALTH.get(stream.health, "default"))
            yield line.append(display.shown(problem), style="default")


def _in_flight(overview: Overview, console: Console) -> Iterator[RenderableType]:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    files = overview.in_flight
    if not files:
        return
    yield _text("")
    yield _text("On the way", "bold")
    columns = max(16, _columns(console) - 60)
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    if console.is_terminal:
        table.add_column(width=20)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for file in files[:IN_FLIGHT_SHOWN]:
        share = min(100, file.bytes_done * 100 // file.size) if file.size else 100
        waits = file.state == "uploaded"
        cells: list[RenderableType] = [
            _text(f"  {display.shortened(file.stream, 24)}", "dim"),
            _text(display.shortened(file.name, columns)),
        ]
        if console.is_terminal:
            cells.append(ProgressBar(total=100, completed=share, width=20))
        cells += [
            _text(display.size(file.size), "dim"),
            _text("in Kafka" if waits else f"{share:>3} %", "dim" if waits else "default"),
        ]
        table.add_row(*cells)
    yield table
    if len(files) > IN_FLIGHT_SHOWN:
        yield _text(f"  and {len(files) - IN_FLIGHT_SHOWN} more", "dim")


def _services(services: Sequence[Service], now: float) -> Iterator[RenderableType]:
    yield _text("")
    alive = sum(service.state == "alive" for service in services)
    line = _text("Services: ", "bold")
    yield line.append(f"{alive} alive" if services else "none has been heard of yet", style="default")
    for service in services:
        if service.state == "alive" and not service.problems:
            continue
        line = _text(f"  {service.state:<8}", _SERVICE.get(service.state, "default"))
        line.append(
            f" {display.shown(service.service)} {display.shown(service.program_id)} "
            f"on {display.shown(service.host)}",
            style="default",
        )
        if service.state != "alive":
            line.append(f", last heard {display.seconds(max(0.0, now - service.last_at))} ago", style="dim")
        yield line
        for problem in service.problems:
            yield _text(f"           {display.shown(problem)}", "yellow")


def _lost(lost: Sequence[LostRange]) -> Iterator[RenderableType]:
    if not lost:
        return
    yield _text("")
    yield _text("Gone from Kafka before they were read (in the last day)", "bold yellow")
    for gap in lost:
        yield _text(
            f"  {display.shown(gap.stream)} partition {gap.partition}, offsets {gap.from_offset} to "
            f"{gap.to_offset - 1}, at {display.shown(gap.destination)}, "
            f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(gap.at))}"
        )


def _name(file: KnownFile, console: Console, others: int) -> str:
    return display.shortened(file.name, max(16, _columns(console) - others))


def _columns(console: Console) -> int:
    return console.width if console.is_terminal else PIPE_COLUMNS


def _table(console: Console) -> Table:
    from rich import box
    from rich.table import Table

    simple = box.SIMPLE_HEAD if _utf8(console) else box.ASCII2
    return Table(box=simple, pad_edge=False, header_style="bold")


def _text(text: str, style: str = "default") -> Text:
    from rich.text import Text

    return Text(text, style=style)


def _utf8(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")
