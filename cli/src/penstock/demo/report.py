"""What the demo says at the end: a table for people, an object for programs."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock import display
from penstock.demo.proof import HAS_MODES, Proof

if TYPE_CHECKING:
    from rich.console import Console

GROUPED_FROM = 8
"""So many files in one directory become one row."""

MAX_ROWS = 30

NARROW = 72
"""Columns of a terminal below which the table leaves out what can be left out."""


@dataclass(frozen=True)
class Result:
    """One file: what was proved, and what its receipt says."""

    proof: Proof
    chunks: int
    seconds: float | None
    """From closed at the source to visible at the destination; None without a receipt."""
    receipt_digest: str | None
    """BLAKE3 by the downloader's receipt; None without a receipt."""

    @property
    def problem(self) -> str | None:
        """Why the file does not count as arrived; None if it does."""
        if self.proof.problem is not None:
            return self.proof.problem
        if self.receipt_digest is None:
            return "there is no receipt for it"
        if self.receipt_digest != self.proof.digest:
            return "its receipt names another digest"
        return None


@dataclass(frozen=True)
class Confirmation:
    """What the registry says of the files that have arrived."""

    url: str
    verified: int
    """So many it has receipts for, from every destination and for exactly their bytes."""
    missing: list[str]
    """Paths of the others."""


@dataclass(frozen=True)
class Report:
    """All of a run."""

    results: list[Result]
    elapsed_seconds: float
    """From the first file written (or seen) to the last one visible."""
    confirmation: Confirmation | None = None
    """None if there is no registry."""

    @property
    def ok(self) -> bool:
        """Whether every file has arrived, and the registry (if there is one) knows it."""
        known = self.confirmation is None or not self.confirmation.missing
        return bool(self.results) and not self.failures and known

    @property
    def failures(self) -> list[Result]:
        """The files that have not."""
        return [result for result in self.results if result.problem is not None]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(result.proof.size for result in self.results)

    @property
    def bytes_per_second(self) -> float:
        """Size of all files by the time that it took."""
        return self.bytes / max(self.elapsed_seconds, 1e-3)

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints."""
        confirmation = self.confirmation
        return {
            "ok": self.ok,
            "registry": None
            if confirmation is None
            else {
                "url": confirmation.url,
                "verified": confirmation.verified,
                "missing": [display.json_name(path) for path in confirmation.missing],
            },
            "files": [
                display.json_name(result.proof.path)
                | {
                    "size": result.proof.size,
                    "chunks": result.chunks,
                    "seconds": None if result.seconds is None else round(result.seconds, 4),
                    "digest": result.proof.digest,
                    "verified": result.problem is None,
                    "problem": result.problem,
                }
                for result in self.results
            ],
            "totals": {
                "files": len(self.results),
                "verified": len(self.results) - len(self.failures),
                "bytes": self.bytes,
                "chunks": sum(result.chunks for result in self.results),
                "seconds": round(self.elapsed_seconds, 3),
                "bytes_per_second": round(self.bytes_per_second),
            },
        }

    def rows(self) -> list[tuple[str, list[Result]]]:
        """Return the rows of the table: a title and the files that it stands for.

        Failed files have a row each; so have the others, unless there are many in their directory.
        """
        failed = [(result.proof.path, [result]) for result in self.failures]
        by_directory: dict[str, list[Result]] = defaultdict(list)
        for result in self.results:
            if result.problem is None:
                by_directory[posixpath.dirname(result.proof.path)].append(result)
        alone: list[Result] = []
        grouped: list[tuple[str, list[Result]]] = []
        for directory, members in by_directory.items():
            # Large ones speak for themselves, whatever is beside them.
            small = [result for result in members if result.chunks == 1]
            if len(small) < GROUPED_FROM:
                alone += members
                continue
            alone += [result for result in members if result.chunks > 1]
            grouped.append((f"{directory or '.'}/ ({display.count(len(small), 'file')})", small))
        alone.sort(key=lambda result: (-result.proof.size, result.proof.path))
        ordered = failed + sorted(grouped) + [(result.proof.path, [result]) for result in alone]
        rows = ordered[:MAX_ROWS]
        rest = [result for _, members in ordered[MAX_ROWS:] for result in members]
        if rest:
            rows.append((f"{display.count(len(rest), 'other file')}", rest))
        return rows

    def print(self, console: Console) -> None:
        """Write the table and the totals."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        utf8 = console.encoding.lower().startswith("utf")
        table = Table(box=box.SIMPLE_HEAD if utf8 else box.ASCII2, pad_edge=False, header_style="bold")
        narrow = console.width < NARROW
        columns = max(16, console.width - (40 if narrow else 64))
        table.add_column("File", no_wrap=True, min_width=min(columns, 40))
        table.add_column("Size", justify="right", no_wrap=True)
        if not narrow:
            table.add_column("Chunks", justify="right", no_wrap=True)
            table.add_column("Close→visible" if utf8 else "To visible", justify="right", no_wrap=True)
        table.add_column("BLAKE3, mtime, mode" if HAS_MODES else "BLAKE3, mtime", no_wrap=True)
        for title, members in self.rows():
            good = sum(1 for result in members if result.problem is None)
            if good == len(members):
                verdict = Text("✓ " if utf8 else "", style="green")
                verdict.append("verified" if len(members) == 1 else f"{good} verified", style="default")
            else:
                verdict = Text(f"{'✗ ' if utf8 else ''}{len(members) - good} failed", style="red")
            cells = [
                Text(display.shortened(title, columns)),
                Text(display.size(sum(result.proof.size for result in members))),
            ]
            if not narrow:
                cells += [Text(f"{sum(result.chunks for result in members)}"), Text(_range(members))]
            table.add_row(*cells, verdict)
        console.print(table)
        for result in self.failures[:MAX_ROWS]:
            console.print(
                Text(
                    f"{display.shown(result.proof.path)}: {display.shown(result.problem or '')}", style="red"
                ),
                soft_wrap=True,
            )
        if len(self.failures) > MAX_ROWS:
            console.print(Text(f"and {len(self.failures) - MAX_ROWS} more", style="red"))
        console.print(self._totals(), soft_wrap=True)

    def _totals(self) -> Any:  # noqa: ANN401 - Rich's Text, imported when it is needed
        from rich.text import Text

        total = (
            f"{display.count(len(self.results), 'file')}, {display.size(self.bytes)}, in "
            f"{display.seconds(self.elapsed_seconds)}: {display.rate(self.bytes_per_second)}."
        )
        if self.ok:
            return Text(total + " ", style="bold") + Text(
                f"Every file arrived byte-identical, with its mtime{' and mode' if HAS_MODES else ''}.",
                style="bold green",
            )
        if not self.failures and self.confirmation is not None:
            return Text(total + " ", style="bold") + Text(
                f"Every file arrived, but the registry does not know it of {len(self.confirmation.missing)}.",
                style="bold red",
            )
        return Text(total + " ", style="bold") + Text(
            f"{len(self.failures)} did not arrive.", style="bold red"
        )


def _range(members: list[Result]) -> str:
    took = [result.seconds for result in members if result.seconds is not None]
    if not took:
        return "-"
    low, high = display.seconds(min(took)), display.seconds(max(took))
    if low == high:
        return high
    if low.split()[1] == high.split()[1]:
        low = low.split()[0]
    return f"{low} - {high}"
