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
WAITING_NAMED: Final = 3
WELL_SHOWN: Final = 8
"""So many services are listed that need nobody."""
NARROW: Final = 100
"""Columns below which the table leaves out what can be left out."""
PIPE_COLUMNS: Final = 200
"""Lines in a pipe may be this long."""

_HEALTH: Final = {"ok": "green", "idle": "dim", "warning": "yellow", "failing": "bold red"}
_TITLES: Final = ("Stream", "Health", "To Kafka", "Destination", "Delivered", "Rate", "Behind")
_NUMBERS: Final = frozenset({"To Kafka", "Delivered", "Rate", "Behind"})
_STREAM: Final = _TITLES.index("Stream")
_DESTINATION: Final = _TITLES.index("Destination")
_WHO: Final = {"rejected": "a destination rejected it", "failed": "the source failed to send it"}
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
        _streams(overview, console),
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
        who = f"{file.by} rejected it" if file.state == "rejected" and file.by else _WHO.get(file.state)
        why = ": ".join(part for part in (who, display.reason(file.reason, file.detail)) if part)
        if why:
            yield _text(f"            {display.shown(why)}")
        if arrival := _arrival(file):
            yield _text(f"            {arrival}", "dim")
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


def _streams(overview: Overview, console: Console) -> Iterator[RenderableType]:
    streams = overview.streams
    if not streams:
        yield _text("no stream has been heard of yet", "dim")
        return
    columns = _columns(console)
    narrow = columns < NARROW
    rows = [row for stream in streams for row in _rows(stream, narrow=narrow)]
    widths = [
        max(display.width(text) for text in (title, *(row[place][0] for row in rows)))
        for place, title in enumerate(_TITLES)
    ]
    # The names get what the others leave, and the gaps.
    gap = 2 if narrow else 3
    room = columns - gap * len(_TITLES) - sum(widths) + widths[_STREAM] + widths[_DESTINATION]
    at_most = {_STREAM: max(8, min(widths[_STREAM], max(room // 2, room - widths[_DESTINATION])))}
    at_most[_DESTINATION] = max(8, min(widths[_DESTINATION], room - at_most[_STREAM]))
    table = _table(console)
    if narrow:
        table.padding = (0, 1, 0, 0)
    for title in _TITLES:
        table.add_column(title, justify="right" if title in _NUMBERS else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            *(
                _text(display.shortened(text, at_most[place]) if place in at_most else text, style)
                for place, (text, style) in enumerate(row)
            )
        )
    yield table
    for stream in streams:
        for problem in stream.problems:
            line = _text(f"{display.shown(stream.topic)}: ", _HEALTH.get(stream.health, "default"))
            yield line.append(display.shown(problem), style="default")


def _rows(stream: Stream, *, narrow: bool) -> Iterator[list[tuple[str, str]]]:
    """Yield a row for each destination, one at least: texts and their styles."""
    first = [
        (display.shown(stream.topic), "default"),
        (stream.health, _HEALTH.get(stream.health, "default")),
        (display.rate(stream.uploaded.bytes_per_second), "default"),
    ]
    if not stream.destinations:
        yield [*first, ("(none has answered yet)", "dim"), *[("", "default")] * 3]
    for destination in stream.destinations:
        delivered, lag = display.count(destination.delivered.files, "file"), destination.lag
        behind = display.count(lag.files, "file") + ("" if narrow else f", {display.size(lag.bytes)}")
        yield [
            *first,
            (display.shown(destination.name), "default"),
            (delivered, "default"),
            (display.rate(destination.rate.bytes_per_second), "default"),
            (behind if lag.files else "-", "yellow" if lag.files else "dim"),
        ]
        first = [("", "default")] * 3


def _in_flight(overview: Overview, console: Console) -> Iterator[RenderableType]:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    files = overview.in_flight
    if not files:
        return
    yield _text("")
    yield _text("On the way", "bold")
    shown = files[:IN_FLIGHT_SHOWN]
    how_far = {file.id: _how_far(file) for file in shown}
    widest = max(map(display.width, how_far.values()))
    with_bar = console.is_terminal and console.width >= NARROW
    # Sizes take 10 columns, the gaps between columns and at the front 6.
    columns = max(16, _columns(console) - 16 - min(44, widest) - (21 if with_bar else 0))
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    if with_bar:
        table.add_column(width=20)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for file in shown:
        share = min(100, file.bytes_done * 100 // file.size) if file.size else 100
        topics = min(24, columns // 3)
        cells: list[RenderableType] = [
            _text(f"  {display.shortened(file.stream, topics)}", "dim"),
            _text(display.shortened(file.name, columns - topics)),
        ]
        if with_bar:
            cells.append(ProgressBar(total=100, completed=share, width=20))
        style = "default" if file.state == "uploading" else "dim"
        cells += [_text(display.size(file.size), "dim"), _text(how_far[file.id], style)]
        table.add_row(*cells)
    yield table
    if len(files) > IN_FLIGHT_SHOWN:
        yield _text(f"  and {len(files) - IN_FLIGHT_SHOWN} more", "dim")


def _how_far(file: KnownFile) -> str:
    """Return `45 %`, `in Kafka`, or what destinations have it and which have not answered yet."""
    if file.state == "uploading":
        return f"{min(99, file.bytes_done * 100 // file.size) if file.size else 0:>3} %"
    return _arrival(file) or "in Kafka"


def _arrival(file: KnownFile) -> str:
    """Return `delivered to 2 of 3, waiting for lab`; empty for a file that all have, or nobody awaits."""
    current = [answer for answer in file.answers if answer.current]
    has = sum(answer.outcome == "delivered" for answer in current)
    wanted = sum(answer.outcome != "skipped" for answer in current) + len(file.waiting_for)
    told = []
    if has and has < wanted:
        told.append(f"delivered to {has} of {wanted}")
    elif not current and file.waiting_for:
        told.append("in Kafka")
    if len(file.waiting_for) > WAITING_NAMED:
        told.append(f"waiting for {len(file.waiting_for)} destinations")
    elif file.waiting_for:
        told.append(f"waiting for {', '.join(map(display.shown, file.waiting_for))}")
    return ", ".join(told)


def _services(services: Sequence[Service], now: float) -> Iterator[RenderableType]:
    yield _text("")
    alive = sum(service.state == "alive" for service in services)
    line = _text("Services: ", "bold")
    yield line.append(f"{alive} alive" if services else "none has been heard of yet", style="default")
    in_order = sorted(services, key=_service_order)
    well = [service for service in in_order if service.state == "alive" and not service.problems]
    for service in in_order:
        if service in well[WELL_SHOWN:]:
            continue
        line = _text(f"  {service.state:<8}", _SERVICE.get(service.state, "default"))
        line.append(f" {display.shown(service.service)} {_task(service)}", style="default")
        if service.state != "alive":
            line.append(f", last heard {display.span(now - service.last_at)} ago", style="dim")
        yield line
        for problem in service.problems:
            yield _text(f"           {display.shown(problem)}", "yellow")
    if len(well) > WELL_SHOWN:
        yield _text(f"  and {len(well) - WELL_SHOWN} more that are alive", "dim")


def _service_order(service: Service) -> tuple[int, str, str, str]:
    """Those that need somebody first; then an order that no heartbeat changes."""
    severity = ("silent", "alive", "stopped")
    place = severity.index(service.state) if service.state in severity else len(severity)
    return place, service.service, _task(service), service.program_id


def _task(service: Service) -> str:
    """Return what a program works on: `lab-7 to scope, /data on lab`; its id, where it does not say so."""
    told = {name: str(service.status.get(name) or "") for name in ("source_id", "topic", "destination")}
    ends = [told["topic"], told["destination"]] if told["destination"] else [told["source_id"], told["topic"]]
    name = " to ".join(display.shown(end) for end in ends if end) if all(ends) else ""
    directory = service.status.get("directory")
    where = f", {display.shown(str(directory))}" if directory else ""
    return f"{name or display.shown(service.program_id)}{where} on {display.shown(service.host)}"


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
