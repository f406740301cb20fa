"""Every query of the dashboards and of the alerts, asked of a Prometheus that scraped real services."""

import math

import pytest
from tests.monitoring.queries import (
    ANYTHING,
    alerts,
    filled,
    metrics_of,
    panel_queries,
    variable_queries,
)
from tests.monitoring.scene import DESTINATION, FILES, NAMESPACE, STREAM, Scene
from tests.waiting import eventually

pytestmark = [pytest.mark.xdist_group("monitoring"), pytest.mark.timeout(300)]

WINDOW = "10m"
"""For rates: all of the test."""


def variables(scene: Scene, dashboard: str) -> dict[str, str]:
    """What somebody chooses who looks at the stream."""
    if dashboard == "stream":
        return {
            "namespace": NAMESPACE,
            "stream": STREAM,
            "topic": scene.topic,
            "destination": DESTINATION,
        }
    return {"topic": ANYTHING, "namespace": ANYTHING}


@pytest.mark.parametrize("query", panel_queries(), ids=str)
def test_a_panel_has_something_to_show(scene: Scene, query):
    expr = filled(query.expr, variables(scene, query.dashboard), WINDOW)

    def numbers() -> list[float]:
        found = [float(series["value"][1]) for series in scene.prometheus.query(expr)]
        return [number for number in found if not math.isnan(number)]

    eventually(numbers, 20, lambda: f"{expr}: {scene.prometheus.query(expr)}", interval=0.2)


@pytest.mark.parametrize("query", variable_queries(), ids=str)
def test_a_variable_offers_what_there_is(scene: Scene, query):
    selector = filled(query.selector, variables(scene, query.dashboard))
    offered = scene.prometheus.label_values(query.label, selector)
    assert variables(scene, "stream")[query.name] in offered
    if query.dashboard == "stream" and query.name in ("topic", "destination"):
        assert len(offered) == 1


@pytest.mark.parametrize("alert", alerts(), ids=str)
def test_an_alert_asks_for_metrics_that_are_there(scene: Scene, alert):
    there = set(scene.prometheus.label_values("__name__", '{__name__=~"penstock_.*|up"}'))
    # Nothing has failed to be committed here: that error has no series before it happens.
    assert metrics_of(alert.expr) - {"penstock_downloader_commit_failures_total"} <= there


def test_prometheus_evaluates_all_rules(scene: Scene):
    def evaluated() -> bool:
        rules = scene.prometheus.rules()
        assert {rule["name"] for rule in rules} == {alert.name for alert in alerts()}
        assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] == "err"] == []
        return all(rule["health"] == "ok" for rule in rules)

    eventually(evaluated, 20, scene.prometheus.rules, interval=0.2)


def test_the_only_alert_is_that_of_the_file_that_was_refused(scene: Scene):
    def pending() -> dict[str, dict[str, str]]:
        return {
            alert["labels"]["alertname"]: alert["labels"]
            for rule in scene.prometheus.rules()
            for alert in rule["alerts"]
        }

    found = eventually(pending, 20, scene.prometheus.rules, interval=0.2)
    assert found.keys() == {"PenstockFileWillNotArrive"}
    assert found["PenstockFileWillNotArrive"]["stream"] == scene.topic
    assert found["PenstockFileWillNotArrive"]["state"] == "rejected"


# What they show is right


def shown(scene: Scene, dashboard: str, panel: str, letter: str = "A") -> list[dict[str, object]]:
    """What the first panel of that name shows."""
    wanted = (dashboard, panel, letter)
    query = next(one for one in panel_queries() if (one.dashboard, one.panel, one.letter) == wanted)
    found = scene.prometheus.query(filled(query.expr, variables(scene, dashboard), WINDOW))
    return [{**series["metric"], "value": float(series["value"][1])} for series in found]


def test_the_overview_tells_each_stream_by_topic_destination_and_name(scene: Scene):
    table = "Streams and their destinations"
    both = {"stream": scene.topic, "destination": DESTINATION}
    assert shown(scene, "overview", table) == [both | {"value": 2.0}], "a file was refused, none waits"
    assert shown(scene, "overview", table, "D") == [both | {"value": 0.0}]
    [records] = [row for row in shown(scene, "overview", table, "F") if row["stream"] == scene.topic]
    assert records["destination"] == DESTINATION
    named = {"namespace": NAMESPACE, "directory_stream": STREAM, "value": 1.0}
    assert both | named in shown(scene, "overview", table, "G")


def test_the_overview_counts_what_will_not_arrive(scene: Scene):
    assert shown(scene, "overview", "Files that will not arrive") == [{"value": 1.0}]
    assert shown(scene, "overview", "Silent programs") == [{"value": 0.0}]


def test_latency_is_told_by_topic_and_destination(scene: Scene):
    for letter in "AB":
        [found] = shown(scene, "overview", "Delivery latency, close to visible", letter)
        assert (found["topic"], found["destination"]) == (scene.topic, DESTINATION)


def test_reasons_are_those_of_what_happened(scene: Scene):
    by_reason = {row["reason"] for row in shown(scene, "stream", "Refused, by reason")}
    assert by_reason == {"too-large", "foreign"}


def test_the_operators_table_has_a_row_for_each_stream(scene: Scene):
    rows = {row["stream"]: row["value"] for row in shown(scene, "operator", "Each DirectoryStream", "C")}
    assert rows == {STREAM: 4.0, "results": 1.0}


def test_the_stream_in_depth_is_of_this_stream_alone(scene: Scene):
    states = {row["state"]: row["value"] for row in shown(scene, "stream", "Files by state")}
    assert states["delivered"] == FILES
    assert states["rejected"] == 1
    partitions = {row["partition"] for row in shown(scene, "stream", "Records waiting, by partition")}
    assert partitions >= {"0", "1"}
