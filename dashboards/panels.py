"""What a panel is here: a title, a description that says what to do, a unit, and queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards import promql

DATASOURCE: Final = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH: Final = 24
"""Columns of Grafana's grid. On a phone panels stand below one another, in their order here."""

GOOD, FAIR, BAD, DIM = "green", "yellow", "red", "text"

# Grafana's ids of units.
COUNT, PER_SECOND, BYTES, BYTES_PER_SECOND, SECONDS = "short", "cps", "bytes", "Bps", "s"


@dataclass(frozen=True)
class Query:
    """A query, and what its series (or, in a table, its column) is called."""

    expr: str
    name: str = ""


def quantiles(histogram: str, shares: Iterable[float] = (0.5, 0.99), *, where: str = "") -> list[Query]:
    """Give a query for each quantile of a histogram, called p50, p99."""
    return [Query(promql.quantile(share, histogram, where=where), f"p{share * 100:g}") for share in shares]


@dataclass(frozen=True)
class Column:
    """How a table shows a field: by its name in the answer, or `Value #X` of the query X."""

    field: str
    title: str
    unit: str = ""
    steps: tuple[tuple[float, str], ...] = ()
    """From which value on a cell has which colour; none: without colour."""
    texts: Mapping[int, tuple[str, str]] | None = None
    """Text and colour of values."""
    link: str = ""
    decimals: int | None = None


class _Common(Protocol):
    """What the builders of all panels have in common, as far as it is used here."""

    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: dashboard.DataSourceRef) -> Self: ...
    def height(self, h: int) -> Self: ...
    def span(self, w: int) -> Self: ...


_AnyPanel = TypeVar("_AnyPanel", bound=_Common)


def steps(*found: tuple[float, str], base: str = GOOD) -> builders.ThresholdsConfig:
    """Give thresholds: `base` below the first value, then the colour of each."""
    told = [dashboard.Threshold(value=None, color=base)]
    told += [dashboard.Threshold(value=value, color=color) for value, color in found]
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(told)


def texts(found: Mapping[int, tuple[str, str]]) -> list[dashboard.ValueMapping]:
    """Give a mapping from values to texts and colours."""
    options = {
        str(value): dashboard.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(found.items())
    }
    return [dashboard.ValueMap(options=options)]


def number(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str = COUNT,
    bad_from: float | None = None,
    fair_from: float | None = None,
    good_from: float | None = None,
    base: str = GOOD,
    says: Mapping[int, tuple[str, str]] | None = None,
    decimals: int | None = None,
    width: int = 4,
) -> stat.Panel:
    """Give one large number, coloured by what it means: that of now, or none, never one of an hour ago."""
    colored = ((fair_from, FAIR), (bad_from, BAD), (good_from, GOOD))
    found = [(value, color) for value, color in colored if value is not None]
    panel = (
        _with(stat.Panel(), title, description, width, 4)
        .unit(unit)
        .thresholds(steps(*found, base=base))
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .no_value("-")
        .with_target(_target("A", Query(expr)).instant())
    )
    if says is not None:
        panel = panel.mappings(texts(says))
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str = COUNT,
    bad_from: float | None = None,
    stacked: bool = False,
    stepped: bool = False,
    most: float | None = None,
    width: int = 12,
    height: int = 8,
) -> timeseries.Panel:
    """Give lines over time, from 0 on."""
    panel = (
        _with(timeseries.Panel(), title, description, width, height)
        .unit(unit)
        .min(0)
        .line_width(1)
        .fill_opacity(30 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    if most is not None:
        panel = panel.max(most)
    if unit == COUNT:
        panel = panel.decimals(0)
    if stacked:
        panel = panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if stepped:
        panel = panel.line_interpolation(common.LineInterpolation.STEP_AFTER)
    if bad_from is not None:
        panel = panel.thresholds(steps((bad_from, BAD), base=DIM)).thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED)
        )
    for letter, query in zip(_letters(), queries, strict=False):
        panel = panel.with_target(_target(letter, query).range())
    return panel


def rows(
    title: str,
    description: str,
    queries: Iterable[Query],
    columns: Sequence[Column],
    *,
    hidden: Sequence[str] = (),
    sort_by: str = "",
    descending: bool = True,
    width: int = WIDTH,
    height: int = 9,
) -> table.Panel:
    """Give a table: what several queries say now, in one row where their labels agree."""
    panel = _with(table.Panel(), title, description, width, height).no_value("-").show_header(True)
    for letter, query in zip(_letters(), queries, strict=False):
        panel = panel.with_target(_target(letter, query).instant().format(PromQueryFormat.TABLE))
    panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    organize = {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": {column.field: index for index, column in enumerate(columns)},
        "renameByName": {column.field: column.title for column in columns},
    }
    panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=organize))
    for column in columns:
        if found := _properties(column):
            panel = panel.override_by_name(column.title, found)
    if sort_by:
        panel = panel.sort_by(
            [common_builders.TableSortByFieldState().display_name(sort_by).desc(descending)]
        )
    return panel


def heat(
    title: str, description: str, expr: str, *, unit: str = SECONDS, width: int = 12, height: int = 8
) -> heatmap.Panel:
    """Give how a histogram's buckets fill over time. `expr` gives them by `le`."""
    return (
        _with(heatmap.Panel(), title, description, width, height)
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").fill("dark-blue"))
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .cell_gap(1)
        .scale_distribution(common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LINEAR))
        .show_legend()
        .show_tooltip()
        .with_target(_target("A", Query(expr, "{{le}}")).range().format(PromQueryFormat.HEATMAP))
    )


def _with(panel: _AnyPanel, title: str, description: str, width: int, height: int) -> _AnyPanel:
    return panel.title(title).description(description).datasource(DATASOURCE).height(height).span(width)


def _target(letter: str, query: Query) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .datasource(DATASOURCE)
        .ref_id(letter)
        .expr(query.expr)
        .legend_format(query.name)
    )


def _letters() -> Iterable[str]:
    return (chr(code) for code in range(ord("A"), ord("Z") + 1))


def _properties(column: Column) -> list[dashboard.DynamicConfigValue]:
    found = []
    if column.unit:
        found.append(dashboard.DynamicConfigValue("unit", column.unit))
    if column.decimals is not None:
        found.append(dashboard.DynamicConfigValue("decimals", column.decimals))
    if column.texts is not None:
        found.append(dashboard.DynamicConfigValue("mappings", texts(column.texts)))
    if column.steps:
        found.append(dashboard.DynamicConfigValue("thresholds", steps(*column.steps).build()))
    if column.steps or column.texts is not None:
        colored = {"type": "color-text"}
        found.append(dashboard.DynamicConfigValue("custom.cellOptions", colored))
    if column.link:
        link = {"title": "In depth", "url": column.link}
        found.append(dashboard.DynamicConfigValue("links", [link]))
    return found
