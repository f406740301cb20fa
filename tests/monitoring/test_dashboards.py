"""The dashboards are what their code writes, say what to do, and ask for what there is."""

import json
import re

import pytest
from dashboards.files import files
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.docs.metrics_tables import exposed_name, families
from tests.monitoring.queries import (
    DASHBOARDS,
    dashboards,
    labels_of,
    metrics_of,
    panel_queries,
    panels,
    variable_queries,
)

ALL = dashboards()
UIDS = {"overview": "penstock-overview", "stream": "penstock-stream", "operator": "penstock-operator"}
OF_SCRAPE = {"job", "instance", "namespace", "stream", "pod", "container"}
MADE_BY_QUERIES = {"directory_stream", "le"}

each = pytest.mark.parametrize("name", ALL)


def test_the_files_are_what_the_code_writes():
    here = {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS.iterdir()}
    assert here == files(), "run: make dashboards (and change dashboards/, not the files)"


def test_the_code_writes_the_same_each_time():
    assert files() == files()


@each
def test_its_uid_stays(name):
    """It is in bookmarks, and in the links of the others."""
    assert ALL[name]["uid"] == UIDS[name]


@each
def test_grafanas_schema_knows_all_that_is_in_it(name):
    """Read with the SDK's types, which are made from Grafana's schema, and written again: nothing is lost."""
    register_default_plugins()
    read = Dashboard.from_json(ALL[name])
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == ALL[name]


@each
def test_every_panel_says_what_it_shows_and_what_to_do(name):
    for panel in panels(ALL[name]):
        assert panel["description"].endswith("."), panel["title"]
        assert len(panel["description"]) > 30, panel["title"]
        assert panel["targets"], panel["title"]
        defaults = panel["fieldConfig"]["defaults"] if panel["type"] not in ("table", "heatmap") else None
        assert defaults is None or defaults.get("unit"), panel["title"]


@each
def test_titles_and_ids_are_told_apart(name):
    rows: dict[str, list[str]] = {"": []}
    row = ""
    for panel in ALL[name]["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        rows.setdefault(row, []).append(panel["title"])
    for titles in rows.values():
        assert len(set(titles)) == len(titles)
    ids = [panel["id"] for panel in ALL[name]["panels"]]
    assert len(set(ids)) == len(ids)


@each
def test_panels_neither_overlap_nor_leave_the_grid(name):
    taken: set[tuple[int, int]] = set()
    for panel in ALL[name]["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


@each
def test_the_data_source_is_a_variable(name):
    dashboard = ALL[name]
    assert {"name": "datasource", "type": "datasource"}.items() <= dashboard["templating"]["list"][0].items()
    for panel in panels(dashboard):
        for found in (panel, *panel["targets"]):
            assert found["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


@each
def test_it_leads_to_the_other_ones(name):
    linked = {re.match(r"/d/([\w-]+)\?", link["url"])[1] for link in ALL[name]["links"]}
    assert linked == set(UIDS.values()) - {UIDS[name]}


def test_a_row_of_a_table_leads_to_the_stream_in_depth():
    for name in ("overview", "operator"):
        [found] = [
            panel
            for panel in panels(ALL[name])
            if "var-stream" in json.dumps(panel["fieldConfig"]["overrides"])
        ]
        renamed = found["transformations"][1]["options"]["renameByName"]
        for field in re.findall(r"__data\.fields\.(\w+)", json.dumps(found["fieldConfig"]["overrides"])):
            assert field in renamed.values()


def test_every_query_asks_for_metrics_and_labels_that_there_are():
    known: dict[str, set[str]] = {"up": set()}
    for metrics in families().values():
        for metric, labels in metrics:
            known[exposed_name(metric)] = set(labels)
            if metric.type == "histogram":
                for suffix in ("_bucket", "_sum", "_count"):
                    known[metric.name + suffix] = {*labels, "le"}
    asked = [(str(query), query.expr) for query in panel_queries()]
    asked += [(str(query), query.selector) for query in variable_queries()]
    for where, expr in asked:
        metrics_asked = metrics_of(expr) or {"up"}
        assert metrics_asked <= known.keys(), where
        labels = set().union(*(known[metric] for metric in metrics_asked))
        assert labels_of(expr) <= labels | OF_SCRAPE | MADE_BY_QUERIES, where


def test_every_variable_is_one_of_its_dashboard():
    for name, dashboard in ALL.items():
        known = {variable["name"] for variable in dashboard["templating"]["list"]} | {"__rate_interval"}
        used = {
            found
            for query in panel_queries()
            if query.dashboard == name
            for found in re.findall(r"\$([a-zA-Z_]\w*)", query.expr)
        }
        assert used <= known
        assert known - used <= {"datasource", "namespace", "destination"}, "chosen, and of no effect"
