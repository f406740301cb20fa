"""The table and the plots of docs/design/scaling.md, made from the runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from bench.scaling.queues import Run, simulate
from bench.scaling.scalers import Keda, Penstock
from bench.scaling.traces import STEP_SECONDS, Array, Trace, traces

PAGE: Final = Path(__file__).parents[2] / "docs" / "design" / "scaling.md"
PLOTS: Final = PAGE.with_suffix("")
_BEGIN: Final = "<!-- python -m bench.scaling writes what follows -->\n"
_END: Final = "<!-- until here -->\n"
_POINTS: Final = 400


@dataclass(frozen=True)
class Comparison:
    """One load, and what each made of it, by name."""

    trace: Trace
    runs: dict[str, Run]


def compare() -> list[Comparison]:
    """Play every trace against everyone."""
    return [
        Comparison(
            trace,
            {
                "Penstock": simulate(trace, Penstock(trace)),
                "KEDA": simulate(trace, Keda(trace)),
                "KEDA, even": simulate(trace, Keda(trace, even=True)),
            },
        )
        for trace in traces()
    ]


def table(comparisons: list[Comparison]) -> str:
    """Give the generated part of the page; the best number of each load is bold."""
    lines = [
        "| load | | longest backlog, s | mean wait, s | replica-seconds | rebalances |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for comparison in comparisons:
        rows = {name: _figures(run) for name, run in comparison.runs.items()}
        best = [min(column) for column in zip(*rows.values(), strict=True)]
        for name, row in rows.items():
            load = comparison.trace.name
            load = f"[{load}](scaling/{load}.svg)" if name == "Penstock" else ""
            cells = (
                f"**{number:,}**" if number == least else f"{number:,}"
                for number, least in zip(row, best, strict=True)
            )
            lines.append(f"| {load} | {name} | {' | '.join(cells)} |")
    lines.append("")
    lines.extend(f"- **{comparison.trace.name}**: {comparison.trace.title}." for comparison in comparisons)
    return "\n".join(lines) + "\n"


def rewrite(page: str, generated: str) -> str:
    """Put the generated part into the page."""
    before, rest = page.split(_BEGIN)
    _, after = rest.split(_END)
    return f"{before}{_BEGIN}\n{generated}\n{_END}{after}"


def plot(comparison: Comparison, path: Path) -> None:
    """Draw lag and replicas over time. The same runs give the same bytes."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    colours = {"Penstock": "#0b7285", "KEDA": "#e8590c", "KEDA, even": "#adb5bd"}
    with mpl.rc_context({"svg.hashsalt": "penstock", "svg.fonttype": "none", "font.size": 9}):
        figure, (lag, replicas) = plt.subplots(2, 1, sharex=True, figsize=(8, 4.2), layout="constrained")
        for name, run in reversed(comparison.runs.items()):
            minutes, waiting = _thin(run.lag)
            lag.plot(minutes, waiting, color=colours[name], label=name, linewidth=1.1)
            minutes, count = _thin(run.replicas)
            replicas.step(minutes, count, where="post", color=colours[name], linewidth=1.1)
        lag.set_title(comparison.trace.title)
        lag.set_ylabel("lag, records")
        replicas.set_ylabel("replicas")
        replicas.yaxis.get_major_locator().set_params(integer=True)
        replicas.set_xlabel("minutes")
        handles, labels = lag.get_legend_handles_labels()
        lag.legend(handles[::-1], labels[::-1], frameon=False)
        for axes in (lag, replicas):
            axes.set_ylim(bottom=0)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


def _figures(run: Run) -> tuple[int, int, int, int]:
    return run.longest_backlog_seconds, round(run.mean_wait_seconds), run.replica_seconds, run.rebalances


def _thin(values: Array) -> tuple[Array, Array]:
    """Keep the highest of neighbouring points: a peak is never thinned away."""
    width = max(1, len(values) // _POINTS)
    length = len(values) // width * width
    at = np.arange(0, length, width) * STEP_SECONDS / 60
    return at, values[:length].reshape(-1, width).max(axis=1)
