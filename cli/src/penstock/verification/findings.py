"""What was found, counted, and kept until it is told: in memory while it is little, else in a file."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from penstock import display
from penstock.registry_answers import Amount
from penstock.verification.verdicts import Finding, Verdict

NOBODY: Final = ""
"""Stands for the destination while none has ever answered."""

_ORDER: Final = tuple(Verdict)


@dataclass(frozen=True, slots=True)
class Checked:
    """One file, and what is to be said of it at each destination."""

    path: str
    """Relative to the directory that was named."""
    wire: str
    size: int
    digest: str | None
    findings: Mapping[str, Finding]

    @property
    def verdict(self) -> Verdict:
        """The worst of them."""
        order = list(Verdict)
        return min((finding.verdict for finding in self.findings.values()), key=order.index)

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints of it."""
        described: dict[str, Any] = display.json_name(self.path) | {"size": self.size, "digest": self.digest}
        if self.wire != self.path:
            described |= display.json_name(self.wire, "sent_as")
        verdict = self.verdict
        described["state"] = verdict.value
        if NOBODY in self.findings:
            described["why"] = self.findings[NOBODY].why
        described["destinations"] = {
            name: _finding_as_json(finding) for name, finding in self.findings.items() if name != NOBODY
        }
        return described


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    described: dict[str, Any] = {"state": finding.verdict.value, "why": finding.why or None}
    answer = finding.answer
    if answer is not None:
        described["last_answer"] = {
            "outcome": answer.outcome,
            "digest": answer.digest,
            "reason": answer.reason,
            "upload_id": str(answer.upload_id),
            "at": answer.at,
        }
    if finding.advice is not None:
        described["advice"] = finding.advice
    return described


class Findings:
    """All of them. Close it when they are told."""

    def __init__(self, destinations: tuple[str, ...], *, keep_arrived: bool) -> None:
        """`keep_arrived`: files that have arrived are to be told one by one, too."""
        self.destinations = destinations
        """Empty: no destination has ever answered."""
        self.files = 0
        self.bytes = 0
        self._amounts: dict[tuple[str, Verdict], list[int]] = defaultdict(lambda: [0, 0])
        self._by_verdict: dict[Verdict, int] = defaultdict(int)
        self._keep_arrived = keep_arrived
        # A database without a name is a temporary one: in memory, and in a file when it grows.
        self._kept = sqlite3.connect("", isolation_level=None)
        self._kept.execute("CREATE TABLE kept (verdict INTEGER, path BLOB, described TEXT)")
        self._kept.execute("BEGIN")

    def add(self, checked: Checked) -> None:
        """Take one."""
        self.files += 1
        self.bytes += checked.size
        for name, finding in checked.findings.items():
            amount = self._amounts[name, finding.verdict]
            amount[0] += 1
            amount[1] += checked.size
        verdict = checked.verdict
        self._by_verdict[verdict] += 1
        if verdict is Verdict.ARRIVED and not self._keep_arrived:
            return
        path = checked.path.encode("utf-8", "surrogatepass")
        row = (_ORDER.index(verdict), path, json.dumps(checked.as_json()))
        self._kept.execute("INSERT INTO kept VALUES (?, ?, ?)", row)

    @property
    def ok(self) -> bool:
        """Whether every file has arrived at every destination."""
        return self._by_verdict[Verdict.ARRIVED] == self.files

    def amount(self, destination: str, verdict: Verdict) -> Amount:
        """Return how many files, and bytes, have this verdict at a destination."""
        files, size = self._amounts.get((destination, verdict), (0, 0))
        return Amount(files=files, bytes=size)

    def number(self, verdict: Verdict) -> int:
        """Return how many files have this as their worst verdict."""
        return self._by_verdict[verdict]

    def kept(self) -> Iterator[dict[str, Any]]:
        """Yield what was kept, as `Checked.as_json` gives it: failures first, then by path."""
        for (described,) in self._kept.execute("SELECT described FROM kept ORDER BY verdict, path"):
            yield json.loads(described)

    def __enter__(self) -> Findings:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept.close()
