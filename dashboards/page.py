"""What all dashboards have in common: their uids, tags, variables, and the links between them."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard

from dashboards.panels import DATASOURCE

OVERVIEW, STREAM, OPERATOR = "penstock-overview", "penstock-stream", "penstock-operator"
"""The uids, which are in people's bookmarks: they stay."""

TITLES: Final = {
    OVERVIEW: "Penstock / Overview",
    STREAM: "Penstock / Stream",
    OPERATOR: "Penstock / Operator",
}

STREAM_URL: Final = f"/d/{STREAM}?${{__url_time_range}}&${{datasource:queryparam}}"
"""Where a stream is shown in depth; with `&var-namespace=` and `&var-stream=`."""


def page(uid: str, description: str, *variables: builders.QueryVariable) -> builders.Dashboard:
    """Begin a dashboard: the last three hours, and where to find the other ones."""
    begun = (
        builders.Dashboard(TITLES[uid])
        .uid(uid)
        .description(description)
        .tags(["penstock"])
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time("now-3h", "now")
        .refresh("30s")
        .timezone("browser")
        .with_variable(
            builders.DatasourceVariable("datasource")
            .label("Data source")
            .description("The Prometheus that scrapes Penstock.")
            .type("prometheus")
        )
    )
    for variable in variables:
        begun = begun.with_variable(variable)
    for other, title in TITLES.items():
        if other != uid:
            begun = begun.link(
                builders.DashboardLink(title.removeprefix("Penstock / "))
                .type(dashboard.DashboardLinkType.LINK)
                .icon("dashboard")
                .tooltip(title)
                .url(f"/d/{other}?${{datasource:queryparam}}")
                .keep_time(True)
            )
    return begun


def choice(
    name: str, label: str, description: str, metric: str, of: str | None = None, *, several: bool = False
) -> builders.QueryVariable:
    """Let people choose a value of the label `of` (by default `name`) that the metric has in this time."""
    query = f"label_values({metric}, {of or name})"
    variable = (
        builders.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(DATASOURCE)
        .query({"qryType": 1, "query": query, "refId": f"Variable-{name}"})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(several)
        .include_all(several)
    )
    if several:
        all_of_them = dashboard.VariableOption(text="All", value="$__all", selected=True)
        variable = variable.all_value(".*").current(all_of_them)
    return variable
