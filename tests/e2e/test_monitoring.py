"""Prometheus beside an installation: what the chart has it scrape, alert on, and show.

The PodMonitors and the PrometheusRule are the chart's. What prometheus-operator would make of them is told to
a Prometheus in the cluster, which finds the pods itself.
"""

import itertools
import math
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster import Kubectl
from tests.e2e.evidence import observed
from tests.e2e.installed import (
    CHART,
    POLL_SECONDS,
    RELEASE,
    RESTRICTED,
    RESTRICTED_POD,
    Penstock,
    Stream,
    installed,
    namespaces,
)
from tests.e2e.prometheus.podmonitors import scrape_configs
from tests.e2e.prometheus.server import prometheus
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.queries import ANYTHING, PanelQuery, filled, panel_queries, variable_queries
from tests.waiting import eventually, throughout

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("monitoring")]

FOR = "2s"
"""How long an alert's condition has to hold here; what the chart says is for people, who sleep."""
SETTLED_SECONDS = 6.0
"""Evaluations and scrapes enough for an alert to come about that should not."""
WINDOW = "5m"
"""For rates: all of the test."""
PROGRAM = """
mkdir -p /results
while :; do echo "$(date)" > "/results/$(date +%s).txt"; sleep 1; done
"""


@dataclass(frozen=True)
class Monitored:
    """An installation with two streams, files that flow through both, and a Prometheus."""

    penstock: Penstock
    prometheus: Prometheus


