"""What the dashboards ask Prometheus, and what the alerts do: for whoever has a Prometheus to ask.

for query in panel_queries():
    found = prometheus.query(filled(query.expr, {"namespace": "lab", "stream": "scope", ...}))
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART_FILES = Path(__file__).parents[2] / "charts" / "penstock" / "files"
DASHBOARDS = CHART_FILES / "dashboards"
RULES = CHART_FILES / "rules.yaml"

ANYTHING = ".*"
"""What Grafana fills in for a variable of which all values are chosen."""

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|([a-zA-Z_]\w*))")
_WORD = re.compile(r"[a-zA-Z_:][\w:]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class PanelQuery:
    """One query of a panel, with the variables of its dashboard in it."""

    dashboard: str
    """The file's name, without its ending."""
    panel: str
    letter: str
    expr: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel} {self.letter}"


@dataclass(frozen=True)
class VariableQuery:
    """Where a dashboard's variable has its values from: a label of the series that are selected."""

    dashboard: str
    name: str
    selector: str
    label: str

    def __str__(self) -> str:
        return f"{self.dashboard}: ${self.name}"


@dataclass(frozen=True)
class Alert:
    """One alert of rules.yaml."""

    group: str
    name: str
    expr: str
    rule: Mapping[str, Any]

    def __str__(self) -> str:
        return self.name


def dashboards() -> dict[str, dict[str, Any]]:
    """All dashboards, by the name of their file without its ending."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))
    }


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The panels of a dashboard that show something, those in folded rows included."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def panel_queries() -> list[PanelQuery]:
    """All queries of all panels."""
    return [
        PanelQuery(name, panel["title"], target["refId"], target["expr"])
        for name, dashboard in dashboards().items()
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def variable_queries() -> list[VariableQuery]:
    """What the variables of all dashboards ask for, in the order in which they depend on one another."""
    found = []
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                text = variable["query"]["query"]
                asked = re.fullmatch(r"label_values\((.*), (\w+)\)", text)
                assert asked is not None, f"{name}: ${variable['name']}: {text}"
                found.append(VariableQuery(name, variable["name"], asked[1], asked[2]))
    return found


def alerts() -> list[Alert]:
    """All alerts of rules.yaml."""
    return [
        Alert(group["name"], rule["alert"], rule["expr"], rule)
        for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def filled(expr: str, values: Mapping[str, str], window: str = "1m") -> str:
    """The query with values for its variables, as Grafana fills them in. Raises KeyError for one without."""
    known = {"__rate_interval": window, "__interval": window} | dict(values)
    return _VARIABLE.sub(lambda found: known[found[1] or found[2]], expr)


def metrics_of(expr: str) -> set[str]:
    """The metrics of Penstock that a query names; a histogram's by its series."""
    alternatives = re.findall(r'__name__=~"(\w*)\(([\w|]+)\)(\w*)"', expr)
    named = {f"{a}{part}{z}" for a, parts, z in alternatives for part in parts.split("|")}
    words = set(_WORD.findall(_STRING.sub('""', expr)))
    return {word for word in words | named if word.startswith("penstock_")}


def labels_of(expr: str) -> set[str]:
    """The labels that a query chooses, groups or joins by."""
    plain = _STRING.sub('""', _VARIABLE.sub("x", expr))
    lists = re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right) \(([^)]*)\)", plain)
    chosen = re.findall(r"\{([^}]*)\}", plain)
    found = {word for part in lists for word in _WORD.findall(part)}
    found |= {word for part in chosen for word in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", part)}
    return found - {"__name__"}
