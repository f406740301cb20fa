"""The tables of docs/metrics.md, made from the code: `python -m tests.docs.metrics_tables` writes them."""

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase

import penstock_downloader.metrics
import penstock_operator.metrics
import penstock_operator.webhook_metrics
import penstock_registry.metrics
import penstock_uploader.metrics
import servicekit.metrics
from penstock_registry.known_metrics import KnownMetrics
from penstock_registry.store.store import Store

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

_SUFFIX = {"counter": "_total", "info": "_info"}
_TABLE = re.compile(r"(?<=<!-- table: )(?P<name>[a-z ]+) -->\n.*?(?=<!-- end -->)", re.DOTALL)


def exposed_name(metric: Metric) -> str:
    """The name to ask Prometheus for; a histogram's has _bucket, _sum and _count besides."""
    return metric.name + _SUFFIX.get(metric.type, "")


def families() -> dict[str, list[tuple[Metric, list[str]]]]:
    """All metrics with their labels, by the name of their table."""
    return {
        "every service": list(_of(servicekit.metrics)),
        "uploader": list(_of(penstock_uploader.metrics)),
        "downloader": list(_of(penstock_downloader.metrics)),
        "registry": list(_of(penstock_registry.metrics)),
        "operator": [*_of(penstock_operator.metrics), *_of(penstock_operator.webhook_metrics)],
        "streams and programs": list(_known()),
    }


def _of(module: ModuleType) -> Iterator[tuple[Metric, list[str]]]:
    for found in vars(module).values():
        if isinstance(found, MetricWrapperBase):
            [metric] = found.describe()
            labels = ["service", "version", "python"] if metric.type == "info" else list(found._labelnames)
            yield metric, labels


def _known() -> Iterator[tuple[Metric, list[str]]]:
    with tempfile.TemporaryDirectory() as scratch, Store(f"sqlite:///{scratch}/registry.db") as store:
        store.migrate()
        for family in KnownMetrics(store.engine).collect():
            yield family, list(family._labelnames)


def table(metrics: Iterable[tuple[Metric, list[str]]]) -> str:
    """One row for each, in the order of the code."""
    rows = ["| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    for metric, labels in metrics:
        named = ", ".join(f"`{label}`" for label in labels)
        rows.append(f"| `{exposed_name(metric)}` | {metric.type} | {named} | {metric.documentation} |")
    return "\n".join(rows) + "\n"


def with_tables(page: str) -> str:
    """The page with its tables as the code has them."""
    tables = {name: table(metrics) for name, metrics in families().items()}
    return _TABLE.sub(lambda found: f"{found['name']} -->\n{tables[found['name']]}", page)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