def rendered(penstock: Penstock) -> list[dict[str, Any]]:
    """What the chart gives prometheus-operator, for this installation."""
    monitoring = {"podMonitor": {"enabled": True, "interval": "2s"}, "prometheusRule": {"enabled": True}}
    values = penstock.values(demoKafka={"enabled": True}, monitoring=monitoring)
    done = subprocess.run(
        ["helm", "template", RELEASE, str(CHART), "--namespace", penstock.system.namespace, "--values", "-"],
        input=yaml.safe_dump(values),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def impatient(rule_groups: list[dict[str, Any]]) -> dict[str, Any]:
    """The chart's rules, but that conditions need not hold for minutes."""
    for group in rule_groups:
        for rule in group["rules"]:
            rule |= {"for": FOR} if "for" in rule else {}
    return {"groups": rule_groups}


def simulation(name: str) -> dict[str, Any]:
    """A pod that writes files, and asks for a sidecar."""
    labels = {"app": "simulation", "penstock.dev/inject": "simulation"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": SPEC}


SPEC = {
    "securityContext": RESTRICTED_POD,
    "terminationGracePeriodSeconds": 1,
    "containers": [
        {
            "name": "simulation",
            "image": "busybox:1.35",
            "command": ["sh", "-euc", PROGRAM],
            "securityContext": RESTRICTED,
            # Many programs have a port of this name. It is not ours to scrape.
            "ports": [{"name": "metrics", "containerPort": 9999}],
            "volumeMounts": [{"name": "results", "mountPath": "/results"}],
        }
    ],
    "volumes": [{"name": "results", "emptyDir": {}}],
}


@pytest.fixture(scope="module")
def monitored(
    crd: Kubectl, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Monitored]:
    home: Path = tmp_path_factory.mktemp("helm-monitored")
    with (
        namespaces(crd, home) as here,
        observed(request.config, "monitored", here.lab, here.system),
        installed(here),
    ):
        instrument = here.declare("instrument", downloader={"onConflict": "Skip"})
        sidecar = {
            "mode": "Sidecar",
            "claimName": None,
            "podSelector": {"matchLabels": {"app": "simulation"}},
        }
        program = here.declare(
            "simulation", source={"path": "/results", "uploader": sidecar | {"drainSeconds": 5}}
        )
        objects = rendered(here)
        monitors = [one for one in objects if one["kind"] == "PodMonitor"]
        (rules,) = [one for one in objects if one["kind"] == "PrometheusRule"]
        eventually(
            lambda: here.lab("create", "-f", "-", given=simulation("simulation")).ok,
            30,
            "the webhook answers",
            POLL_SECONDS,
        )
        instrument.until()
        program.until()
        with prometheus(
            here.system,
            [here.system.namespace, here.lab.namespace],
            scrape_configs(monitors),
            impatient(rules["spec"]["groups"]),
        ) as server:
            yield Monitored(here, server)
            assert here.lab("delete", "pod", "simulation", "--wait=false").ok


def test_all_parts_are_scraped_and_nothing_else(monitored: Monitored):
    lab, system = monitored.penstock.lab.namespace, monitored.penstock.system.namespace
    expected = [
        ("penstock-operator", system, "operator", None),
        ("penstock-registry", system, "registry", None),
        ("penstock-streams", lab, "downloader", "instrument"),
        ("penstock-streams", lab, "downloader", "simulation"),
        ("penstock-streams", lab, "penstock-uploader", "simulation"),
        ("penstock-streams", lab, "uploader", "instrument"),
    ]

    def scraped() -> list[tuple[str | None, ...]]:
        labels = ("job", "namespace", "container", "stream")
        targets = monitored.prometheus.targets()
        return sorted(tuple(map(target["labels"].get, labels)) for target in targets)

    eventually(lambda: scraped() == expected, 30, scraped, POLL_SECONDS)
    eventually(
        lambda: {one["health"]: one["lastError"] for one in monitored.prometheus.targets()} == {"up": ""},
        30,
        lambda: [(one["labels"], one["lastError"]) for one in monitored.prometheus.targets()],
        POLL_SECONDS,
    )


def test_a_healthy_installation_raises_no_alert(monitored: Monitored):
    desk = monitored.penstock.desk
    desk.expect("instrument", desk.write("instrument", {"first.tif": 3_000_000, "run/second.tif": 1000}))

    def evaluated() -> list[dict[str, Any]] | None:
        rules = monitored.prometheus.rules()
        return None if "unknown" in {rule["health"] for rule in rules} else rules

    rules = eventually(evaluated, 30, monitored.prometheus.rules, POLL_SECONDS)
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    eventually(lambda: monitored.prometheus.alerts() == {}, 30, monitored.prometheus.firing, POLL_SECONDS)
    throughout(SETTLED_SECONDS, lambda: monitored.prometheus.alerts() == {}, interval=POLL_SECONDS)


def test_a_file_that_a_destination_rejects_raises_its_alert(monitored: Monitored):
    desk = monitored.penstock.desk
    desk.do(f"mkdir -p {desk.DELIVERIES}/instrument/blocked.tif")
    desk.write("instrument", {"blocked.tif": 1000})
    raised = eventually(
        lambda: fires(monitored, "PenstockFileWillNotArrive"), 60, monitored.prometheus.firing, POLL_SECONDS
    )
    assert raised["labels"]["stream"] == "instrument"
    assert (
        raised["annotations"]["summary"] == "1 files of instrument will not arrive by themselves (rejected)"
    )
    assert monitored.prometheus.alerts().keys() == {"PenstockFileWillNotArrive"}


def fires(monitored: Monitored, name: str) -> dict[str, Any] | None:
    found = [one for one in monitored.prometheus.firing() if one["labels"]["alertname"] == name]
    return found[0] if found else None


DEFAULTS = {"namespace": ANYTHING, "topic": ANYTHING}


def chosen(monitored: Monitored, dashboard: str) -> dict[str, str]:
    """What somebody has chosen who looks at a dashboard: all there is, or one stream."""
    if dashboard != "stream":
        return DEFAULTS
    destination = f"{monitored.penstock.lab.namespace}.instrument"
    stream = {"namespace": monitored.penstock.lab.namespace, "stream": "instrument"}
    return stream | {"topic": "instrument", "destination": destination}


def test_the_variables_of_all_dashboards_offer_what_there_is(monitored: Monitored):
    asked = variable_queries()
    assert {query.dashboard for query in asked} <= {"overview", "stream", "operator"}
    for query in asked:
        selector = filled(query.selector, chosen(monitored, query.dashboard))
        offered = monitored.prometheus.label_values(query.label, selector)
        assert chosen(monitored, "stream")[query.name] in offered, f"{query}: {selector}"


def test_every_panel_of_all_dashboards_has_something_to_show(monitored: Monitored):
    """With all that there is to show: files that flow, are rejected, or skipped; new partitions; sidecars."""
    desk, lab = monitored.penstock.desk, monitored.penstock.lab
    missing = panel_queries()
    assert {query.dashboard for query in missing} == {"overview", "stream", "operator"}
    Stream(lab, "instrument").patch(topic={"partitions": 2})
    numbers = itertools.count()

    def all_answered() -> bool:
        # The destination skips a file of a name that it has.
        desk.write("instrument", {f"run/{next(numbers)}.tif": 100_000, "first.tif": 1000})
        assert lab("create", "--dry-run=server", "-f", "-", given=simulation("another")).ok
        missing[:] = [query for query in missing if not answered(monitored, query)]
        return not missing

    eventually(all_answered, 60, lambda: [f"{query}: {query.expr}" for query in missing], POLL_SECONDS)


def answered(monitored: Monitored, query: PanelQuery) -> bool:
    """Whether there is any number to show."""
    expr = filled(query.expr, chosen(monitored, query.dashboard), WINDOW)
    found = [float(series["value"][1]) for series in monitored.prometheus.query(expr)]
    return any(not math.isnan(number) for number in found)


def test_a_registry_that_is_away_raises_its_alert_until_it_is_back(monitored: Monitored):
    registry = monitored.penstock.registry
    system = monitored.penstock.system
    assert system("scale", f"deployment/{registry.name}", "--replicas=0").ok
    raised = eventually(
        lambda: fires(monitored, "PenstockRegistryAway"), 60, monitored.prometheus.firing, POLL_SECONDS
    )
    assert raised["labels"]["severity"] == "critical"
    assert system("scale", f"deployment/{registry.name}", "--replicas=1").ok
    registry.wait_until_ready()
    eventually(
        lambda: "PenstockRegistryAway" not in monitored.prometheus.alerts(),
        60,
        monitored.prometheus.firing,
        POLL_SECONDS,
    )
