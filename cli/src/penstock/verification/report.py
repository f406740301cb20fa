"""What `penstock verify` says: totals and a list for people, one document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from penstock import display
from penstock.verification.findings import NOBODY, Findings
from penstock.verification.run import Question
from penstock.verification.verdicts import Verdict

if TYPE_CHECKING:
    from rich.console import Console

LISTED: Final = 20
"""So many files are named unless all are asked for."""
ADVICE_LISTED: Final = 5

_STYLES: Final = {
    Verdict.ARRIVED: "green",
    Verdict.ON_ITS_WAY: "cyan",
    Verdict.SKIPPED: "yellow",
    Verdict.CHANGING: "yellow",
    Verdict.CHANGED: "yellow",
}


def write_json(findings: Findings, question: Question, directory: str) -> None:
    """Write one document to stdout, file by file: however many there are."""
    head = {
        "ok": findings.ok,
        "stream": question.stream,
        **display.json_name(directory, "directory"),
        "source": question.source.source_id,
        "prefix": question.source.prefix,
        "destinations": list(findings.destinations),
        "totals": {
            "files": findings.files,
            "bytes": findings.bytes,
            **{verdict.value: findings.number(verdict) for verdict in Verdict},
            "by_destination": {
                name: {
                    verdict.value: findings.amount(name, verdict).model_dump()
                    for verdict in Verdict
                    if findings.amount(name, verdict).files
                }
                for name in findings.destinations
            },
        },
    }
    sys.stdout.write(json.dumps(head, indent=2)[: -len("\n}")] + ',\n  "files": [')
    separator = "\n    "
    for file in findings.kept():
        sys.stdout.write(separator + json.dumps(file))
        separator = ",\n    "
    sys.stdout.write("\n  ]\n}\n" if findings.files else "]\n}\n")


def write_text(
    findings: Findings,
    question: Question,
    console: Console,
    *,
    everything: bool,
    places: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the totals, then what has not arrived; `everything`: what has, too, with digests.

    `places` are where destinations are, as far as that is known.
    """
    from rich.text import Text

    if not findings.files:
        console.print(Text("there are no files here, so nothing has to arrive"))
        return
    console.print(_totals(findings, console))
    for name in findings.destinations:
        if name in places:
            console.print(
                Text(f"{display.shown(name)}: {display.shown(places[name])}", "dim"), soft_wrap=True
            )
    listed = findings.files if everything else LISTED
    kept = findings.kept()
    advice: dict[str, None] = {}
    shown = 0
    for file in islice(kept, listed):
        shown += 1
        for line in _lines(file, with_digest=everything):
            console.print(line, soft_wrap=True)
        advice |= dict.fromkeys(
            told["advice"] for told in file["destinations"].values() if told.get("advice") is not None
        )
    more = findings.files - findings.number(Verdict.ARRIVED) - shown
    if not everything and more > 0:
        console.print(Text(f"and {display.count(more, 'other file')}; --all lists every one", style="dim"))
    for line in islice(advice, ADVICE_LISTED):
        console.print(Text("what to do: ", style="bold") + Text(display.shown(line)), soft_wrap=True)
    console.print(_conclusion(findings, question), soft_wrap=True)


def _totals(findings: Findings, console: Console) -> Any:  # noqa: ANN401 - Rich's Table, imported late
    from rich import box
    from rich.table import Table
    from rich.text import Text

    utf8 = console.encoding.lower().startswith("utf")
    table = Table(box=box.SIMPLE_HEAD if utf8 else box.ASCII2, pad_edge=False, header_style="bold")
    names = findings.destinations or (NOBODY,)
    seen = [
        verdict
        for verdict in reversed(Verdict)
        if verdict in (Verdict.ARRIVED, Verdict.ON_ITS_WAY, Verdict.REJECTED, Verdict.NEVER_LEFT)
        or any(findings.amount(name, verdict).files for name in names)
    ]
    table.add_column("Destination")
    for verdict in seen:
        table.add_column(verdict.text.capitalize(), justify="right")
    for name in names:
        cells = [Text(display.shown(name) if name else "(none has answered yet)")]
        for verdict in seen:
            amount = findings.amount(name, verdict)
            style = _STYLES.get(verdict, "red") if amount.files else "dim"
            size = f" ({display.size(amount.bytes)})" if amount.files else ""
            cells.append(Text(f"{amount.files}{size}", style=style))
        table.add_row(*cells)
    return table


def _lines(file: dict[str, Any], *, with_digest: bool) -> Iterator[Any]:
    from rich.text import Text

    verdict = Verdict(file["state"])
    line = Text(f"{verdict.text:<11}", style=_STYLES.get(verdict, "red"))
    line.append(f" {display.size(file['size']):>10}  ", style="default")
    if with_digest:
        line.append(f"{file['digest'] or '-':<64}  ", style="default")
    line.append(display.shown(display.name_from_json(file)), style="default")
    yield line
    if verdict is Verdict.ARRIVED:
        return
    # Destinations of which the same is to be said share a line.
    told: dict[tuple[str, str | None], list[str]] = {}
    for name, found in file["destinations"].items():
        told.setdefault((found["state"], found["why"]), []).append(display.shown(name))
    for (state, why), names in told.items():
        each = Verdict(state).text
        said = each if why is None else f"{each}: {why}" if len(told) > 1 else why
        yield Text(f"    {', '.join(names)}: {display.shown(said)}", style="dim")
    if not told and file.get("why"):
        yield Text(f"    {display.shown(file['why'])}", style="dim")


def _conclusion(findings: Findings, question: Question) -> Any:  # noqa: ANN401 - Rich's Text, imported late
    from rich.text import Text

    total = f"{display.count(findings.files, 'file')}, {display.size(findings.bytes)}: "
    at = ", ".join(map(display.shown, findings.destinations))
    if findings.ok:
        receipts = f"receipts for exactly these bytes from {at}"
        return Text(total, style="bold") + Text(f"everything has arrived ({receipts})", style="bold green")
    arrived = findings.number(Verdict.ARRIVED)
    text = Text(total, style="bold")
    text += Text(f"{arrived} arrived", style="bold")
    text += Text(f", {findings.files - arrived} not", style="bold red")
    if not findings.destinations:
        text += Text(f" (no destination of {display.shown(question.stream)} has answered yet)")
    return text
